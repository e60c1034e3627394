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
/** The warm-up that an agent has. */
const OWN_WARM_UP = 0;
const GLOBAL_POLICIES = ["fifo_centralized", "sol", "shinjuku", "edf"];

/** Collections and deoptimisations of all global policies after a warm-up. */
async function policiesGcCount(warm_up_count: number): Promise<number> {
  let count = 0;
  for (const policy of GLOBAL_POLICIES) {
    const { gc_count, deopt_count } = await countGarbage(warm_up_count, MESSAGES, policy);
    count += gc_count + deopt_count;
  }
  return count;
}

/**
 * Measures the agent.
 *
 * @param options How thoroughly.
 * @returns txn_per_s: committed per second in groups of 10; txn_single_per_s: one by one;
 * txn_group_ratio: the one by the other; txn_pass_256_us; txn_gc_count: collections and
 * deoptimisations in txn_gc_s, after 500,000 steps; txn_garbage_bytes: what was allocated
 * meanwhile, if nothing was collected; txn_policies_gc_count: collections and deoptimisations of
 * all global policies under messages of every type, after as many for warm-up; txn_start_gc_count:
 * those after the warm-up that an agent has, thus of its first second.
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
  return {
    ...figures,
    txn_policies_gc_count: await policiesGcCount(WARM_UP_MESSAGES),
    txn_start_gc_count: await policiesGcCount(OWN_WARM_UP),
    txn_gc_count: gc_count + deopt_count,
    txn_gc_s: Math.round(facts.seconds),
    txn_garbage_bytes: facts.garbage_bytes,
  };
}
