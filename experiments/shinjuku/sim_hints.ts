/**
 * A PrioTable of a simulated application: the real table and protocol, in memory of this process.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";
import type { SimThread } from "../../kernels/sim/thread.ts";
import type { HintSource } from "../../shared/hint_source.ts";
import { PrioTable, SchedItem, WORK_CLASS_ONESHOT, WorkClass } from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";
import { formatPrioTable, planPrioTable } from "../../shared/prio_table_layout.ts";

/** As upstream's helper for applications: cells of the stream. */
const STREAM_CAPACITY = 83;
/** The simulated application. */
const PID = 4242;

/** One class of one-shot work, as the Shinjuku experiment has. */
const ONE_CLASS: readonly Partial<WorkClass>[] = [{ flags: WORK_CLASS_ONESHOT, qos: 2 }];

/** The table of the one application there is. */
export class SimHints implements HintSource {
  /** See {@linkcode HintSource.tables}. */
  readonly tables: readonly PrioTable[];
  /** The memory that agent and application share. */
  readonly words: Int32Array;
  /** The application's side. */
  readonly client: PrioTableClient;
  readonly #item = new SchedItem();

  /**
   * @param memory The simulated kernel's memory.
   * @param item_count Threads of the application.
   * @param classes Its work classes.
   * @param stream_capacity Cells of the stream.
   */
  constructor(
    memory: Memory,
    item_count: number,
    classes: readonly Partial<WorkClass>[] = ONE_CLASS,
    stream_capacity = STREAM_CAPACITY,
  ) {
    const plan = planPrioTable(item_count, classes.length, stream_capacity);
    const words = new Int32Array(new SharedArrayBuffer(plan.table_bytes + 4 & ~3));
    formatPrioTable(words, plan);
    this.words = words;
    this.tables = [this.#adopt(memory, words)];
    this.client = new PrioTableClient(this.#adopt(memory, words));
    classes.forEach((work_class, id) => {
      this.client.setWorkClass(id, Object.assign(new WorkClass(), work_class, { id }));
    });
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

  /** See {@linkcode HintSource.takeNews}: the application stays. */
  takeNews(): boolean {
    return false;
  }

  /** Gives a thread its row; it has no work yet. */
  addThread(sid: number, thread: SimThread, fields: Partial<SchedItem> = {}): void {
    const item = this.#item;
    Object.assign(item, { wcid: 0, flags: 0, deadline_ns: 0 }, fields);
    item.sid = sid;
    item.gtid_lo = thread.gtid_lo;
    item.gtid_hi = thread.gtid_hi;
    this.client.setSchedItem(sid, item);
  }

  /** Says whether a thread has work. */
  setRunnable(sid: number, runnable: boolean): void {
    if (runnable) this.client.markRunnable(sid);
    else this.client.markIdle(sid);
  }
}
