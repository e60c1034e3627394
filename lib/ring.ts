/**
 * The consumer's side of a message ring. Knows bytes, sequence and wrap, and nothing of CPUs or
 * threads: other kernel services can send their messages through it.
 *
 * @module
 */
import {
  MSG_NOP,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
} from "../ffi/abi/constants.ts";
import type { Memory } from "../ffi/memory.ts";

// Own copies: V8 compiles a module's own constants into its code, and looks imported and exported
// ones up each time.
const NOP = MSG_NOP;
const HEAD_WORD = RING_HEAD_WORD;
const TAIL_WORD = RING_TAIL_WORD;
const OVERFLOW_WORD = RING_OVERFLOW_WORD;

/** Fewer slots than these are not worth a publish within a batch. */
const QUARTER_SLOTS_MIN = 1024;

/** A view of one queue mapping; one consumer only. */
export class MessageRing {
  /** The mapping; message words are read from here. */
  declare readonly words: Int32Array;
  /** Messages that the producer dropped because the ring was full, as last seen. */
  overflow_count = 0;
  declare private readonly memory: Memory;
  declare private readonly ring: number;
  declare private readonly msgs: number;
  declare private readonly mask: number;
  declare private readonly quarter: number;
  #head = 0;
  #tail = 0;

  /**
   * Reads a ring where the kernel mapped it.
   *
   * @param memory How shared words are read.
   * @param words The mapping: queue header, then ring.
   */
  constructor(memory: Memory, words: Int32Array) {
    this.memory = memory;
    this.words = words;
    this.ring = words[QUEUE_START_WORD] >>> 2;
    this.msgs = this.ring + RING_MSGS_WORD;
    this.mask = words[QUEUE_NELEMS_WORD] - 1;
    this.quarter = Math.max(this.elem_count >>> 2, QUARTER_SLOTS_MIN);
    this.#tail = words[this.ring + TAIL_WORD];
    this.#head = this.#tail;
  }

  /** Capacity in slots of 8 bytes. */
  get elem_count(): number {
    return this.mask + 1;
  }

  /**
   * The oldest unread message; fillers at the end of the ring are skipped. The head is confirmed
   * with an acquire once per batch, so that the payload may be read plainly; the overflow count is
   * as new as the head, so that it tells of all that was lost before these messages.
   *
   * @returns Word index of `ghost_msg` in {@linkcode words}, or −1 if the ring is empty.
   */
  peek(): number {
    const tail = this.#tail;
    if (this.#head === tail && !this.#refresh()) return -1;
    const at = this.msgs + ((tail & this.mask) << 1);
    return (this.words[at] & 0xffff) !== NOP ? at : this.#skipFiller(at);
  }

  /** Looks for new messages. Apart from peek, so that peek is small enough to be inlined. */
  #refresh(): boolean {
    this.#head = this.memory.acquire(this.words, this.ring + HEAD_WORD);
    this.#pollOverflow();
    return this.#head !== this.#tail;
  }

  #skipFiller(at: number): number {
    this.consume(at);
    return this.peek();
  }

  /**
   * Takes the message that {@linkcode peek} returned, which must have been handled. Its slots go
   * back to the producer with {@linkcode release}, so that one publish serves a whole batch; a
   * batch that is long beside the ring gives them back by quarters, so that the producer need not
   * wait for its end.
   */
  consume(at: number): void {
    const slots = ((this.words[at] >>> 16) + 7) >>> 3;
    const before = this.#tail;
    const tail = (before + (slots === 0 ? 1 : slots)) | 0;
    this.#tail = tail;
    if (((before ^ tail) & this.quarter) !== 0) this.release();
  }

  /**
   * Gives the slots of all consumed messages back to the producer. Looks at the overflow count
   * last: until here the ring may have been full, with no further message to tell of it.
   */
  release(): void {
    const tail_word = this.ring + TAIL_WORD;
    if (this.words[tail_word] !== this.#tail) {
      this.memory.publish(this.words, tail_word, this.#tail);
    }
    this.#pollOverflow();
  }

  #pollOverflow(): void {
    const overflow_word = this.ring + OVERFLOW_WORD;
    this.overflow_count = this.memory.poll(this.words, overflow_word) >>> 0;
  }

  /** Starts where another consumer of the same ring has stopped. */
  resync(): void {
    this.#tail = this.memory.acquire(this.words, this.ring + TAIL_WORD);
    this.#head = this.#tail;
  }

  /** True if a message waits; reads the head afresh. */
  hasMessage(): boolean {
    return this.#head !== this.#tail ||
      this.memory.acquire(this.words, this.ring + HEAD_WORD) !== this.#tail;
  }
}
