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

/**
 * The shim's release fence, once it is loaded. V8 calls it straight from optimised code and moves
 * nothing across it; with the plain store behind it, it takes 5 ns where Atomics.store, a full
 * fence behind a builtin, takes 13.
 */
let releaseFence: (() => void) | undefined;

/** Memory order by atomic operations and fences: right on every machine. */
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
    if (releaseFence === undefined) {
      Atomics.store(words, index, value);
    } else {
      releaseFence();
      words[index] = value;
    }
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

/** Words of {@linkcode SINK}: too many for V8 to keep them in its own heap, where it sees more. */
const SINK_WORDS = 32;
/** Where {@linkcode keepOrder} stores what nobody reads. */
const SINK = new Int32Array(new ArrayBuffer(SINK_WORDS * 4));

/**
 * Keeps V8 from merging loads before it with loads after it, and from moving either past it: a
 * store through an index that it cannot know may have changed any word, and stores and loads stay
 * in their order. Four instructions, where a call into the shim takes forty and makes V8 look at
 * every object again. Nothing to the machine: an order of its own it must have.
 *
 * @param value What V8 cannot know, such as a word of shared memory; a load of it is done before.
 */
function keepOrder(value: number): void {
  SINK[value & (SINK_WORDS - 1)] = 0;
}

/**
 * Memory order for machines that keep loads in order and stores in order (x86-64). There, a plain
 * load is an acquire load and a plain store a release store, and only V8 is left:
 *
 * - It merges a plain load with an earlier one of the same word if nothing between them may have
 *   stored there, and it may do a load as late as at its use, but past no store: see keepOrder().
 * - It moves no store, and leaves out none to memory outside of its heap.
 *
 * An Atomics.load is a call of 110 instructions here. ffi/memory_test.ts and tests/interleaving
 * hold this against C threads and against a checker.
 */
export class StrongOrderMemory extends HardwareMemory {
  /** See {@linkcode Memory.acquire}; the value may be that of a poll just before. */
  override acquire(words: Int32Array, index: number): number {
    const value = words[index];
    keepOrder(value);
    return value;
  }

  /** See {@linkcode Memory.publish}. */
  override publish(words: Int32Array, index: number, value: number): void {
    words[index] = value;
  }
}

/**
 * The accessor that an architecture needs.
 *
 * @param arch Architecture, as `Deno.build.arch`.
 * @returns The accessor.
 */
export function chooseMemory(arch: string): Memory {
  return arch === "x86_64" ? new StrongOrderMemory() : new HardwareMemory();
}

/** The accessor for real kernels and real threads. */
export const HARDWARE_MEMORY: Memory = chooseMemory(Deno.build.arch);

/** A word of our own for {@linkcode chooseFence}. */
const FENCE_WORD = new Int32Array(new SharedArrayBuffer(4));

/**
 * The fence that an architecture needs between plain accesses and an atomic one.
 *
 * x86-64 keeps loads in order and stores in order: only V8 is kept from merging. arm64 lets a plain
 * load move past a later Atomics.load and a plain store move before an earlier Atomics.store: there
 * it is the shim's fence, or, before the shim is loaded, an atomic read-modify-write of a word of
 * our own.
 *
 * @param arch Architecture, as `Deno.build.arch`.
 * @param native_fence Full fence of the shim, if it is loaded.
 * @returns The fence.
 */
export function chooseFence(arch: string, native_fence: (() => void) | undefined): () => void {
  if (arch === "x86_64") return () => keepOrder(SINK[0]);
  return native_fence ?? (() => {
    Atomics.add(FENCE_WORD, 0, 0);
  });
}

let fence = chooseFence(Deno.build.arch, undefined);

/**
 * Gives this module the shim's fences; ffi/shim.ts calls it when the library is loaded.
 *
 * @param native_fence Full fence.
 * @param native_release_fence Release fence.
 */
export function installFence(native_fence: () => void, native_release_fence: () => void): void {
  fence = chooseFence(Deno.build.arch, native_fence);
  releaseFence = native_release_fence;
}

/**
 * Keeps plain loads before it from passing acquires after it, and plain stores after it from
 * passing publishes before it.
 */
export function orderFence(): void {
  fence();
}

/**
 * Starts a read of data that a seqlock protects. Read the data with plain loads afterwards, then
 * ask {@linkcode seqlockReadRetry}.
 *
 * @param memory Access to the words.
 * @param words The words that hold the sequence number.
 * @param index Index of the sequence number.
 * @returns The sequence number; odd while a writer is at work.
 */
export function seqlockReadBegin(memory: Memory, words: Int32Array, index: number): number {
  return memory.acquire(words, index);
}

/**
 * Ends a read of data that a seqlock protects. The sequence number is read again by an acquire
 * behind a fence: V8 merges a plain re-read with the first read, and the check could never fail.
 *
 * @param memory Access to the words.
 * @param words The words that hold the sequence number.
 * @param index Index of the sequence number.
 * @param begin What {@linkcode seqlockReadBegin} returned.
 * @returns True if what was read is not consistent and must be read again.
 */
export function seqlockReadRetry(
  memory: Memory,
  words: Int32Array,
  index: number,
  begin: number,
): boolean {
  if ((begin & 1) !== 0) return true;
  orderFence();
  return memory.acquire(words, index) !== begin;
}

/**
 * Starts a write of data that a seqlock protects. Writers exclude each other by other means.
 *
 * @param memory Access to the words.
 * @param words The words that hold the sequence number.
 * @param index Index of the sequence number.
 */
export function seqlockWriteBegin(memory: Memory, words: Int32Array, index: number): void {
  memory.publish(words, index, memory.poll(words, index) + 1 | 0);
  orderFence();
}

/**
 * Ends a write of data that a seqlock protects.
 *
 * @param memory Access to the words.
 * @param words The words that hold the sequence number.
 * @param index Index of the sequence number.
 */
export function seqlockWriteEnd(memory: Memory, words: Int32Array, index: number): void {
  memory.publish(words, index, memory.poll(words, index) + 1 | 0);
}

/** Nanoseconds (or any u64 below 2^53) from two words, low word first. */
export function u64At(words: Int32Array, index: number): number {
  return (words[index + 1] >>> 0) * 4294967296 + (words[index] >>> 0);
}

/** Stores a non-negative integer below 2^53 as two words, low word first. */
export function storeU64(words: Int32Array, index: number, value: number): void {
  // No remainder: that is a call into C. The conversion to 32 bits drops the high word by itself.
  words[index] = value | 0;
  words[index + 1] = (value / 4294967296) | 0;
}
