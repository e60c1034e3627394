/**
 * Reads what applications have changed in their PrioTables, a bounded number of rows at a time, so
 * that a busy or hostile application cannot hold the agent up.
 *
 * @module
 */
import type { HintSource } from "./hint_source.ts";
import { ROW_BUSY, ROW_OK, SchedItem, STREAM_NO_ENTRIES, WorkClass } from "./prio_table.ts";
import { SCHED_ITEM_RUNNABLE } from "./prio_table_layout.ts";

/** Most rows of one table that one step reads. */
const ROWS_PER_STEP = 64;

/** The rows that were changed, one after the other; nothing is allocated. */
export class HintReader {
  /** The row. */
  readonly item: SchedItem = new SchedItem();
  /** Its work class. */
  readonly work_class: WorkClass = new WorkClass();
  /** Position of its table. */
  table = 0;
  /** The step has read enough, and there may be more. */
  has_more = false;
  readonly #source: HintSource;
  #left = ROWS_PER_STEP;

  /** @param source The tables. */
  constructor(source: HintSource) {
    this.#source = source;
  }

  /** Begins a step's reading. */
  begin(): void {
    this.table = 0;
    this.has_more = false;
    this.#left = ROWS_PER_STEP;
  }

  /**
   * The next row that has changed and can be read. A row that is being written comes again when it
   * is done; a bad one is counted by its table.
   *
   * @returns False if there is none, or enough were read.
   */
  next(): boolean {
    const { tables } = this.#source;
    for (; this.table < tables.length; this.table++) {
      const table = tables[this.table];
      while (this.#left > 0) {
        this.#left--;
        const sid = table.nextUpdate();
        if (sid === STREAM_NO_ENTRIES) break;
        if (table.readItem(sid, this.item) !== ROW_OK) continue;
        if (table.readClass(this.item.wcid, this.work_class)) return true;
      }
      if (this.#left === 0) this.has_more = true;
      this.#left = ROWS_PER_STEP;
    }
    return false;
  }

  /**
   * Whether a thread that has just lost its CPU for want of work has some after all: it said so
   * between, or it was writing its row, which nobody else would finish.
   *
   * @param table Position of its table.
   * @param sid Its row.
   * @returns True if it must run.
   */
  hasWork(table: number, sid: number): boolean {
    const result = this.#source.tables[table].readItem(sid, this.item);
    if (result === ROW_BUSY) return true;
    return result === ROW_OK && (this.item.flags & SCHED_ITEM_RUNNABLE) !== 0;
  }
}
