/**
 * The stream of a PrioTable: a small hash set of row numbers that any number of threads add to and
 * one thread empties, with a counter for what found no room (reference section 5.2). Words: the
 * counter, then the cells.
 *
 * @module
 */
import type { Memory } from "../ffi/memory.ts";
import { STREAM_FREE } from "./prio_table_layout.ts";

/** Nothing has changed. */
export const STREAM_NO_ENTRIES: number = -1;
/** More has changed than the stream can hold; any row may have. */
export const STREAM_OVERFLOW: number = -2;

/**
 * Adds a row to a stream.
 *
 * @param memory Access to the words.
 * @param words The words that hold the stream.
 * @param at Index of its counter.
 * @param capacity Number of its cells.
 * @param row The row, 0 or more.
 * @param retry_count How many more cells to try when the first is taken.
 */
export function markUpdated(
  memory: Memory,
  words: Int32Array,
  at: number,
  capacity: number,
  row: number,
  retry_count: number,
): void {
  // After an overflow a look at every row is due anyway, and this one is to be part of it.
  if (memory.acquire(words, at) <= 0) {
    for (let tries = 0; tries <= retry_count; tries++) {
      const cell = at + 1 + (row + tries >>> 0) % capacity;
      if (memory.acquire(words, cell) !== STREAM_FREE) continue;
      if (memory.compareExchange(words, cell, STREAM_FREE, row) === STREAM_FREE) return;
    }
  }
  memory.add(words, at, 1);
}

/** What {@linkcode takeUpdated} counts. */
export interface StreamCounters {
  /** Entries that are no row of the table. */
  bad_index_count: number;
  /** Overflows. */
  overflow_count: number;
}

/**
 * Takes a row out of a stream. One thread at a time. The entries were written by somebody else:
 * those that are no row are counted and dropped.
 *
 * @param memory Access to the words.
 * @param words The words that hold the stream.
 * @param at Index of its counter.
 * @param capacity Number of its cells.
 * @param row_count Rows of the table.
 * @param counters What went wrong is added here.
 * @returns A row, {@linkcode STREAM_NO_ENTRIES} or {@linkcode STREAM_OVERFLOW}.
 */
export function takeUpdated(
  memory: Memory,
  words: Int32Array,
  at: number,
  capacity: number,
  row_count: number,
  counters: StreamCounters,
): number {
  let is_full_scan = false;
  if (memory.poll(words, at) > 0) {
    // What is counted after this load is left over, and leads to another full scan.
    memory.add(words, at, -memory.acquire(words, at));
    is_full_scan = true;
    counters.overflow_count++;
  }
  for (let cell = at + 1; cell <= at + capacity; cell++) {
    if (memory.poll(words, cell) === STREAM_FREE) continue;
    const row = memory.acquire(words, cell);
    // Nobody else changes a cell that is taken: no exchange is needed.
    memory.publish(words, cell, STREAM_FREE);
    if (is_full_scan) continue;
    if (row >>> 0 < row_count) return row;
    counters.bad_index_count++;
  }
  return is_full_scan ? STREAM_OVERFLOW : STREAM_NO_ENTRIES;
}
