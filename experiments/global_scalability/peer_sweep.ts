/**
 * `deno task experiment global_scalability_peer`: transactions per second of one global agent on
 * one core of this host, by number of CPUs, against the native peer of the benchmarks. The peer
 * checks every transaction as a kernel does, in memory; no thread is scheduled, so that this is the
 * agent's own time, which the simulated sweep takes for free.
 *
 * @module
 */
import { TxnBench } from "../../bench/txn_peer.ts";
import { ShimError } from "../../ffi/errors.ts";
import { loadShim } from "../../ffi/shim.ts";
import { EXIT_FAILURE, UsageError } from "../../lib/errors.ts";
import { fifoCentralized } from "../../schedulers/fifo/centralized/scheduler.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { countText, durationText, tableText } from "../../util/table.ts";
import { CHART_COLORS, chartPage } from "../chart.ts";
import { PointProgress } from "../point_progress.ts";
import { OUT_FLAG, ResultsFolder } from "../results_folder.ts";
import { spread } from "./sweep.ts";

const NAME = "global_scalability_peer";
const ORIGIN = "measured against a native peer in memory, which is no kernel";
const THREADS_PER_CPU = 5;
const STEPS_PER_CALL = 20;
const WINDOW_NS = 1e6;

const FLAGS: readonly Flag[] = [
  { name: "max_cpus", value: "N", fallback: "112", help: "CPUs, the agent's among them" },
  { name: "points", value: "N", fallback: "16", help: "points" },
  { name: "ms", value: "N", fallback: "300", help: "time measured per point" },
  OUT_FLAG,
  { name: "help", help: "print this" },
];

/** One result. */
export interface PeerPoint {
  /** CPUs that tasks run on. */
  readonly task_cpu_count: number;
  /** Committed transactions per second: the median of windows of a millisecond. */
  readonly rate: number;
  /** The agent's own time for one of them, calls into the peer not counted, in ns. */
  readonly agent_ns: number;
}

/**
 * Measures one number of CPUs.
 *
 * @param task_cpu_count CPUs that tasks run on.
 * @param measured_ns How long; the warm-up takes as long again.
 * @throws {ShimError} If the native part cannot be built.
 */
export function peerPoint(task_cpu_count: number, measured_ns: number): PeerPoint {
  const { clockMonotonicNs } = loadShim();
  const bench = new TxnBench({
    policy: fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: Infinity }),
    cpu_count: task_cpu_count + 1,
    task_count: task_cpu_count * THREADS_PER_CPU,
    stale_per_10000: 0,
    runs_on: false,
  });
  /** Rates of short windows, so that other threads of the machine spoil few of them. */
  const windows = (): { rate: number; agent_ns: number }[] => {
    const all: { rate: number; agent_ns: number }[] = [];
    for (const begin_ns = clockMonotonicNs(); clockMonotonicNs() - begin_ns < measured_ns;) {
      const window_ns = clockMonotonicNs();
      let now_ns = window_ns;
      for (; now_ns - window_ns < WINDOW_NS; now_ns = clockMonotonicNs()) bench.run(STEPS_PER_CALL);
      const { committed, refused, overflows, kernel_ns } = bench.counts();
      if (refused + overflows > 0) throw new Error(`${refused} refused, ${overflows} lost`);
      const duration_ns = now_ns - window_ns;
      const rate = committed / duration_ns * 1e9;
      all.push({ rate, agent_ns: (duration_ns - kernel_ns) / committed });
    }
    return all.sort((x, y) => x.rate - y.rate);
  };
  windows();
  bench.counts();
  const sorted = windows();
  return { task_cpu_count, ...sorted[sorted.length >> 1] };
}

function page(points: readonly PeerPoint[], summary: string): string {
  const most = Math.max(...points.map(({ rate }) => rate)) / 1e6;
  return chartPage({
    title: "One global agent on one core of this host",
    origin: ORIGIN,
    intro: `Centralized FIFO, ${THREADS_PER_CPU} tasks per CPU that yield at once. A native peer ` +
      "in memory checks barrier, thread and state of every transaction and answers with " +
      "messages, in the agent's own thread. No thread is scheduled: this is how fast the agent " +
      "itself can be, and kernels are slower. Medians of windows of a millisecond.",
    charts: [{
      title: "Transactions per second",
      x: { label: "CPUs that tasks run on", min: 0, max: points.at(-1)?.task_cpu_count ?? 1 },
      y: { label: "millions per second", min: 0, max: Math.max(Math.ceil(most), 1) },
      series: [{
        name: "centralized FIFO",
        color: CHART_COLORS[1],
        points: points.map(({ task_cpu_count, rate }) => ({ x: task_cpu_count, y: rate / 1e6 })),
      }],
    }],
    summary,
  });
}

function sweep(cpu_counts: readonly number[], measured_ns: number): PeerPoint[] {
  const progress = new PointProgress(cpu_counts.length);
  const points = cpu_counts.map((count) => {
    progress.begin(`${count} CPUs`);
    const point = peerPoint(count, measured_ns);
    progress.end();
    return point;
  });
  progress.part("centralized FIFO");
  return points;
}

function table(points: readonly PeerPoint[]): string {
  return tableText(
    ["CPUs", "txns/s", "agent time\nper txn"].map((head) => ({ head, is_left: false })),
    points.map(({ task_cpu_count, rate, agent_ns }) => [
      String(task_cpu_count),
      countText(Math.round(rate)),
      durationText(agent_ns),
    ]),
  );
}

/**
 * Runs the experiment.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: readonly string[]): number {
  const flags = parseFlags(FLAGS, args, `experiment ${NAME}`);
  if (!(flags instanceof UsageError) && flags.has("help")) {
    console.log(`usage: deno task experiment ${NAME} [FLAGS]\n\n${flagsHelp(FLAGS)}`);
    return 0;
  }
  const fail = (error: UsageError | ShimError, status: number): number => {
    console.error(`experiment ${NAME}: ${error.message}`);
    return status;
  };
  if (flags instanceof UsageError) return fail(flags, flags.exit_status);
  const cpu_count = flags.integer("max_cpus", 2, 512);
  if (cpu_count instanceof UsageError) return fail(cpu_count, cpu_count.exit_status);
  const count = flags.integer("points", 1, 512);
  if (count instanceof UsageError) return fail(count, count.exit_status);
  const ms = flags.integer("ms", 1, 100_000);
  if (ms instanceof UsageError) return fail(ms, ms.exit_status);
  const results = ResultsFolder.open(flags.text("out"), NAME);
  if (results instanceof UsageError) return fail(results, results.exit_status);
  console.log(`${NAME} (${ORIGIN})`);
  try {
    const points = sweep(spread(cpu_count - 1, count), ms * 1e6);
    const text = table(points);
    console.log(text);
    const rows = points.map(({ task_cpu_count, rate, agent_ns }) =>
      `fifo_centralized,${task_cpu_count},${rate.toFixed(6)},${agent_ns.toFixed(1)}`
    );
    const csv = ["sched,nr_task_cpus,txns_per_sec,agent_ns_per_txn", ...rows].join("\n") + "\n";
    console.log(results.commit(csv, page(points, text)));
    return 0;
  } catch (error) {
    results.abandon();
    if (!(error instanceof ShimError)) throw error;
    return fail(error, EXIT_FAILURE);
  }
}
