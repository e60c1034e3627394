import { assert, assertEquals, assertGreater, assertInstanceOf, assertMatch } from "@std/assert";
import { Peer } from "../tests/peers/c_peer.ts";
import {
  isTorn,
  READ_COUNT_WORD,
  STARTED_WORD,
  STOP_WORD,
  THREAD_WORDS,
} from "../tests/workers/prio_table_worker.ts";
import { startPrioTableJob, untilWord } from "../tests/workers/start_job.ts";
import {
  PrioTable,
  ROW_BUSY,
  ROW_OK,
  ROW_UNUSED,
  SchedItem,
  SharedMemoryError,
  STREAM_NO_ENTRIES,
  STREAM_OVERFLOW,
  WorkClass,
} from "./prio_table.ts";
import { PrioTableClient } from "./prio_table_client.ts";
import * as layout from "./prio_table_layout.ts";

/** How long threads work on a table. */
const STRESS_MS = 1000;
/** How long at most, on a machine that is busy with something else. */
const PATIENCE_MS = 15_000;

/** Memory of a test with threads. */
function testWords(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4 * (THREAD_WORDS + 4)));
}

/** Attaches, or fails with the reason. */
function attached(pid: number): PrioTable {
  const table = new PrioTable();
  const error = table.attach(pid);
  if (error !== undefined) throw error;
  return table;
}

Deno.test("a C program lays the table out as this one does", async () => {
  const lines = (await new Peer("prio_table_peer", "layout").finish()).map((line) =>
    line.split(" ")
  );
  const size = Object.fromEntries(lines.map(([name, bytes]) => [name, Number(bytes)]));
  const row = layout.PRIO_TABLE_ROW_BYTES;
  assertEquals([size.table_header, size.sched_item, size.work_class], [row, row, row]);
  const words: [string, number][] = [
    ["sched_item.wcid", layout.ITEM_WCID],
    ["sched_item.gpid", layout.ITEM_GTID],
    ["sched_item.flags", layout.ITEM_FLAGS],
    ["sched_item.seqcount", layout.ITEM_SEQCOUNT],
    ["sched_item.deadline", layout.ITEM_DEADLINE],
    ["work_class.flags", layout.CLASS_FLAGS],
    ["work_class.qos", layout.CLASS_QOS],
    ["work_class.exectime", layout.CLASS_EXECTIME],
    ["work_class.period", layout.CLASS_PERIOD],
    ["stream.entries", 1],
  ];
  for (const [field, word] of words) assertEquals(size[field], word * 4, field);
  const plan = layout.planPrioTable(10, 4, 19);
  const header = new Int32Array(Math.ceil(plan.table_bytes / 4));
  layout.formatPrioTable(header, plan);
  const fields = ["maplen", "si_num", "si_off", "wc_num", "wc_off", "st_cap", "st_off"];
  const found = fields.map((field) => header[size[`table_header.${field}`] / 4]);
  assertEquals(found, [1040, 10, 64, 4, 704, 19, 960]);
  assertEquals(new DataView(header.buffer).getUint16(size["table_header.hdrlen"], true), 64);
});

/** Learns of rows by the stream alone, as an agent does, and remembers the last of each. */
class StreamReader {
  readonly last: Int32Array;
  torn_count = 0;
  taken_count = 0;
  overflow_count = 0;
  readonly #table: PrioTable;
  readonly #item = new SchedItem();

  constructor(table: PrioTable) {
    this.#table = table;
    this.last = new Int32Array(table.item_count);
  }

