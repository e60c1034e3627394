import { assertEquals, assertGreater, assertStrictEquals } from "@std/assert";
import { buildLibrary } from "./build.ts";
import {
  chooseFence,
  chooseMemory,
  HARDWARE_MEMORY,
  HardwareMemory,
  type Memory,
  orderFence,
  seqlockReadBegin,
  seqlockReadRetry,
  seqlockWriteBegin,
  seqlockWriteEnd,
  storeU64,
  u64At,
} from "./memory.ts";
import { bufferAt, loadShim } from "./shim.ts";
import { MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE } from "./linux.ts";

const [PRODUCE, PRODUCE_WRONG, CONSUME, COUNT, SEQ_WRITE, SEQ_READ] = [0, 1, 2, 3, 4, 5];
const TAIL = 16;
const RING = 32;
const SLOTS = 64;
const SLOT_WORDS = 8;
const SEQ_DATA = 16;
const REGION_BYTES = 4096;

const NATIVE_DIR = decodeURIComponent(new URL("../native", import.meta.url).pathname);
const { symbols: { litmus_start, litmus_join } } = Deno.dlopen(
  buildLibrary({
    source_dir: NATIVE_DIR,
    sources: ["litmus.c"],
    headers: ["shim.h"],
    out: `${NATIVE_DIR}/build/libghost_litmus.so`,
  }),
  {
    litmus_start: { parameters: ["i32", "f64", "i32"], result: "f64" },
    // Nonblocking: the thread may need this one to go on before it can end.
    litmus_join: { parameters: ["f64", "i32"], result: "i32", nonblocking: true },
  },
);
const { mmap, munmap, schedYield, fenceFull, clockMonotonicNs } = loadShim();

/** The accessor of this machine, and the one that is right on every machine. */
const ACCESSORS: readonly Memory[] = [HARDWARE_MEMORY, new HardwareMemory()];

/** For a C thread that goes on until it is told to stop. */
const ENDLESS = 0x7fffffff;

/**
 * Runs `body` on a fresh mapping beside a C thread that does `rounds` rounds. Returns the errors
 * that the thread counted.
 */
