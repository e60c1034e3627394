/**
 * An application's side of the PrioTable, as ghost-userspace's experiments use it (reference
 * section 6.4): classes and items are set by index, and the agent is told of each change.
 *
 * @module
 */
import { SharedMemoryError } from "./errors.ts";
import {
  PrioTable,
  type PrioTableHandle,
  ROW_BUSY,
  type SchedItem,
  WorkClass,
} from "./prio_table.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_ONESHOT } from "./prio_table_layout.ts";

/** Cells that are tried after the first before the agent must look at every row. */
const MARK_RETRY_COUNT = 3;

/** Tells the CPU that this is a spin loop, where the engine can. */
const spinPause: () => void = (Atomics as unknown as { pause?: () => void }).pause ?? (() => {});

/** The table of an application, with its indexes checked. Threads may use it at the same time. */
export class PrioTableClient {
  /** The table. */
  readonly table: PrioTable;
  readonly #class: WorkClass = new WorkClass();

  /**
   * A client of a table.
   *
   * @param table A table that this process owns.
   */
  constructor(table: PrioTable) {
    this.table = table;
  }

  /**
   * Creates the table of this process.
   *
   * @param item_count Sched items: threads that the agent is told about.
   * @param class_count Work classes; at least one if there are items.
   * @returns The client.
   * @throws {SharedMemoryError} If a number is out of range, or this process has a table.
   * @throws {SystemError} If the machine refuses.
   */
  static create(item_count: number, class_count: number): PrioTableClient {
    return new PrioTableClient(PrioTable.create(item_count, class_count));
  }

  /**
   * The same table in another isolate (a Worker) of this process.
   *
   * @param handle `table.handle` of the client that created the table, sent by postMessage.
   * @returns The client.
   * @throws {SharedMemoryError} If the handle is that of no table.
   */
  static fromHandle(handle: PrioTableHandle): PrioTableClient {
    const table = new PrioTable();
    const error = table.adoptHandle(handle);
    if (error !== undefined) throw error;
    return new PrioTableClient(table);
  }

  /**
   * Copies a work class.
   *
   * @param wcid Its index.
   * @param into Receives the copy.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  getWorkClass(wcid: number, into: WorkClass): void {
    this.#checkClass(wcid);
    this.table.readClass(wcid, into);
  }

  /**
   * Sets a work class; do so before the first item uses it.
   *
   * @param wcid Its index.
   * @param from Its content; `from.id` must be the index too.
   * @throws {SharedMemoryError} If the index is out of range, or another one than `from.id`.
   */
  setWorkClass(wcid: number, from: WorkClass): void {
    this.#checkClass(wcid);
    if (from.id !== wcid) throw mismatch("work class", wcid, from.id);
    this.table.writeClass(wcid, from);
  }

  /**
   * Copies a sched item; waits for threads that are writing it.
   *
   * @param sid Its index.
   * @param into Receives the copy.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  getSchedItem(sid: number, into: SchedItem): void {
    this.#checkItem(sid);
    while (this.table.readItem(sid, into) === ROW_BUSY) spinPause();
  }

  /**
   * Sets a sched item and tells the agent.
   *
   * @param sid Its index.
   * @param from Its content; `from.sid` must be the index too.
   * @throws {SharedMemoryError} If an index is out of range, or another one than `from.sid`.
   */
  setSchedItem(sid: number, from: SchedItem): void {
    this.#checkItem(sid);
    this.#checkClass(from.wcid);
    if (from.sid !== sid) throw mismatch("sched item", sid, from.sid);
    this.table.writeItem(sid, from);
    this.markUpdatedTableIndex(sid);
  }

  /**
   * Says that a thread has work.
   *
   * @param sid Index of its sched item.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  markRunnable(sid: number): void {
    this.#checkItem(sid);
    this.table.changeItemFlags(sid, SCHED_ITEM_RUNNABLE, 0);
    this.markUpdatedTableIndex(sid);
  }

  /**
   * Says that a thread has no work; the agent then takes the CPU away from it.
   *
   * @param sid Index of its sched item.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  markIdle(sid: number): void {
    this.#checkItem(sid);
    this.table.changeItemFlags(sid, 0, SCHED_ITEM_RUNNABLE);
    this.markUpdatedTableIndex(sid);
  }

  /**
   * Spins until a thread has work. No system call: the agent runs the thread when there is work,
   * and not before.
   *
   * @param sid Index of its sched item.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  waitUntilRunnable(sid: number): void {
    this.#checkItem(sid);
    while ((this.table.itemFlags(sid) & SCHED_ITEM_RUNNABLE) === 0) spinPause();
  }

  /**
   * True if a thread has no work.
   *
   * @param sid Index of its sched item.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  isIdle(sid: number): boolean {
    this.#checkItem(sid);
    return (this.table.itemFlags(sid) & SCHED_ITEM_RUNNABLE) === 0;
  }

  /**
   * True if the threads of a work class are done when they mark themselves idle.
   *
   * @param wcid Index of the work class.
   * @throws {SharedMemoryError} If the index is out of range.
   */
  isOneShot(wcid: number): boolean {
    this.getWorkClass(wcid, this.#class);
    return (this.#class.flags & WORK_CLASS_ONESHOT) !== 0;
  }

  /**
   * Tells the agent that a sched item has changed; the setters do it themselves.
   *
   * @param sid Its index.
   */
  markUpdatedTableIndex(sid: number): void {
    this.table.markUpdatedIndex(sid, MARK_RETRY_COUNT);
  }

  #checkItem(sid: number): void {
    checkIndex("sched item", sid, this.table.item_count);
  }

  #checkClass(wcid: number): void {
    checkIndex("work class", wcid, this.table.class_count);
  }
}

function checkIndex(what: string, index: number, count: number): void {
  if (Number.isInteger(index) && index >= 0 && index < count) return;
  const cure = count === 0 ? "the table has none" : `use 0 to ${count - 1}`;
  throw new SharedMemoryError("OUT_OF_RANGE", `no ${what} ${index} in the PrioTable`, cure);
}

function mismatch(what: string, index: number, own: number): SharedMemoryError {
  return new SharedMemoryError(
    "OUT_OF_RANGE",
    `${what} ${own} set as number ${index}`,
    "give it the index as its id",
  );
}
