import { assert, assertEquals } from "@std/assert";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { Prng } from "./prng.ts";
import { SharedState } from "./shared_state.ts";
import { TaskTable } from "./task_table.ts";

function freshState(task_capacity: number): SharedState {
  return new SharedState({
    policy: "test",
    layout: { task: { state: "i32", vruntime: "f64" }, cpu: {}, global: {} },
    task_capacity,
    cpus: [0, 1],
  });
}

Deno.test("a row is found by its gtid as long as it lives", () => {
  const tasks = new TaskTable(HARDWARE_MEMORY, freshState(8));
  assertEquals(tasks.find(1, 512), -1);
  const row = tasks.allocate(1, 512, 2);
  assertEquals(tasks.find(1, 512), row);
  assertEquals([tasks.gtid_lo[row], tasks.gtid_hi[row], tasks.owner[row]], [1, 512, 2]);
  assertEquals([tasks.liveCount(), tasks.usedCount()], [1, 1]);
  tasks.free(row);
  assertEquals(tasks.find(1, 512), -1);
  assertEquals([tasks.liveCount(), tasks.usedCount()], [0, 1]);
});

Deno.test("the table holds its capacity and not one more", () => {
  const tasks = new TaskTable(HARDWARE_MEMORY, freshState(8));
  const rows = Array.from({ length: 8 }, (_, index) => tasks.allocate(1, index << 9, 1));
  assertEquals(new Set(rows).size, 8);
  assertEquals(tasks.allocate(1, 99 << 9, 1), -1);
  assertEquals(tasks.find(1, 99 << 9), -1);
  assertEquals(tasks.liveCount(), 8);
  tasks.free(rows[3]);
  assertEquals(tasks.allocate(1, 99 << 9, 1), rows[3]);
});

Deno.test("a gtid has one row: a second allocation changes nothing", () => {
  const tasks = new TaskTable(HARDWARE_MEMORY, freshState(8));
  const row = tasks.allocate(1, 512, 1);
  assertEquals(tasks.allocate(1, 512, 2), -1);
  assertEquals(tasks.find(1, 512), row);
  assertEquals([tasks.owner[row], tasks.liveCount()], [1, 1]);
});

Deno.test("a freed row is clean, and its generation tells that it is another task", () => {
  const state = freshState(4);
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const other = tasks.allocate(1, 2048, 1);
  const row = tasks.allocate(1, 512, 1);
  const generation = tasks.generation[row];
  tasks.seqnum[row] = 17;
  tasks.status_index[row] = 3;
  state.task("state")[row] = 2;
  state.taskF64("vruntime")[row] = 1e300;
  tasks.free(other);
  tasks.free(row);
  assertEquals(tasks.owner[row], 0);
  assertEquals(tasks.allocate(1, 1024, 1), row);
  assertEquals(tasks.generation[row], generation + 1);
  assertEquals([tasks.seqnum[row], tasks.status_index[row], tasks.next[row]], [0, 0, 0]);
  assertEquals([state.task("state")[row], state.taskF64("vruntime")[row]], [0, 0]);
});

Deno.test("clearing one row leaves its neighbours alone", () => {
  const state = freshState(4);
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const rows = [0, 1, 2].map((index) => tasks.allocate(1, index << 9, 1));
  const vruntime = state.taskF64("vruntime");
  for (const row of rows) vruntime[row] = row + 0.5;
  tasks.free(rows[1]);
  assertEquals([vruntime[rows[0]], vruntime[rows[1]], vruntime[rows[2]]], [0.5, 0, 2.5]);
  assertEquals([tasks.find(1, 0), tasks.find(1, 512), tasks.find(1, 1024)], [0, -1, 2]);
});

Deno.test("a table opened on the same memory has the same rows", () => {
  const state = freshState(4);
  const row = new TaskTable(HARDWARE_MEMORY, state).allocate(1, 512, 1);
  const other = new TaskTable(HARDWARE_MEMORY, new SharedState(state.shape, state.buffer));
  assertEquals(other.find(1, 512), row);
  assertEquals(other.allocate(1, 1024, 1) === row, false);
});

Deno.test("a random history equals that of a Map", () => {
  const prng = new Prng(9);
  const tasks = new TaskTable(HARDWARE_MEMORY, freshState(32));
  const model = new Map<number, number>();
  for (let turn = 0; turn < 10_000; turn++) {
    const hi = prng.below(50) << 9;
    const known = model.get(hi);
    assertEquals(tasks.find(1, hi), known ?? -1);
    if (known === undefined) {
      const row = tasks.allocate(1, hi, 1);
      assertEquals(row < 0, model.size === 32);
      assert(![...model.values()].includes(row));
      if (row >= 0) model.set(hi, row);
    } else if (prng.below(2) === 0) {
      tasks.free(known);
      model.delete(hi);
    }
    assertEquals(tasks.liveCount(), model.size);
  }
});
