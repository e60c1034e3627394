import { assert, assertEquals } from "@std/assert";
import { SCHED_BATCH } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { Gtid } from "../lib/gtid.ts";
import { PrioTable, ROW_OK, SCHED_ITEM_RUNNABLE, SchedItem } from "../shared/prio_table.ts";
import { threadGtid } from "../util/thread_gtid.ts";
import { LoadHints } from "./load_hints.ts";
import { fork, hint, join, rest, sleep, threadKind } from "./load_steps.ts";
import { RealLoad, type RealLoadOptions } from "./real_load.ts";
import { EDF_HINTS } from "./simple_edf/load.ts";

const MS = 1_000_000;

Deno.test("threads have a row each, and one that rests goes on when the agent gives it work", async () => {
  const hints = new LoadHints(EDF_HINTS, "scx");
  const agent = new PrioTable();
  assertEquals(agent.attach(Deno.pid), undefined);
  const options: RealLoadOptions = {
    join: () => 0,
    policy: SCHED_BATCH,
    thread_capacity: 3,
    cpu_mask: new Uint8Array(),
    seed: 1,
    timeout_ns: 60_000 * MS,
  };
  try {
    hints.take(100);
    const worker = threadKind("worker", hint(2, 100 * MS), sleep(MS), rest());
    const before_ns = loadShim().clockMonotonicNs();
    const load = new RealLoad(threadKind("root", fork(worker, 2), join()), {
      ...options,
      hints: hints.take(3),
    });
    const item = new SchedItem();
    const isResting = (sid: number): boolean =>
      agent.readItem(sid, item) === ROW_OK && (item.flags & SCHED_ITEM_RUNNABLE) === 0;
    for (let turn = 0; turn < 300 && !(isResting(101) && isResting(102)); turn++) {
      assert(await load.advance(50 * MS), "resting threads do not end");
    }
    for (const sid of [101, 102]) {
      assertEquals(agent.readItem(sid, item), ROW_OK);
      assertEquals([item.sid, item.wcid, item.flags & SCHED_ITEM_RUNNABLE], [sid, 2, 0]);
      assert(item.deadline_ns >= before_ns + 100 * MS);
      const tid = item.gtid_hi >> 9;
      const gtid = threadGtid("scx", tid);
      assert(gtid instanceof Gtid);
      assertEquals([item.gtid_lo, item.gtid_hi], [gtid.lo, gtid.hi]);
      assert([101, 102].includes(agent.nextUpdate()));
    }
    assertEquals(agent.readItem(100, item) === ROW_OK, false);
    agent.makeItemRunnable(101);
    agent.makeItemRunnable(102);
    assertEquals((await load.finish()).faults, []);
  } finally {
    agent.close();
    hints.close();
  }
});
