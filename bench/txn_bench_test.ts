import { assert, assertEquals, assertGreater } from "@std/assert";
import { fifoCentralized } from "../schedulers/fifo/centralized/scheduler.ts";
import { TxnBench, type TxnBenchOptions } from "./txn_peer.ts";

function bench(options: Partial<TxnBenchOptions>, slice_ns = Infinity): TxnBench {
  return new TxnBench({
    policy: fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: slice_ns }),
    cpu_count: 11,
    task_count: 100,
    stale_per_10000: 100,
    runs_on: false,
    ...options,
  });
}

Deno.test("txn bench: every CPU gets a task in each pass, stale ones are tried again", () => {
  const one = bench({});
  one.run(1000);
  const { committed, stale, refused, calls, overflows } = one.counts();
  assertEquals([refused, overflows, calls], [0, 0, 1000]);
  assertEquals(committed + stale, 10_000);
  assert(stale > 50 && stale < 200, `${stale} stale`);
});

Deno.test("txn bench: tasks that run on are replaced when their slice is over, not before", () => {
  const never = bench({ runs_on: true, stale_per_10000: 0 });
  never.run(100);
  assertEquals(never.counts().committed, 10);
  const always = bench({ runs_on: true, stale_per_10000: 0 }, 0);
  always.run(100);
  const { committed, refused } = always.counts();
  assertGreater(committed, 900);
  assertEquals(refused, 0);
});

Deno.test("txn bench: a transaction whose barrier is old is refused", () => {
  const one = bench({ stale_per_10000: 10_000 });
  one.run(10);
  const { committed, stale } = one.counts();
  assertEquals(committed, 0);
  assertEquals(stale, 100);
});
