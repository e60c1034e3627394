/**
 * gtids whose searches in a gtid map start at the same slot, found from outside: by the first word
 * that a search reads.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";
import { HardwareMemory } from "../../ffi/memory.ts";
import { SharedTaskMap, sharedTaskMapWords } from "../../lib/shared_task_map.ts";

class FirstIndex extends HardwareMemory implements Memory {
  first: number = -1;
  override poll(words: Int32Array, index: number): number {
    if (this.first < 0) this.first = index;
    return super.poll(words, index);
  }
  override acquire(words: Int32Array, index: number): number {
    return this.poll(words, index);
  }
}

/** The slot at which searches for a gtid start, as a function. */
function homes(task_capacity: number): (lo: number, hi: number) => number {
  const memory = new FirstIndex();
  const words = new Int32Array(sharedTaskMapWords(task_capacity));
  const map = new SharedTaskMap(memory, words, task_capacity);
  return (lo, hi) => {
    memory.first = -1;
    map.get(lo, hi);
    return memory.first;
  };
}

/**
 * High words of gtids with the low word 1 that stand in one chain.
 *
 * @param task_capacity Of the map.
 * @param count How many.
 */
export function chainOf(task_capacity: number, count: number): readonly number[] {
  const home = homes(task_capacity);
  const by_home = new Map<number, number[]>();
  for (let hi = 512;; hi += 512) {
    const key = home(1, hi);
    const list = by_home.get(key) ?? [];
    list.push(hi);
    by_home.set(key, list);
    if (list.length === count) return list;
  }
}

/** Two high words, so that (1, a), (1, x) and (2, a) stand in one chain. */
export function crossedChain(task_capacity: number): { a: number; x: number } {
  const home = homes(task_capacity);
  let a = 512;
  while (home(1, a) !== home(2, a)) a += 512;
  let x = 512;
  while (x === a || home(1, x) !== home(1, a)) x += 512;
  return { a, x };
}
