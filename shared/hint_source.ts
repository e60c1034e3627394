/**
 * Where a policy finds the PrioTables of the applications whose threads it schedules.
 *
 * @module
 */
import type { PrioTable } from "./prio_table.ts";

/** The tables of all processes, in an order that never changes; new ones come last. */
export interface HintSource {
  /** Attached tables. */
  readonly tables: readonly PrioTable[];
  /**
   * The table of a thread's process. Not on the scheduling path of a running task: called once,
   * when a task enters.
   *
   * @returns Position in {@linkcode tables}, or −1 if the process has none.
   */
  indexOf(gtid_lo: number, gtid_hi: number): number;
}

/** No application shares hints. */
export const NO_HINTS: HintSource = { tables: [], indexOf: () => -1 };