async function beside(
  kind: number,
  rounds: number,
  body: (words: Int32Array, memory: Memory) => void,
  memory = HARDWARE_MEMORY,
): Promise<number> {
  const prot = PROT_READ | PROT_WRITE;
  const address = mmap(0, REGION_BYTES, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assertGreater(address, 0);
  const handle = litmus_start(kind, address, rounds);
  assertGreater(handle, 0);
  let stop = 1;
  let errors = -1;
  try {
    body(new Int32Array(bufferAt(address, REGION_BYTES)), memory);
    stop = rounds === ENDLESS ? 1 : 0;
  } finally {
    errors = await litmus_join(handle, stop);
    assertEquals(munmap(address, REGION_BYTES), 0);
  }
  return errors;
}

/** Time for the C thread in the middle of a change, also when it runs on the same CPU. */
function pauseForOther(n: number): void {
  if (n % 100 === 0) schedYield();
  else fenceFull();
}

/** Receives `rounds` messages as a channel does; returns the payload words that were wrong. */
function receive(words: Int32Array, memory: Memory, rounds: number): number {
  let errors = 0;
  let tail = 0;
  for (let turn = 0; tail < rounds; turn++) {
    if (memory.poll(words, 0) === tail) {
      if (turn % 1000 === 999) schedYield();
      continue;
    }
    const head = memory.acquire(words, 0);
    for (; tail !== head; tail++) {
      const slot = RING + tail % SLOTS * SLOT_WORDS;
      for (let k = 0; k < SLOT_WORDS; k++) {
        if (words[slot + k] !== tail * SLOT_WORDS + k) errors++;
      }
    }
    memory.publish(words, TAIL, tail);
  }
  return errors;
}

/** Sends `rounds` messages; `publish_first` is the bug that the C side must notice. */
function send(
  words: Int32Array,
  memory: Memory,
  rounds: number,
  publish_first: boolean,
): void {
  for (let n = 0; n < rounds; n++) {
    for (let turn = 0; n - memory.acquire(words, TAIL) >= SLOTS; turn++) {
      if (turn % 1000 === 999) schedYield();
    }
    if (publish_first) {
      memory.publish(words, 0, n + 1);
      pauseForOther(n);
    }
    const slot = RING + n % SLOTS * SLOT_WORDS;
    for (let k = 0; k < SLOT_WORDS; k++) words[slot + k] = n * SLOT_WORDS + k;
    if (!publish_first) memory.publish(words, 0, n + 1);
  }
}

Deno.test("messages of a C producer are complete once their head is acquired", async () => {
  const rounds = 300_000;
  for (const memory of ACCESSORS) {
    let errors = -1;
    await beside(PRODUCE, rounds, (words) => errors = receive(words, memory, rounds));
    assertEquals(errors, 0);
  }
});

Deno.test("the receiver notices a producer that publishes before it writes", async () => {
  const rounds = 20_000;
  let errors = -1;
  await beside(PRODUCE_WRONG, rounds, (words, memory) => errors = receive(words, memory, rounds));
  assertGreater(errors, 0);
});

Deno.test("a C consumer finds complete what was published here", async () => {
  const rounds = 300_000;
  for (const memory of ACCESSORS) {
    const errors = await beside(CONSUME, rounds, (words) => send(words, memory, rounds, false));
    assertEquals(errors, 0);
  }
});

Deno.test("a C consumer notices a publish before the write", async () => {
  const rounds = 20_000;
  const errors = await beside(
    CONSUME,
    rounds,
    (words, memory) => send(words, memory, rounds, true),
  );
  assertGreater(errors, 0);
});

/** Reads the word twice, 10,000 times; returns how often the two readings differed. */
function plainPairs(words: Int32Array, memory: Memory): number {
  let differing = 0;
  for (let n = 0; n < 10_000; n++) {
    if (memory.poll(words, 0) !== memory.poll(words, 0)) differing++;
  }
  return differing;
}

/** The same with an acquire for both readings; no common code, so that each is inlined. */
function acquirePairs(words: Int32Array, memory: Memory): number {
  let differing = 0;
  for (let n = 0; n < 10_000; n++) {
    if (memory.acquire(words, 0) !== memory.acquire(words, 0)) differing++;
  }
  return differing;
}

/** Plain readings with an acquire of another word between them. */
function pairsAcrossAcquire(words: Int32Array, memory: Memory): number {
  let differing = 0;
  for (let n = 0; n < 10_000; n++) {
    const first = memory.poll(words, 0);
    memory.acquire(words, TAIL);
    if (first !== memory.poll(words, 0)) differing++;
  }
  return differing;
}

/** Plain readings with a fence between them. */
function pairsAcrossFence(words: Int32Array, memory: Memory): number {
  let differing = 0;
  for (let n = 0; n < 10_000; n++) {
    const first = memory.poll(words, 0);
    orderFence();
    if (first !== memory.poll(words, 0)) differing++;
  }
  return differing;
}

/** Sums up `pairs` for 100 ms. */
function sumPairs(pairs: () => number): number {
  let sum = 0;
  for (const end_ns = clockMonotonicNs() + 1e8; clockMonotonicNs() < end_ns;) sum += pairs();
  return sum;
}

Deno.test("a plain re-read is merged with the first read, but not across an acquire", async () => {
  let plain = -1;
  const apart: Record<string, number> = {};
  await beside(COUNT, ENDLESS, (words, memory) => {
    // The interpreter merges nothing: the first windows warm the loop up.
    for (let window = 0; window < 6 && plain !== 0; window++) {
      plain = sumPairs(() => plainPairs(words, memory));
    }
    const all = { acquirePairs, pairsAcrossAcquire, pairsAcrossFence };
    for (const [name, pairs] of Object.entries(all)) {
      for (let window = 0; window < 4; window++) apart[name] = sumPairs(() => pairs(words, memory));
    }
  });
  assertEquals(plain, 0, "V8 no longer merges plain re-reads; revise the rules in memory.ts");
  for (const [name, differing] of Object.entries(apart)) assertGreater(differing, 0, name);
});

/** Reads under the seqlock for 200 ms. Returns [consistent reads, torn ones among them]. */
function readSeqlock(words: Int32Array, check_retry: boolean): [number, number] {
  let consistent = 0;
  let torn = 0;
  const end_ns = clockMonotonicNs() + 2e8;
  while (clockMonotonicNs() < end_ns) {
    for (let n = 0; n < 1000; n++) {
      const begin = seqlockReadBegin(HARDWARE_MEMORY, words, 0);
      const first = words[SEQ_DATA];
      let same = true;
      for (let k = 1; k < SLOT_WORDS; k++) same = same && words[SEQ_DATA + k] === first;
      if (check_retry && seqlockReadRetry(HARDWARE_MEMORY, words, 0, begin)) continue;
      consistent++;
      if (!same) torn++;
    }
  }
  return [consistent, torn];
}

Deno.test("a seqlock read that needs no retry is never torn", async () => {
  let result = [0, -1];
  await beside(SEQ_WRITE, ENDLESS, (words) => result = readSeqlock(words, true));
  assertGreater(result[0], 0);
  assertEquals(result[1], 0);
});

Deno.test("without the retry the same reads are torn", async () => {
  let result = [0, 0];
  await beside(SEQ_WRITE, ENDLESS, (words) => result = readSeqlock(words, false));
  assertGreater(result[1], 0);
});

/** Writes data for 200 ms, inside the seqlock or past it. */
function writeSeqlock(words: Int32Array, memory: Memory, locked: boolean): void {
  const end_ns = clockMonotonicNs() + 2e8;
  for (let n = 0; n % 1000 !== 0 || clockMonotonicNs() < end_ns; n++) {
    if (locked) seqlockWriteBegin(memory, words, 0);
    words[SEQ_DATA] = n;
    pauseForOther(n);
    for (let k = 1; k < SLOT_WORDS; k++) words[SEQ_DATA + k] = n;
    if (locked) seqlockWriteEnd(memory, words, 0);
  }
}

Deno.test("a C reader never sees a torn write under our seqlock", async () => {
  const errors = await beside(
    SEQ_READ,
    ENDLESS,
    (words, memory) => writeSeqlock(words, memory, true),
  );
  assertEquals(errors, 0);
});

Deno.test("a C reader sees torn writes past the seqlock", async () => {
  const errors = await beside(
    SEQ_READ,
    ENDLESS,
    (words, memory) => writeSeqlock(words, memory, false),
  );
  assertGreater(errors, 0);
});

Deno.test("a seqlock read retries while a writer is at work and after it", () => {
  const words = new Int32Array(1);
  const before = seqlockReadBegin(HARDWARE_MEMORY, words, 0);
  assertEquals(seqlockReadRetry(HARDWARE_MEMORY, words, 0, before), false);
  seqlockWriteBegin(HARDWARE_MEMORY, words, 0);
  const during = seqlockReadBegin(HARDWARE_MEMORY, words, 0);
  assertEquals(during, 1);
  assertEquals(seqlockReadRetry(HARDWARE_MEMORY, words, 0, during), true);
  seqlockWriteEnd(HARDWARE_MEMORY, words, 0);
  assertEquals(words[0], 2);
  assertEquals(seqlockReadRetry(HARDWARE_MEMORY, words, 0, before), true);
});

Deno.test("the seqlock's check reads again by acquire, a poll may still be old", () => {
  const words = Int32Array.of(4);
  const stale: Memory = Object.assign(Object.create(HARDWARE_MEMORY), { poll: () => 2 });
  assertEquals(seqlockReadRetry(stale, words, 0, 2), true);
  assertEquals(seqlockReadBegin(stale, words, 0), 4);
});

Deno.test("the sequence number of a seqlock wraps around", () => {
  const words = Int32Array.of(0x7fffffff - 1);
  seqlockWriteBegin(HARDWARE_MEMORY, words, 0);
  seqlockWriteEnd(HARDWARE_MEMORY, words, 0);
  assertEquals(words[0], -2147483648);
});

Deno.test("only x86-64 does without atomic loads", () => {
  assertEquals(chooseMemory("x86_64").constructor === HardwareMemory, false);
  assertStrictEquals(chooseMemory("aarch64").constructor, HardwareMemory);
});

Deno.test("x86-64 needs no fence, arm64 takes the shim's or an atomic of its own", () => {
  let calls = 0;
  const native = () => {
    calls++;
  };
  chooseFence("x86_64", native)();
  assertEquals(calls, 0);
  assertStrictEquals(chooseFence("aarch64", native), native);
  chooseFence("aarch64", undefined)();
});

Deno.test("u64At and storeU64 are exact up to 2^53", () => {
  const words = new Int32Array(2);
  for (const value of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 1.5e18 % 2 ** 53, 2 ** 53 - 1]) {
    storeU64(words, 0, value);
    assertEquals(u64At(words, 0), value);
  }
});
