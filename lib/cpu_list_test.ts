import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { CLEAR_COUNT_WORD, DONE_WORD, STARTED_WORD } from "../tests/workers/shared_words_worker.ts";
import { startJob, untilWord } from "../tests/workers/start_job.ts";
import { AtomicCpuMap, CpuList, parseCpuMask, parseCpuStr } from "./cpu_list.ts";
import { UsageError } from "./errors.ts";
import { MAX_CPU_COUNT } from "./limits.ts";

const CPUS = [5, 20, 87, 94, 100];
const OTHER_CPUS = [5, 10, 60, 80, 87, 90, 101, 110];

function atomicMap(): AtomicCpuMap {
  return new AtomicCpuMap(HARDWARE_MEMORY, new Int32Array(new SharedArrayBuffer(64)));
}

function parsed(text: string): string {
  const list = parseCpuStr(text, 112);
  return list instanceof UsageError ? list.message : `${list}`;
}

Deno.test("topology_test BitmapSet: CPUs are set, found in order and cleared by number", () => {
  const list = new CpuList();
  for (const cpu of CPUS) list.set(cpu);
  for (let cpu = 0; cpu < MAX_CPU_COUNT; cpu++) assertEquals(list.isSet(cpu), CPUS.includes(cpu));
  assertEquals(list.size, CPUS.length);
  assertEquals(CPUS.map((_, n) => list.nthCpu(n)), CPUS);
  for (const [i, cpu] of CPUS.entries()) {
    list.clear(cpu);
    assertEquals(list.nthCpu(0), CPUS[i + 1] ?? -1);
  }
  assertEquals(list.size, 0);
});

Deno.test("topology_test Intersection: only what both sets hold is left", () => {
  const list = CpuList.from(CPUS).intersection(CpuList.from(OTHER_CPUS));
  assertEquals(list.toIntVector(), [5, 87]);
});

Deno.test("topology_test Union: what either set holds, in place and as a new set", () => {
  const expected = [5, 10, 20, 60, 80, 87, 90, 94, 100, 101, 110];
  const list = CpuList.from(CPUS);
  assertEquals(list.plus(CpuList.from(OTHER_CPUS)).toIntVector(), expected);
  assertEquals(list.toIntVector(), CPUS, "plus leaves its operand alone");
  assertEquals(list.union(CpuList.from(OTHER_CPUS)).toIntVector(), expected);
  assertEquals(list.toIntVector(), expected);
});

Deno.test("topology_test Subtract: what only the first holds, in place and as a new set", () => {
  const list = CpuList.from([1, 3, 5, 20, 87, 94, 100]);
  const other = CpuList.from([0, 5, 10, 60, 94]);
  const expected = [1, 3, 20, 87, 100];
  assertEquals(list.minus(other).toIntVector(), expected);
  assert(list.isSet(5), "minus leaves its operand alone");
  assertEquals(list.subtract(other).toIntVector(), expected);
  assert(!list.isSet(5));
});

Deno.test("topology_test CpuMaskStr: the mask is printed as the kernel reads it", () => {
  const cases: [string, string][] = [
    ["1-5,20,87,94,100", "10,40800000,00000000,0010003e"],
    ["0-3,16", "1000f"],
    ["4-7,31,105", "200,00000000,00000000,800000f0"],
    ["0-32", "1,ffffffff"],
    ["0,5,10,15,16,21,26,31", "84218421"],
    ["0,5,10,15,16,21,26,31,32", "1,84218421"],
    ["", "0"],
    ["0", "1"],
    ["32", "1,00000000"],
  ];
  for (const [text, expected] of cases) {
    const list = parseCpuStr(text, 112);
    assert(list instanceof CpuList);
    assertEquals(list.cpuMaskStr(), expected);
  }
  assertEquals(CpuList.from([511]).cpuMaskStr(), `80000000${",00000000".repeat(15)}`);
});

Deno.test("topology_test ParseCpuStr: lists, ranges, repeats and overlaps are read", () => {
  const cases: [string, string][] = [
    ["", ""],
    ["2", "2"],
    ["3,5,6,7", "3,5-7"],
    ["2-8", "2-8"],
    ["2-8,11-12", "2-8,11-12"],
    ["0-3,6,10-12,14", "0-3,6,10-12,14"],
    ["2,3,2", "2-3"],
    ["0-5,3,4", "0-5"],
    ["0-5,3-7", "0-7"],
  ];
  for (const [text, expected] of cases) assertEquals(parsed(text), expected);
});

