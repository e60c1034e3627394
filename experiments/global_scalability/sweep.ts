/**
 * `deno task experiment global_scalability`: scheduled threads per second by number of CPUs, for
 * three policies on the simulated machine, beside figure 5 of SOSP'21.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { countText, tableText } from "../../util/table.ts";
import { CHART_COLORS, chartPage } from "../chart.ts";
import { PointProgress } from "../point_progress.ts";
import { OUT_FLAG, ResultsFolder } from "../results_folder.ts";
import { cpuOrder } from "./cpu_order.ts";
import { simElapsedNs, type SimPolicyName } from "./sim_point.ts";

const POLICIES: readonly SimPolicyName[] = ["edf", "shinjuku", "sol"];
const NAMES: Readonly<Record<SimPolicyName, string>> = {
  edf: "EDF",
  shinjuku: "Shinjuku, 50 us slice",
  sol: "Sol, asynchronous commits",
};
const NAME = "global_scalability";
const GLOBAL_CPU = 1;
const THREADS_PER_CPU = 5;

/** Where the lines of figure 5 are highest, read off the printed figure (± 0.05 M/s). */
const PAPER_PEAKS = [
  { name: "paper, Haswell: most, 2.5 M/s", x: 33 },
  { name: "paper, Skylake: most, 2.4 M/s", x: 54 },
];

const FLAGS: readonly Flag[] = [
  { name: "max_cpus", value: "N", fallback: "112", help: "CPUs of the machine" },
  { name: "points", value: "N", fallback: "16", help: "points per policy" },
  { name: "total_loops", value: "N", fallback: "100000", help: "yields of all threads of a point" },
  { name: "seed", value: "N", fallback: "1", help: "seed of the simulated kernel" },
  OUT_FLAG,
  { name: "help", help: "print this" },
];

/** One result. */
interface RatePoint {
  readonly policy: SimPolicyName;
  readonly task_cpu_count: number;
  readonly rate: number;
}

/** What is asked for. */
interface Request {
  readonly cpu_count: number;
  readonly task_cpu_counts: readonly number[];
  readonly total_loops: number;
  readonly seed: number;
  readonly results: ResultsFolder;
}

/** Numbers of CPUs from 1 to the most, close together where there are few. */
export function spread(most: number, count: number): number[] {
  const steps = Array.from(
    { length: count },
    (_, index) => Math.max(1, Math.round(most * ((index + 1) / count) ** 2)),
  );
  return [...new Set([1, ...steps])];
}

function request(args: readonly string[]): Request | UsageError | "help" {
  const flags = parseFlags(FLAGS, args, `experiment ${NAME}`);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const cpu_count = flags.integer("max_cpus", 3, 512);
  if (cpu_count instanceof UsageError) return cpu_count;
  const count = flags.integer("points", 1, 512);
  if (count instanceof UsageError) return count;
  const total_loops = flags.integer("total_loops", THREADS_PER_CPU * 512, 100_000_000);
  if (total_loops instanceof UsageError) return total_loops;
  const seed = flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  const results = ResultsFolder.open(flags.text("out"), NAME);
  if (results instanceof UsageError) return results;
  return { cpu_count, task_cpu_counts: spread(cpu_count - 2, count), total_loops, seed, results };
}

function sweep(asked: Request): RatePoint[] {
  const { cpu_count, task_cpu_counts, total_loops, seed } = asked;
  const options = { cpu_count, global_cpu: GLOBAL_CPU, skips_cpu0: true, packs_smt: false };
  const order = cpuOrder(options);
  const progress = new PointProgress(POLICIES.length * task_cpu_counts.length);
  const points: RatePoint[] = [];
  for (const policy of POLICIES) {
    for (const task_cpu_count of task_cpu_counts) {
      progress.begin(`${policy} on ${task_cpu_count} CPUs`);
      const thread_count = THREADS_PER_CPU * task_cpu_count;
      const loop_count = Math.floor(total_loops / thread_count);
      const cpus = order.slice(0, task_cpu_count + 1);
      const point = { task_cpu_count, cpus, thread_count, loop_count };
      const elapsed_ns = simElapsedNs(policy, point, cpu_count, seed);
      points.push({ policy, task_cpu_count, rate: thread_count * loop_count / elapsed_ns * 1e9 });
      progress.end();
    }
    progress.part(policy);
  }
  return points;
}

