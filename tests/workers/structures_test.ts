import { assertEquals } from "@std/assert";
import { CPU_DATA_BYTES, SYNC_GROUP_NOT_OWNED, TXN_OWNER_WORD } from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { SharedState } from "../../lib/shared_state.ts";
import { TaskTable } from "../../lib/task_table.ts";
import { startStructuresJob } from "./start_job.ts";
import {
  CHURN_SHAPE,
  crowdWords,
  mailWords,
  OWNED_COUNT_WORD,
  STABLE_COUNT,
  STABLE_LO,
  type StructuresJob,
} from "./structures_worker.ts";

const THREAD_COUNT = 4;

function startAll(
  action: StructuresJob["action"],
  buffer: SharedArrayBuffer,
  round_count: number,
): Promise<number>[] {
  return Array.from(
    { length: THREAD_COUNT },
    (_, thread) =>
      startStructuresJob({ action, buffer, thread, thread_count: THREAD_COUNT, round_count }),
  );
}

Deno.test("four threads that allocate, find and free rows never share or lose one", async () => {
  const state = new SharedState(CHURN_SHAPE);
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const rows = Array.from({ length: STABLE_COUNT }, (_, n) => tasks.allocate(STABLE_LO, n << 9, 9));
  const errors = await Promise.all(startAll("churn", state.buffer as SharedArrayBuffer, 10_000));
  assertEquals(errors, [0, 0, 0, 0]);
  assertEquals(tasks.liveCount(), STABLE_COUNT);
  assertEquals(rows.map((_row, n) => tasks.find(STABLE_LO, n << 9)), rows);
  const all = new Set(rows);
  for (let n = STABLE_COUNT; n < tasks.capacity; n++) all.add(tasks.allocate(7, n << 9, 9));
  assertEquals(all.size, tasks.capacity, "every row is free again, once");
});

Deno.test("four threads that fill a map to the last slot find what they put in", async () => {
  const buffer = new SharedArrayBuffer(4 * crowdWords());
  assertEquals(await Promise.all(startAll("crowd", buffer, 10)), [0, 0, 0, 0]);
});

Deno.test("four senders and a receiver: nothing lost, nothing twice, each sender in order", async () => {
  const buffer = new SharedArrayBuffer(4 * mailWords(THREAD_COUNT));
  const round_count = 20_000;
  const receiver = startStructuresJob({
    action: "receive",
    buffer,
    thread: THREAD_COUNT,
    thread_count: THREAD_COUNT,
    round_count,
  });
  const senders = startAll("send", buffer, round_count);
  assertEquals(await Promise.all([receiver, ...senders]), [0, 0, 0, 0, 0]);
});

Deno.test("four threads that contend for a record own it one at a time", async () => {
  const buffer = new SharedArrayBuffer(CPU_DATA_BYTES);
  const words = new Int32Array(buffer);
  words[TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
  const round_count = 20_000;
  assertEquals(await Promise.all(startAll("own", buffer, round_count)), [0, 0, 0, 0]);
  assertEquals(words[OWNED_COUNT_WORD], THREAD_COUNT * round_count);
  assertEquals(words[TXN_OWNER_WORD], SYNC_GROUP_NOT_OWNED);
});
