import { assert, assertEquals, assertFalse, assertStringIncludes } from "@std/assert";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import { type Event, explore, isLinearizable, type Operation, type Scenario } from "./checker.ts";

const SEEN = 0;
const DATA = 1;

/** Two threads, each of which takes a number that nobody else may get. */
function counters(memory: CheckedMemory, take: (words: Int32Array) => number): Scenario {
  const words = memory.shared(new Int32Array(4));
  const operation: Operation = { name: "take", run: () => take(words) };
  return {
    threads: [[operation], [operation]],
    check: (history) => {
      const results = history.map((event) => event.result);
      if (new Set(results).size !== results.length) throw new Error(`all took ${results}`);
    },
  };
}

function failureOf(take: (memory: CheckedMemory, words: Int32Array) => number): string | null {
  return explore((memory) => counters(memory, (words) => take(memory, words))).failure;
}

Deno.test("a plain read and a plain write between which others come are found", () => {
  assertStringIncludes(
    failureOf((_memory, words) => {
      const mine = words[SEEN];
      words[SEEN] = mine + 1;
      return mine;
    }) ?? "",
    "all took 0,0",
  );
});

Deno.test("an atomic addition is right in every schedule", () => {
  assertEquals(failureOf((memory, words) => memory.add(words, SEEN, 1)), null);
});

Deno.test("every schedule is tried: two operations of n accesses, one switch", () => {
  for (const access_count of [1, 2, 5]) {
    const operation = (words: Int32Array): Operation => ({
      name: "read",
      run: () => {
        for (let index = 0; index < access_count; index++) void words[index];
      },
    });
    const { schedule_count } = explore((memory) => {
      const words = memory.shared(new Int32Array(8));
      return { threads: [[operation(words)], [operation(words)]], check: () => {} };
    }, { switch_count_max: 1 });
    // Either one first, and the other one after it or before any of its accesses.
    assertEquals(schedule_count, 2 * (access_count + 1));
  }
});

Deno.test("the number of switches is a bound", () => {
  const countOf = (switch_count_max: number): number =>
    explore((memory) => {
      const words = memory.shared(new Int32Array(8));
      const read = { name: "read", run: () => words[0] + words[1] };
      return { threads: [[read, read], [read, read]], check: () => {} };
    }, { switch_count_max }).schedule_count;
  assertEquals(countOf(0), 4 + 2); // orders of two and two operations
  assert(countOf(1) > countOf(0));
  assert(countOf(2) > countOf(1));
});

/** A lock around a read and a write. */
function lockedTake(memory: CheckedMemory, words: Int32Array, unlock: boolean): number {
  while (memory.compareExchange(words, 2, 0, 1) !== 0) memory.pause();
  const mine = words[SEEN];
  words[SEEN] = mine + 1;
  if (unlock) memory.publish(words, 2, 0);
  return mine;
}

Deno.test("an operation that waits for the one it interrupts is tried after it", () => {
  const { failure, blocked_count, schedule_count } = explore((memory) =>
    counters(memory, (words) => lockedTake(memory, words, true))
  );
  assertEquals(failure, null);
  assert(blocked_count > 0 && schedule_count > 0);
});

Deno.test("a lock that is never given back is found", () => {
  const failure = failureOf((memory, words) => lockedTake(memory, words, false));
  assertStringIncludes(failure ?? "", "waits though nobody else");
});

Deno.test("an operation that never ends is found", () => {
  const failure = failureOf((_memory, words) => {
    while (words[DATA] === 0);
    return 0;
  });
  assertStringIncludes(failure ?? "", "never ends");
});

/** A writer publishes data behind a flag; a reader that sees the flag must see the data. */
function publication(memory: CheckedMemory): Scenario {
  const words = memory.shared(new Int32Array(2));
  return {
    threads: [
      [{
        name: "write",
        run: () => {
          words[DATA] = 7;
          memory.publish(words, SEEN, 1);
        },
      }],
      [{ name: "read", run: () => memory.acquire(words, SEEN) === 0 ? 7 : words[DATA] }],
    ],
    check: (history) => {
      const read = history.find((event) => event.name === "read");
      if (read?.result !== 7) throw new Error("flag without data");
    },
  };
}

Deno.test("each planted fault breaks a structure that relies on that access", () => {
  assertEquals(explore(publication).failure, null);
  const failureWith = (fault: MemoryFault, make: (memory: CheckedMemory) => Scenario): string =>
    explore(make, { fault }).failure ?? "";
  assertStringIncludes(failureWith("stores_pass_publish", publication), "flag without data");
  const locked = (memory: CheckedMemory) =>
    counters(memory, (words) => lockedTake(memory, words, true));
  assertStringIncludes(failureWith("no_lock", locked), "all took 0,0");
  const owned = (memory: CheckedMemory) =>
    counters(memory, (words) => memory.compareExchange(words, SEEN, 0, 1) === 0 ? 0 : -1);
  assertEquals(explore(owned).failure, null);
  assertStringIncludes(failureWith("split_exchange", owned), "all took 0,0");
  const added = (memory: CheckedMemory) => counters(memory, (words) => memory.add(words, SEEN, 1));
  assertStringIncludes(failureWith("split_add", added), "all took 0,0");
});

Deno.test("a history is linearizable only if some order explains every result", () => {
  const sequential = {
    set: (model: Map<string, number>) => {
      model.set("x", 1);
      return undefined;
    },
    get: (model: Map<string, number>) => model.get("x") ?? 0,
  };
  const event = (name: string, start: number, end: number, result: unknown): Event => ({
    thread: 0,
    name,
    start,
    end,
    result,
  });
  const holds = (...history: Event[]): boolean => isLinearizable(history, sequential, new Map());
  assert(holds(event("set", 0, 3, undefined), event("get", 1, 2, 0)));
  assert(holds(event("set", 0, 3, undefined), event("get", 1, 2, 1)));
  assertFalse(holds(event("set", 0, 1, undefined), event("get", 2, 3, 0)));
  assertFalse(holds(event("get", 0, 1, 1), event("set", 2, 3, undefined)));
});
