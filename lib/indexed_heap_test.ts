import { assert, assertEquals, assertFalse } from "@std/assert";
import { IndexedHeap } from "./indexed_heap.ts";
import { Prng } from "./prng.ts";

const ROWS = 64;

function columns(): [Int32Array, Int32Array, Int32Array, Float64Array, Int32Array] {
  return [
    new Int32Array(2),
    new Int32Array(ROWS),
    new Int32Array(ROWS),
    new Float64Array(ROWS),
    new Int32Array(ROWS),
  ];
}

function drain(heap: IndexedHeap): number[] {
  const rows: number[] = [];
  for (let row = heap.pop(); row >= 0; row = heap.pop()) rows.push(row);
  return rows;
}

Deno.test("zeroed memory is an empty heap", () => {
  const heap = new IndexedHeap(...columns());
  assertEquals([heap.length, heap.top(), heap.pop()], [0, -1, -1]);
  assertFalse(heap.has(0));
});

Deno.test("rows leave by key, smallest first", () => {
  const heap = new IndexedHeap(...columns());
  const keys = [5, -3, 1e15 + 1, 0.5, 1e15, -0.25];
  keys.forEach((key, row) => heap.push(row, key));
  assertEquals(heap.top(), 1);
  assertEquals(drain(heap), [1, 5, 3, 0, 4, 2]);
});

Deno.test("rows of equal key leave in the order in which they came", () => {
  const heap = new IndexedHeap(...columns());
  const order = Array.from({ length: ROWS }, (_, index) => (index * 37) % ROWS);
  for (const row of order) heap.push(row, 7);
  assertEquals(drain(heap), order);
});

Deno.test("the order of equal keys survives the wrap of the insertion number", () => {
  const parts = columns();
  parts[0][1] = 0x7ffffffe;
  const heap = new IndexedHeap(...parts);
  for (const row of [9, 4, 6, 2]) heap.push(row, 1);
  assertEquals(drain(heap), [9, 4, 6, 2]);
});

Deno.test("a key may fall and rise", () => {
  const heap = new IndexedHeap(...columns());
  for (let row = 0; row < 8; row++) heap.push(row, row);
  heap.update(6, -1);
  heap.update(0, 99);
  assertEquals(drain(heap), [6, 1, 2, 3, 4, 5, 7, 0]);
});

Deno.test("any row can be taken, and only that one is gone", () => {
  for (let victim = 0; victim < 12; victim++) {
    const heap = new IndexedHeap(...columns());
    for (let row = 0; row < 12; row++) heap.push(row, (row * 7) % 12);
    heap.remove(victim);
    assertFalse(heap.has(victim));
    const rest = drain(heap);
    assertEquals(rest.length, 11);
    assertEquals(
      rest.map((row) => (row * 7) % 12),
      rest.map((row) => (row * 7) % 12).sort((a, b) => a - b),
    );
    assertFalse(rest.includes(victim));
  }
});

Deno.test("a second instance on the same memory finds the heap as it was", () => {
  const parts = columns();
  const heap = new IndexedHeap(...parts);
  for (let row = 0; row < 10; row++) heap.push(row, -row);
  const other = new IndexedHeap(...parts);
  assert(other.has(9));
  assertEquals(other.length, 10);
  assertEquals(other.pop(), 9);
  assertEquals(heap.top(), 8);
});

Deno.test("a random history equals that of a sorted list", () => {
  const prng = new Prng(5);
  const heap = new IndexedHeap(...columns());
  let model: { row: number; key: number; order: number }[] = [];
  const sorted = () => model.toSorted((a, b) => a.key - b.key || a.order - b.order);
  for (let turn = 0; turn < 4000; turn++) {
    const row = prng.below(ROWS);
    const key = prng.below(20);
    const known = model.find((one) => one.row === row);
    assertEquals(heap.has(row), known !== undefined);
    if (known === undefined) {
      heap.push(row, key);
      model.push({ row, key, order: turn });
    } else if (prng.below(3) > 0) {
      heap.update(row, key);
      known.key = key;
    } else {
      heap.remove(row);
      model = model.filter((one) => one !== known);
    }
    const first = sorted()[0];
    assertEquals(heap.top(), first?.row ?? -1);
    assertEquals(heap.length, model.length);
    if (prng.below(3) === 0 && first !== undefined) {
      assertEquals(heap.pop(), first.row);
      model = model.filter((one) => one !== first);
    }
  }
  assertEquals(drain(heap), sorted().map((one) => one.row));
});

Deno.test("a rank goes before every key, and equal ranks are ordered by key", () => {
  const rank = Int32Array.of(0, -1, 0, -1);
  const [size, heap] = [new Int32Array(2), new Int32Array(4)];
  const rows = [new Int32Array(4), new Float64Array(4), new Int32Array(4)] as const;
  const ranked = new IndexedHeap(size, heap, ...rows, rank);
  [5, 9, 1, Infinity].forEach((key, row) => ranked.push(row, key));
  assertEquals([ranked.pop(), ranked.pop(), ranked.pop(), ranked.pop()], [1, 3, 2, 0]);
});
