import { assertEquals } from "@std/assert";
import { countText, durationText, tableText } from "./table.ts";

Deno.test("a table aligns names left and numbers right under heads that end at the rule", () => {
  const columns = [
    { head: "name", is_left: true },
    { head: "wake-up\np50", is_left: false },
  ];
  const expected = [
    "       wake-up",
    "name       p50",
    "-----  -------",
    "a            1",
    "bcdef    1,000",
    "",
  ];
  assertEquals(tableText(columns, [["a", "1"], ["bcdef", "1,000"]]), expected.join("\n"));
});

Deno.test("a table without rows is its heads and the rule", () => {
  assertEquals(tableText([{ head: "a", is_left: true }], []), "a\n-\n");
});

Deno.test("whole numbers have their thousands apart", () => {
  const counts = [0, 999, 1000, 12345, 1234567];
  assertEquals(counts.map(countText), ["0", "999", "1,000", "12,345", "1,234,567"]);
});

Deno.test("durations have the unit that suits them", () => {
  const ns = [0, 888, 999.6, 1613, 10_055_628, 501_725_075, 3_000_000_000];
  assertEquals(ns.map(durationText), [
    "0 ns",
    "888 ns",
    "1000 ns",
    "1.6 us",
    "10.06 ms",
    "501.73 ms",
    "3.00 s",
  ]);
});

Deno.test("a duration that was never measured is a dash", () => {
  assertEquals(durationText(NaN), "-");
});
