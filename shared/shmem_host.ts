/**
 * What shared memory needs of the machine. Injected, so that every refusal can be tested without
 * a machine that gives cause for it; results are as the shim's: negative is −errno.
 *
 * @module
 */
import * as linux from "../ffi/linux.ts";
import { bufferAt, loadShim } from "../ffi/shim.ts";
import { cString } from "../ffi/symbols.ts";

/** The machine's calls for {@linkcode GhostShmem}. */
export interface ShmemHost {
  /** Process id of the caller. */
  readonly pid: number;
  /** An O_PATH descriptor of the file behind a link in /proc/PID/fd, by its exact text. */
  openNamed(pid: number, text: string, fd_count_max: number): number;
  /** True if the file is a memfd on the kernel's own tmpfs; must not ask any other filesystem. */
  isPlainMemfd(fd: number): boolean;
  /** Opens the file behind an O_PATH descriptor for reading and writing. */
  reopen(path_fd: number): number;
  /** The seals of a memfd. */
  seals(fd: number): number;
  /** The size of a file in bytes. */
  fileSize(fd: number): number;
  /** Makes an empty memfd that can be sealed. */
  createMemfd(name: string): number;
  /** Sets the size of a file in bytes. */
  resize(fd: number, size_bytes: number): number;
  /** Seals a memfd. */
  seal(fd: number, seals: number): number;
  /** Maps a file for reading and writing; its address. */
  map(fd: number, size_bytes: number): number;
  /** Ends a mapping. */
  unmap(address: number, size_bytes: number): number;
  /** A view of mapped memory. */
  words(address: number, size_bytes: number): Int32Array;
  /** Keeps memory from being swapped out. */
  lock(address: number, size_bytes: number): number;
  /** Closes a descriptor. */
  close(fd: number): number;
  /** CLOCK_MONOTONIC in nanoseconds. */
  nowNs(): number;
  /** Sleeps a moment, at most while the word at an address holds a value. */
  rest(address: number, value: number): void;
}

/** How long {@linkcode ShmemHost.rest} sleeps: nobody wakes it, upstream's creators do not. */
const REST_NS = 200_000;

/** This machine, by the shim, which is loaded at the first call. */
class NativeShmemHost implements ShmemHost {
  readonly pid = Deno.pid;
  #memfd_mount_id = -1;

  openNamed(pid: number, text: string, fd_count_max: number): number {
    return loadShim().openNamedFd(pid, cString(text), fd_count_max);
  }

  isPlainMemfd(fd: number): boolean {
    const mount_id = loadShim().mountId(fd);
    return mount_id >= 0 && mount_id === this.#memfdMountId();
  }

  reopen(path_fd: number): number {
    const path = cString(`/proc/self/fd/${path_fd}`);
    return loadShim().openat(linux.AT_FDCWD, path, linux.O_RDWR | linux.O_CLOEXEC, 0);
  }

  seals(fd: number): number {
    return loadShim().fcntl(fd, linux.F_GET_SEALS, 0);
  }

  fileSize(fd: number): number {
    return loadShim().fileSize(fd);
  }

  createMemfd(name: string): number {
    return loadShim().memfdCreate(cString(name), linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING);
  }

  resize(fd: number, size_bytes: number): number {
    return loadShim().ftruncate(fd, size_bytes);
  }

  seal(fd: number, seals: number): number {
    return loadShim().fcntl(fd, linux.F_ADD_SEALS, seals);
  }

  map(fd: number, size_bytes: number): number {
    const protection = linux.PROT_READ | linux.PROT_WRITE;
    return loadShim().mmap(0, size_bytes, protection, linux.MAP_SHARED, fd, 0);
  }

  unmap(address: number, size_bytes: number): number {
    return loadShim().munmap(address, size_bytes);
  }

  words(address: number, size_bytes: number): Int32Array {
    return new Int32Array(bufferAt(address, size_bytes));
  }

  lock(address: number, size_bytes: number): number {
    return loadShim().lockRegion(address, size_bytes);
  }

  close(fd: number): number {
    return loadShim().close(fd);
  }

  nowNs(): number {
    return loadShim().clockMonotonicNs();
  }

  rest(address: number, value: number): void {
    loadShim().futexWait(address, value, REST_NS);
  }

  /** The mount that memfds are on, by one of our own; it is the same until the machine stops. */
  #memfdMountId(): number {
    if (this.#memfd_mount_id >= 0) return this.#memfd_mount_id;
    const fd = this.createMemfd("ghost-mount-id");
    if (fd < 0) return fd;
    this.#memfd_mount_id = loadShim().mountId(fd);
    loadShim().close(fd);
    return this.#memfd_mount_id;
  }
}

/** This machine. */
export const SHMEM_HOST: ShmemHost = new NativeShmemHost();
