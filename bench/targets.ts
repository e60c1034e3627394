/**
 * What each figure should be. A figure that is missed is reported, never hidden, and no test hangs
 * on it: the machines that run this are too different.
 *
 * @module
 */

/** What is wanted of a figure. */
export interface Target {
  /** Its name, in `--json` files too. */
  readonly name: string;
  /** The bench that measures it: `bench/<bench>_bench.ts`. */
  readonly bench: string;
  /** True if larger is better. */
  readonly at_least: boolean;
  /** The bound. */
  readonly bound: number;
  /** What it measures, in a few words. */
  readonly what: string;
}

function atLeast(bench: string, name: string, bound: number, what: string): Target {
  return { bench, name, at_least: true, bound, what };
}

function atMost(bench: string, name: string, bound: number, what: string): Target {
  return { bench, name, at_least: false, bound, what };
}

/** The figures, in the order in which they are shown. */
export const TARGETS: readonly Target[] = [
  atLeast("pump", "pump_throughput_ratio", 0.6, "messages per second, this library to C at -O2"),
  atMost("pump", "pump_rtt_p50_ratio", 1.3, "message to transaction, median, to C"),
  atMost("pump", "pump_rtt_p99_ratio", 1.5, "message to transaction, p99, to C"),
  atMost("pump", "pump_gc_count", 0, "collections and deoptimisations in 10^8 messages"),
  atLeast("txn", "txn_per_s", 1_000_000, "committed transactions of a global agent, one core"),
  atLeast("txn", "txn_group_ratio", 1.6, "the same in groups of 10 to one by one"),
  atMost("txn", "txn_pass_256_us", 30, "agent time of a pass over 256 CPUs, 10 threads each"),
  atMost("txn", "txn_gc_count", 0, "collections and deoptimisations meanwhile, in txn_gc_s"),
  atMost("txn", "txn_policies_gc_count", 0, "the same of all global policies, 5 x 10^6 messages"),
  atLeast("sim", "sim_events_per_s", 1_000_000, "events of a 16-CPU machine"),
  atLeast("sim", "sim_real_ratio", 10, "simulated to real time under simple_exp, 16 CPUs"),
  atMost("sim", "sim_512cpu_rss_mib", 1024, "512 CPUs and 100,000 threads, peak memory"),
  atMost("exe", "exe_start_ratio", 1.2, "start of the executable to `deno run`"),
  atMost("exe", "exe_size_ratio", 1.02, "size without 2 MB to the runtime it is made from"),
  atMost("exe", "demo_rss_mib", 65, "simple_exp on sim in the executable, peak memory"),
  atMost("start", "start_active_ms", 220, "start of an agent to active, 1 CPU, native peer"),
  atMost("start", "start_active_over_ms", 200, "the same with all CPUs, less 20 ms for each"),
  atMost("start", "upgrade_gap_p99_ms", 10, "agents offline to the successor's steps, under load"),
];

/** How a figure stands to its target. */
export function verdict(target: Target, value: number): string {
  const { at_least, bound } = target;
  if (at_least ? value >= bound : value <= bound) return "ok";
  if (bound === 0) return `missed by ${value}`;
  return `missed by ${Math.abs((value / bound - 1) * 100).toFixed(0)} %`;
}
