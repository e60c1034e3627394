/**
 * Status words: what the kernel says of each task and agent, read-only for user space.
 * Source: reference sections 1.1, 1.3 and 3.3. Upstream's `stale()` is inverted; here is none.
 *
 * @module
 */
import * as abi_constants from "../ffi/abi/constants.ts";
import { type Memory, u64At } from "../ffi/memory.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const {
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
  STATUS_WORD_BYTES,
  SW_BARRIER_WORD,
  SW_FLAGS_WORD,
  SW_GTID_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
  SW_RUNTIME_WORD,
} = abi_constants;

const STRIDE_WORDS = STATUS_WORD_BYTES / 4;

/** The words of one region. */
export class StatusWordTable {
  /** The region, header included. */
  declare readonly words: Int32Array;
  /** Number of words in the region. */
  declare readonly capacity: number;
  declare private readonly memory: Memory;
  declare private readonly start: number;

  /**
   * Reads a region where the kernel mapped it.
   *
   * @param memory How shared words are read.
   * @param words The region's mapping.
   */
  constructor(memory: Memory, words: Int32Array) {
    this.memory = memory;
    this.words = words;
    this.start = words[SW_REGION_START_WORD] >>> 2;
    this.capacity = words[SW_REGION_CAPACITY_WORD];
  }

  #at(index: number): number {
    return this.start + index * STRIDE_WORDS;
  }

  /** Barrier of a word; later reads see everything the kernel wrote before it. */
  barrier(index: number): number {
    return this.memory.acquire(this.words, this.#at(index) + SW_BARRIER_WORD);
  }

  /** GHOST_SW_* flags of a word, read afresh. */
  flags(index: number): number {
    return this.memory.acquire(this.words, this.#at(index) + SW_FLAGS_WORD);
  }

  /** Low word of the gtid. */
  gtidLo(index: number): number {
    return this.words[this.#at(index) + SW_GTID_WORD];
  }

  /** High word of the gtid. */
  gtidHi(index: number): number {
    return this.words[this.#at(index) + SW_GTID_WORD + 1];
  }

  /** Accumulated runtime in ns; may be old while the task runs. */
  runtimeNs(index: number): number {
    return u64At(this.words, this.#at(index) + SW_RUNTIME_WORD);
  }

  /** True if the word belongs to a live task (not to an agent). */
  isTask(index: number): boolean {
    const flags = this.flags(index);
    return (flags & GHOST_SW_F_INUSE) !== 0 && (flags & GHOST_SW_TASK_IS_AGENT) === 0;
  }
}
