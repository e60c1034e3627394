/**
 * The kernel's side of a message ring: fills slots in order, pads the end with a NOP rather than
 * wrap a message, counts what does not fit. Source: reference section 1.4 (ring protocol).
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import type { Queue } from "../kernel.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const {
  GHOST_MAX_QUEUE_ELEMS,
  MSG_NOP,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_SLOT_BYTES,
  RING_TAIL_WORD,
} = abi_constants;

const RING_START_WORD = 16;
const HEAD_WORD = RING_START_WORD + RING_HEAD_WORD;
const TAIL_WORD = RING_START_WORD + RING_TAIL_WORD;
const OVERFLOW_WORD = RING_START_WORD + RING_OVERFLOW_WORD;
const MSGS_WORD = RING_START_WORD + RING_MSGS_WORD;

/** One queue of the simulated kernel. */
export class SimQueue implements Queue {
  /** See {@linkcode Queue.id}. */
  declare readonly id: number;
  /** See {@linkcode Queue.words}. */
  declare readonly words: Int32Array;
  /** See {@linkcode Queue.elem_count}. */
  declare readonly elem_count: number;
  /** CPUs whose agent a message wakes; at most two. */
  wakeup_cpus: readonly number[] = [];
  /** False once the queue is closed. */
  open = true;
  readonly #drop_silently: boolean = false;
  #reserved = false;
  #next_head = 0;

  /**
   * Makes an empty queue.
   *
   * @param id Handle.
   * @param elem_count Slots; a power of two.
   * @param options `first_slot`: where the free-running indexes start; `drop_silently`: a mutant
   * that does not count overflow.
   */
  constructor(
    id: number,
    elem_count: number,
    options: { first_slot?: number; drop_silently?: boolean } = {},
  ) {
    this.id = id;
    this.elem_count = elem_count;
    this.#drop_silently = options.drop_silently ?? false;
    const bytes = (RING_START_WORD + RING_MSGS_WORD) * 4 + elem_count * RING_SLOT_BYTES;
    this.words = new Int32Array(new SharedArrayBuffer(Math.ceil(bytes / 4096) * 4096));
    this.words[QUEUE_START_WORD] = RING_START_WORD * 4;
    this.words[QUEUE_NELEMS_WORD] = elem_count;
    const first = options.first_slot ?? 0;
    this.words[RING_START_WORD + RING_HEAD_WORD] = first;
    this.words[RING_START_WORD + RING_TAIL_WORD] = first;
  }

  /** True if no message waits. */
  isEmpty(): boolean {
    const words = this.words;
    return words[RING_START_WORD + RING_HEAD_WORD] === words[RING_START_WORD + RING_TAIL_WORD];
  }

  /**
   * Finds room for a message behind the last one. Nobody sees it before {@linkcode publish}; until
   * then another call begins anew.
   *
   * @param length_bytes Length of header and payload in bytes.
   * @returns Index of the message's first word in {@linkcode words}, or −1 if it does not fit.
   */
  reserve(length_bytes: number): number {
    const words = this.words;
    const head = words[HEAD_WORD];
    const slots = (length_bytes + RING_SLOT_BYTES - 1) >>> 3;
    const mask = this.elem_count - 1;
    const first = head & mask;
    const till_end = this.elem_count - first;
    const filler = till_end < slots ? till_end : 0;
    const used = (head - words[TAIL_WORD]) >>> 0;
    if (used + slots + filler > this.elem_count) {
      this.#reserved = false;
      return -1;
    }
    this.#reserved = true;
    this.#next_head = (head + filler + slots) | 0;
    if (filler === 0) return MSGS_WORD + (first << 1);
    words[MSGS_WORD + (first << 1)] = MSG_NOP | ((filler * RING_SLOT_BYTES) << 16);
    return MSGS_WORD;
  }

  /**
   * Shows the message to the consumer.
   *
   * @returns False if it did not fit; the overflow is counted.
   */
  publish(): boolean {
    if (this.#reserved) this.words[HEAD_WORD] = this.#next_head;
    else if (!this.#drop_silently) this.words[OVERFLOW_WORD]++;
    return this.#reserved;
  }

  /**
   * Appends a message that is there already.
   *
   * @param message Header and payload.
   * @param length_bytes Length of both in bytes.
   * @returns False if it did not fit; the overflow is counted.
   */
  produce(message: Int32Array, length_bytes: number): boolean {
    const at = this.reserve(length_bytes);
    const word_count = at < 0 ? 0 : (length_bytes + 3) >>> 2;
    for (let word = 0; word < word_count; word++) this.words[at + word] = message[word];
    return this.publish();
  }
}

/** True if the kernel accepts a queue of this size. */
export function validElemCount(elem_count: number): boolean {
  return Number.isInteger(elem_count) && elem_count >= 1 && elem_count <= GHOST_MAX_QUEUE_ELEMS &&
    (elem_count & (elem_count - 1)) === 0;
}
