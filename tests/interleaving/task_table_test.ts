import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { SharedState } from "../../lib/shared_state.ts";
import { TaskTable } from "../../lib/task_table.ts";
import { chainOf, crossedChain } from "./chain.ts";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import { CheckedState } from "./checked_state.ts";
import { explore, type Operation, type Scenario } from "./checker.ts";

const CAPACITY = 3;
const [A, B, C, LIVE] = chainOf(CAPACITY, 4);
/** gtids by name (high words); all stand in one chain of the map. */
const HI = { a: A, b: B, c: C, live: LIVE } as const;
type Name = keyof typeof HI;

/** Agents, each with its own table on the same memory, that do as their lines say. */
function scenario(memory: CheckedMemory, threads: readonly (readonly string[])[]): Scenario {
  const state = new CheckedState(memory, {
    policy: "test",
    layout: { task: {}, cpu: {}, global: {} },
    task_capacity: CAPACITY,
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

/** A reader looks for a gtid that another agent's doings may show beside the wrong row. */
function reading(
  memory: CheckedMemory,
  hi: number,
  prepare: (tasks: TaskTable) => () => void,
  isRight: (row: number, tasks: TaskTable) => boolean,
): Scenario {
  const shape = { policy: "test", layout: { task: {}, cpu: {}, global: {} }, cpus: [0, 1] };
  const state = new CheckedState(memory, { ...shape, task_capacity: CAPACITY });
  const [first, second] = [0, 1].map(() => new TaskTable(memory, state));
  const change = prepare(second);
  const find = { name: "find", run: () => first.find(1, hi) };
  return {
    threads: [[find], [{ name: "change", run: change }]],
    check: (history) => {
      const row = history.find(({ name }) => name === "find")?.result as number;
      if (!isRight(row, second)) throw new Error(`found row ${row}`);
    },
  };
}

Deno.test("a gtid whose slot goes to another task is not found in that task's row", () => {
  const { failure } = explore((memory) => {
    let row_of_a = -1;
    const prepare = (tasks: TaskTable) => {
      row_of_a = tasks.allocate(1, A, 1);
      const row_of_c = tasks.allocate(1, C, 1);
      return () => {
        tasks.free(row_of_a);
        tasks.free(row_of_c);
        tasks.allocate(1, B, 1); // in A's slot, with C's row
      };
    };
    return reading(memory, A, prepare, (row) => row === -1 || row === row_of_a);
  });
  assertEquals(failure, null);
});

Deno.test("a live task is found though a slot before its own shows its gtid while it changes", () => {
  const { a, x } = crossedChain(CAPACITY);
  const { failure } = explore((memory) => {
    const prepare = (tasks: TaskTable) => {
      const row_of_x = tasks.allocate(1, x, 1);
      tasks.allocate(1, a, 1);
      return () => {
        tasks.free(row_of_x);
        tasks.allocate(2, a, 1); // (1, x) becomes (2, a): half read, it is (1, a)
      };
    };
    return reading(memory, a, prepare, (row, tasks) => row >= 0 && row === tasks.find(1, a));
  });
  assertEquals(failure, null);
});

Deno.test("planted: an allocator whose lock does not exclude is found", () => {
  const failure = failureOf([["allocate a"], ["allocate b"]], "no_lock");
  assertStringIncludes(failure, "row");
});
