import { assert, assertEquals } from "@std/assert";
import { formatFigure, TARGETS, verdict } from "./targets.ts";

Deno.test("a goal is reached at its limit, in its own direction", () => {
  assertEquals(verdict("pump_throughput_ratio", 0.6), { wanted: ">= 0.6", text: "ok" });
  assertEquals(verdict("pump_throughput_ratio", 0.54).text, "missed by 10.0 %");
  assertEquals(verdict("demo_rss_mib", 65), { wanted: "<= 65", text: "ok" });
  assertEquals(verdict("demo_rss_mib", 71.5).text, "missed by 10.0 %");
  assertEquals(verdict("pump_gc_count", 0).text, "ok");
  assertEquals(verdict("pump_gc_count", 3).text, "missed by 3");
  assertEquals(verdict("pump_throughput_ratio", NaN).text, "missed by NaN");
});

Deno.test("a figure without a goal is only told", () => {
  assertEquals(verdict("pump_message_ns", 30), { wanted: "", text: "" });
  assertEquals(verdict("toString", 30), { wanted: "", text: "" });
});

Deno.test("figures have four digits, large ones no fraction", () => {
  const values = [0.123456, 1.5, 12.3456, 1_234_567.8, 3, 0, NaN];
  assertEquals(values.map(formatFigure), [
    "0.1235",
    "1.500",
    "12.35",
    "1234568",
    "3",
    "0",
    "NaN",
  ]);
});

Deno.test("every goal names a module that is there", () => {
  for (const { module } of Object.values(TARGETS)) {
    assert(Deno.statSync(new URL(`./${module}_bench.ts`, import.meta.url)).isFile);
  }
});
