import { assert, assertEquals, assertThrows } from "@std/assert";
import { Prng } from "./prng.ts";

/** sfc32 as published, on big integers. */
function oracle(state: Int32Array, count: number): number[] {
  const mask = 0xffffffffn;
  let [a, b, c, counter] = [...state].slice(0, 4).map((word) => BigInt(word) & mask);
  const numbers: number[] = [];
  for (let i = 0; i < count; i++) {
    const result = a + b + counter & mask;
    counter = counter + 1n & mask;
    a = b ^ (b >> 9n);
    b = c + (c << 3n) & mask;
    c = ((c << 21n | c >> 11n) & mask) + result & mask;
    numbers.push(Number(result));
  }
  return numbers;
}

function draw(prng: Prng, count: number): number[] {
  return Array.from({ length: count }, () => prng.nextU32());
}

Deno.test("prng: the numbers are those of sfc32", () => {
  for (const seed of [0, 1, 42, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    const prng = new Prng(seed);
    const expected = oracle(prng.state, 1000);
    assertEquals(draw(prng, 1000), expected);
  }
});

Deno.test("prng: a seed gives the same numbers on every machine", () => {
  assertEquals(draw(new Prng(1), 4), [3694751439, 2341325795, 166292243, 2663967815]);
  assertEquals(draw(new Prng(1).fork("faults"), 4), [
    3683468528,
    3326285129,
    1705161703,
    220615596,
  ]);
});

Deno.test("prng: seeds that differ in any word give different numbers", () => {
  const first = new Set([0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 52].map((s) => new Prng(s).nextU32()));
  assertEquals(first.size, 6);
});

Deno.test("prng: a bad seed is refused", () => {
  for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
    assertThrows(() => new Prng(seed), RangeError, "bad seed");
  }
});

Deno.test("prng: below stays in range and is even", () => {
  const prng = new Prng(7);
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60000; i++) counts[prng.below(6)]++;
  for (const count of counts) assert(Math.abs(count - 10000) < 500, counts.join());
  for (let i = 0; i < 1000; i++) {
    assertEquals(prng.below(1), 0);
    assert(prng.below(2 ** 32) < 2 ** 32);
    const wide = prng.below(3 * 2 ** 40);
    assert(Number.isInteger(wide) && wide >= 0 && wide < 3 * 2 ** 40);
  }
});

Deno.test("prng: below has no bias where 2^32 is no multiple of n", () => {
  // A plain remainder would give the lower third of this range two times in three.
  const n = 3 * 2 ** 30;
  const prng = new Prng(11);
  let low_count = 0;
  for (let i = 0; i < 30000; i++) if (prng.below(n) < 2 ** 30) low_count++;
  assert(Math.abs(low_count - 10000) < 500, `${low_count}`);
});

Deno.test("prng: below refuses what is not a count", () => {
  for (const n of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => new Prng(1).below(n), RangeError, "below(");
  }
});

Deno.test("prng: chance is never for 0, always for 1, and a quarter for 1/4", () => {
  const prng = new Prng(3);
  let hit_count = 0;
  for (let i = 0; i < 40000; i++) {
    assertEquals(prng.chance(0, 5), false);
    assertEquals(prng.chance(5, 5), true);
    if (prng.chance(1, 4)) hit_count++;
  }
  assert(Math.abs(hit_count - 10000) < 500, `${hit_count}`);
});

Deno.test("prng: exponential has its mean, its median and its tail", () => {
  const prng = new Prng(5);
  const mean_ns = 1e6;
  const samples = Array.from({ length: 40000 }, () => prng.exponential(mean_ns));
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  assert(Math.abs(mean / mean_ns - 1) < 0.02, `mean ${mean}`);
  const shareAbove = (x: number): number => samples.filter((s) => s > x).length / samples.length;
  assert(Math.abs(shareAbove(0.693147 * mean_ns) - 0.5) < 0.01, "median");
  assert(Math.abs(shareAbove(3 * mean_ns) - 0.0498) < 0.005, "tail");
  assert(samples.every((s) => Number.isInteger(s) && s >= 0));
});

Deno.test("prng: a branch depends on seed and label, not on earlier draws", () => {
  const early = new Prng(9).fork("load");
  const parent = new Prng(9);
  draw(parent, 100);
  assertEquals(draw(parent.fork("load"), 8), draw(early, 8));
});

Deno.test("prng: branches of other labels, other seeds and other depth differ", () => {
  const root = new Prng(9);
  const branches = [
    root,
    root.fork("a"),
    root.fork("b"),
    root.fork(""),
    root.fork("a").fork("a"),
    new Prng(10).fork("a"),
    new Prng(2 ** 32 + 9).fork("a"),
  ];
  assertEquals(new Set(branches.map((prng) => prng.nextU32())).size, branches.length);
});

Deno.test("prng: a restored state repeats numbers and branches", () => {
  const prng = new Prng(21);
  draw(prng, 17);
  const state = prng.state;
  const expected = draw(prng, 10);
  const other = new Prng(0);
  other.state = state;
  assertEquals(draw(other, 10), expected);
  assertEquals(other.fork("x").nextU32(), prng.fork("x").nextU32());
  assertThrows(() => other.state = new Int32Array(4), RangeError, "6 words");
});
