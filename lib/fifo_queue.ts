/**
 * An intrusive double-ended queue of task rows: links live in two columns of the task table, ends
 * and length in three words of shared memory, so nothing is allocated and a replaced policy
 * instance finds the queue as it was. One owner at a time.
 *
 * @module
 */

/** Words of shared memory per queue: first, last, length. */
export const FIFO_QUEUE_WORDS = 3;

const FIRST = 0;
const LAST = 1;
const LENGTH = 2;

/** A FIFO with access to both ends; rows are stored as row + 1, so zeroed memory is empty. */
export class FifoQueue {
  declare private readonly ends: Int32Array;
  declare private readonly next: Int32Array;
  declare private readonly prev: Int32Array;

  /**
   * Puts a queue on columns of the task table.
   *
   * @param ends {@linkcode FIFO_QUEUE_WORDS} words of zeroed memory.
   * @param next Link column of the task table.
   * @param prev Link column of the task table.
   */
  constructor(ends: Int32Array, next: Int32Array, prev: Int32Array) {
    this.ends = ends;
    this.next = next;
    this.prev = prev;
  }

  /** Number of rows in the queue. */
  get length(): number {
    return this.ends[LENGTH];
  }

  /** The row at the front, or −1. */
  front(): number {
    return this.ends[FIRST] - 1;
  }

  /** Appends a row. */
  pushBack(row: number): void {
    const ends = this.ends;
    const next = this.next;
    const last = ends[LAST];
    next[row] = 0;
    this.prev[row] = last;
    if (last === 0) ends[FIRST] = row + 1;
    else next[last - 1] = row + 1;
    ends[LAST] = row + 1;
    ends[LENGTH]++;
  }

  /** Puts a row before all others. */
  pushFront(row: number): void {
    const ends = this.ends;
    const prev = this.prev;
    const first = ends[FIRST];
    prev[row] = 0;
    this.next[row] = first;
    if (first === 0) ends[LAST] = row + 1;
    else prev[first - 1] = row + 1;
    ends[FIRST] = row + 1;
    ends[LENGTH]++;
  }

  /** Takes the row at the front, or −1 if the queue is empty. */
  popFront(): number {
    const ends = this.ends;
    const next = this.next;
    const row = ends[FIRST] - 1;
    if (row < 0) return -1;
    const after = next[row];
    ends[FIRST] = after;
    if (after === 0) ends[LAST] = 0;
    else this.prev[after - 1] = 0;
    next[row] = 0;
    ends[LENGTH]--;
    return row;
  }

  /** Takes a row that is in the queue. */
  remove(row: number): void {
    const ends = this.ends;
    const next = this.next;
    const prev = this.prev;
    const after = next[row];
    const before = prev[row];
    if (before === 0) ends[FIRST] = after;
    else next[before - 1] = after;
    if (after === 0) ends[LAST] = before;
    else prev[after - 1] = before;
    next[row] = 0;
    prev[row] = 0;
    ends[LENGTH]--;
  }

  /** The row behind another one, or −1. */
  after(row: number): number {
    return this.next[row] - 1;
  }
}
