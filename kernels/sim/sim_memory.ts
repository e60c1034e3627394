/**
 * The {@linkcode Memory} of the simulated kernel: plain accesses, since policies and kernel share
 * one thread, and at each read of a kernel-owned word a chance for the machine to move on first.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";
import { InvariantError } from "../../lib/invariant.ts";

const SPINS_MAX = 1000;

/** Memory whose reads of kernel words may let simulated time pass. */
export class SimMemory implements Memory {
  /** Called before a kernel-owned word is read; null when no faults are injected. */
  before_read: ((words: Int32Array) => void) | null = null;
  #spins = 0;

  /** See {@linkcode Memory.poll}. */
  poll(words: Int32Array, index: number): number {
    return words[index];
  }

  /** See {@linkcode Memory.acquire}. */
  acquire(words: Int32Array, index: number): number {
    if (this.before_read !== null) this.before_read(words);
    return words[index];
  }

  /** See {@linkcode Memory.publish}. */
  publish(words: Int32Array, index: number, value: number): void {
    this.#spins = 0;
    words[index] = value;
  }

  /** See {@linkcode Memory.compareExchange}. */
  compareExchange(words: Int32Array, index: number, expected: number, value: number): number {
    const before = words[index];
    if (before === expected) words[index] = value;
    return before;
  }

  /** See {@linkcode Memory.add}. */
  add(words: Int32Array, index: number, delta: number): number {
    const before = words[index];
    words[index] = (before + delta) | 0;
    return before;
  }

  /** See {@linkcode Memory.pause}. */
  pause(): void {
    if (++this.#spins > SPINS_MAX) {
      throw new InvariantError("a step waits in a loop; nothing else runs while a step does");
    }
  }
}
