/**
 * The memory of one simulated process: addresses for buffers of its own and for what it has mapped.
 *
 * @module
 */

/** What is mapped somewhere. */
export interface MappedFile {
  /** The kernel's memory; the mapping shows it until it is detached. */
  bytes: ArrayBuffer;
}

interface Mapping {
  readonly buffer: ArrayBuffer;
  readonly size_bytes: number;
  file: MappedFile | undefined;
}

const EINVAL = 22;
const FIRST_ADDRESS = 0x7f00_0000_0000;
const PAGE_BYTES = 4096;

/** Memory that some process has kept for itself; others may still share it here. */
const KEPT = new WeakSet<ArrayBuffer>();

/** Addresses of one process. */
export class UserMemory {
  readonly #mappings = new Map<number, Mapping>();
  readonly #own = new WeakMap<ArrayBufferLike, number>();
  readonly #buffers: [address: number, buffer: WeakRef<ArrayBuffer>][] = [];
  #next = FIRST_ADDRESS;

  #reserve(size_bytes: number): number {
    const address = this.#next;
    this.#next += Math.ceil(size_bytes / PAGE_BYTES + 1) * PAGE_BYTES;
    return address;
  }

  /** Maps kernel memory; both sides see the same bytes. */
  map(file: MappedFile): number {
    const address = this.#reserve(file.bytes.byteLength);
    const size_bytes = file.bytes.byteLength;
    this.#mappings.set(address, { buffer: file.bytes, size_bytes, file });
    return address;
  }

  /** The mapping's view stays; the kernel goes on with a copy. */
  detach(address: number, size_bytes: number, keeps_contents: boolean): number {
    const mapping = this.#mappings.get(address);
    if (mapping === undefined || mapping.size_bytes !== size_bytes) return -EINVAL;
    if (mapping.file === undefined) return 0;
    const is_there = mapping.buffer.byteLength > 0;
    if (keeps_contents && !is_there) throw new Error("SIGBUS: a mapping was read after its end");
    if (is_there) mapping.file.bytes = mapping.buffer.slice(0);
    mapping.file = undefined;
    KEPT.add(mapping.buffer);
    return 0;
  }

  /** Removes a mapping. */
  unmap(address: number, size_bytes: number): number {
    const mapping = this.#mappings.get(address);
    if (mapping === undefined || mapping.size_bytes !== size_bytes) return -EINVAL;
    this.#mappings.delete(address);
    return 0;
  }

  /** The kernel takes the pages of a file away. */
  zap(file: MappedFile): void {
    for (const mapping of this.#mappings.values()) {
      if (mapping.file !== file || mapping.buffer.byteLength === 0) continue;
      file.bytes = mapping.buffer.slice(0);
      // Views of it are empty from now on, where a real process would die.
      if (!KEPT.has(mapping.buffer)) mapping.buffer.transfer();
    }
  }

  /** True while a file is mapped: it stays open so. */
  isMapped(file: MappedFile): boolean {
    return [...this.#mappings.values()].some((mapping) => mapping.file === file);
  }

  /** Number of mappings. */
  mappingCount(): number {
    return this.#mappings.size;
  }

  /** The memory of a mapping. */
  bufferAt(address: number, size_bytes: number): ArrayBuffer {
    const mapping = this.#mappings.get(address);
    if (mapping === undefined || mapping.size_bytes !== size_bytes) {
      throw new Error(`SIGSEGV: nothing is mapped at ${address.toString(16)}`);
    }
    return mapping.buffer;
  }

  /** The address of memory that the process made itself. */
  addressOf(view: Int32Array): number {
    const { buffer, byteOffset } = view;
    let address = this.#own.get(buffer);
    if (address === undefined) {
      address = this.#reserve(buffer.byteLength);
      this.#own.set(buffer, address);
      this.#buffers.push([address, new WeakRef(buffer as ArrayBuffer)]);
    }
    return address + byteOffset;
  }

  /** What the kernel finds at an address; undefined where it would return EFAULT. */
  read(address: number, size_bytes: number): DataView | undefined {
    for (const [start, reference] of this.#buffers) {
      const buffer = reference.deref();
      if (buffer === undefined || address < start) continue;
      const offset = address - start;
      if (offset + size_bytes <= buffer.byteLength) return new DataView(buffer, offset, size_bytes);
    }
    return undefined;
  }
}
