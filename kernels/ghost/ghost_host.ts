/**
 * What the ghOSt kernel's control plane and its agents need of the host, and no more: files,
 * ioctls, memory, time and the calling thread. Handed in, so that tests can put a scripted ghostfs
 * in its place; {@linkcode shimHost} in shim_host.ts is the real one.
 *
 * Calls that can fail return −errno.
 *
 * @module
 */
import type { NativeSatellite } from "../../ffi/satellite.ts";

/** What an agent that runs no policy is told. */
export interface GhostSatellitePlan {
  /** Its CPU. */
  readonly cpu: number;
  /** The enclave's `ctl`, open for writing. */
  readonly ctl_fd: number;
  /** The `become agent` command. */
  readonly command: string;
  /** Where the first status word is mapped. */
  readonly words_address: number;
}

/** The host as kernels/ghost sees it. */
export interface GhostHost {
  /**
   * Opens a file, always with O_CLOEXEC: a descriptor of `agent_online` that a child inherited
   * would keep the enclave online.
   *
   * @param dir_fd Where relative paths start, or AT_FDCWD.
   * @param path The file.
   * @param flags O_* flags.
   */
  openFile(dir_fd: number, path: string, flags: number): number;
  /** Closes a descriptor. */
  close(fd: number): number;
  /** The whole text of a file, from its start. */
  readText(fd: number): string | number;
  /** Writes in one call, as ghostfs wants its commands. Returns the bytes written. */
  writeText(fd: number, text: string): number;
  /** Names in a directory. */
  listDirectory(path: string): readonly string[] | number;
  /** Size of a file in bytes. */
  fileSize(fd: number): number;
  /** Maps a whole file shared; returns the address. */
  mapFile(fd: number, size_bytes: number, protection: number): number;
  /**
   * Puts private memory where a file was mapped, so that views of it stay good.
   *
   * @param keeps_contents False where the file may be gone and must not be read.
   */
  detachMapping(address: number, size_bytes: number, keeps_contents: boolean): number;
  /** Unmaps; no view may be used any more. */
  unmap(address: number, size_bytes: number): number;
  /** The memory at an address. */
  bufferAt(address: number, size_bytes: number): ArrayBuffer;
  /** The address of memory that this process made; it stays there while the view lives. */
  bufferAddress(view: Int32Array): number;
  /** ioctl with an address as argument. On the scheduling path: must not allocate. */
  readonly ioctl: (fd: number, code: number, address: number) => number;
  /** CLOCK_MONOTONIC in nanoseconds. On the scheduling path: must not allocate. */
  readonly nowNs: () => number;
  /** A descriptor on which every ioctl of a dry run succeeds. */
  dryFd(): number;
  /** Takes or gives up the lock of an open file (`flock`). */
  lock(fd: number, operation: number): number;
  /** A timer descriptor on CLOCK_MONOTONIC. */
  createTimer(): number;
  /** Sleeps in the calling thread. */
  sleepMs(duration_ms: number): void;
  /** Pins the calling thread to one CPU. */
  pinThread(cpu: number): number;
  /** Scheduling policy of the calling thread, with SCHED_RESET_ON_FORK if set. */
  threadPolicy(): number;
  /** The CPU that the calling thread runs on. */
  currentCpu(): number;
  /** Mounts ghostfs. */
  mountGhostfs(path: string): number;
  /** Starts an agent that runs no policy; left out where there are no native threads. */
  startSatellite?(plan: GhostSatellitePlan): NativeSatellite | number;
}
