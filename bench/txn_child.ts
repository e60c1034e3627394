/**
 * Measures a global agent in a process of its own, started by txn_bench.ts with the V8 flags that
 * every executable has. Writes its figures as JSON. Arguments: "rates", or "gc" and seconds.
 *
 * @module
 */
import { loadShim } from "../ffi/shim.ts";
import { emptyYoungGeneration } from "../lib/warm_up.ts";
import { fifoCentralized } from "../schedulers/fifo/centralized/scheduler.ts";
import { PUMP_NATIVE } from "./pump_native.ts";
import { TxnBench } from "./txn_peer.ts";

/** One transaction in a hundred is stale. */
const STALE_PER_10000 = 100;
/** Fewer transactions say nothing of that share: somebody else had the CPU. */
const STALE_SAMPLE = 10_000;
const GROUP = 10;
const TASKS_PER_CPU = 10;
const PASS_CPUS = 256;
const STEPS_PER_CALL = 500;
/** The time is read between two calls, and boxed until V8 compiles that loop: seldom is better. */
const WATCHED_STEPS_PER_CALL = 50_000;
const WARM_UP_NS = 500e6;
/** A second or two on a quiet machine. */
const WATCH_WARM_UP_CALLS = 1000;
const RUN_NS = 30e6;
const REPETITIONS = 30;
const PASSES = 300;

const { clockMonotonicNs } = loadShim();

/** Target CPUs; those of the agent come on top. */
function bench(target_count: number, runs_on: boolean, slice_ns: number): TxnBench {
  return new TxnBench({
    policy: fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: slice_ns }),
    cpu_count: target_count + 1,
    task_count: target_count * TASKS_PER_CPU,
    stale_per_10000: STALE_PER_10000,
    runs_on,
  });
}

function runFor(one: TxnBench, duration_ns: number, steps_per_call = STEPS_PER_CALL): number {
  const begin_ns = clockMonotonicNs();
  let now_ns = begin_ns;
  for (; now_ns - begin_ns < duration_ns; now_ns = clockMonotonicNs()) one.run(steps_per_call);
  return now_ns - begin_ns;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Committed transactions per second; fails if one was refused for a fault of the policy. */
function rate(one: TxnBench): number {
  const duration_ns = runFor(one, RUN_NS);
  const { committed, stale, refused, overflows } = one.counts();
  if (refused > 0 || overflows > 0) throw new Error(`${refused} refused, ${overflows} lost`);
  if (committed < STALE_SAMPLE) return committed / (duration_ns / 1e9);
  if (Math.abs(stale / (committed + stale) * 10_000 / STALE_PER_10000 - 1) > 0.5) {
    throw new Error(`${stale} of ${committed + stale} were stale`);
  }
  return committed / (duration_ns / 1e9);
}

/** Agent time of single passes in which every CPU gets another task, in ns: the median. */
function passNs(one: TxnBench): number {
  const passes = new Float64Array(PASSES);
  for (let n = 0; n < PASSES; n++) {
    const begin_ns = clockMonotonicNs();
    one.run(1);
    const duration_ns = clockMonotonicNs() - begin_ns;
    const { kernel_ns, refused, committed } = one.counts();
    if (refused > 0) throw new Error(`${refused} transactions refused`);
    if (committed < 0.9 * PASS_CPUS) throw new Error(`${committed} transactions in a pass`);
    passes[n] = duration_ns - kernel_ns;
  }
  return passes.sort()[PASSES >> 1];
}

function rates(): Record<string, number> {
  const [single, group] = [bench(1, false, Infinity), bench(GROUP, false, Infinity)];
  // A slice of nothing: in each pass every CPU gets another task.
  const full = bench(PASS_CPUS, true, 0);
  for (const one of [single, group, full]) runFor(one, WARM_UP_NS);
  for (const one of [single, group, full]) runFor(one, WARM_UP_NS);
  for (const one of [single, group, full]) one.counts();
  const singles: number[] = [];
  const groups: number[] = [];
  const passes: number[] = [];
  for (let n = 0; n < REPETITIONS; n++) {
    singles.push(rate(single));
    groups.push(rate(group));
    passes.push(passNs(full));
  }
  return {
    txn_per_s: median(groups),
    txn_single_per_s: median(singles),
    txn_group_ratio: median(groups.map((value, n) => value / singles[n])),
    txn_pass_256_us: median(passes) / 1000,
  };
}

/** V8 writes its traces through the C library's buffers, we do not: they go first. */
function say(text: string): void {
  PUMP_NATIVE.pump_flush();
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Runs for a time under V8's traces. */
function watch(seconds: number): void {
  const group = bench(GROUP, false, Infinity);
  // By steps: on a busy machine a second is a tenth of one.
  for (let n = 0; n < WATCH_WARM_UP_CALLS; n++) group.run(STEPS_PER_CALL);
  group.counts();
  emptyYoungGeneration();
  say("WARM");
  const begin_bytes = Deno.memoryUsage().heapUsed;
  const duration_ns = runFor(group, seconds * 1e9, WATCHED_STEPS_PER_CALL);
  const garbage_bytes = Deno.memoryUsage().heapUsed - begin_bytes;
  say("DONE");
  const { committed, stale } = group.counts();
  say(JSON.stringify({ committed, stale, garbage_bytes, seconds: duration_ns / 1e9 }));
}

const [what, seconds] = Deno.args;
if (what === "gc") watch(Number(seconds));
else say(JSON.stringify(rates()));
