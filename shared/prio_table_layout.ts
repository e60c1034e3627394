/**
 * Where things are in a PrioTable: a header, rows of sched items, rows of work classes and the
 * stream of updates, as in ghost-userspace (reference section 5.2). Offsets are from the start of
 * the data of the shared memory.
 *
 * @module
 */
import { SharedMemoryError } from "./errors.ts";

/** Suffix of the shared memory's name. */
export const PRIO_TABLE_SUFFIX = "priotable";
/** Version of the table, and of the shared memory's data. */
export const PRIO_TABLE_VERSION = 0;
/** Bytes of the header and of each row: a cache line. */
export const PRIO_TABLE_ROW_BYTES = 64;
/** Words of each row. */
export const PRIO_TABLE_ROW_WORDS = 16;
/** Capacities of the stream: primes, so that fewer rows meet in one cell. */
export const STREAM_CAPACITIES: readonly number[] = [11, 19, 31, 43, 53, 67, 83, 97];
/** What a free cell of the stream holds. */
export const STREAM_FREE = -1;

/** Words of a sched item. */
export const ITEM_SID = 0;
export const ITEM_WCID = 1;
export const ITEM_GTID = 2;
export const ITEM_FLAGS = 4;
export const ITEM_SEQCOUNT = 5;
export const ITEM_DEADLINE = 6;
/** Words of a work class. */
export const CLASS_ID = 0;
export const CLASS_FLAGS = 1;
export const CLASS_QOS = 2;
export const CLASS_EXECTIME = 4;
export const CLASS_PERIOD = 6;

/** Flag of a sched item: its thread has work. */
export const SCHED_ITEM_RUNNABLE = 1;
/** Flag of a work class: a thread is done when it marks itself idle. */
export const WORK_CLASS_ONESHOT = 1;
/** Flag of a work class: the agent makes its threads runnable again, once in each period. */
export const WORK_CLASS_REPEATING = 2;

/** Words of the header; the first holds the version and, above it, the header's length. */
const VERSION_WORD = 0;
const MAPLEN_WORD = 1;
const SI_NUM_WORD = 2;
const SI_OFF_WORD = 3;
const WC_NUM_WORD = 4;
const WC_OFF_WORD = 5;
const ST_CAP_WORD = 6;
const ST_OFF_WORD = 7;

/** Counts and places of a table. */
export interface PrioTableLayout {
  /** Sched items. */
  readonly item_count: number;
  /** Work classes. */
  readonly class_count: number;
  /** Cells of the stream. */
  readonly stream_capacity: number;
  /** Offset of the first sched item. */
  readonly items_offset_bytes: number;
  /** Offset of the first work class. */
  readonly classes_offset_bytes: number;
  /** Offset of the stream: its overflow count, then its cells. */
  readonly stream_offset_bytes: number;
  /** Bytes of all. */
  readonly table_bytes: number;
}

/** Most rows that an agent accepts; a sweep over them must stay short. */
export interface PrioTableLimits {
  /** Sched items. */
  readonly item_count_max: number;
  /** Work classes. */
  readonly class_count_max: number;
}

/** Limits of an agent, unless said otherwise. */
export const PRIO_TABLE_LIMITS: PrioTableLimits = { item_count_max: 65_536, class_count_max: 4096 };

/** Where everything is in a table of this many rows. */
function layoutOf(
  item_count: number,
  class_count: number,
  stream_capacity: number,
): PrioTableLayout {
  const items_offset_bytes = PRIO_TABLE_ROW_BYTES;
  const classes_offset_bytes = items_offset_bytes + PRIO_TABLE_ROW_BYTES * item_count;
  const stream_offset_bytes = classes_offset_bytes + PRIO_TABLE_ROW_BYTES * class_count;
  return {
    item_count,
    class_count,
    stream_capacity,
    items_offset_bytes,
    classes_offset_bytes,
    stream_offset_bytes,
    table_bytes: stream_offset_bytes + 4 + 4 * stream_capacity,
  };
}

/**
 * Where everything is in a table to be made.
 *
 * @param item_count Sched items.
 * @param class_count Work classes; at least one if there are items.
 * @param stream_capacity Cells of the stream, one of {@linkcode STREAM_CAPACITIES}.
 * @returns The layout.
 * @throws {SharedMemoryError} If a number is out of range.
 */
