import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { SharedState } from "../../lib/shared_state.ts";
import { TaskTable } from "../../lib/task_table.ts";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import { CheckedState } from "./checked_state.ts";
import { explore, type Operation, type Scenario } from "./checker.ts";

/** gtids by name; they need not collide here, the map has its own test. */
const HI = { a: 512, b: 1024, c: 1536, live: 2048 } as const;
type Name = keyof typeof HI;

/** Agents, each with its own table on the same memory, that do as their lines say. */
function scenario(memory: CheckedMemory, threads: readonly (readonly string[])[]): Scenario {
  const state = new CheckedState(memory, {
    policy: "test",
    layout: { task: {}, cpu: {}, global: {} },
    task_capacity: 3,
    cpus: [0, 1],
  });
  const first = new TaskTable(memory, state);
  first.allocate(1, HI.live, 1);
  // One row has been used before, so that the free list is not empty.
  first.free(first.allocate(1, HI.a, 1));
  const rows = new Map<Name, number>([["live", first.find(1, HI.live)]]);
  const operations = (tasks: TaskTable, line: string, owner_id: number): Operation => {
    const [verb, text] = line.split(" ");
    const name = text as Name;
    const run = (): unknown => {
      if (verb === "find") return tasks.find(1, HI[name]);
      if (verb === "allocate") {
        const row = tasks.allocate(1, HI[name], owner_id);
        if (row >= 0) rows.set(name, row);
        return row;
      }
      const row = rows.get(name);
      rows.delete(name);
      if (row !== undefined) tasks.free(row);
      return row;
    };
    return { name: line, run };
  };
  return {
    threads: threads.map((lines, index) => {
      const tasks = new TaskTable(memory, state);
      return lines.map((line) => operations(tasks, line, index + 1));
    }),
    check: (history) => {
      for (const { name, result } of history) {
        if (name === "find live" && result !== rows.get("live")) throw new Error("live row lost");
      }
      checkTable(new SharedState(state.shape, state.buffer), rows);
    },
  };
}

/** Every live gtid has one row of its own, and every other row can be had. */
function checkTable(state: SharedState, rows: ReadonlyMap<Name, number>): void {
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const used = [...rows.values()];
  if (new Set(used).size !== used.length) throw new Error(`a row twice: ${used}`);
  for (const [name, row] of rows) {
    if (tasks.find(1, HI[name]) !== row) throw new Error(`${name} has lost its row`);
  }
  if (tasks.liveCount() !== rows.size) throw new Error(`${tasks.liveCount()} rows in use`);
  for (let hi = 1 << 20; used.length < tasks.capacity; hi += 512) {
    const row = tasks.allocate(1, hi, 1);
    if (row < 0) throw new Error("a free row was lost");
    if (used.includes(row)) throw new Error(`a row twice: ${row}`);
    used.push(row);
  }
}

function failureOf(threads: readonly (readonly string[])[], fault?: MemoryFault): string {
  const { failure, schedule_count } = explore((memory) => scenario(memory, threads), { fault });
  if (failure === null) assert(schedule_count > 10, `only ${schedule_count} schedules`);
  return failure ?? "";
}

Deno.test("agents that allocate and free at once never get the same row, and lose none", () => {
  assertEquals(failureOf([["allocate a", "free a"], ["allocate b"]]), "");
  assertEquals(failureOf([["allocate a"], ["allocate b", "free b"], ["find live"]]), "");
});

Deno.test("a live task is found while others come and go", () => {
  assertEquals(failureOf([["find live"], ["allocate a", "free a"], ["allocate b"]]), "");
});

Deno.test("two agents that allocate the same gtid get one row", () => {
  assertEquals(failureOf([["allocate a"], ["allocate a"]]), "");
});

Deno.test("a full table refuses and stays whole", () => {
  assertEquals(failureOf([["allocate a"], ["allocate b"], ["allocate c"]]), "");
});

Deno.test("planted: an allocator whose lock does not exclude is found", () => {
  const failure = failureOf([["allocate a"], ["allocate b"]], "no_lock");
  assertStringIncludes(failure, "row");
});
