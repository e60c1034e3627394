/**
 * Tells the guard which queues hold messages that nobody takes: queues are memory of the kernel,
 * which the guard does not map. A queue counts only if it holds messages and its tail has not moved
 * since the last beat, and if its agent could take them: one that leaves its CPU to the default
 * class, which wants it, waits for that and does not stand still.
 *
 * @module
 */
import { QUEUE_START_WORD, RING_HEAD_WORD, RING_TAIL_WORD } from "../../ffi/abi/constants.ts";
import type { Memory } from "../../ffi/memory.ts";
import type { Queue } from "../../kernels/kernel.ts";
import { CPU_MASK_WORD_COUNT } from "../../lib/limits.ts";

/** Beats within the watchdog's time. */
const BEATS = 8;
const PERIOD_MS_MIN = 5;
const PERIOD_MS_MAX = 250;

/** Time between two beats, in ms. */
export function beatPeriodMs(watchdog_ns: number): number {
  return Math.min(PERIOD_MS_MAX, Math.max(PERIOD_MS_MIN, watchdog_ns / 1e6 / BEATS));
}

/** Looks at the queues of an enclave, once per beat. */
export class Heartbeat {
  readonly #memory: Memory;
  readonly #queues: readonly Queue[];
  readonly #tails: Int32Array;
  /** 1 for a queue that held messages at the last look. */
  readonly #held: Int32Array;
  readonly #pending = new Int32Array(CPU_MASK_WORD_COUNT);
  readonly #mayRun: (index: number) => boolean;

  /**
   * @param memory How shared words are read.
   * @param queues The queue of each CPU.
   * @param mayRun True if the agent of the CPU at a position can take messages now.
   */
  constructor(
    memory: Memory,
    queues: readonly Queue[],
    mayRun: (index: number) => boolean = () => true,
  ) {
    this.#mayRun = mayRun;
    this.#memory = memory;
    this.#queues = queues;
    this.#tails = new Int32Array(queues.length).fill(-1);
    this.#held = new Int32Array(queues.length);
  }

  /** Which queues nobody takes messages from: a bit per CPU, by its position. */
  look(): Int32Array {
    this.#pending.fill(0);
    for (const [index, { words }] of this.#queues.entries()) {
      const ring = words[QUEUE_START_WORD] >>> 2;
      const tail = this.#memory.acquire(words, ring + RING_TAIL_WORD);
      const head = this.#memory.acquire(words, ring + RING_HEAD_WORD);
      const holds = head !== tail;
      // Messages that came just before a look that is late have not waited since the last one.
      const waited = holds && this.#held[index] !== 0 && tail === this.#tails[index];
      if (waited && this.#mayRun(index)) this.#pending[index >> 5] |= 1 << (index & 31);
      this.#tails[index] = tail;
      this.#held[index] = holds ? 1 : 0;
    }
    return this.#pending;
  }
}
