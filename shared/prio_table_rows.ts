/**
 * Copies of a PrioTable's rows, and how reading one can end. Make a copy once and use it again:
 * nothing is allocated for a read.
 *
 * @module
 */

/** The row was copied; its work class is in range. */
export const ROW_OK = 0;
/** The row was copied; it has no thread (gtid 0), and its other fields mean nothing. */
export const ROW_UNUSED = 1;
/**
 * Nothing was copied: a writer is at work. Treat the thread as runnable, for it may be the writer
 * itself; the row is in the stream again when the writer is done.
 */
export const ROW_BUSY = 2;
/** Nothing to be used was copied: the index, the row's sid or its work class is out of range. */
export const ROW_BAD = 3;

/** A copy of a sched item; make one and use it again. */
export class SchedItem {
  /** Index of the row. */
  sid = 0;
  /** Index of the work class. */
  wcid = 0;
  /** Low word of the thread's gtid. */
  gtid_lo = 0;
  /** High word of the thread's gtid. */
  gtid_hi = 0;
  /** `SCHED_ITEM_RUNNABLE`, or 0. */
  flags = 0;
  /** The row's sequence counter: differs when the row has changed since. */
  seqcount = 0;
  /** Absolute CLOCK_MONOTONIC time in nanoseconds. */
  deadline_ns = 0;
}

/** A copy of a work class; make one and use it again. */
export class WorkClass {
  /** Index of the row. */
  id = 0;
  /** `WORK_CLASS_ONESHOT` or `WORK_CLASS_REPEATING`, or 0. */
  flags = 0;
  /** Quality of service; higher goes first. */
  qos = 0;
  /** Estimated execution time in nanoseconds. */
  exectime_ns = 0;
  /** Period of repeating work in nanoseconds. */
  period_ns = 0;
}
