import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { SharedTaskMap, sharedTaskMapWords } from "../../lib/shared_task_map.ts";
import { chainOf } from "./chain.ts";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import {
  explore,
  isLinearizable,
  type Operation,
  type Scenario,
  type Sequential,
} from "./checker.ts";

const CAPACITY = 16;

function freshWords(): Int32Array {
  return new Int32Array(sharedTaskMapWords(CAPACITY));
}

/** gtids (high words) that start at the same slot. */
const CHAIN = chainOf(CAPACITY, 5);

/** Operations on the keys of the chain by name: `get 2`, `insert 0`, `remove 1`, `swap 0 3`. */
function operation(map: SharedTaskMap, name: string): Operation {
  const [verb, ...keys] = name.split(" ");
  const [key, other] = keys.map(Number);
  switch (verb) {
    case "get":
      return { name, run: () => map.get(1, CHAIN[key]) };
    case "insert":
      return { name, run: () => map.insert(1, CHAIN[key], 10 + key) };
    case "remove":
      return { name, run: () => map.remove(1, CHAIN[key]) };
    default:
      return {
        name,
        run: () => map.remove(1, CHAIN[key]) + Number(map.insert(1, CHAIN[other], 10 + other)),
      };
  }
}

/** What a swap does on a Map. */
function swap(key: number, other: number): Sequential {
  return (model) => {
    const row = model.get(`${key}`) ?? -1;
    model.delete(`${key}`);
    model.set(`${other}`, 10 + other);
    return row + 1;
  };
}

/** What the same operations do on a Map. */
const SEQUENTIAL: Record<string, Sequential> = Object.fromEntries(
  CHAIN.flatMap((_hi, key) => [
    [`get ${key}`, (model: Map<string, number>) => model.get(`${key}`) ?? -1],
    [`insert ${key}`, (model: Map<string, number>) => {
      if (model.has(`${key}`)) return false;
      model.set(`${key}`, 10 + key);
      return true;
    }],
    [`remove ${key}`, (model: Map<string, number>) => {
      const row = model.get(`${key}`) ?? -1;
      model.delete(`${key}`);
      return row;
    }],
    ...CHAIN.map((_other_hi, other) => [`swap ${key} ${other}`, swap(key, other)]),
  ]),
);

interface Case {
  /** Keys that are mapped before, in the order of the chain. */
  readonly mapped: readonly number[];
  readonly threads: readonly (readonly string[])[];
}

function scenario(memory: CheckedMemory, { mapped, threads }: Case): Scenario {
  const map = new SharedTaskMap(memory, memory.shared(freshWords()), CAPACITY);
  const initial = new Map<string, number>();
  for (const key of mapped) {
    assert(map.insert(1, CHAIN[key], 10 + key));
    initial.set(`${key}`, 10 + key);
  }
  return {
    threads: threads.map((names) => names.map((name) => operation(map, name))),
    check: (history) => {
      // What is mapped at the end belongs to the history too.
      const last = CHAIN.map((_hi, key) => {
        const { name, run } = operation(map, `get ${key}`);
        return { thread: 9, name, start: 1000 + 2 * key, end: 1001 + 2 * key, result: run() };
      });
      if (!isLinearizable([...history, ...last], SEQUENTIAL, initial)) {
        throw new Error("not linearizable");
      }
    },
  };
}

function failureOf(one: Case, fault?: MemoryFault): string | null {
  const { failure, schedule_count } = explore((memory) => scenario(memory, one), { fault });
  if (failure === null) assert(schedule_count > 10, `only ${schedule_count} schedules`);
  return failure;
}

const REMOVALS: Case = { mapped: [0, 1, 2], threads: [["get 2"], ["remove 0", "remove 1"]] };
const REUSE: Case = {
  mapped: [0, 1, 2],
  threads: [["get 2", "get 0"], ["remove 0", "insert 3"], ["remove 1"]],
};
const TRIM: Case = {
  mapped: [0, 1, 2],
  threads: [["get 1"], ["remove 2", "insert 3"], ["remove 1"]],
};
const ABSENT: Case = { mapped: [0, 1], threads: [["get 4", "get 4"], ["remove 0", "insert 2"]] };
const DUPLICATE: Case = { mapped: [0], threads: [["insert 1"], ["insert 1"], ["remove 0"]] };
const TWO_WRITERS: Case = {
  mapped: [0, 1],
  threads: [["remove 0", "insert 0"], ["insert 2", "remove 1"]],
};
const RETURN: Case = { mapped: [0], threads: [["get 0"], ["remove 0", "insert 1", "insert 0"]] };

Deno.test("a live key is found while others of its chain are removed", () => {
  assertEquals(failureOf(REMOVALS), null);
});

Deno.test("a live key is found while slots before it are freed and used again", () => {
  assertEquals(failureOf(REUSE), null);
});

Deno.test("keys are right while the end of their chain is trimmed", () => {
  assertEquals(failureOf(TRIM), null);
});

Deno.test("a key that is not mapped is not found while others come and go", () => {
  assertEquals(failureOf(ABSENT), null);
});

Deno.test("of two inserts of one key one succeeds", () => {
  assertEquals(failureOf(DUPLICATE), null);
});

Deno.test("two writers of one chain leave it as one after the other would", () => {
  assertEquals(failureOf(TWO_WRITERS), null);
});

Deno.test("a key that leaves and comes back elsewhere in the chain is found or not, never wrong", () => {
  assertEquals(failureOf(RETURN), null);
});

Deno.test("a slot that is used for another key and back while it is read shows no wrong row", () => {
  assertEquals(failureOf({ mapped: [0], threads: [["get 0"], ["swap 0 3", "swap 3 0"]] }), null);
  assertEquals(failureOf({ mapped: [3], threads: [["get 0"], ["swap 3 0", "swap 0 3"]] }), null);
});

Deno.test("planted: a slot published before its key is written is found", () => {
  const failure = failureOf(
    { mapped: [0], threads: [["insert 1"], ["get 1", "get 0"]] },
    "stores_pass_publish",
  ) ?? failureOf(REUSE, "stores_pass_publish");
  assertExists(failure);
});

Deno.test("planted: a lock that does not exclude is found", () => {
  assertStringIncludes(failureOf(DUPLICATE, "no_lock") ?? "", "not linearizable");
});

Deno.test("planted: a tombstone that becomes an empty slot in mid-chain is found", () => {
  const { failure } = explore((memory) => {
    const made = scenario(memory, REMOVALS);
    memory.on_publish = (value) => value === -1 ? 0 : value;
    return made;
  });
  assertStringIncludes(failure ?? "", "not linearizable");
});
