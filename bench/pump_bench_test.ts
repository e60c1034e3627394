import { assert, assertEquals, assertThrows } from "@std/assert";
import { countGarbage, countTrace } from "./pump_bench.ts";

const SCAVENGE = "[26104:0x55f87c842000]     3398 ms: Scavenge 5.3 (6.8) -> 4.4 (6.8) MB, pooled\n";
const MARK_COMPACT = "[26104:0x55f87c842000]     3399 ms: Mark-Compact 4.4 (6.8) -> 4.2 MB\n";
const BAILOUT = "[bailout (kind: deopt-eager, reason: overflow): begin. deoptimizing 0x1 <JSF>]\n";

Deno.test("collections and deoptimisations between the marks are counted, others are not", () => {
  const trace = SCAVENGE + BAILOUT + "WARM\n" + MARK_COMPACT + SCAVENGE + BAILOUT + "DONE\n" +
    SCAVENGE;
  assertEquals(countTrace(trace), { gc_count: 2, deopt_count: 1 });
  assertEquals(countTrace("WARM\n[marking 0x1 for optimization]\nDONE\n"), {
    gc_count: 0,
    deopt_count: 0,
  });
});

Deno.test("a trace without its marks is no proof", () => {
  assertThrows(() => countTrace(SCAVENGE), Error, "no marks");
  assertThrows(() => countTrace("DONE\nWARM\n"), Error, "no marks");
});

Deno.test("the shipped policy's step collects no garbage, whatever the messages", async () => {
  // An object a message would fill the young generation, 1 MB, dozens of times.
  const { gc_count, message_count } = await countGarbage(2_000_000, 2_000_000);
  assertEquals(gc_count, 0);
  assert(message_count >= 2_000_000);
});
