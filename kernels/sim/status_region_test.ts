import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  SW_REGION_AVAILABLE_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
} from "../../ffi/abi/constants.ts";
import { StatusRegion } from "./status_region.ts";

Deno.test("a region is laid out as the ABI says", () => {
  const { words } = new StatusRegion(3);
  assertEquals(words[SW_REGION_START_WORD], 64);
  assertEquals(words[SW_REGION_CAPACITY_WORD], 3);
  assertEquals(words[SW_REGION_AVAILABLE_WORD], 3);
  assertEquals(words.byteLength, 64 + 3 * 32);
});

Deno.test("a word that is handed out is in use and clean", () => {
  const region = new StatusRegion(3);
  const index = region.allocate(5, 6, GHOST_SW_TASK_RUNNABLE);
  const flags = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED | GHOST_SW_TASK_RUNNABLE;
  assertEquals(region.flags(index), flags);
  assertEquals(region.barrier(index), 0);
  assertEquals([...region.words.subarray(16 + 8 * index + 2, 16 + 8 * index + 4)], [5, 6]);
  assertEquals(region.words[SW_REGION_AVAILABLE_WORD], 2);
  assert(region.isAllocated(index));
  assertFalse(region.canFree(index));
});

Deno.test("a full region gives −1 until a word is given back", () => {
  const region = new StatusRegion(2);
  const indexes = [region.allocate(1, 0, 0), region.allocate(2, 0, 0)];
  assertEquals(new Set(indexes).size, 2);
  assertEquals(region.allocate(3, 0, 0), -1);
  region.change(indexes[0], GHOST_SW_F_CANFREE, 0);
  assert(region.canFree(indexes[0]));
  region.free(indexes[0]);
  assertEquals(region.words[SW_REGION_AVAILABLE_WORD], 1);
  assertEquals(region.allocate(3, 0, 0), indexes[0]);
  assertFalse(region.canFree(indexes[0]));
});

Deno.test("a freed word is used again late, or at once if that is asked for", () => {
  const region = new StatusRegion(3);
  const first = region.allocate(1, 0, 0);
  region.bump(first);
  region.free(first);
  const second = region.allocate(2, 0, 0);
  assert(second !== first);
  assertEquals(region.allocate(3, 0, 0, true), first);
  assertEquals(region.barrier(first), 0);
});

Deno.test("a word that was never handed out, was given back, or does not exist is none", () => {
  const region = new StatusRegion(3);
  region.free(region.allocate(1, 0, 0));
  assertEquals([-1, 0, 1, 2, 3, 1e9].filter((index) => region.isAllocated(index)), []);
});

Deno.test("flags change one by one and barriers count over", () => {
  const region = new StatusRegion(1);
  region.allocate(1, 0, GHOST_SW_TASK_RUNNABLE);
  region.change(0, GHOST_SW_TASK_ONCPU, GHOST_SW_TASK_RUNNABLE);
  assert((region.flags(0) & GHOST_SW_TASK_ONCPU) !== 0);
  assert((region.flags(0) & GHOST_SW_TASK_RUNNABLE) === 0);
  assert((region.flags(0) & GHOST_SW_F_INUSE) !== 0);
  region.words[16] = 0x7fffffff;
  assertEquals(region.bump(0), -0x80000000);
  assertEquals(region.barrier(0), -0x80000000);
});
