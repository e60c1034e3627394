import { assert, assertEquals, assertThrows } from "@std/assert";
import { ManualClock, ProcessClock } from "./clock.ts";

Deno.test("clock: a manual clock moves only when told to, and never back", () => {
  const clock = new ManualClock(5);
  assertEquals(clock.nowNs(), 5);
  clock.advance(7);
  assertEquals(clock.nowNs(), 12);
  assertThrows(() => clock.advance(-1), RangeError, "cannot go back");
  assertThrows(() => clock.advance(NaN), RangeError, "cannot go back");
  assertEquals(clock.nowNs(), 12);
});

Deno.test("clock: the process's clock gives whole nanoseconds that never fall", () => {
  const clock = new ProcessClock();
  let last_ns = clock.nowNs();
  for (let i = 0; i < 1000; i++) {
    const now_ns = clock.nowNs();
    assert(Number.isInteger(now_ns) && now_ns >= last_ns);
    last_ns = now_ns;
  }
});
