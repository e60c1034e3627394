import { assert, assertEquals } from "@std/assert";
import {
  MSG_HEADER_BYTES,
  MSG_TASK_WAKEUP,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
} from "../ffi/abi/constants.ts";
import { HARDWARE_MEMORY, HardwareMemory } from "../ffi/memory.ts";
import { SimQueue } from "../kernels/sim/producer_ring.ts";
import { MessageRing } from "./ring.ts";

const RING_WORD = 16;

/** Sends a message of `slot_count` slots with a sequence number that names it. */
function send(queue: SimQueue, seqnum: number, slot_count = 2): boolean {
  const message = new Int32Array(slot_count * 2);
  message[0] = MSG_TASK_WAKEUP | ((slot_count * 8) << 16);
  message[1] = seqnum;
  return queue.produce(message, slot_count * 8);
}

/** Takes everything that waits; the sequence numbers. */
function take(ring: MessageRing): number[] {
  const seqnums: number[] = [];
  for (let at = ring.peek(); at >= 0; at = ring.peek()) {
    seqnums.push(ring.words[at + 1]);
    ring.consume(at);
  }
  ring.release();
  return seqnums;
}

/** Counts publishes, which are the expensive accesses. */
class CountingMemory extends HardwareMemory {
  publish_count = 0;
  override publish(words: Int32Array, index: number, value: number): void {
    this.publish_count++;
    super.publish(words, index, value);
  }
}

Deno.test("an empty ring has no message", () => {
  const queue = new SimQueue(3, 16);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  assertEquals(ring.peek(), -1);
  assert(!ring.hasMessage());
  assertEquals(ring.elem_count, 16);
});

Deno.test("messages come out in order, and peek does not take", () => {
  const queue = new SimQueue(3, 64);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  for (let seqnum = 1; seqnum <= 5; seqnum++) assert(send(queue, seqnum));
  assert(ring.hasMessage());
  assertEquals(ring.peek(), ring.peek());
  assertEquals(take(ring), [1, 2, 3, 4, 5]);
  assert(!ring.hasMessage());
});

Deno.test("a message of an odd length takes whole slots", () => {
  const queue = new SimQueue(3, 16);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  const message = new Int32Array([MSG_TASK_WAKEUP | ((MSG_HEADER_BYTES + 5) << 16), 1, 7, 8]);
  assert(queue.produce(message, MSG_HEADER_BYTES + 5));
  assert(send(queue, 2));
  assertEquals(take(ring), [1, 2]);
});

Deno.test("the filler at the end of the ring is skipped, in every position", () => {
  for (let first = 0; first < 16; first++) {
    const queue = new SimQueue(3, 16, { first_slot: first });
    const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
    for (let round = 0; round < 40; round++) {
      const slot_count = 1 + (round % 5);
      assert(send(queue, round, slot_count));
      assert(send(queue, 1000 + round, 3));
      assertEquals(take(ring), [round, 1000 + round]);
    }
  }
});

Deno.test("indexes run over from the largest to the smallest number", () => {
  for (const first of [0x7ffffffa, -6]) {
    const queue = new SimQueue(3, 8, { first_slot: first | 0 });
    const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
    for (let seqnum = 0; seqnum < 50; seqnum++) {
      assert(send(queue, seqnum, 3));
      assertEquals(take(ring), [seqnum]);
    }
  }
});

Deno.test("slots go back to the producer with release, not before", () => {
  const queue = new SimQueue(3, 8);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  for (let seqnum = 0; seqnum < 4; seqnum++) assert(send(queue, seqnum));
  ring.consume(ring.peek());
  assert(!send(queue, 9), "the slots are not free yet");
  ring.release();
  assert(send(queue, 9));
  assertEquals(take(ring), [1, 2, 3, 9]);
});

Deno.test("a batch is given back with one publish, and nothing with none", () => {
  const memory = new CountingMemory();
  const queue = new SimQueue(3, 64);
  const ring = new MessageRing(memory, queue.words);
  for (let seqnum = 0; seqnum < 20; seqnum++) send(queue, seqnum);
  assertEquals(take(ring).length, 20);
  assertEquals(memory.publish_count, 1);
  ring.release();
  assertEquals(memory.publish_count, 1);
});

Deno.test("an overflow is seen with the message that follows it", () => {
  const queue = new SimQueue(3, 8);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  for (let seqnum = 0; seqnum < 6; seqnum++) send(queue, seqnum);
  assertEquals(queue.words[RING_WORD + RING_OVERFLOW_WORD], 2);
  assertEquals(take(ring), [0, 1, 2, 3]);
  assertEquals(ring.overflow_count, 2);
});

Deno.test("a batch that is long beside the ring gives slots back by quarters", () => {
  const queue = new SimQueue(3, 4096);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  for (let seqnum = 0; seqnum < 2048; seqnum++) assert(send(queue, seqnum));
  assert(!send(queue, 2048));
  for (let count = 0; count < 512; count++) ring.consume(ring.peek());
  assertEquals(queue.words[RING_WORD + RING_TAIL_WORD], 1024);
  ring.consume(ring.peek());
  assertEquals(queue.words[RING_WORD + RING_TAIL_WORD], 1024);
  assert(send(queue, 2048));
});

Deno.test("an overflow while the ring is drained is seen though no message follows it", () => {
  const queue = new SimQueue(3, 8);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  for (let seqnum = 0; seqnum < 4; seqnum++) send(queue, seqnum);
  ring.consume(ring.peek());
  assert(!send(queue, 4), "dropped: the slots have not been given back");
  assertEquals(take(ring), [1, 2, 3]);
  assertEquals(ring.overflow_count, 1);
});

Deno.test("a consumer that takes over starts where the last one gave slots back", () => {
  const queue = new SimQueue(3, 32);
  const first = new MessageRing(HARDWARE_MEMORY, queue.words);
  send(queue, 1);
  assertEquals(take(first), [1]);
  send(queue, 2);
  first.consume(first.peek()); // taken, and not given back: it will be seen again
  send(queue, 3);
  assertEquals(take(new MessageRing(HARDWARE_MEMORY, queue.words)), [2, 3]);
});

Deno.test("a header of length 0 does not stop the ring", () => {
  const queue = new SimQueue(3, 8);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  queue.words[RING_WORD + RING_MSGS_WORD] = MSG_TASK_WAKEUP;
  queue.words[RING_WORD + RING_HEAD_WORD] = 1;
  ring.consume(ring.peek());
  ring.release();
  assertEquals(queue.words[RING_WORD + RING_TAIL_WORD], 1);
  assertEquals(ring.peek(), -1);
});

Deno.test("a message is not there before its head is published", () => {
  const queue = new SimQueue(3, 8);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  queue.words[RING_WORD + RING_MSGS_WORD] = MSG_TASK_WAKEUP | (8 << 16);
  assertEquals(ring.peek(), -1);
  queue.words[RING_WORD + RING_HEAD_WORD] = 1;
  assertEquals(ring.peek(), RING_WORD + RING_MSGS_WORD);
});
