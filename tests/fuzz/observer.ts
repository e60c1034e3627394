/**
 * Watches what the simulated kernel tells user space: messages of one thread in order, TASK_NEW
 * first; counts messages per queue and decisions; counts hits of the faults that are messages.
 *
 * @module
 */
import {
  MSG_CPU_AVAILABLE,
  MSG_CPU_BUSY,
  MSG_CPU_TICK,
  MSG_TASK_NEW,
} from "../../ffi/abi/constants.ts";
import type { FaultTable } from "../../kernels/sim/faults.ts";
import type { SimTrace } from "../../kernels/sim/trace.ts";
import { InvariantError } from "../../lib/invariant.ts";

/** An observer of one run. */
export class FuzzObserver implements SimTrace {
  /** Messages that found room, by queue id. */
  readonly sent_count = new Map<number, number>();
  /** Messages that found no room. */
  lost_count = 0;
  /** Transactions decided. */
  commit_count = 0;
  readonly #faults: FaultTable;
  readonly #next: SimTrace | null;
  readonly #seqs = new Map<number, number>();
  #may_join_late = false;

  /**
   * Makes an observer.
   *
   * @param faults Where hits are counted.
   * @param next An observer that is called afterwards.
   */
  constructor(faults: FaultTable, next: SimTrace | null) {
    this.#faults = faults;
    this.#next = next;
  }

  /** Agents change: threads may have had their TASK_NEW while nobody listened. */
  forget(): void {
    this.#seqs.clear();
    this.#may_join_late = true;
  }

  /** See {@linkcode SimTrace.span}. */
  span(cpu: number, mode: number, tid: number, start_ns: number, end_ns: number): void {
    this.#next?.span(cpu, mode, tid, start_ns, end_ns);
  }

  /** See {@linkcode SimTrace.message}. */
  message(
    time_ns: number,
    queue: number,
    type: number,
    tid: number,
    seq: number,
    ok: boolean,
  ): void {
    if (ok) this.sent_count.set(queue, (this.sent_count.get(queue) ?? 0) + 1);
    else this.lost_count++;
    if (tid >= 0) this.#checkOrder(type, tid, seq);
    else this.#countHit(type);
    this.#next?.message(time_ns, queue, type, tid, seq, ok);
  }

  #checkOrder(type: number, tid: number, seq: number): void {
    const before = this.#seqs.get(tid);
    if (type !== MSG_TASK_NEW && before === undefined && !this.#may_join_late) {
      throw new InvariantError(`first message of thread ${tid} has type ${type}, not TASK_NEW`);
    }
    if (type !== MSG_TASK_NEW && before !== undefined && ((seq - before) | 0) <= 0) {
      throw new InvariantError(`thread ${tid}: message ${seq} comes after message ${before}`);
    }
    this.#seqs.set(tid, seq);
  }

  #countHit(type: number): void {
    switch (type) {
      case MSG_CPU_TICK:
        return this.#faults.hit("tick_delivered");
      case MSG_CPU_AVAILABLE:
      case MSG_CPU_BUSY:
        return this.#faults.hit("cpu_availability");
      default:
    }
  }

  /** See {@linkcode SimTrace.commit}. */
  commit(time_ns: number, cpu: number, tid: number, state: number): void {
    this.commit_count++;
    this.#next?.commit(time_ns, cpu, tid, state);
  }
}
