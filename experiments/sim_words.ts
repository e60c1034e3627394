/**
 * Words on which simulated load threads wait for each other, as futexes are.
 *
 * @module
 */
import { block, type Script } from "../kernels/sim/actions.ts";
import type { SimMachine } from "../kernels/sim/machine.ts";
import { type SimThread, SLEEPING } from "../kernels/sim/thread.ts";

interface Word {
  value: number;
  met_ns: number;
  waiters: SimThread[];
}

/** The words of one sub-test. Between a check and its block no other thread can run. */
export class SimWords {
  /** True once nobody waits any more. */
  is_stopped = false;
  readonly #machine: SimMachine;
  readonly #words = new Map<number, Word>();

  /** @param machine Wakes the threads. */
  constructor(machine: SimMachine) {
    this.#machine = machine;
  }

  #word(number: number): Word {
    let word = this.#words.get(number);
    if (word === undefined) this.#words.set(number, word = { value: 0, met_ns: 0, waiters: [] });
    return word;
  }

  #wake(word: Word, waker_cpu: number): void {
    const waiters = word.waiters;
    word.waiters = [];
    for (const thread of waiters) {
      if (thread.state === SLEEPING) this.#machine.wake(thread, waker_cpu);
    }
  }

  *#wait(word: Word, thread: SimThread): Script {
    word.waiters.push(thread);
    yield block();
  }

  /** Gives the token. */
  give(number: number, waker_cpu: number): void {
    const word = this.#word(number);
    word.value = 1;
    this.#wake(word, waker_cpu);
  }

  /** Takes the token. */
  *take(number: number, thread: SimThread): Script {
    const word = this.#word(number);
    while (word.value === 0 && !this.is_stopped) yield* this.#wait(word, thread);
    word.value = 0;
  }

  /** Comes to a word; the last of `thread_count` lets all go on. */
  *meet(number: number, thread_count: number, thread: SimThread): Script {
    const word = this.#word(number);
    word.met_ns = this.#machine.now_ns;
    if (++word.value === thread_count) return this.#wake(word, thread.cpu);
    while (word.value < thread_count && !this.is_stopped) yield* this.#wait(word, thread);
  }

  /** When the last thread came to a word. */
  metNs(number: number): number {
    return this.#word(number).met_ns;
  }

  /** Ends all waiting. */
  stop(): void {
    this.is_stopped = true;
    for (const word of this.#words.values()) {
      for (const { cpu } of word.waiters.slice(0, 1)) this.#wake(word, cpu);
    }
  }
}
