import { assert, assertEquals, assertFalse } from "@std/assert";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { Prng } from "./prng.ts";
import { SharedTaskMap, sharedTaskMapWords } from "./shared_task_map.ts";

function freshMap(task_capacity: number): SharedTaskMap {
  const words = new Int32Array(new SharedArrayBuffer(4 * sharedTaskMapWords(task_capacity)));
  return new SharedTaskMap(HARDWARE_MEMORY, words, task_capacity);
}

/** gtids as the kernel gives them: consecutive pids above the sequence bits. */
function pidHi(pid: number): number {
  return (pid << 9) | 0;
}

Deno.test("a gtid is found once it is mapped, and not before or after", () => {
  const map = freshMap(100);
  assertEquals(map.get(1, 2), -1);
  assert(map.insert(1, 2, 0));
  assertEquals(map.get(1, 2), 0);
  assertEquals(map.remove(1, 2), 0);
  assertEquals(map.get(1, 2), -1);
  assertEquals(map.remove(1, 2), -1);
});

Deno.test("both words of a gtid count", () => {
  const map = freshMap(100);
  assert(map.insert(1, 2, 10));
  assert(map.insert(1, 3, 11));
  assert(map.insert(4, 2, 12));
  assert(map.insert(-1, -2, 13));
  const rows = [map.get(1, 2), map.get(1, 3), map.get(4, 2), map.get(-1, -2), map.get(4, 3)];
  assertEquals(rows, [10, 11, 12, 13, -1]);
});

Deno.test("a gtid is mapped once: the second insert changes nothing", () => {
  const map = freshMap(100);
  assert(map.insert(1, 2, 10));
  assertFalse(map.insert(1, 2, 11));
  assertEquals(map.get(1, 2), 10);
});

Deno.test("as many gtids as there are rows fit, whatever the capacity and the gtids", () => {
  for (const task_capacity of [1, 16, 100, 512, 1000, 1024, 2048, 4096, 10_000]) {
    for (const first_pid of [1, 1000, 300_000]) {
      const map = freshMap(task_capacity);
      let refused_count = 0;
      for (let row = 0; row < task_capacity; row++) {
        if (!map.insert(1, pidHi(first_pid + row), row)) refused_count++;
      }
      assertEquals(refused_count, 0, `capacity ${task_capacity}, pids from ${first_pid}`);
      for (let row = 0; row < task_capacity; row++) {
        assertEquals(map.get(1, pidHi(first_pid + row)), row);
      }
    }
  }
});

Deno.test("as many gtids as there are rows fit, with pids in no order", () => {
  for (const task_capacity of [500, 512, 1024, 2048]) {
    for (let seed = 1; seed <= 20; seed++) {
      const prng = new Prng(seed);
      const map = freshMap(task_capacity);
      for (let row = 0; row < task_capacity; row++) {
        let hi = 0;
        do hi = pidHi(1 + prng.below(4_194_304)); while (map.get(1, hi) >= 0);
        assert(map.insert(1, hi, row), `row ${row} of ${task_capacity}, seed ${seed}`);
      }
    }
  }
});

Deno.test("a full stripe refuses an insert and still finds and ends every search", () => {
  const map = freshMap(1);
  const mapped: number[] = [];
  let refused_count = 0;
  for (let pid = 1; pid < 20_000; pid++) {
    if (map.insert(1, pidHi(pid), pid)) mapped.push(pid);
    else refused_count++;
  }
  assert(refused_count > 0);
  for (const pid of mapped) assertEquals(map.get(1, pidHi(pid)), pid);
  assertEquals(map.get(1, pidHi(30_000)), -1);
  assertEquals(map.remove(1, pidHi(30_000)), -1);
  for (const pid of mapped) assertEquals(map.remove(1, pidHi(pid)), pid);
  for (const pid of mapped) assert(map.insert(1, pidHi(pid), pid), "tombstones are used again");
});

Deno.test("years of churn leave searches short: tombstones do not pile up", () => {
  let read_count = 0;
  const words = new Int32Array(new SharedArrayBuffer(4 * sharedTaskMapWords(64)));
  const counting = Object.create(HARDWARE_MEMORY, {
    poll: {
      value: (target: Int32Array, index: number) => {
        read_count++;
        return target[index];
      },
    },
  });
  const map = new SharedTaskMap(counting, words, 64);
  for (let pid = 1; pid < 50_000; pid++) {
    map.insert(1, pidHi(pid), pid % 64);
    if (pid > 32) map.remove(1, pidHi(pid - 32));
  }
  read_count = 0;
  for (let pid = 100_000; pid < 101_000; pid++) assertEquals(map.get(1, pidHi(pid)), -1);
  assert(read_count < 3000, `1000 searches for absent gtids read ${read_count} slots`);
});

Deno.test("two instances on the same memory are one map", () => {
  const words = new Int32Array(new SharedArrayBuffer(4 * sharedTaskMapWords(50)));
  const [first, second] = [0, 1].map(() => new SharedTaskMap(HARDWARE_MEMORY, words, 50));
  assert(first.insert(7, 8, 3));
  assertEquals(second.get(7, 8), 3);
  assertEquals(second.remove(7, 8), 3);
  assertEquals(first.get(7, 8), -1);
});

Deno.test("a random history equals that of a Map", () => {
  const prng = new Prng(3);
  const map = freshMap(256);
  const model = new Map<number, number>();
  for (let turn = 0; turn < 30_000; turn++) {
    const pid = 1 + prng.below(400);
    const known = model.get(pid);
    switch (prng.below(3)) {
      case 0:
        if (model.size === 256 && known === undefined) break;
        assertEquals(map.insert(1, pidHi(pid), turn & 255), known === undefined);
        if (known === undefined) model.set(pid, turn & 255);
        break;
      case 1:
        assertEquals(map.remove(1, pidHi(pid)), known ?? -1);
        model.delete(pid);
        break;
      default:
        assertEquals(map.get(1, pidHi(pid)), known ?? -1);
    }
  }
});
