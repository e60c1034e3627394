/**
 * A PrioTable of a simulated application: the real table and protocol, in memory of this process.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";
import type { SimThread } from "../../kernels/sim/thread.ts";
import type { HintSource } from "../../shared/hint_source.ts";
import {
  PrioTable,
  SCHED_ITEM_RUNNABLE,
  SchedItem,
  WORK_CLASS_ONESHOT,
  WorkClass,
} from "../../shared/prio_table.ts";
import { formatPrioTable, planPrioTable } from "../../shared/prio_table_layout.ts";

/** As upstream's helper for applications: cells of the stream, and tries to find a free one. */
const STREAM_CAPACITY = 83;
const STREAM_RETRIES = 3;
/** The simulated application. */
const PID = 4242;

/** The table of the one application there is. */
export class SimHints implements HintSource {
  /** See {@linkcode HintSource.tables}. */
  readonly tables: readonly PrioTable[];
  readonly #client: PrioTable;
  readonly #item = new SchedItem();

  /**
   * @param memory The simulated kernel's memory.
   * @param item_count Threads of the application.
   */
  constructor(memory: Memory, item_count: number) {
    const plan = planPrioTable(item_count, 1, STREAM_CAPACITY);
    const words = new Int32Array(new SharedArrayBuffer(plan.table_bytes + 4 & ~3));
    formatPrioTable(words, plan);
    this.tables = [this.#adopt(memory, words)];
    this.#client = this.#adopt(memory, words);
    const work_class = new WorkClass();
    work_class.flags = WORK_CLASS_ONESHOT;
    work_class.qos = 2;
    this.#client.writeClass(0, work_class);
  }

  #adopt(memory: Memory, words: Int32Array): PrioTable {
    const table = new PrioTable(memory);
    const error = table.adopt(words, PID);
    if (error !== undefined) throw error;
    return table;
  }

  /** See {@linkcode HintSource.indexOf}: there is one application. */
  indexOf(_gtid_lo: number, _gtid_hi: number): number {
    return 0;
  }

  /** Gives a thread its row; it has no work yet. */
  addThread(sid: number, thread: SimThread): void {
    this.#item.gtid_lo = thread.gtid_lo;
    this.#item.gtid_hi = thread.gtid_hi;
    this.#item.wcid = 0;
    this.#item.flags = 0;
    this.#client.writeItem(sid, this.#item);
    this.#client.markUpdatedIndex(sid, STREAM_RETRIES);
  }

  /** Says whether a thread has work. */
  setRunnable(sid: number, runnable: boolean): void {
    const set = runnable ? SCHED_ITEM_RUNNABLE : 0;
    this.#client.changeItemFlags(sid, set, SCHED_ITEM_RUNNABLE & ~set);
    this.#client.markUpdatedIndex(sid, STREAM_RETRIES);
  }
}
