import { assertEquals } from "@std/assert";
import {
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_TAIL_WORD,
} from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { beatPeriodMs, Heartbeat } from "./heartbeat.ts";

const RING_WORD = 16;

function queueOf(id: number): { id: number; words: Int32Array; elem_count: number } {
  const words = new Int32Array(64);
  words[QUEUE_START_WORD] = RING_WORD * 4;
  words[QUEUE_NELEMS_WORD] = 8;
  return { id, words, elem_count: 8 };
}

Deno.test("a queue is pending if it holds messages and nobody has taken one since the last look", () => {
  const queues = Array.from({ length: 34 }, (_, n) => queueOf(n));
  const heartbeat = new Heartbeat(HARDWARE_MEMORY, queues);
  const look = (): number[] => [...heartbeat.look().subarray(0, 2)];
  queues[1].words[RING_WORD + RING_HEAD_WORD] = 5;
  queues[33].words[RING_WORD + RING_HEAD_WORD] = 1;
  assertEquals(look(), [0, 0]);
  assertEquals(look(), [2, 2]);
  queues[1].words[RING_WORD + RING_TAIL_WORD] = 3;
  assertEquals(look(), [0, 2]);
  assertEquals(look(), [2, 2]);
  queues[1].words[RING_WORD + RING_TAIL_WORD] = 5;
  queues[33].words[RING_WORD + RING_TAIL_WORD] = 1;
  assertEquals([look(), look()], [[0, 0], [0, 0]]);
  // Nothing came for long: what has come just now has not waited yet.
  queues[1].words[RING_WORD + RING_HEAD_WORD] = 6;
  assertEquals([look(), look()], [[0, 0], [2, 0]]);
});

Deno.test("no queue is pending whose agent has left its CPU to the default class", () => {
  const queues = [queueOf(0), queueOf(1)];
  const busy = new Set([0]);
  const heartbeat = new Heartbeat(HARDWARE_MEMORY, queues, (index) => !busy.has(index));
  for (const { words } of queues) words[RING_WORD + RING_HEAD_WORD] = 5;
  heartbeat.look();
  assertEquals(heartbeat.look()[0], 2);
  busy.clear();
  assertEquals(heartbeat.look()[0], 3);
});

Deno.test("there are several beats within the watchdog's time, and not too many", () => {
  assertEquals([10e6, 1e9, 5e9, 3600e9].map(beatPeriodMs), [5, 125, 250, 250]);
});
