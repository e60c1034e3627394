import { assert, assertEquals, assertThrows } from "@std/assert";
import { STARTED_WORD, THREAD_WORDS } from "../tests/workers/prio_table_worker.ts";
import { startPrioTableJob, untilWord } from "../tests/workers/start_job.ts";
import {
  type PrioTable,
  SCHED_ITEM_RUNNABLE,
  SchedItem,
  SharedMemoryError,
  STREAM_NO_ENTRIES,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
  WorkClass,
} from "./prio_table.ts";
import { PrioTableClient } from "./prio_table_client.ts";

/** Runs `body` with this process's client of 10 items and 4 classes. */
async function withClient(body: (client: PrioTableClient) => void | Promise<void>): Promise<void> {
  const client = PrioTableClient.create(10, 4);
  try {
    await body(client);
  } finally {
    client.table.close();
  }
}

/** The one change that the agent is told of. */
function onlyUpdate(table: PrioTable): number {
  const index = table.nextUpdatedIndex();
  assertEquals(table.nextUpdatedIndex(), STREAM_NO_ENTRIES);
  return index;
}

Deno.test("a client's table has the stream of upstream's helper", async () => {
  await withClient((client) => assertEquals(client.table.stream_capacity, 83));
});

Deno.test("what a client sets it gets, and the agent is told of each item", async () => {
  await withClient((client) => {
    const one_shot = Object.assign(new WorkClass(), {
      id: 1,
      flags: WORK_CLASS_ONESHOT,
      qos: 2,
      exectime_ns: 10_000_000,
    });
    client.setWorkClass(1, one_shot);
    client.setWorkClass(2, Object.assign(new WorkClass(), { id: 2, flags: WORK_CLASS_REPEATING }));
    const found_class = new WorkClass();
    client.getWorkClass(1, found_class);
    assertEquals(found_class, one_shot);
    assertEquals([client.isOneShot(1), client.isOneShot(2)], [true, false]);
    assertEquals(client.table.nextUpdatedIndex(), STREAM_NO_ENTRIES);

    const item = Object.assign(new SchedItem(), { sid: 4, wcid: 1, gtid_lo: 9, deadline_ns: 1e18 });
    client.setSchedItem(4, item);
    const found = new SchedItem();
    client.getSchedItem(4, found);
    assertEquals({ ...found }, { ...item, seqcount: 2 });
    assertEquals(onlyUpdate(client.table), 4);
  });
});

Deno.test("marking a thread runnable or idle changes nothing else and tells the agent", async () => {
  await withClient((client) => {
    const item = Object.assign(new SchedItem(), { sid: 4, wcid: 1, gtid_lo: 9, flags: 2 });
    client.setSchedItem(4, item);
    assertEquals(onlyUpdate(client.table), 4);
    assert(client.isIdle(4));
    client.markRunnable(4);
    assertEquals(onlyUpdate(client.table), 4);
    assertEquals([client.isIdle(4), client.table.itemFlags(4)], [false, 2 | SCHED_ITEM_RUNNABLE]);
    client.waitUntilRunnable(4);
    client.markIdle(4);
    assertEquals(onlyUpdate(client.table), 4);
    const found = new SchedItem();
    client.getSchedItem(4, found);
    assertEquals({ ...found }, { ...item, seqcount: 6 });
  });
});

Deno.test("a mark that meets taken cells goes three cells on, then overflows", async () => {
  await withClient((client) => {
    for (let count = 0; count < 4; count++) client.markUpdatedTableIndex(6);
    for (let count = 0; count < 4; count++) assertEquals(client.table.nextUpdatedIndex(), 6);
    assertEquals(client.table.counters.overflow_count, 0);
    for (let count = 0; count < 5; count++) client.markUpdatedTableIndex(6);
    client.table.nextUpdatedIndex();
    assertEquals(client.table.counters.overflow_count, 1);
  });
});

Deno.test("an index that the table does not have is an error with a cure", async () => {
  await withClient((client) => {
    const item = Object.assign(new SchedItem(), { sid: 1 });
    const wrong: (() => void)[] = [
      () => client.setSchedItem(10, Object.assign(new SchedItem(), { sid: 10 })),
      () => client.setSchedItem(2, item),
      () => client.setSchedItem(1, Object.assign(new SchedItem(), { sid: 1, wcid: 4 })),
      () => client.getSchedItem(-1, item),
      () => client.getSchedItem(0.5, item),
      () => client.getWorkClass(4, new WorkClass()),
      () => client.setWorkClass(1, new WorkClass()),
      () => client.isOneShot(NaN),
      () => client.markRunnable(10),
      () => client.markIdle(10),
      () => client.isIdle(10),
      () => client.waitUntilRunnable(10),
    ];
    for (const call of wrong) {
      const error = assertThrows(call, SharedMemoryError) as SharedMemoryError;
      assertEquals(error.fault, "OUT_OF_RANGE", `${call}`);
      assertEquals(error.message.split("; ").length, 2);
    }
    assertEquals(client.table.nextUpdatedIndex(), STREAM_NO_ENTRIES);
  });
});

Deno.test("a thread spins until another one marks it runnable", async () => {
  await withClient(async (client) => {
    const handle = client.table.handle;
    assert(handle !== undefined);
    const buffer = new SharedArrayBuffer(4 * (THREAD_WORDS + 1));
    let answer = -1;
    const thread = startPrioTableJob({ action: "wait_until_runnable", handle, buffer, thread: 5 })
      .then((flags) => answer = flags);
    await untilWord(new Int32Array(buffer), STARTED_WORD, 1);
    await new Promise((done) => setTimeout(done, 20));
    assertEquals(answer, -1);
    client.markRunnable(5);
    assertEquals(await thread, SCHED_ITEM_RUNNABLE);
  });
});

Deno.test("a handle of no table is refused in another isolate", async () => {
  await withClient((client) => {
    const handle = client.table.handle;
    assert(handle !== undefined);
    const shifted = { ...handle, address: handle.address + 64 };
    assertThrows(() => PrioTableClient.fromHandle(shifted), SharedMemoryError);
    assertEquals(PrioTableClient.fromHandle(handle).table.item_count, 10);
  });
});