export function planPrioTable(
  item_count: number,
  class_count: number,
  stream_capacity: number,
): PrioTableLayout {
  const refuse = (what: string, cure: string) => new SharedMemoryError("OUT_OF_RANGE", what, cure);
  const isCount = (count: number) => Number.isInteger(count) && count >= 0 && count < 2 ** 25;
  if (!isCount(item_count) || !isCount(class_count)) {
    throw refuse(
      `a PrioTable of ${item_count} items and ${class_count} classes`,
      "use whole numbers from 0 to 33554431",
    );
  }
  if (item_count > 0 && class_count === 0) {
    throw refuse(`a PrioTable of ${item_count} items without a work class`, "add a work class");
  }
  if (!STREAM_CAPACITIES.includes(stream_capacity)) {
    throw refuse(
      `a PrioTable with a stream of ${stream_capacity} cells`,
      `use one of ${STREAM_CAPACITIES.join(", ")}`,
    );
  }
  return layoutOf(item_count, class_count, stream_capacity);
}

/**
 * Writes the header and the empty stream of a table into memory that is all zeros.
 *
 * @param words The data of the shared memory.
 * @param layout From {@linkcode planPrioTable}.
 */
export function formatPrioTable(words: Int32Array, layout: PrioTableLayout): void {
  words[VERSION_WORD] = PRIO_TABLE_VERSION | PRIO_TABLE_ROW_BYTES << 16;
  words[MAPLEN_WORD] = layout.table_bytes | 0;
  words[SI_NUM_WORD] = layout.item_count;
  words[SI_OFF_WORD] = layout.items_offset_bytes;
  words[WC_NUM_WORD] = layout.class_count;
  words[WC_OFF_WORD] = layout.classes_offset_bytes | 0;
  words[ST_CAP_WORD] = layout.stream_capacity;
  words[ST_OFF_WORD] = layout.stream_offset_bytes | 0;
  const first_cell = layout.stream_offset_bytes / 4 + 1;
  words.fill(STREAM_FREE, first_cell, first_cell + layout.stream_capacity);
}

/**
 * Reads the header of a table that somebody else wrote. Each word is read once and must be what
 * the counts demand, so that no later change of the header leads anywhere.
 *
 * @param words The data of the shared memory.
 * @param limits Most rows to accept.
 * @returns The layout, or why the table is refused.
 */
export function readPrioTableLayout(
  words: Int32Array,
  limits: PrioTableLimits,
): PrioTableLayout | SharedMemoryError {
  const bad = (what: string) =>
    new SharedMemoryError("BAD_LAYOUT", `the PrioTable's ${what}`, "it is damaged or foreign");
  if (words.byteLength < PRIO_TABLE_ROW_BYTES) return bad(`memory has ${words.byteLength} bytes`);
  // One by one: an agent does this between two decisions, and lists are garbage.
  const version_word = words[VERSION_WORD] >>> 0;
  const table_bytes = words[MAPLEN_WORD] >>> 0;
  const item_count = words[SI_NUM_WORD] >>> 0;
  const items_offset_bytes = words[SI_OFF_WORD] >>> 0;
  const class_count = words[WC_NUM_WORD] >>> 0;
  const classes_offset_bytes = words[WC_OFF_WORD] >>> 0;
  const stream_capacity = words[ST_CAP_WORD] >>> 0;
  const stream_offset_bytes = words[ST_OFF_WORD] >>> 0;
  const version = version_word & 0xffff;
  if (version !== PRIO_TABLE_VERSION) {
    return new SharedMemoryError(
      "WRONG_VERSION",
      `the PrioTable has version ${version} instead of ${PRIO_TABLE_VERSION}`,
      "build the application and the agent from the same release",
    );
  }
  const header_bytes = version_word >>> 16;
  if (header_bytes !== PRIO_TABLE_ROW_BYTES) return bad(`header has ${header_bytes} bytes`);
  if (item_count > limits.item_count_max || class_count > limits.class_count_max) {
    return new SharedMemoryError(
      "BAD_LAYOUT",
      `the PrioTable has ${item_count} items and ${class_count} classes`,
      `use at most ${limits.item_count_max} and ${limits.class_count_max}`,
    );
  }
  if (!STREAM_CAPACITIES.includes(stream_capacity)) {
    return bad(`stream has ${stream_capacity} cells`);
  }
  const layout = layoutOf(item_count, class_count, stream_capacity);
  if (layout.table_bytes > words.byteLength) return bad(`rows end after its memory`);
  const offsets_fit = table_bytes === layout.table_bytes &&
    items_offset_bytes === layout.items_offset_bytes &&
    classes_offset_bytes === layout.classes_offset_bytes &&
    stream_offset_bytes === layout.stream_offset_bytes;
  return offsets_fit ? layout : bad(`offsets do not fit its counts`);
}
