import { assertEquals } from "@std/assert";
import { HARDWARE_MEMORY, type Memory } from "../ffi/memory.ts";
import { readBegin, readEnd, tryWriteBegin, writeBegin, writeEnd } from "./seqcount.ts";

const memory = HARDWARE_MEMORY;

Deno.test("a write makes the counter odd, its end makes it even again", () => {
  const words = Int32Array.of(77, 4);
  const begin = writeBegin(memory, words, 1);
  assertEquals([begin, words[1]], [5, 5]);
  writeEnd(memory, words, 1, begin);
  assertEquals([...words], [77, 6]);
});

Deno.test("a second writer is turned away until the first has ended", () => {
  const words = new Int32Array(1);
  const begin = tryWriteBegin(memory, words, 0);
  assertEquals(begin, 1);
  assertEquals(tryWriteBegin(memory, words, 0), 0);
  assertEquals(words[0], 1);
  writeEnd(memory, words, 0, begin);
  assertEquals(tryWriteBegin(memory, words, 0), 3);
});

Deno.test("a writer that loses the race for the counter is turned away", () => {
  const racing: Memory = Object.assign(Object.create(HARDWARE_MEMORY), {
    compareExchange(words: Int32Array, index: number): number {
      return words[index] = 9; // somebody else got there first
    },
  });
  assertEquals(tryWriteBegin(racing, Int32Array.of(8), 0), 0);
});

Deno.test("writeBegin waits for the other writer", () => {
  const words = Int32Array.of(1);
  let pauses = 0;
  const waiting: Memory = Object.assign(Object.create(HARDWARE_MEMORY), {
    pause() {
      if (++pauses === 3) words[0] = 2;
    },
  });
  assertEquals(writeBegin(waiting, words, 0), 3);
  assertEquals(pauses, 3);
});

Deno.test("a read holds if no writer was at work, neither at its begin nor meanwhile", () => {
  const words = Int32Array.of(6);
  const quiet = readBegin(memory, words, 0);
  assertEquals(readEnd(memory, words, 0, quiet), true);
  const write = writeBegin(memory, words, 0);
  assertEquals(readEnd(memory, words, 0, quiet), false);
  const during = readBegin(memory, words, 0);
  assertEquals([during, readEnd(memory, words, 0, during)], [7, false]);
  writeEnd(memory, words, 0, write);
  assertEquals(readEnd(memory, words, 0, quiet), false);
  assertEquals(readEnd(memory, words, 0, during), false);
});

Deno.test("the counter goes through the sign bit and through zero", () => {
  for (const [start, during, end] of [[0x7ffffffe, 0x7fffffff, -0x80000000], [-2, -1, 0]]) {
    const words = Int32Array.of(start);
    const begin = tryWriteBegin(memory, words, 0);
    assertEquals([begin, words[0]], [during, during]);
    writeEnd(memory, words, 0, begin);
    assertEquals(words[0], end);
  }
});
