import { assertEquals } from "@std/assert";
import { Prng } from "../../lib/prng.ts";
import { EventQueue } from "./event_queue.ts";

/** Takes everything: time, kind and arguments. */
function drain(queue: EventQueue): number[][] {
  const list: number[][] = [];
  while (queue.size > 0) {
    const time_ns = queue.nextTimeNs();
    queue.pop();
    list.push([time_ns, queue.kind, queue.a, queue.b]);
  }
  return list;
}

Deno.test("an empty queue has no next event", () => {
  const queue = new EventQueue();
  assertEquals([queue.size, queue.nextTimeNs(), queue.nextKind()], [0, Infinity, -1]);
});

Deno.test("events come by time, with what was given to them", () => {
  const queue = new EventQueue(4);
  queue.push(30, 1, 10, -1);
  queue.push(10, 2, 20, 7);
  queue.push(2 ** 50, 3, 30, 8);
  queue.push(20, 4, 40, 9);
  assertEquals(queue.nextKind(), 2);
  assertEquals(drain(queue), [[10, 2, 20, 7], [20, 4, 40, 9], [30, 1, 10, -1], [
    2 ** 50,
    3,
    30,
    8,
  ]]);
  assertEquals(queue.taken_count, 4);
});

Deno.test("events of the same time come in the order in which they were scheduled", () => {
  const queue = new EventQueue(4);
  for (let index = 0; index < 100; index++) queue.push(index % 3, 0, index, 0);
  const order = drain(queue).map(([, , index]) => index);
  const expected = Array.from({ length: 100 }, (_, index) => index)
    .toSorted((a, b) => a % 3 - b % 3 || a - b);
  assertEquals(order, expected);
});

Deno.test("the queue grows while events wait, and keeps all of them", () => {
  const queue = new EventQueue(2);
  for (let index = 0; index < 1000; index++) queue.push(1000 - index, index, index, index);
  assertEquals(queue.size, 1000);
  assertEquals(
    drain(queue).map(([, kind]) => kind),
    Array.from({ length: 1000 }, (_, n) => 999 - n),
  );
});

/** Plays a history of events against a sorted list; `time` draws a time from the present one. */
function compareWithList(seed: number, time: (prng: Prng, now_ns: number) => number): void {
  const prng = new Prng(seed);
  const queue = new EventQueue(2);
  const model: { time_ns: number; order: number }[] = [];
  let now_ns = 0;
  for (let order = 0; order < 5000; order++) {
    const time_ns = time(prng, now_ns);
    queue.push(time_ns, 0, order, 0);
    model.push({ time_ns, order });
    while (prng.below(100) < 48 && model.length > 0) {
      model.sort((a, b) => a.time_ns - b.time_ns || a.order - b.order);
      assertEquals(queue.nextTimeNs(), model[0].time_ns);
      now_ns = Math.max(now_ns, queue.nextTimeNs());
      queue.pop();
      assertEquals(queue.a, model.shift()?.order);
    }
    assertEquals(queue.size, model.length);
  }
}

Deno.test("a random history equals that of a sorted list", () => {
  compareWithList(21, (prng) => prng.below(200));
});

Deno.test("events of all distances, also late ones, come in order", () => {
  const reaches = [1, 600, 5_000, 140_000, 3_000_000, 2 ** 40];
  compareWithList(22, (prng, now_ns) => {
    const reach = reaches[prng.below(reaches.length)];
    return Math.max(0, now_ns + prng.below(reach) - (prng.chance(1, 8) ? 2_000 : 0));
  });
});

Deno.test("equal times are in order, also when one was far when it was scheduled", () => {
  const queue = new EventQueue();
  const far_ns = 10_000_000;
  queue.push(far_ns, 0, 1, 0);
  queue.push(far_ns - 1_000, 0, 0, 0);
  queue.pop();
  queue.push(far_ns, 0, 2, 0);
  assertEquals(drain(queue).map(([, , index]) => index), [1, 2]);
});
