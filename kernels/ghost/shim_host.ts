/**
 * The host of kernels/ghost over the shim.
 *
 * @module
 */
import {
  GHOST_IOC_RUN,
  GHOST_IOC_SW_GET_INFO,
  SCHED_GHOST,
  STATUS_WORD_BYTES,
} from "../../ffi/abi/constants.ts";
import {
  CLOCK_MONOTONIC,
  CPU_MASK_BYTES,
  EFD_CLOEXEC,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  O_CLOEXEC,
  PROT_READ,
  PROT_WRITE,
  SCHED_RESET_ON_FORK,
  TFD_CLOEXEC,
} from "../../ffi/linux.ts";
import { type NativeSatellite, SATELLITE_GHOST, startSatellite } from "../../ffi/satellite.ts";
import { bufferAt, loadShim, type Shim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import { EINTR, ENOENT } from "../kernel.ts";
import type { GhostHost, GhostSatellitePlan } from "./ghost_host.ts";

/** Numbers of system calls that have no function of their own in the shim. */
const SYSCALLS = {
  x86_64: { flock: 73, mount: 165, timerfd_create: 283 },
  aarch64: { flock: 32, mount: 40, timerfd_create: 85 },
} as const;

const READ_BYTES = 65536;
const NS_PER_MS = 1e6;

/** The shim's functions in the shape that kernels/ghost wants. */
class ShimHost implements GhostHost {
  readonly ioctl: Shim["ioctl"];
  readonly nowNs: Shim["clockMonotonicNs"];
  readonly #shim: Shim;
  readonly #numbers: Readonly<Record<"flock" | "mount" | "timerfd_create", number>>;
  /** A word that nobody changes, to sleep on. */
  readonly #word = new Int32Array(new ArrayBuffer(64));
  #dry_fd = -1;

  constructor() {
    this.#shim = loadShim();
    this.#numbers = SYSCALLS[Deno.build.arch as keyof typeof SYSCALLS];
    this.ioctl = this.#shim.ioctl;
    this.nowNs = this.#shim.clockMonotonicNs;
  }

  openFile(dir_fd: number, path: string, flags: number): number {
    return this.#shim.openat(dir_fd, cString(path), flags | O_CLOEXEC, 0);
  }

  close(fd: number): number {
    return this.#shim.close(fd);
  }

  readText(fd: number): string | number {
    const decoder = new TextDecoder();
    const bytes = new Uint8Array(READ_BYTES);
    let text = "";
    for (let offset = 0;;) {
      const count = this.#shim.pread(fd, bytes, bytes.length, offset);
      if (count < 0) return count;
      if (count === 0) return text;
      text += decoder.decode(bytes.subarray(0, count), { stream: true });
      offset += count;
    }
  }

  writeText(fd: number, text: string): number {
    const bytes = new TextEncoder().encode(text);
    return this.#shim.write(fd, bytes, bytes.length);
  }

  listDirectory(path: string): readonly string[] | number {
    try {
      return [...Deno.readDirSync(path)].map((entry) => entry.name);
    } catch {
      return -ENOENT;
    }
  }

  fileSize(fd: number): number {
    return this.#shim.fileSize(fd);
  }

  mapFile(fd: number, size_bytes: number, protection: number): number {
    return this.#shim.mmap(0, size_bytes, protection, MAP_SHARED, fd, 0);
  }

  detachMapping(address: number, size_bytes: number, keeps_contents: boolean): number {
    const kept = keeps_contents ? new Uint8Array(bufferAt(address, size_bytes)).slice() : undefined;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    const result = this.#shim.mmap(address, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (result < 0) return result;
    if (kept !== undefined) new Uint8Array(bufferAt(address, size_bytes)).set(kept);
    return 0;
  }

  unmap(address: number, size_bytes: number): number {
    return this.#shim.munmap(address, size_bytes);
  }

  bufferAt(address: number, size_bytes: number): ArrayBuffer {
    return bufferAt(address, size_bytes);
  }

  bufferAddress(view: Int32Array): number {
    return this.#shim.bufferAddress(view);
  }

  dryFd(): number {
    if (this.#dry_fd < 0) this.#dry_fd = this.#shim.eventfd(0, EFD_CLOEXEC);
    return this.#dry_fd;
  }

  lock(fd: number, operation: number): number {
    let result = -EINTR;
    while (result === -EINTR) {
      result = this.#shim.syscall(this.#numbers.flock, fd, operation, 0, 0, 0, 0);
    }
    return result;
  }

  createTimer(): number {
    const number = this.#numbers.timerfd_create;
    return this.#shim.syscall(number, CLOCK_MONOTONIC, TFD_CLOEXEC, 0, 0, 0, 0);
  }

  sleepMs(duration_ms: number): void {
    this.#shim.futexWait(this.#shim.bufferAddress(this.#word), 0, duration_ms * NS_PER_MS);
  }

  pinThread(cpu: number): number {
    const mask = new Uint8Array(CPU_MASK_BYTES);
    mask[cpu >> 3] = 1 << (cpu & 7);
    return this.#shim.schedSetaffinity(0, mask, mask.length);
  }

  threadPolicy(): number {
    return this.#shim.schedGetscheduler(0);
  }

  currentCpu(): number {
    return this.#shim.getcpu();
  }

  mountGhostfs(path: string): number {
    const type = cString("ghost");
    const target = cString(path);
    const { bufferAddress, syscall } = this.#shim;
    const type_address = bufferAddress(type);
    const target_address = bufferAddress(target);
    return syscall(this.#numbers.mount, type_address, target_address, type_address, 0, 0, 0);
  }

  startSatellite(plan: GhostSatellitePlan): NativeSatellite | number {
    const command = cString(plan.command);
    const where = [
      plan.ctl_fd,
      this.#shim.bufferAddress(command),
      SCHED_GHOST | SCHED_RESET_ON_FORK,
      GHOST_IOC_SW_GET_INFO,
      GHOST_IOC_RUN,
      plan.words_address,
      STATUS_WORD_BYTES,
    ];
    const { cpu } = plan;
    return startSatellite(this.#shim, { kind: SATELLITE_GHOST, cpu, pin_cpu: cpu, where });
  }
}

let host: ShimHost | undefined;

/**
 * The real host; the shim is loaded at the first call in each isolate.
 *
 * @returns The host.
 * @throws {ShimError} If the shim cannot be had.
 */
export function shimHost(): GhostHost {
  return host ??= new ShimHost();
}
