/**
 * Waiting between threads of one process: a futex and a one-time notification over shared words.
 * Between processes, and on the scheduling path, the shim's futex call does this instead.
 * Source: reference section 3.1.
 *
 * @module
 */

import { HARDWARE_MEMORY, type Memory } from "../ffi/memory.ts";
import { assertInvariant } from "./invariant.ts";

/** Nobody waits. */
const NO_WAITER = 0;
/** Somebody waits, or is about to. */
const WAITER = 1;
/** Notified; stays so until a reset. */
const NOTIFIED = 2;

/**
 * Waits until a shared word differs from a value. Wake-ups that leave the value alone do not count.
 *
 * @param words Shared memory.
 * @param index The word.
 * @param value The value to wait at; returns at once if the word holds another one.
 */
export function futexWait(words: Int32Array, index: number, value: number): void {
  while (HARDWARE_MEMORY.acquire(words, index) === value) Atomics.wait(words, index, value);
}

/**
 * Wakes threads that wait at a shared word. Change the word first.
 *
 * @param words Shared memory.
 * @param index The word.
 * @param count How many threads to wake at most.
 * @returns How many were woken.
 */
export function futexWake(words: Int32Array, index: number, count: number): number {
  return Atomics.notify(words, index, count);
}

/** A one-time event in one word of shared memory, of which zero is the start. */
export class Notification {
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #index: number;

  /**
   * A view of the event; every thread makes its own over the same word.
   *
   * @param words Shared memory.
   * @param index The word.
   * @param memory How the word is read and written.
   */
  constructor(words: Int32Array, index: number, memory: Memory = HARDWARE_MEMORY) {
    this.#memory = memory;
    this.#words = words;
    this.#index = index;
  }

  /** True once the event has happened; what was written before it can be read then. */
  hasBeenNotified(): boolean {
    return this.#memory.acquire(this.#words, this.#index) === NOTIFIED;
  }

  /**
   * Makes the event happen and wakes whoever waits.
   *
   * @throws {InvariantError} If it has happened already.
   */
  notify(): void {
    let state = this.#memory.acquire(this.#words, this.#index);
    for (;;) {
      assertInvariant(state !== NOTIFIED, "a Notification was notified twice without a reset");
      const found = this.#memory.compareExchange(this.#words, this.#index, state, NOTIFIED);
      if (found === state) break;
      state = found;
    }
    if (state === WAITER) futexWake(this.#words, this.#index, Infinity);
  }

  /** Waits until the event has happened. */
  waitForNotification(): void {
    if (this.hasBeenNotified()) return;
    this.#memory.compareExchange(this.#words, this.#index, NO_WAITER, WAITER);
    futexWait(this.#words, this.#index, WAITER);
  }

  /** Makes the event one that has not happened; nobody may be waiting. */
  reset(): void {
    this.#memory.publish(this.#words, this.#index, NO_WAITER);
  }
}
