import { assertEquals, assertThrows } from "@std/assert";
import { LOAD_END, LOAD_EXIT, LOAD_FORK, LOAD_LOOP, LOAD_OP_LENGTH } from "../ffi/load.ts";
import {
  chance,
  fork,
  give,
  join,
  type LoadStep,
  loop,
  run,
  sleep,
  take,
  threadKind,
  UNTIL_STOPPED,
  yieldCpu,
} from "./load_steps.ts";
import { compileSteps } from "./native_steps.ts";

function opsOf(...steps: LoadStep[]): number[][] {
  const { ops } = compileSteps(threadKind("root", ...steps)).program;
  const rows: number[][] = [];
  for (let at = 0; at < ops.length; at += LOAD_OP_LENGTH) {
    rows.push([...ops.subarray(at, at + LOAD_OP_LENGTH)]);
  }
  return rows;
}

Deno.test("a loop knows its end, and its end the loop; one until stopped has a negative count", () => {
  assertEquals(opsOf(loop(3, run(5, 7)), yieldCpu()), [
    [LOAD_LOOP, 3, 3, 0],
    [1, 5, 7, 0],
    [LOAD_END, 0, 0, 0],
    [3, 0, 0, 0],
    [LOAD_EXIT, 0, 0, 0],
  ]);
  assertEquals(opsOf(loop(UNTIL_STOPPED))[0], [LOAD_LOOP, -1, 2, 0]);
});

Deno.test("a chance jumps over the step that is not taken", () => {
  assertEquals(opsOf(chance(1, 4, sleep(9), yieldCpu())), [
    [11, 1, 4, 3],
    [2, 9, 0, 0],
    [12, 4, 0, 0],
    [3, 0, 0, 0],
    [LOAD_EXIT, 0, 0, 0],
  ]);
});

Deno.test("a kind is compiled once, wherever it is forked, and knows its greatest fork", () => {
  const leaf = threadKind("leaf", yieldCpu());
  const inner = threadKind("inner", fork(leaf), join());
  const compiled = compileSteps(threadKind("root", fork(inner, 2), fork(leaf, 5), join()));
  assertEquals(compiled.program.kind_names, ["root", "inner", "leaf"]);
  assertEquals([...compiled.program.kind_starts], [0, 4, 7]);
  assertEquals(compiled.fork_counts, [1, 2, 5]);
  assertEquals([...compiled.program.ops.subarray(0, 3)], [LOAD_FORK, 1, 2]);
});

Deno.test("there are words for all siblings behind the last one that is named", () => {
  const kind = threadKind("pair", give({ first: 10 }), take({ first: 14 }));
  assertEquals(compileSteps(threadKind("root", fork(kind, 4))).program.word_count, 18);
});

Deno.test("loops nested deeper than native threads can count are refused", () => {
  let step: LoadStep = yieldCpu();
  for (let depth = 0; depth < 8; depth++) step = loop(1, step);
  opsOf(step);
  assertThrows(() => opsOf(loop(1, step)), RangeError, "deeper than 8");
});
