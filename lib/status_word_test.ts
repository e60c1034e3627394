import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_IS_AGENT,
  GHOST_SW_TASK_ONCPU,
} from "../ffi/abi/constants.ts";
import { HARDWARE_MEMORY, HardwareMemory } from "../ffi/memory.ts";
import { StatusRegion } from "../kernels/sim/status_region.ts";
import { StatusWordTable } from "./status_word.ts";

Deno.test("a word shows what the kernel wrote", () => {
  const region = new StatusRegion(4);
  const table = new StatusWordTable(HARDWARE_MEMORY, region.words);
  assertEquals(table.capacity, 4);
  const [first, second] = [region.allocate(5, 9, 0), region.allocate(6, -9, 0)];
  region.bump(second);
  region.bump(second);
  region.change(second, GHOST_SW_TASK_ONCPU, 0);
  region.setRuntimeNs(second, 2 ** 40 + 3);
  assertEquals([table.gtidLo(second), table.gtidHi(second)], [6, -9]);
  assertEquals([table.barrier(first), table.barrier(second)], [0, 2]);
  assertEquals(table.runtimeNs(second), 2 ** 40 + 3);
  assert((table.flags(second) & GHOST_SW_TASK_ONCPU) !== 0);
  assert((table.flags(first) & GHOST_SW_TASK_ONCPU) === 0);
  assertEquals([table.gtidLo(first), table.gtidHi(first)], [5, 9]);
});

Deno.test("a word is a task's while it is in use and no agent's", () => {
  const region = new StatusRegion(4);
  const table = new StatusWordTable(HARDWARE_MEMORY, region.words);
  const index = region.allocate(5, 9, 0);
  assert(table.isTask(index));
  region.change(index, GHOST_SW_TASK_IS_AGENT, 0);
  assertFalse(table.isTask(index));
  const second = region.allocate(6, 9, 0);
  region.change(second, GHOST_SW_F_CANFREE, 0);
  region.free(second);
  assertFalse(table.isTask(second));
  assertFalse(table.isTask(3), "a word that was never handed out");
});

Deno.test("barrier and flags are read afresh each time", () => {
  let acquire_count = 0;
  class Counting extends HardwareMemory {
    override acquire(words: Int32Array, index: number): number {
      acquire_count++;
      return super.acquire(words, index);
    }
  }
  const region = new StatusRegion(1);
  const table = new StatusWordTable(new Counting(), region.words);
  region.allocate(5, 9, 0);
  table.barrier(0);
  table.barrier(0);
  table.flags(0);
  assertEquals(acquire_count, 3);
});
