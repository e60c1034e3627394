import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { InvariantError } from "./invariant.ts";
import { mailboxWords } from "./mailbox.ts";
import { SharedState, type SharedStateShape } from "./shared_state.ts";

const SHAPE: SharedStateShape = {
  policy: "test",
  layout: {
    task: { state: "i32", vruntime: "f64" },
    cpu: { current: "i32", run_queue: 3, min_vruntime: "f64", tail: "i32" },
    global: { next_cpu: "i32", start: "f64" },
  },
  task_capacity: 37,
  cpus: [2, 5, 9],
};

const BASE_TASK = ["gtid_lo", "gtid_hi", "generation", "seqnum", "status_index", "owner"];

/** Every area of a state: its name and its words. */
function areas(state: SharedState): [name: string, words: Int32Array][] {
  const { cpus } = state.shape;
  const f64 = state.taskF64("vruntime");
  const list: [string, Int32Array][] = [
    ["allocator", state.allocatorWords()],
    ["map", state.mapWords()],
    ["vruntime", new Int32Array(f64.buffer, f64.byteOffset, f64.length * 2)],
    ["next_cpu", state.global("next_cpu")],
    ["start", state.global("start")],
  ];
  for (const name of state.taskColumns()) {
    if (name !== "vruntime") list.push([name, state.task(name)]);
  }
  for (const cpu of cpus) {
    list.push([`mailbox ${cpu}`, state.mailboxWords(cpu)]);
    for (const name of ["current", "run_queue", "min_vruntime", "tail", "step_count"]) {
      list.push([`${name} ${cpu}`, state.cpu(name, cpu)]);
    }
  }
  return list;
}

Deno.test("no two areas share a word, and all lie in the buffer", () => {
  const state = new SharedState(SHAPE);
  const owner = new Map<number, string>();
  for (const [name, words] of areas(state)) {
    for (let index = 0; index < words.length; index++) {
      const at = words.byteOffset + 4 * index;
      assertEquals(owner.get(at), undefined, `${name} and ${owner.get(at)}`);
      owner.set(at, name);
    }
  }
  assertEquals(state.buffer.byteLength, state.size_bytes);
});

Deno.test("columns have the length that was declared", () => {
  const state = new SharedState(SHAPE);
  assertEquals(state.task("state").length, 37);
  assertEquals(state.taskF64("vruntime").length, 37);
  assertEquals(state.cpu("run_queue", 5).length, 3);
  assertEquals(state.cpu("min_vruntime", 5).length, 2);
  assertEquals(state.global("next_cpu").length, 1);
  assertEquals(state.mailbox_slot_count, 64);
  assertEquals(state.mailboxWords(2).length, mailboxWords(64));
});

Deno.test("doubles are aligned", () => {
  const state = new SharedState(SHAPE);
  for (const cpu of SHAPE.cpus) assertEquals(state.cpu("min_vruntime", cpu).byteOffset % 8, 0);
  assertEquals(state.global("start").byteOffset % 8, 0);
  assertEquals(state.taskF64("vruntime").byteOffset % 8, 0);
});

Deno.test("two CPUs never write the same cache line, nor does a CPU that of the enclave", () => {
  const state = new SharedState(SHAPE);
  const user_of = new Map<number, string>();
  for (const [name, words] of areas(state)) {
    const user = /^.* (\d+)$/.exec(name)?.[1] ?? "all";
    for (let at = words.byteOffset; at < words.byteOffset + words.byteLength; at += 4) {
      const line = Math.floor(at / 128);
      assertEquals(user_of.get(line) ?? user, user, name);
      user_of.set(line, user);
    }
  }
});

Deno.test("another thread that opens the same memory sees the same values", () => {
  const first = new SharedState(SHAPE);
  const second = new SharedState(SHAPE, first.buffer);
  for (const [index, [, words]] of areas(first).entries()) words.fill(index + 1);
  for (const [index, [name, words]] of areas(second).entries()) {
    assertEquals(words[words.length - 1], index + 1, name);
  }
});

Deno.test("memory of another shape is refused", () => {
  const state = new SharedState(SHAPE);
  const other = { ...SHAPE, task_capacity: 1000 };
  assertThrows(() => new SharedState(other, state.buffer), InvariantError, "another shape");
});

Deno.test("a column that was not declared, or as something else, is an error by name", () => {
  const state = new SharedState(SHAPE);
  const message = (call: () => unknown): string =>
    (assertThrows(call, InvariantError) as Error).message;
  assertStringIncludes(message(() => state.task("weight")), "weight");
  assertStringIncludes(message(() => state.task("vruntime")), "vruntime is no i32");
  assertStringIncludes(message(() => state.taskF64("state")), "state is no f64");
  assertStringIncludes(message(() => state.cpu("weight", 2)), "weight");
  assertStringIncludes(message(() => state.global("weight")), "weight");
  assertStringIncludes(message(() => state.cpu("current", 3)), "CPU 3 is not in the enclave");
});

Deno.test("the columns that a freed row is cleared in are all but its generation", () => {
  const state = new SharedState(SHAPE);
  for (const name of BASE_TASK) assert(state.taskColumns().includes(name), name);
  for (const name of state.taskColumns()) {
    if (name !== "vruntime") state.task(name).fill(9);
  }
  state.taskF64("vruntime").fill(1e300);
  for (const column of state.clearers()) column.fill(0);
  assertEquals(state.task("generation")[36], 9);
  assertEquals(state.taskF64("vruntime")[36], 0);
  for (const name of state.taskColumns()) {
    if (name !== "vruntime" && name !== "generation") assertEquals(state.task(name)[36], 0, name);
  }
});
