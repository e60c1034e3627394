import { assertEquals } from "@std/assert";
import { FIFO_QUEUE_WORDS, FifoQueue } from "./fifo_queue.ts";
import { Prng } from "./prng.ts";

const ROWS = 16;

function fresh(): { queue: FifoQueue; ends: Int32Array; next: Int32Array; prev: Int32Array } {
  const ends = new Int32Array(FIFO_QUEUE_WORDS);
  const next = new Int32Array(ROWS);
  const prev = new Int32Array(ROWS);
  return { queue: new FifoQueue(ends, next, prev), ends, next, prev };
}

/** The rows in order, by the links in both directions. */
function rowsOf({ queue, ends, prev }: ReturnType<typeof fresh>): number[] {
  const rows: number[] = [];
  for (let row = queue.front(); row >= 0; row = queue.after(row)) rows.push(row);
  const backwards: number[] = [];
  for (let link = ends[1]; link !== 0; link = prev[link - 1]) backwards.push(link - 1);
  assertEquals(backwards.reverse(), rows);
  assertEquals(queue.length, rows.length);
  return rows;
}

Deno.test("zeroed memory is an empty queue", () => {
  const { queue } = fresh();
  assertEquals([queue.length, queue.front(), queue.popFront()], [0, -1, -1]);
});

Deno.test("rows leave in the order in which they came; a row at the front goes first", () => {
  const { queue } = fresh();
  queue.pushBack(3);
  queue.pushBack(0);
  queue.pushFront(7);
  assertEquals([queue.popFront(), queue.popFront(), queue.popFront()], [7, 3, 0]);
  assertEquals(queue.popFront(), -1);
});

Deno.test("a row is taken from front, middle and end", () => {
  for (const victim of [1, 2, 3]) {
    const parts = fresh();
    for (const row of [1, 2, 3]) parts.queue.pushBack(row);
    parts.queue.remove(victim);
    assertEquals(rowsOf(parts), [1, 2, 3].filter((row) => row !== victim));
    assertEquals([parts.next[victim], parts.prev[victim]], [0, 0]);
  }
});

Deno.test("a second instance on the same memory finds the queue as it was", () => {
  const parts = fresh();
  for (const row of [4, 2, 9]) parts.queue.pushBack(row);
  const other = { ...parts, queue: new FifoQueue(parts.ends, parts.next, parts.prev) };
  assertEquals(rowsOf(other), [4, 2, 9]);
  other.queue.popFront();
  assertEquals(rowsOf(parts), [2, 9]);
});

Deno.test("two queues share the link columns", () => {
  const first = fresh();
  const second = new FifoQueue(new Int32Array(FIFO_QUEUE_WORDS), first.next, first.prev);
  for (const row of [0, 1, 2, 3]) (row % 2 === 0 ? first.queue : second).pushBack(row);
  assertEquals([second.popFront(), second.popFront(), second.popFront()], [1, 3, -1]);
  assertEquals(rowsOf(first), [0, 2]);
});

Deno.test("a random history equals that of an array", () => {
  const prng = new Prng(11);
  const parts = fresh();
  const model: number[] = [];
  for (let turn = 0; turn < 5000; turn++) {
    const row = prng.below(ROWS);
    const at = model.indexOf(row);
    if (at >= 0) {
      parts.queue.remove(row);
      model.splice(at, 1);
    } else if (prng.below(2) === 0) {
      parts.queue.pushBack(row);
      model.push(row);
    } else {
      parts.queue.pushFront(row);
      model.unshift(row);
    }
    if (prng.below(4) === 0) assertEquals(parts.queue.popFront(), model.shift() ?? -1);
    assertEquals(rowsOf(parts), model);
  }
});