function rateOf(points: readonly RatePoint[], policy: SimPolicyName, cpus: number): number {
  const point = points.find((one) => one.policy === policy && one.task_cpu_count === cpus);
  return point?.rate ?? NaN;
}

function table(points: readonly RatePoint[], cpu_counts: readonly number[]): string {
  const heads = ["CPUs", ...POLICIES.map((policy) => `${policy}\nscheds/s`)];
  return tableText(
    heads.map((head) => ({ head, is_left: false })),
    cpu_counts.map((cpus) => [
      String(cpus),
      ...POLICIES.map((policy) => countText(Math.round(rateOf(points, policy, cpus)))),
    ]),
  );
}

function csvText(points: readonly RatePoint[], asked: Request): string {
  const rows = points.map(({ policy, task_cpu_count, rate }) => {
    const loops = Math.floor(asked.total_loops / (THREADS_PER_CPU * task_cpu_count));
    return `${policy},${asked.seed},${task_cpu_count},${rate.toFixed(6)},${loops}`;
  });
  return ["sched,seed,nr_task_cpus,scheds_per_sec,loops_per_thread", ...rows].join("\n") + "\n";
}

function page(points: readonly RatePoint[], asked: Request, summary: string): string {
  const most = Math.max(...points.map(({ rate }) => rate)) / 1e6;
  return chartPage({
    title: "One global agent and a growing number of CPUs",
    origin: "simulated, not measured",
    intro: `${THREADS_PER_CPU} threads per CPU that only yield, one global agent, a machine of ` +
      `${asked.cpu_count} CPUs. Costs of messages and commits are those of the paper's Table 3 ` +
      "and the agent's own work is free, so this is what the kernel interface allows; memory of " +
      "a second socket, which bends the paper's figure 5 down, is not simulated.",
    charts: [{
      title: "Threads scheduled per second",
      x: { label: "CPUs that threads run on", min: 0, max: asked.cpu_count },
      y: { label: "millions per second", min: 0, max: Math.max(Math.ceil(most * 2) / 2, 0.5) },
      series: POLICIES.map((policy, index) => ({
        name: NAMES[policy],
        color: CHART_COLORS[index],
        points: points.filter((point) => point.policy === policy)
          .map(({ task_cpu_count, rate }) => ({ x: task_cpu_count, y: rate / 1e6 })),
      })),
      marks: PAPER_PEAKS.filter(({ x }) => x < asked.cpu_count),
    }],
    summary,
  });
}

/**
 * Runs the experiment.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: readonly string[]): number {
  const asked = request(args);
  if (asked === "help") {
    console.log(`usage: deno task experiment ${NAME} [FLAGS]\n\n${flagsHelp(FLAGS)}`);
    return 0;
  }
  if (asked instanceof UsageError) {
    console.error(`experiment ${NAME}: ${asked.message}`);
    return asked.exit_status;
  }
  console.log(`global_scalability (a simulation, not a measurement; seed ${asked.seed})`);
  const points = sweep(asked);
  const summary = POLICIES.map((policy) => {
    const own = points.filter((point) => point.policy === policy);
    const best = own.reduce((a, b) => b.rate > a.rate ? b : a);
    return `${policy}: at most ${
      (best.rate / 1e6).toFixed(2)
    } M/s, on ${best.task_cpu_count} CPUs\n`;
  }).join("") + `seed ${asked.seed}\n`;
  console.log(table(points, asked.task_cpu_counts));
  console.log(summary);
  console.log(asked.results.commit(csvText(points, asked), page(points, asked, summary)));
  return 0;
}
