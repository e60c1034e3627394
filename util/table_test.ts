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

Deno.test("durations have three digits and the unit that suits them", () => {
  const rows: readonly (readonly [ns: number, text: string])[] = [
    [0, "0 ns"],
    [888, "888 ns"],
    [999.6, "1000 ns"],
    [1_613, "1.61 us"],
    [9_994, "9.99 us"],
    [9_996, "10.0 us"],
    [99_960, "100 us"],
    [10_055_628, "10.1 ms"],
    [501_725_075, "502 ms"],
    [3_000_000_000, "3.00 s"],
    [600_000_000_000, "600 s"],
  ];
  for (const [ns, text] of rows) assertEquals(durationText(ns), text);
});

Deno.test("a duration that was never measured is a dash", () => {
  assertEquals(durationText(NaN), "-");
});
