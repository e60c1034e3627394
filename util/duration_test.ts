import { assertEquals } from "@std/assert";
import { parseDurationNs } from "./duration.ts";

Deno.test("durations have the form of upstream's flags", () => {
  const rows: readonly (readonly [string, number])[] = [
    ["50us", 50_000],
    ["1ns", 1],
    ["1.5ms", 1_500_000],
    [".5s", 500_000_000],
    ["1m30s", 90e9],
    ["2h", 7200e9],
    ["0", 0],
    ["inf", Infinity],
    ["+inf", Infinity],
    ["-inf", -Infinity],
    ["-3us", -3000],
  ];
  for (const [text, expected_ns] of rows) assertEquals(parseDurationNs(text), expected_ns, text);
});

Deno.test("what is no duration is NaN", () => {
  for (const text of ["", "-", "5", "us", "5 us", "5µs", "5us ", "1e3us", "5d", "1.2.3s", "inf2"]) {
    assertEquals(parseDurationNs(text), NaN, text);
  }
});
