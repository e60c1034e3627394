/**
 * A 32-bit sequence counter that lets readers see whether a writer was at work meanwhile, and
 * keeps writers apart: bit 0 is set while one is. As in ghost-userspace's PrioTable (reference
 * section 5.2), so that our threads and those of a C++ program may use the same one. Nothing here
 * allocates.
 *
 * @module
 */
import { type Memory, orderFence, seqlockReadBegin, seqlockReadRetry } from "../ffi/memory.ts";

/** Set while a writer is at work. */
export const SEQCOUNT_LOCKED = 1;

/**
 * Begins a write if no other writer is at work. One attempt.
 *
 * @param memory Access to the words.
 * @param words The words that hold the counter.
 * @param index Index of the counter.
 * @returns The odd value for {@linkcode writeEnd}, or 0 if another writer is at work.
 */
export function tryWriteBegin(memory: Memory, words: Int32Array, index: number): number {
  const even = memory.acquire(words, index);
  if ((even & SEQCOUNT_LOCKED) !== 0) return 0;
  if (memory.compareExchange(words, index, even, even | SEQCOUNT_LOCKED) !== even) return 0;
  orderFence(); // the data is written after the counter has become odd
  return even | SEQCOUNT_LOCKED;
}

/**
 * Begins a write; spins while another writer is at work, for ever if that one died in its write.
 * For the owner of the memory: an agent must not wait for an application like this.
 *
 * @param memory Access to the words.
 * @param words The words that hold the counter.
 * @param index Index of the counter.
 * @returns The odd value for {@linkcode writeEnd}.
 */
export function writeBegin(memory: Memory, words: Int32Array, index: number): number {
  for (;;) {
    const begin = tryWriteBegin(memory, words, index);
    if (begin !== 0) return begin;
    memory.pause();
  }
}

/**
 * Ends a write; the data is seen before the counter becomes even.
 *
 * @param memory Access to the words.
 * @param words The words that hold the counter.
 * @param index Index of the counter.
 * @param begin What {@linkcode writeBegin} or {@linkcode tryWriteBegin} returned.
 */
export function writeEnd(memory: Memory, words: Int32Array, index: number, begin: number): void {
  memory.publish(words, index, begin + SEQCOUNT_LOCKED | 0);
}

/**
 * Begins a read.
 *
 * @param memory Access to the words.
 * @param words The words that hold the counter.
 * @param index Index of the counter.
 * @returns The value for {@linkcode readEnd}; odd while a writer is at work.
 */
export function readBegin(memory: Memory, words: Int32Array, index: number): number {
  return seqlockReadBegin(memory, words, index);
}

/**
 * Ends a read.
 *
 * @param memory Access to the words.
 * @param words The words that hold the counter.
 * @param index Index of the counter.
 * @param begin What {@linkcode readBegin} returned.
 * @returns True if what was read since is consistent; false if it must not be used.
 */
export function readEnd(memory: Memory, words: Int32Array, index: number, begin: number): boolean {
  return !seqlockReadRetry(memory, words, index, begin);
}
