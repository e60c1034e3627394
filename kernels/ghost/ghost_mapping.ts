/**
 * Files of ghostfs and queues that are mapped. The kernel takes the pages of ghostfs files away
 * when an enclave is destroyed, and a later read would kill the process; so private memory is put
 * in their place before.
 *
 * @module
 */
import type { MemoryRegion } from "../agent_spec.ts";
import { EINVAL } from "../kernel.ts";
import type { GhostHost } from "./ghost_host.ts";

/** One mapping of a whole file. */
export class GhostMapping {
  /** Where it is. */
  readonly region: MemoryRegion;
  /** The memory. */
  readonly words: Int32Array;
  readonly #host: GhostHost;
  #is_file = true;
  #is_mapped = true;

  private constructor(host: GhostHost, region: MemoryRegion) {
    this.#host = host;
    this.region = region;
    this.words = new Int32Array(host.bufferAt(region.address, region.size_bytes));
  }

  /**
   * Maps a file and closes its descriptor.
   *
   * @param host The host.
   * @param fd The file; or −errno, which is handed on.
   * @param protection PROT_* flags.
   * @returns The mapping or −errno.
   */
  static take(host: GhostHost, fd: number, protection: number): GhostMapping | number {
    if (fd < 0) return fd;
    const size_bytes = host.fileSize(fd);
    const mapping = size_bytes > 0
      ? GhostMapping.map(host, fd, size_bytes, protection)
      : size_bytes || -EINVAL;
    host.close(fd);
    return mapping;
  }

  /** Maps as many bytes of a file. */
  static map(
    host: GhostHost,
    fd: number,
    size_bytes: number,
    protection: number,
  ): GhostMapping | number {
    const address = host.mapFile(fd, size_bytes, protection);
    return address < 0 ? address : new GhostMapping(host, { address, size_bytes });
  }

  /**
   * Lets go of the file; what was in it last stays to be seen.
   *
   * @param keeps_contents False if the file may be gone already.
   */
  detach(keeps_contents: boolean): void {
    if (!this.#is_file || !this.#is_mapped) return;
    this.#is_file = false;
    const { address, size_bytes } = this.region;
    this.#host.detachMapping(address, size_bytes, keeps_contents);
  }

  /** Unmaps; the words must not be used any more. */
  unmap(): void {
    if (!this.#is_mapped) return;
    this.#is_mapped = false;
    this.#host.unmap(this.region.address, this.region.size_bytes);
  }
}
