/**
 * Threads of an experiment that an agent of another process schedules: they join its enclave, and a
 * PrioTable tells the agent about them.
 *
 * @module
 */
import { cureOf } from "../../ffi/errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import { OperatingError } from "../../lib/errors.ts";
import type { Gtid } from "../../lib/gtid.ts";
import { SharedMemoryError } from "../../shared/errors.ts";
import { SchedItem, WORK_CLASS_ONESHOT, WorkClass } from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";
import type { ChosenEnclave } from "../../util/enclave_choice.ts";

/** How the threads of a table are described. */
export interface HintPlan {
  /** Rows of the table; a thread's row is its number. */
  readonly item_count: number;
  /** The first row with a thread. */
  readonly first_sid: number;
  /** QoS class of all threads. */
  readonly qos: number;
  /** Estimated time of one piece of work, in ns. */
  readonly exectime_ns: number;
  /** Flags of each row at the beginning: 0, or SCHED_ITEM_RUNNABLE. */
  readonly flags: number;
}

/** Finds a thread's gtid; another one for tests. */
export type GtidOf = (tid: number) => Gtid | OperatingError;

/**
 * Makes the table, with one work class for all threads: work that ends when they say so.
 *
 * @param plan What is in it.
 * @returns The table; its threads are not in it yet.
 */
export function makeHints(plan: HintPlan): PrioTableClient | OperatingError {
  try {
    const client = PrioTableClient.create(plan.item_count, 1);
    const work_class = new WorkClass();
    work_class.flags = WORK_CLASS_ONESHOT;
    work_class.qos = plan.qos;
    work_class.exectime_ns = plan.exectime_ns;
    client.setWorkClass(0, work_class);
    return client;
  } catch (error) {
    if (!(error instanceof SharedMemoryError)) throw error;
    const fault = error.message.slice(0, -`; ${error.cure}`.length);
    return new OperatingError(`no PrioTable: ${fault}`, error.cure);
  }
}

/**
 * Writes the threads' rows.
 *
 * @param client The table.
 * @param plan What is in it.
 * @param tids The threads, from `plan.first_sid` on.
 * @param gtidOf How a gtid is found.
 * @returns Undefined, or why a thread has no row.
 */
export function addThreads(
  client: PrioTableClient,
  plan: HintPlan,
  tids: readonly number[],
  gtidOf: GtidOf,
): OperatingError | undefined {
  const item = new SchedItem();
  for (const [index, tid] of tids.entries()) {
    const gtid = gtidOf(tid);
    if (gtid instanceof OperatingError) return gtid;
    item.sid = plan.first_sid + index;
    item.gtid_lo = gtid.lo;
    item.gtid_hi = gtid.hi;
    item.flags = plan.flags;
    client.setSchedItem(item.sid, item);
  }
  return undefined;
}

/**
 * Moves threads into an enclave.
 *
 * @param chosen The enclave.
 * @param tids The threads.
 * @returns Undefined, or which thread could not be moved and why.
 */
export function joinEnclave(
  chosen: ChosenEnclave,
  tids: readonly number[],
): OperatingError | undefined {
  for (const tid of tids) {
    const result = chosen.enclave.join(tid);
    if (result === 0) continue;
    return new OperatingError(
      `thread ${tid} cannot join ${chosen.enclave.path} (${errnoName(-result)})`,
      cureOf("write", -result),
    );
  }
  return undefined;
}
