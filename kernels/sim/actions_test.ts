import { assertEquals, assertThrows } from "@std/assert";
import {
  actionArgument,
  actionOp,
  block,
  OP_BLOCK,
  OP_RUN,
  OP_SLEEP,
  OP_SWITCHTO,
  OP_YIELD,
  run,
  sleep,
  switchTo,
  yieldCpu,
} from "./actions.ts";

Deno.test("an action is one number that holds operation and argument", () => {
  const parts = (action: number): number[] => [actionOp(action), actionArgument(action)];
  assertEquals(parts(run(50_000)), [OP_RUN, 50_000]);
  assertEquals(parts(run(0)), [OP_RUN, 0]);
  assertEquals(parts(sleep(2 ** 44 - 1)), [OP_SLEEP, 2 ** 44 - 1]);
  assertEquals(parts(yieldCpu()), [OP_YIELD, 0]);
  assertEquals(parts(block()), [OP_BLOCK, 0]);
  assertEquals(parts(switchTo(1234)), [OP_SWITCHTO, 1234]);
});

Deno.test("an argument that does not fit is refused by its value", () => {
  for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 44]) {
    assertThrows(() => run(bad), RangeError, `Cannot script ${bad}`);
    assertThrows(() => sleep(bad), RangeError);
    assertThrows(() => switchTo(bad), RangeError);
  }
});
