/**
 * The one place that states memory order. V8 merges plain re-reads and promises nothing for plain
 * accesses, so every word that another thread or the kernel writes is read and written here.
 *
 * A {@linkcode Memory} is injected: on real kernels it is {@linkcode HARDWARE_MEMORY}; the
 * simulated kernel passes its own, whose reads may let the simulated machine move on first.
 *
 * @module
 */

/** Access to 32-bit words that are shared with other threads or with the kernel. */
export interface Memory {
  /**
   * Reads a word for polling. The value may be old, never torn; read again with
   * {@linkcode acquire} before using data that the word publishes.
   */
  poll(words: Int32Array, index: number): number;
  /** Reads a word; later reads see everything written before the word was published. */
  acquire(words: Int32Array, index: number): number;
  /** Writes a word after everything written before. */
  publish(words: Int32Array, index: number, value: number): void;
  /** Atomically replaces `expected` by `value`; returns what the word held before. */
  compareExchange(words: Int32Array, index: number, expected: number, value: number): number;
  /** Atomically adds; returns what the word held before. */
  add(words: Int32Array, index: number, delta: number): number;
  /** One turn of a spin loop. A checker throws here when nobody else can make progress. */
  pause(): void;
}

/** Memory order by the instructions of the machine, for shared and for mapped memory. */
export class HardwareMemory implements Memory {
  /** See {@linkcode Memory.poll}. */
  poll(words: Int32Array, index: number): number {
    return words[index];
  }

  /** See {@linkcode Memory.acquire}. */
  acquire(words: Int32Array, index: number): number {
    return Atomics.load(words, index);
  }

  /** See {@linkcode Memory.publish}. */
  publish(words: Int32Array, index: number, value: number): void {
    Atomics.store(words, index, value);
  }

  /** See {@linkcode Memory.compareExchange}. */
  compareExchange(words: Int32Array, index: number, expected: number, value: number): number {
    return Atomics.compareExchange(words, index, expected, value);
  }

  /** See {@linkcode Memory.add}. */
  add(words: Int32Array, index: number, delta: number): number {
    return Atomics.add(words, index, delta);
  }

  /** See {@linkcode Memory.pause}. */
  pause(): void {}
}

/** The accessor for real kernels and real threads. */
export const HARDWARE_MEMORY: Memory = new HardwareMemory();

/** Nanoseconds (or any u64 below 2^53) from two words, low word first. */
export function u64At(words: Int32Array, index: number): number {
  return (words[index + 1] >>> 0) * 4294967296 + (words[index] >>> 0);
}

/** Stores a non-negative integer below 2^53 as two words, low word first. */
export function storeU64(words: Int32Array, index: number, value: number): void {
  words[index] = value % 4294967296 | 0;
  words[index + 1] = Math.floor(value / 4294967296) | 0;
}