Deno.test("cpu list: white space is accepted exactly where upstream accepts it", () => {
  assertEquals(parsed("0-3,6\n"), "0-3,6");
  assertEquals(parsed("0-3\n"), "0-3");
  assertEquals(parsed("\n"), "");
  assertEquals(parsed("1,\n"), "1");
  assertEquals(parsed(" 4 ,\t5\n"), "4-5");
  assertEquals(parsed("+4"), "4");
  assertEquals(parsed("4,"), "4", "a last comma ends the last field");
  for (const text of [" 0-3", "0-3 ", "0 -3", "0- 3", "0-3\n\n", " ", " \n"]) {
    assert(parsed(text).startsWith(`bad field ${JSON.stringify(text)}`), parsed(text));
  }
});

Deno.test("cpu list: a bad field is named, with the cure, in one line", () => {
  for (const field of ["x", "", "1-", "-", "1-2-3", "0x10", "1.5", "99999999999", "--1", "1:2"]) {
    const text = `0,${field},2`;
    const message = parsed(text);
    assert(message.startsWith(`bad field ${JSON.stringify(field)} in CPU list`), message);
    assert(message.endsWith("such as 0-3,6") && !message.includes("\n"), message);
  }
});

Deno.test("cpu list: CPUs out of range and ranges that run backwards are refused", () => {
  assertEquals(parsed("111"), "111");
  assertEquals(
    parsed("112"),
    'CPU out of range in field "112" of CPU list "112"; CPUs go from 0 to 111',
  );
  for (const text of ["0-112", "-1", "2147483647"]) {
    assert(parsed(text).startsWith("CPU out of range"), parsed(text));
  }
  assert(parsed("5-3").startsWith("range runs backwards"), parsed("5-3"));
  const error = parseCpuStr("600", 1024);
  assertInstanceOf(error, UsageError);
  assertEquals(error.exit_status, 2);
});

Deno.test("cpu list: printing gives the kernel's list format and parses back", () => {
  for (const text of ["", "0", "0-3,6", "1,3,5-6", "31-32,63-64", "0-511", "511"]) {
    const list = parseCpuStr(text, MAX_CPU_COUNT);
    assert(list instanceof CpuList);
    assertEquals(`${list}`, text);
    const mask = parseCpuMask(`${list.cpuMaskStr()}\n`);
    assert(mask instanceof CpuList && mask.equals(list), text);
  }
});

Deno.test("cpu list: a bad mask is refused", () => {
  for (const text of ["", "hello", "1,", "123456789", "0x1", "-1"]) {
    const error = parseCpuMask(text);
    assertInstanceOf(error, UsageError);
    assert(error.message.startsWith("bad group"), error.message);
  }
  const wide = parseCpuMask(`1${",00000000".repeat(16)}`);
  assertInstanceOf(wide, UsageError);
  assert(wide.message.startsWith("CPU out of range"), wide.message);
  assert(parseCpuMask(`0${",00000000".repeat(16)}`) instanceof CpuList);
});

Deno.test("cpu list: first, last and nth CPU, and the walk that allocates nothing", () => {
  const list = CpuList.from([0, 31, 32, 63, 64, 511]);
  assertEquals([list.front(), list.back()], [0, 511]);
  assertEquals([0, 1, 2, 5, 6].map((n) => list.nthCpu(n)), [0, 31, 32, 511, -1]);
  const walked: number[] = [];
  for (let cpu = list.next(0); cpu >= 0; cpu = list.next(cpu + 1)) walked.push(cpu);
  assertEquals(walked, [0, 31, 32, 63, 64, 511]);
  assertEquals([list.next(33), list.next(512), new CpuList().next(0)], [63, -1, -1]);
  assertEquals([new CpuList().front(), new CpuList().back()], [-1, -1]);
});

Deno.test("cpu list: equality, subsets, copies", () => {
  const list = CpuList.from(CPUS);
  const copy = list.clone();
  assert(copy.equals(list) && copy.isSubsetOf(list));
  copy.clear(5);
  assert(!copy.equals(list) && copy.isSubsetOf(list) && !list.isSubsetOf(copy));
  assert(copy.copyFrom(list).equals(list));
  assert(new CpuList().isSubsetOf(list));
});

