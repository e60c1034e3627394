/**
 * The PrioTable of a load executable: its threads' rows, one for each thread of all its sub-tests,
 * since an agent may take the change of a row's thread for a fault.
 *
 * @module
 */
import { errnoNumber } from "../ffi/errno.ts";
import { loadShim } from "../ffi/shim.ts";
import type { KernelView } from "../kernels/real_kernel.ts";
import { OperatingError } from "../lib/errors.ts";
import { PrioTable, SCHED_ITEM_RUNNABLE, SchedItem, WorkClass } from "../shared/prio_table.ts";
import { PrioTableClient } from "../shared/prio_table_client.ts";
import { threadGtid } from "../util/thread_gtid.ts";
import type { RealHints } from "./real_load.ts";

/** How large the table of a load is, and what work there is. */
export interface HintTablePlan {
  /** Rows for threads. */
  readonly item_count: number;
  /** Cells of the stream of updates. */
  readonly stream_capacity: number;
  /** Work classes by number. */
  readonly classes: readonly Partial<WorkClass>[];
}

/** The table of this process. */
export class LoadHints {
  readonly #table: PrioTable;
  readonly #client: PrioTableClient;
  readonly #kernel: KernelView["kind"];
  readonly #item = new SchedItem();
  readonly #told = new Set<number>();
  #next_sid = 0;

  /**
   * Makes the table; agents can attach at once.
   *
   * @param plan Its sizes and classes.
   * @param kernel The kernel of the agent.
   * @throws {SharedMemoryError} If this process has a table, or a number is out of range.
   * @throws {SystemError} If there is no memory.
   */
  constructor(plan: HintTablePlan, kernel: KernelView["kind"]) {
    this.#table = PrioTable.create(plan.item_count, plan.classes.length, plan.stream_capacity);
    this.#client = new PrioTableClient(this.#table);
    this.#kernel = kernel;
    plan.classes.forEach((work_class, id) => {
      this.#client.setWorkClass(id, Object.assign(new WorkClass(), work_class, { id }));
    });
  }

  /** Rows for a sub-test of so many threads. */
  take(thread_count: number): RealHints {
    const first_sid = this.#next_sid;
    this.#next_sid += thread_count;
    return {
      address: this.#table.handle?.address ?? 0,
      first_sid,
      hint: (sid, tid, class_id, deadline_ns) => this.#hint(sid, tid, class_id, deadline_ns),
    };
  }

  #hint(sid: number, tid: number, class_id: number, deadline_ns: number): number {
    const gtid = threadGtid(this.#kernel, tid);
    if (gtid instanceof OperatingError) return -errnoNumber("ESRCH");
    const item = this.#item;
    item.sid = sid;
    item.wcid = class_id;
    item.gtid_lo = gtid.lo;
    item.gtid_hi = gtid.hi;
    item.flags = SCHED_ITEM_RUNNABLE;
    item.deadline_ns = loadShim().clockMonotonicNs() + deadline_ns;
    this.#client.setSchedItem(sid, item);
    this.#told.add(sid);
    return 0;
  }

  /** True if the thread of a row has said that it has work, and later that it has none. */
  hasRested(sid: number): boolean {
    return this.#told.has(sid) && this.#client.isIdle(sid);
  }

  /** Gives the thread of a row work. */
  markRunnable(sid: number): void {
    this.#client.markRunnable(sid);
  }

  /** Ends the table. */
  close(): void {
    this.#table.close();
  }
}
