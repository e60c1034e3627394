import { assertEquals, assertInstanceOf } from "@std/assert";
import { UsageError } from "../../lib/errors.ts";
import { abslDurationText, takeBooleans } from "./absl_flags.ts";

Deno.test("durations are written as absl writes them", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [Infinity, "inf"],
    [1, "1ns"],
    [1500, "1.5us"],
    [10_000, "10us"],
    [100_000, "100us"],
    [5_000_000, "5ms"],
    [1_000_001, "1.000001ms"],
    [15e9, "15s"],
    [90e9, "1m30s"],
    [3600e9, "1h"],
    [3723.5e9, "1h2m3.5s"],
  ];
  for (const [ns, text] of cases) assertEquals(abslDurationText(ns), text);
});

Deno.test("boolean flags are taken out, whatever their form, and the last one counts", () => {
  const take = (...args: string[]): [string[], readonly string[]] => {
    const result = takeBooleans(["ns", "get", "cpu0"], args);
    if (result instanceof UsageError) throw result;
    return [[...result.on], result.rest];
  };
  assertEquals(take("--ns", "--x", "1", "--get=true"), [["ns", "get"], ["--x", "1"]]);
  assertEquals(take("--ns", "--nons"), [[], []]);
  assertEquals(take("--cpu0", "--x"), [["cpu0"], ["--x"]]);
  assertEquals(take("--ns", "", "--x", ""), [["ns"], ["--x", ""]]);
  assertEquals(take("--get=false", "--ns=0"), [[], []]);
  assertEquals(take("--note", "--nsx"), [[], ["--note", "--nsx"]]);
  assertInstanceOf(takeBooleans(["ns"], ["--ns=2"]), UsageError);
  assertInstanceOf(takeBooleans(["ns"], ["--nons=true"]), UsageError);
});
