/**
 * The kernel's side of status word region 0: hands words out, and takes them back when user space
 * frees them. Source: reference sections 1.1 to 1.3.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import * as memory from "../../ffi/memory.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { storeU64 } = memory;
const {
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  STATUS_WORD_BYTES,
  SW_BARRIER_WORD,
  SW_FLAGS_WORD,
  SW_GTID_WORD,
  SW_REGION_AVAILABLE_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
  SW_RUNTIME_WORD,
  SW_SWITCH_TIME_WORD,
} = abi_constants;

const START_WORD = 16;
const STRIDE_WORDS = STATUS_WORD_BYTES / 4;

/** One region of status words. */
export class StatusRegion {
  /** The region as user space maps it. */
  declare readonly words: Int32Array;
  readonly #capacity: number = 0;
  readonly #free: number[] = [];
  #fresh = 0;

  /**
   * Makes a region whose words are all free.
   *
   * @param capacity Words in the region.
   */
  constructor(capacity: number) {
    this.#capacity = capacity;
    const bytes = START_WORD * 4 + capacity * STATUS_WORD_BYTES;
    this.words = new Int32Array(new SharedArrayBuffer(bytes));
    this.words[SW_REGION_START_WORD] = START_WORD * 4;
    this.words[SW_REGION_CAPACITY_WORD] = capacity;
    this.words[SW_REGION_AVAILABLE_WORD] = capacity;
  }

  /**
   * Takes a word for a gtid.
   *
   * @param reuse_now Prefer the word that was freed last to one that was never used.
   * @returns Index of the word; −1 if the region is full.
   */
  allocate(gtid_lo: number, gtid_hi: number, flags: number, reuse_now = false): number {
    const reuse = this.#free.length > 0 && (reuse_now || this.#fresh === this.#capacity);
    if (!reuse && this.#fresh === this.#capacity) return -1;
    const index = reuse ? this.#free.pop() as number : this.#fresh++;
    const at = this.#at(index);
    this.words.fill(0, at, at + STRIDE_WORDS);
    this.words[at + SW_GTID_WORD] = gtid_lo;
    this.words[at + SW_GTID_WORD + 1] = gtid_hi;
    this.words[at + SW_FLAGS_WORD] = flags | GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED;
    this.words[SW_REGION_AVAILABLE_WORD]--;
    return index;
  }

  /** True if the index names a word that was handed out. */
  isAllocated(index: number): boolean {
    return index >= 0 && index < this.#fresh && (this.flags(index) & GHOST_SW_F_ALLOCATED) !== 0;
  }

  /** True if the kernel is done with the word. */
  canFree(index: number): boolean {
    return (this.flags(index) & GHOST_SW_F_CANFREE) !== 0;
  }

  /** Takes a word back. */
  free(index: number): void {
    const at = this.#at(index);
    this.words.fill(0, at, at + STRIDE_WORDS);
    this.words[SW_REGION_AVAILABLE_WORD]++;
    this.#free.push(index);
  }

  #at(index: number): number {
    return (START_WORD + Math.imul(index, STRIDE_WORDS)) | 0;
  }

  /** Flags of a word. */
  flags(index: number): number {
    return this.words[this.#at(index) + SW_FLAGS_WORD];
  }

  /** Sets and clears flags of a word. */
  change(index: number, set: number, clear: number): void {
    const at = this.#at(index) + SW_FLAGS_WORD;
    this.words[at] = (this.words[at] & ~clear) | set;
  }

  /** Barrier of a word. */
  barrier(index: number): number {
    return this.words[this.#at(index) + SW_BARRIER_WORD];
  }

  /** Increments the barrier of a word and returns the new value. */
  bump(index: number): number {
    const at = this.#at(index) + SW_BARRIER_WORD;
    return this.words[at] = (this.words[at] + 1) | 0;
  }

  /** Records when the task was switched to, in ns. */
  setSwitchTimeNs(index: number, time_ns: number): void {
    storeU64(this.words, this.#at(index) + SW_SWITCH_TIME_WORD, time_ns);
  }

  /** Records the task's runtime, in ns. */
  setRuntimeNs(index: number, runtime_ns: number): void {
    storeU64(this.words, this.#at(index) + SW_RUNTIME_WORD, runtime_ns);
  }
}
