/**
 * Where a policy finds the PrioTables of the applications whose threads it schedules.
 *
 * @module
 */
import type { PrioTable } from "./prio_table.ts";

/** Tables at a time; processes beyond are scheduled without hints. */
export const HINT_TABLE_COUNT = 64;

/** A thread's table is known now. */
export const NEWS_THREAD = 1;
/** A table is gone: its process has closed it or ended. */
export const NEWS_TABLE_GONE = 2;

/** Something that has become known; make one and use it again. */
export class HintNews {
  /** {@linkcode NEWS_THREAD} or {@linkcode NEWS_TABLE_GONE}. */
  kind = 0;
  /** Position of the table. */
  table = 0;
  /** Low word of the thread's gtid. */
  gtid_lo = 0;
  /** High word of the thread's gtid. */
  gtid_hi = 0;
}

/** The tables of all processes, each at a position of its own while it is there. */
export interface HintSource {
  /** Attached tables; where there is none at the moment, a table without rows. */
  readonly tables: readonly PrioTable[];
  /**
   * The table of a thread's process. Called once, when a task enters.
   *
   * @returns Position in {@linkcode tables}, or −1 if the process has none, or none that is known
   * yet: then {@linkcode takeNews} tells of it later.
   */
  indexOf(gtid_lo: number, gtid_hi: number): number;
  /**
   * What has become known since; cheap if nothing has.
   *
   * @param into Receives it.
   * @returns False if there is nothing new.
   */
  takeNews(into: HintNews): boolean;
}

/** No application shares hints. */
export const NO_HINTS: HintSource = { tables: [], indexOf: () => -1, takeNews: () => false };
