import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../lib/prng.ts";
import { FAULT_NAMES, FaultTable } from "./faults.ts";

Deno.test("a fault point that is off never fires and leaves chance untouched", () => {
  const prng = new Prng(1);
  const untouched = new Prng(1);
  const none = new FaultTable(prng, {});
  const other = new FaultTable(prng, { ring_wrap: 10_000, ring_small: 0 });
  assertEquals([none.any, other.any], [false, true]);
  assertEquals([other.enabled("ring_wrap"), other.enabled("ring_small")], [true, false]);
  assertEquals([none.roll("ring_wrap"), other.roll("ring_small"), none.chance("ipi_late")], [
    false,
    false,
    false,
  ]);
  assertEquals(prng.below(1_000_000), untouched.below(1_000_000));
});

Deno.test("a fault point fires as often as its rate says, and counts", () => {
  const faults = new FaultTable(new Prng(3), { ring_wrap: 2500, ring_small: 10_000 });
  let hit_count = 0;
  for (let count = 0; count < 10_000; count++) {
    if (faults.roll("ring_wrap")) hit_count++;
    assert(faults.roll("ring_small"));
  }
  assert(hit_count > 2300 && hit_count < 2700, `${hit_count} of 10000`);
  assertEquals(faults.hits[faults.index("ring_wrap")], hit_count);
  assertEquals(faults.hits[faults.index("ring_small")], 10_000);
  assertEquals(faults.hits.reduce((sum, hits) => sum + hits), hit_count + 10_000);
});

Deno.test("a chance that finds no opportunity is not counted", () => {
  const faults = new FaultTable(new Prng(3), { task_departs: 10_000 });
  assert(faults.chance("task_departs"));
  assertEquals(faults.hits[faults.index("task_departs")], 0);
  faults.hit("task_departs");
  assertEquals(faults.hits[faults.index("task_departs")], 1);
});

Deno.test("silenced fault points stay off", () => {
  const faults = new FaultTable(new Prng(3), { task_departs: 10_000 });
  faults.silence();
  assertEquals([faults.any, faults.enabled("task_departs"), faults.roll("task_departs")], [
    false,
    false,
    false,
  ]);
});

Deno.test("every fault point has a place of its own", () => {
  const faults = new FaultTable(new Prng(1), {});
  assertEquals(FAULT_NAMES.map((name) => faults.index(name)), FAULT_NAMES.map((_name, at) => at));
  assert(FAULT_NAMES.length >= 30);
});