  look(sid: number): void {
    if (this.#table.readItem(sid, this.#item) !== ROW_OK) return;
    if (isTorn(this.#item, sid, this.#table.class_count)) this.torn_count++;
    this.last[sid] = this.#item.gtid_lo;
  }

  /** Takes one update. Returns false if there was none. */
  take(): boolean {
    const index = this.#table.nextUpdatedIndex();
    if (index === STREAM_NO_ENTRIES) return false;
    if (index === STREAM_OVERFLOW) {
      this.overflow_count++;
      for (let sid = 0; sid < this.last.length; sid++) this.look(sid);
    } else {
      this.taken_count++;
      this.look(index);
    }
    return true;
  }
}

/** C threads write while Workers and this thread read. */
async function readFromPeer(item_count: number): Promise<StreamReader> {
  const peer = new Peer("prio_table_peer", "create", item_count, 5, 83, 3);
  assertEquals(await peer.line(), "ready");
  const table = attached(peer.pid);
  const [handle, words] = [table.handle, testWords()];
  assert(handle !== undefined);
  const threads = [0, 1].map((thread) =>
    startPrioTableJob({ action: "read", handle, buffer: words.buffer, thread })
  );
  await untilWord(words, STARTED_WORD, threads.length);
  const reader = new StreamReader(table);
  const begin_ms = Date.now();
  const isEnough = () =>
    Date.now() > begin_ms + STRESS_MS && reader.taken_count + reader.overflow_count > 100;
  while (!isEnough() && Date.now() < begin_ms + PATIENCE_MS) {
    for (let turn = 0; turn < 1000; turn++) reader.take();
  }
  Atomics.store(words, STOP_WORD, 1);
  const torn_counts = await Promise.all(threads);
  const [said] = await peer.finish();
  assertMatch(said, /^writes [1-9]\d*$/);
  while (reader.take());
  const last = reader.last.slice();
  for (let sid = 0; sid < item_count; sid++) reader.look(sid);
  assertEquals(reader.last, last, "the stream told of the last change of every row");
  assertEquals([reader.torn_count, ...torn_counts], [0, 0, 0]);
  assertGreater(words[READ_COUNT_WORD], 0);
  assertEquals([table.counters.bad_index_count, table.counters.bad_class_count], [0, 0]);
  table.close();
  return reader;
}

Deno.test("C threads write, this process reads: no row torn, no update lost", async () => {
  const reader = await readFromPeer(40);
  assertGreater(reader.taken_count + reader.overflow_count, 100);
});

Deno.test("the same with so many rows that the stream overflows", async () => {
  const reader = await readFromPeer(500);
  assertGreater(reader.overflow_count, 0);
});

Deno.test("classes that a C program has written are read", async () => {
  const peer = new Peer("prio_table_peer", "create", 1, 3, 11, 0);
  assertEquals(await peer.line(), "ready");
  const table = attached(peer.pid);
  const work_class = new WorkClass();
  assert(table.readClass(2, work_class));
  assertEquals({ ...work_class }, {
    id: 2,
    flags: 1,
    qos: 12,
    exectime_ns: 1002,
    period_ns: 2 ** 40 + 2,
  });
  assertEquals(table.owner_pid, peer.pid);
  table.close();
  await peer.finish();
});

Deno.test("Workers write, C threads read: no row torn, no update lost", async () => {
  const client = PrioTableClient.create(40, 5);
  const wide = { qos: 7, exectime_ns: 2 ** 33 + 1, period_ns: 2 ** 53 - 1 };
  client.setWorkClass(3, Object.assign(new WorkClass(), { id: 3, flags: 2, ...wide }));
  const peer = new Peer("prio_table_peer", "attach", Deno.pid, 2);
  try {
    assertEquals(await peer.line(), "ready");
    const [handle, words] = [client.table.handle, testWords()];
    assert(handle !== undefined);
    const threads = [0, 1].map((thread) =>
      startPrioTableJob({ action: "write", handle, buffer: words.buffer, thread })
    );
    await untilWord(words, STARTED_WORD, threads.length);
    await new Promise((done) => setTimeout(done, STRESS_MS));
    Atomics.store(words, STOP_WORD, 1);
    const write_counts = await Promise.all(threads);
    for (const count of write_counts) assertGreater(count, 1);
    const [stress, ...classes] = await peer.finish();
    assertMatch(stress, /^reads [1-9]\d* torn 0 taken \d+ overflows \d+ lost 0$/);
    assertEquals(classes[3], `class 3 2 7 ${2 ** 33 + 1} ${2 ** 53 - 1}`);
  } finally {
    client.table.close();
  }
});

Deno.test("a process killed in the middle of a write leaves one row that is never read", async () => {
  const peer = new Peer("prio_table_peer", "stuck");
  assertEquals(await peer.line(), "ready");
  const table = attached(peer.pid);
  await peer.kill();
  const item = new SchedItem();
  assertEquals(table.readItem(0, item), ROW_OK);
  assertEquals(table.readItem(1, item), ROW_BUSY);
  assertEquals(table.readItem(2, item), ROW_UNUSED);
  assertEquals(table.counters.busy_read_count, 1);
  assertEquals([table.nextUpdatedIndex(), table.nextUpdatedIndex()], [0, STREAM_NO_ENTRIES]);
  const error = table.attach(peer.pid);
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "NO_PROCESS");
  assertEquals(table.item_count, 4, "the mapping outlives its owner");
  table.close();
});

Deno.test("a child that inherited its parent's table has none of its own", async () => {
  const peer = new Peer("prio_table_peer", "fork");
  const child_pid = Number(await peer.line());
  const table = new PrioTable();
  const error = table.attach(child_pid);
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "WRONG_OWNER");
  assertEquals(table.attach(peer.pid), undefined);
  table.close();
  await peer.kill();
});
