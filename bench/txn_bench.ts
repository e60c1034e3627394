/**
 * A global agent, the shipped centralized FIFO, against the kernel side of native/txn_bench.c in
 * the same thread: committed transactions per second, what a group saves, the agent's time for a
 * pass in which all of 256 CPUs get another thread, and how often V8 collected garbage or threw
 * code away meanwhile. One transaction in a hundred is stale.
 *
 * @module
 */
import type { BenchOptions } from "./main.ts";
import { countGarbage, countTrace, factsOf, runChild } from "./pump_bench.ts";

const GC_SECONDS = 10;
const LONG_GC_SECONDS = 60;
/** Messages of every type through each policy's step, before anything counts and after. */
const WARM_UP_MESSAGES = 5_000_000;
const MESSAGES = 5_000_000;
const GLOBAL_POLICIES = ["fifo_centralized", "sol", "shinjuku", "edf"];

/**
 * Measures the agent.
 *
 * @param options How thoroughly.
 * @returns txn_per_s: committed per second in groups of 10; txn_single_per_s: one by one;
 * txn_group_ratio: the one by the other; txn_pass_256_us; txn_gc_count: collections and
 * deoptimisations after warm-up; txn_gc_s: in how many seconds; txn_policies_gc_count: the same of
 * all global policies under messages of every type.
 */
export async function run(options: BenchOptions): Promise<Record<string, number>> {
  const figures: Record<string, number> = JSON.parse(
    await runChild("./txn_child.ts", [], ["rates"]),
  );
  const seconds = options.is_long ? LONG_GC_SECONDS : GC_SECONDS;
  const flags = ["--trace-gc", "--trace-deopt"];
  const trace = await runChild("./txn_child.ts", flags, ["gc", String(seconds)]);
  const { gc_count, deopt_count } = countTrace(trace);
  const facts = factsOf(trace);
  if (!(facts.committed > 0 && facts.stale > 0)) throw new Error("nothing was committed");
  let policies_gc_count = 0;
  for (const policy of GLOBAL_POLICIES) {
    const garbage = await countGarbage(WARM_UP_MESSAGES, MESSAGES, policy);
    policies_gc_count += garbage.gc_count + garbage.deopt_count;
  }
  return {
    ...figures,
    txn_policies_gc_count: policies_gc_count,
    txn_gc_count: gc_count + deopt_count,
    txn_gc_s: Math.round(facts.seconds),
  };
}