Deno.test("cpu list: a number that is no CPU cannot be set, and is never found", () => {
  const list = new CpuList();
  for (const cpu of [-1, 512, 1.5, NaN]) {
    assertThrows(() => list.set(cpu), RangeError, "outside 0-511");
    assertThrows(() => list.clear(cpu), RangeError, "outside 0-511");
    assertThrows(() => atomicMap().testAndClear(cpu), RangeError, "outside 0-511");
    assert(!list.isSet(cpu));
  }
  assertThrows(() => new CpuList(new Int32Array(8)), RangeError, "16 words");
});

Deno.test("topology_test CpuMapEmpty: the set is empty exactly while no CPU is in it", () => {
  const list = new CpuList();
  assert(list.isEmpty());
  list.set(0);
  assert(!list.isEmpty());
  list.clear(0);
  assert(list.isEmpty());
  list.set(MAX_CPU_COUNT - 1);
  assert(!list.isEmpty());
  list.clear(MAX_CPU_COUNT - 1);
  assert(list.isEmpty());
});

Deno.test("topology_test WrappedCpuListTest: set and wrapped 64-bit words are the same", () => {
  const slots = new BigUint64Array(8);
  const list = new CpuList(new Int32Array(slots.buffer));
  for (let slot = 0; slot < slots.length; slot++) {
    const cpu = slot * 64 + 2;
    list.set(cpu);
    assertEquals([list.size, list.isSet(cpu), slots[slot]], [1, true, 1n << 2n]);
    list.clear(cpu);
    assertEquals([list.isEmpty(), list.isSet(cpu), slots[slot]], [true, false, 0n]);
    slots[slot] = 1n << 3n;
    assertEquals([list.size, list.isSet(cpu + 1)], [1, true]);
    slots[slot] = 0n;
    assert(list.isEmpty() && !list.isSet(cpu + 1));
  }
  const plain = new CpuList();
  for (let cpu = 0; cpu < 112; cpu += 5) {
    list.set(cpu);
    plain.set(cpu);
  }
  assert(list.equals(plain) && plain.equals(list));
  list.clear(111);
  plain.set(111);
  assert(!list.equals(plain) && !plain.equals(list));
  assertThrows(() => new CpuList(new Int32Array(slots.buffer, 0, 14)), RangeError, "16 words");
});

Deno.test("topology_test AtomicBitmapSet: CPUs of an atomic map are set and cleared", () => {
  const map = atomicMap();
  for (const cpu of CPUS) map.set(cpu);
  for (let cpu = 0; cpu < MAX_CPU_COUNT; cpu++) assertEquals(map.isSet(cpu), CPUS.includes(cpu));
  assertEquals(map.size, CPUS.length);
  for (const cpu of CPUS) {
    map.clear(cpu);
    assert(!map.isSet(cpu));
  }
  assertEquals(map.size, 0);
});

Deno.test("topology_test AtomicIterator: a loop by hand visits the map's CPUs in order", () => {
  const map = atomicMap();
  for (const cpu of CPUS) map.set(cpu);
  const iterator = map[Symbol.iterator]();
  for (const cpu of CPUS) assertEquals(iterator.next(), { done: false, value: cpu });
  assertEquals(iterator.next().done, true);
});

Deno.test("topology_test AtomicIteratorRange: a for loop visits the map's CPUs in order", () => {
  const map = atomicMap();
  for (const cpu of CPUS) map.set(cpu);
  const visited: number[] = [];
  for (const cpu of map) visited.push(cpu);
  assertEquals(visited, CPUS);
});

Deno.test("topology_test AtomicTestAndClear: one of the racing threads clears", async () => {
  const buffer = new SharedArrayBuffer(128);
  const words = new Int32Array(buffer);
  const map = new AtomicCpuMap(HARDWARE_MEMORY, words.subarray(0, 16));
  const target = 0;
  const neighbour = 1;
  for (let cpu = 2; cpu < 112; cpu++) map.set(cpu);
  const threads = Array.from(
    { length: 5 },
    () => startJob({ action: "test_and_clear", buffer, value: target }),
  );
  await untilWord(words, STARTED_WORD, threads.length);
  const round_count = 50;
  for (let i = 0; i < round_count; i++) {
    map.set(target);
    // A neighbour in the same word must not get lost while others change it.
    do {
      map.set(neighbour);
      assert(map.isSet(neighbour));
      assert(map.testAndClear(neighbour));
    } while (map.isSet(target));
  }
  Atomics.store(words, DONE_WORD, 1);
  await Promise.all(threads);
  assertEquals(words[CLEAR_COUNT_WORD], round_count);
  assertEquals(map.size, 110);
});
