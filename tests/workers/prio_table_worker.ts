/**
 * A thread for the tests of a PrioTable: an application's threads that write rows, or an agent's
 * that read them. It opens the table of its process by the handle.
 *
 * @module
 */
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { PrioTable, type PrioTableHandle, ROW_OK, SchedItem } from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";

/** What the thread is told. */
export interface PrioTableJob {
  /** What to do. */
  readonly action: "mark" | "write" | "read" | "wait_until_runnable";
  /** The table. */
  readonly handle: PrioTableHandle;
  /** Memory of the test. */
  readonly buffer: SharedArrayBuffer;
  /** Number of this thread. */
  readonly thread: number;
  /** For "mark": rounds, and more cells to try. */
  readonly round_count?: number;
  readonly retry_count?: number;
}

/** Words of the test's memory. */
export const STARTED_WORD = 0;
export const STOP_WORD = 1;
export const READ_COUNT_WORD = 2;
/** From here on one word for each thread: set by it, cleared by the test. */
export const THREAD_WORDS = 8;

/** Mark a row, wait until the test has seen it. */
function mark(table: PrioTable, words: Int32Array, job: PrioTableJob): number {
  const word = THREAD_WORDS + job.thread;
  for (let round = 0; round < (job.round_count ?? 0); round++) {
    Atomics.store(words, word, 1);
    table.markUpdatedIndex(0, job.retry_count ?? 0);
    while (Atomics.load(words, word) === 1) Atomics.wait(words, word, 1);
  }
  return 0;
}

/** What row number n of a table holds; {@linkcode isTorn} knows it. */
export function fillRow(item: SchedItem, sid: number, n: number, class_count: number): void {
  item.sid = sid;
  item.wcid = n % class_count;
  item.gtid_lo = n;
  item.gtid_hi = n ^ 0x5a5a5a5a;
  item.flags = n & 1;
  item.deadline_ns = n * 0x100001;
}

/** True if the fields of a row do not belong together. */
export function isTorn(item: SchedItem, sid: number, class_count: number): boolean {
  const n = item.gtid_lo;
  return item.sid !== sid || item.wcid !== n % class_count || item.flags !== (n & 1) ||
    item.gtid_hi !== (n ^ 0x5a5a5a5a) || item.deadline_ns !== n * 0x100001;
}

function write(table: PrioTable, words: Int32Array, thread: number): number {
  const client = new PrioTableClient(table);
  const item = new SchedItem();
  let n = 1 + thread;
  while (Atomics.load(words, STOP_WORD) === 0) {
    for (let turn = 0; turn < 100; turn++, n += 2) {
      const sid = n % table.item_count;
      fillRow(item, sid, n, table.class_count);
      client.setSchedItem(sid, item);
    }
  }
  return n;
}

/** Returns how many torn rows it read. */
function read(table: PrioTable, words: Int32Array, thread: number): number {
  const item = new SchedItem();
  let torn_count = 0;
  let read_count = 0;
  for (let sid = thread; Atomics.load(words, STOP_WORD) === 0; sid++) {
    const row = sid % table.item_count;
    if (table.readItem(row, item) !== ROW_OK) continue;
    read_count++;
    if (isTorn(item, row, table.class_count)) torn_count++;
  }
  Atomics.add(words, READ_COUNT_WORD, read_count);
  return torn_count;
}

function waitUntilRunnable(table: PrioTable, thread: number): number {
  new PrioTableClient(table).waitUntilRunnable(thread);
  return table.itemFlags(thread);
}

function run(job: PrioTableJob): number {
  const table = new PrioTable();
  const error = table.adoptHandle(job.handle);
  if (error !== undefined) throw error;
  const words = new Int32Array(job.buffer);
  HARDWARE_MEMORY.add(words, STARTED_WORD, 1);
  switch (job.action) {
    case "mark":
      return mark(table, words, job);
    case "write":
      return write(table, words, job.thread);
    case "read":
      return read(table, words, job.thread);
    case "wait_until_runnable":
      return waitUntilRunnable(table, job.thread);
  }
}

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<PrioTableJob>) => void) | null;
  postMessage(value: number): void;
  close(): void;
};
scope.onmessage = (event) => {
  scope.postMessage(run(event.data));
  scope.close();
};
