import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  GHOST_MAX_QUEUE_ELEMS,
  MSG_NOP,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
} from "../../ffi/abi/constants.ts";
import { SimQueue, validElemCount } from "./producer_ring.ts";

const RING = 16;

function message(slot_count: number, seqnum: number): Int32Array {
  return new Int32Array(slot_count * 2).fill(seqnum).with(0, 66 | ((slot_count * 8) << 16));
}

function ringWord(queue: SimQueue, word: number): number {
  return queue.words[RING + word];
}

/** Takes slots as a consumer that has read them. */
function giveBack(queue: SimQueue, slot_count: number): void {
  queue.words[RING + RING_TAIL_WORD] = (ringWord(queue, RING_TAIL_WORD) + slot_count) | 0;
}

Deno.test("a queue is laid out as the ABI says", () => {
  const queue = new SimQueue(7, 32);
  assertEquals(queue.words[QUEUE_START_WORD], 64);
  assertEquals(queue.words[QUEUE_NELEMS_WORD], 32);
  assertEquals(queue.words.byteLength % 4096, 0);
  assert(queue.words.byteLength >= 76 + 32 * 8);
  assert(queue.isEmpty());
});

Deno.test("a message is in its slots before the head moves over them", () => {
  const queue = new SimQueue(7, 32);
  assert(queue.produce(message(3, 5), 24));
  assertEquals(ringWord(queue, RING_HEAD_WORD), 3);
  assertEquals([...queue.words.subarray(RING + 3, RING + 9)], [66 | (24 << 16), 5, 5, 5, 5, 5]);
  assertFalse(queue.isEmpty());
});

Deno.test("a message that would wrap stands at the start, behind a filler to the end", () => {
  const queue = new SimQueue(7, 8);
  for (const slot_count of [3, 3]) assert(queue.produce(message(slot_count, 1), slot_count * 8));
  giveBack(queue, 6);
  assert(queue.produce(message(3, 9), 24));
  const filler = queue.words[RING + RING_MSGS_WORD + 12];
  assertEquals([filler & 0xffff, filler >>> 16], [MSG_NOP, 16]);
  assertEquals(queue.words[RING + RING_MSGS_WORD + 1], 9);
  assertEquals(ringWord(queue, RING_HEAD_WORD), 11);
});

Deno.test("a message that ends with the ring needs no filler", () => {
  const queue = new SimQueue(7, 8);
  assert(queue.produce(message(5, 1), 40));
  giveBack(queue, 5);
  assert(queue.produce(message(3, 2), 24));
  assertEquals(ringWord(queue, RING_HEAD_WORD), 8);
});

Deno.test("what does not fit is dropped and counted, and changes nothing else", () => {
  const queue = new SimQueue(7, 8);
  for (let count = 0; count < 4; count++) assert(queue.produce(message(2, count), 16));
  const before = queue.words.slice();
  assertFalse(queue.produce(message(2, 9), 16));
  assertFalse(queue.produce(message(1, 9), 8));
  before[RING + RING_OVERFLOW_WORD] = 2;
  assertEquals(queue.words, before);
  giveBack(queue, 2);
  assert(queue.produce(message(2, 9), 16));
});

Deno.test("a filler needs room too", () => {
  const queue = new SimQueue(7, 8);
  for (const slot_count of [3, 3]) assert(queue.produce(message(slot_count, 1), slot_count * 8));
  giveBack(queue, 2);
  assertFalse(queue.produce(message(3, 2), 24), "four slots are free, five are needed");
  giveBack(queue, 1);
  // Five slots are free; three for the message and two for the filler are just enough.
  assert(queue.produce(message(3, 2), 24));
  assertFalse(queue.produce(message(1, 3), 8));
  assertEquals(ringWord(queue, RING_OVERFLOW_WORD), 2);
});

Deno.test("a full ring is full also while its indexes run over", () => {
  for (const first of [0x7ffffffc, -4]) {
    const queue = new SimQueue(7, 8, { first_slot: first });
    for (let count = 0; count < 4; count++) assert(queue.produce(message(2, count), 16));
    assertFalse(queue.produce(message(1, 9), 8));
    giveBack(queue, 8);
    assert(queue.isEmpty());
  }
});

Deno.test("a mutant drops without counting", () => {
  const queue = new SimQueue(7, 1, { drop_silently: true });
  assertFalse(queue.produce(message(2, 1), 16));
  assertEquals(ringWord(queue, RING_OVERFLOW_WORD), 0);
});

Deno.test("the kernel accepts powers of two up to its limit", () => {
  const good = [1, 2, 4096, GHOST_MAX_QUEUE_ELEMS];
  assertEquals(good.filter(validElemCount), good);
  const bad = [0, -1, 3, 1.5, NaN, 2 * GHOST_MAX_QUEUE_ELEMS];
  assertEquals(bad.filter(validElemCount), []);
});

Deno.test("a reserved message is not there before it is published, and can be begun anew", () => {
  const queue = new SimQueue(7, 32);
  const at = queue.reserve(24);
  queue.words[at] = message(3, 5)[0];
  assert(queue.isEmpty());
  assertEquals(queue.reserve(16), at);
  assert(queue.publish());
  assertEquals(ringWord(queue, RING_HEAD_WORD), 2);
});

Deno.test("overflow is counted when a message is published, not when it finds no room", () => {
  const queue = new SimQueue(7, 2);
  assertEquals(queue.reserve(24), -1);
  assertEquals(ringWord(queue, RING_OVERFLOW_WORD), 0);
  assertFalse(queue.publish());
  assertEquals(ringWord(queue, RING_OVERFLOW_WORD), 1);
});
