/**
 * Named memory that one process owns and others attach to through /proc/PID/fd, byte-compatible
 * with ghost-userspace's GhostShmem (reference section 5.1): a memfd "ghost-shmem-SUFFIX", sealed
 * against a change of its size, with a header in its first page.
 *
 * The owner is not trusted. A file is mapped only if it can never raise SIGBUS here, which no
 * handler could catch: a plain memfd (on the kernel's own tmpfs: no FUSE, no huge pages, no other
 * file of that name) that is sealed against shrinking and growing. Holes that the owner punches
 * read as zeros.
 *
 * @module
 */
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { SharedMemoryError } from "./errors.ts";
import { SHMEM_HOST, type ShmemHost } from "./shmem_host.ts";
import {
  attachMapping,
  createMapping,
  FINISHED,
  type Mapping,
  READY,
  SHMEM_HEADER_BYTES,
  type ShmemAttachOptions,
  STATE_WORD,
} from "./shmem_mapping.ts";

export { SharedMemoryError, type SharedMemoryFault } from "./errors.ts";
export { type ShmemHost } from "./shmem_host.ts";
export { type ShmemAttachOptions } from "./shmem_mapping.ts";

/** An empty view, for regions that are closed. */
const NO_WORDS = new Int32Array(0);

/** A region of memory that processes share. Close it when it is no longer used. */
export class GhostShmem {
  static #blob_count = 0;
  readonly #host: ShmemHost;
  readonly #fd: number;
  readonly #is_owner: boolean;
  #header: Int32Array;
  #words: Int32Array;
  #address: number;
  #size_bytes: number;
  #owner_pid: number;

  private constructor(host: ShmemHost, mapping: Mapping, owner_pid: number, is_owner: boolean) {
    const { fd, address, size_bytes } = mapping;
    this.#host = host;
    this.#fd = fd;
    this.#is_owner = is_owner;
    this.#address = address;
    this.#size_bytes = size_bytes;
    this.#owner_pid = owner_pid;
    this.#header = host.words(address, SHMEM_HEADER_BYTES);
    this.#words = host.words(address + SHMEM_HEADER_BYTES, size_bytes - SHMEM_HEADER_BYTES);
  }

  /**
   * Creates a region of this process; others can attach after {@linkcode GhostShmem.markReady}.
   *
   * @param suffix Name, unique in this process.
   * @param size_bytes Bytes of data, at least; rounded up with the header to 2 MiB.
   * @param client_version Version of the data; upstream's agents know 0 only.
   * @param host The machine's calls.
   * @returns The region, all zeros.
   * @throws {SharedMemoryError} If this process has such a region, or a value is out of range.
   * @throws {SystemError} If the machine refuses.
   */
  static create(
    suffix: string,
    size_bytes: number,
    client_version = 0,
    host: ShmemHost = SHMEM_HOST,
  ): GhostShmem {
    const mapping = createMapping(host, suffix, size_bytes, client_version);
    return new GhostShmem(host, mapping, host.pid, true);
  }

  /**
   * Creates a ready region with a name of its own.
   *
   * @param size_bytes Bytes of data, at least.
   * @returns The region.
   * @throws {SystemError} If the machine refuses.
   */
  static createBlob(size_bytes: number): GhostShmem {
    const shmem = GhostShmem.create(`blob-${GhostShmem.#blob_count++}`, size_bytes);
    shmem.markReady();
    return shmem;
  }

  /**
   * Attaches to a region of another process, or of this one. Not for the scheduling path: it looks
   * through /proc and may wait for the owner.
   *
   * @param pid Process id of the owner.
   * @param suffix Name of the region; must match wholly.
   * @param options Limits.
   * @param host The machine's calls.
   * @returns The region, or why it is refused.
   */
  static attach(
    pid: number,
    suffix: string,
    options: ShmemAttachOptions = {},
    host: ShmemHost = SHMEM_HOST,
  ): GhostShmem | SharedMemoryError {
    const mapping = attachMapping(host, pid, suffix, options);
    if (mapping instanceof SharedMemoryError) return mapping;
    return new GhostShmem(host, mapping, pid, false);
  }

  /** The data, after the header; empty once closed. */
  get words(): Int32Array {
    return this.#words;
  }

  /** Address of the data in this process, for views in other isolates; 0 once closed. */
  get address(): number {
    return this.#address === 0 ? 0 : this.#address + SHMEM_HEADER_BYTES;
  }

  /** Bytes of data. */
  get size_bytes(): number {
    return this.#words.byteLength;
  }

  /** Bytes of the mapping, header included. */
  get absolute_size_bytes(): number {
    return this.#size_bytes;
  }

  /** The file of a region of this process, closed with the region; −1 for those of others. */
  get fd(): number {
    return this.#fd;
  }

  /** Process id of the owner; 0 once closed. */
  get owner_pid(): number {
    return this.#owner_pid;
  }

  /** True once the owner has closed the region in good order. */
  get is_finished(): boolean {
    if (this.#address === 0) return true;
    return (HARDWARE_MEMORY.acquire(this.#header, STATE_WORD) & FINISHED) !== 0;
  }

  /** Lets others attach; the owner calls it when the data can be read. */
  markReady(): void {
    if (!this.#is_owner || this.#address === 0) return;
    HARDWARE_MEMORY.publish(this.#header, STATE_WORD, READY);
  }

  /**
   * Keeps the header and the first bytes of data from being swapped out, so that the agent never
   * waits for a disk, or for a page that the thread it is to schedule is reading in.
   *
   * @param size_bytes Bytes of data.
   * @returns False if the locked-memory limit forbids it; the region works all the same.
   */
  lock(size_bytes: number): boolean {
    const wanted_bytes = Math.min(SHMEM_HEADER_BYTES + size_bytes, this.#size_bytes);
    return this.#address !== 0 && this.#host.lock(this.#address, wanted_bytes) >= 0;
  }

  /**
   * Ends the mapping. Views in other isolates of this process must not be used afterwards. An owner
   * says in the header that it has finished; others keep their mappings.
   */
  close(): void {
    if (this.#address === 0) return;
    if (this.#is_owner) {
      const state = HARDWARE_MEMORY.acquire(this.#header, STATE_WORD);
      HARDWARE_MEMORY.publish(this.#header, STATE_WORD, state | FINISHED);
    }
    this.#header = NO_WORDS;
    this.#words = NO_WORDS;
    this.#host.unmap(this.#address, this.#size_bytes);
    if (this.#fd >= 0) this.#host.close(this.#fd);
    this.#address = 0;
    this.#size_bytes = 0;
    this.#owner_pid = 0;
  }
}
