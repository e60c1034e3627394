/**
 * Hand-over of task rows between agents: many senders, one receiver, all in shared memory. A row
 * is in at most one mailbox at a time, so a mailbox as large as the task table cannot overflow.
 *
 * @module
 */
import type { Memory } from "../ffi/memory.ts";

const HEAD = 0;
const TAIL = 1;
const SLOTS = 2;

/** Words of shared memory a mailbox needs. */
export function mailboxWords(slot_count: number): number {
  return SLOTS + slot_count;
}

/** One agent's mailbox. */
export class Mailbox {
  declare private readonly memory: Memory;
  declare private readonly words: Int32Array;
  declare private readonly mask: number;

  /**
   * Puts a mailbox on shared words.
   *
   * @param memory How shared words are accessed.
   * @param words {@linkcode mailboxWords} words of zeroed shared memory.
   * @param slot_count Power of two, at least the task capacity.
   */
  constructor(memory: Memory, words: Int32Array, slot_count: number) {
    this.memory = memory;
    this.words = words;
    this.mask = slot_count - 1;
  }

  /** Sends a row; everything the sender wrote to the row is seen by the receiver. */
  send(row: number): void {
    const ticket = this.memory.add(this.words, HEAD, 1);
    this.memory.publish(this.words, SLOTS + (ticket & this.mask), row + 1);
  }

  /**
   * Takes the next row; the receiver only.
   *
   * @returns The row, or −1 if the mailbox is empty or a sender has not finished.
   */
  receive(): number {
    const tail = this.words[TAIL];
    const at = SLOTS + (tail & this.mask);
    const value = this.memory.acquire(this.words, at);
    if (value === 0) return -1;
    this.words[at] = 0;
    this.words[TAIL] = (tail + 1) | 0;
    return value - 1;
  }
}
