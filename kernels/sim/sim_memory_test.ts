import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../lib/invariant.ts";
import { SimMemory } from "./sim_memory.ts";

Deno.test("accesses do what they are called", () => {
  const memory = new SimMemory();
  const words = new Int32Array(4);
  memory.publish(words, 0, 7);
  assertEquals([memory.poll(words, 0), memory.acquire(words, 0)], [7, 7]);
  assertEquals([memory.add(words, 0, 2), words[0]], [7, 9]);
  assertEquals([memory.compareExchange(words, 0, 8, 1), words[0]], [9, 9]);
  assertEquals([memory.compareExchange(words, 0, 9, 1), words[0]], [9, 1]);
  words[1] = 0x7fffffff;
  memory.add(words, 1, 1);
  assertEquals(words[1], -0x80000000);
});

Deno.test("before a word is read afresh the machine may move on, and the read sees it", () => {
  const memory = new SimMemory();
  const words = new Int32Array(1);
  memory.before_read = (which) => {
    assertEquals(which, words);
    words[0]++;
  };
  assertEquals([memory.acquire(words, 0), memory.acquire(words, 0)], [1, 2]);
  assertEquals(memory.poll(words, 0), 2);
});

Deno.test("a loop that waits inside a step is a broken invariant, not a hang", () => {
  const memory = new SimMemory();
  const words = new Int32Array([1]);
  assertThrows(
    () => {
      while (memory.compareExchange(words, 0, 0, 1) !== 0) memory.pause();
    },
    InvariantError,
    "waits in a loop",
  );
});
