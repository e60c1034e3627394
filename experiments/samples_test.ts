import { assertEquals, assertThrows } from "@std/assert";
import { Samples } from "./samples.ts";

function of(...values: number[]): Samples {
  const samples = new Samples();
  for (const value of values) samples.add(value);
  return samples;
}

Deno.test("percentiles are exact samples by nearest rank, in whatever order they came", () => {
  const samples = of(50, 20, 15, 40, 35);
  assertEquals(
    [5, 20, 30, 40, 50, 100].map((percent) => samples.percentile(percent)),
    [15, 15, 20, 20, 35, 50],
  );
});

Deno.test("p99 of 100 samples is the 99th, of 101 samples the 100th", () => {
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => count - i);
  assertEquals(of(...upTo(100)).percentile(99), 99);
  assertEquals(of(...upTo(101)).percentile(99), 100);
});

Deno.test("one sample is every percentile", () => {
  const samples = of(7);
  assertEquals([1, 50, 99, 100].map((percent) => samples.percentile(percent)), [7, 7, 7, 7]);
});

Deno.test("without samples there is no percentile, and clear forgets them", () => {
  const samples = of(1, 2, 3);
  samples.clear();
  assertEquals(samples.count, 0);
  assertEquals(samples.percentile(50), NaN);
});

Deno.test("samples beyond the first room and after a percentile count", () => {
  const samples = new Samples();
  for (let value = 1000; value > 0; value--) samples.add(value);
  assertEquals(samples.percentile(100), 1000);
  samples.add(5000);
  assertEquals(samples.count, 1001);
  assertEquals(samples.percentile(100), 5000);
  assertEquals(samples.percentile(50), 501);
});

Deno.test("a percentile outside 0 to 100 is refused", () => {
  for (const percent of [0, -1, 100.1, NaN]) {
    assertThrows(() => of(1).percentile(percent), RangeError, "percentile");
  }
});
