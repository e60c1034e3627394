/**
 * `deno task experiment simple_edf`: how many jobs miss their deadlines under EDF and FIFO, by
 * load, on the simulated machine.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { tableText } from "../../util/table.ts";
import { type Chart, CHART_COLORS, chartPage, type ChartSeries } from "../chart.ts";
import { PointProgress } from "../point_progress.ts";
import { OUT_FLAG, ResultsFolder } from "../results_folder.ts";
import {
  DEADLINE_SYSTEMS,
  type DeadlinePoint,
  deadlinePoint,
  type DeadlineSystem,
  JOB_CPU_COUNT,
  LATER_NS,
  MEAN_NS,
  SOON_NS,
  SOON_PER_100,
} from "./deadline_model.ts";

const NAME = "simple_edf";
const MS = 1_000_000;
const NAMES: Readonly<Record<DeadlineSystem, string>> = {
  edf: "EDF",
  fifo: "centralized FIFO",
};

const FLAGS: readonly Flag[] = [
  { name: "seed", value: "N", fallback: "1", help: "seed of arrivals, work and deadlines" },
  { name: "ms", value: "N", fallback: "5000", help: "virtual time measured per point" },
  { name: "step_percent", value: "N", fallback: "5", help: "distance of the loads" },
  { name: "min_percent", value: "N", fallback: "60", help: "lowest load" },
  { name: "max_percent", value: "N", fallback: "100", help: "highest load" },
  OUT_FLAG,
  { name: "help", help: "print this" },
];

/** What is asked for. */
interface Request {
  readonly loads: readonly number[];
  readonly seed: number;
  readonly measured_ns: number;
  readonly results: ResultsFolder;
}

function request(args: readonly string[]): Request | UsageError | "help" {
  const flags = parseFlags(FLAGS, args, `experiment ${NAME}`);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const seed = flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  const ms = flags.integer("ms", 1, 1_000_000);
  if (ms instanceof UsageError) return ms;
  const step = flags.integer("step_percent", 1, 100);
  if (step instanceof UsageError) return step;
  const max = flags.integer("max_percent", 1, 150);
  if (max instanceof UsageError) return max;
  const min = flags.integer("min_percent", 1, max);
  if (min instanceof UsageError) return min;
  const count = Math.floor((max - min) / step) + 1;
  const loads = Array.from({ length: count }, (_, index) => (min + index * step) / 100);
  const results = ResultsFolder.open(flags.text("out"), NAME);
  if (results instanceof UsageError) return results;
  return { loads, seed, measured_ns: ms * MS, results };
}

function sweep(asked: Request): DeadlinePoint[] {
  const progress = new PointProgress(DEADLINE_SYSTEMS.length * asked.loads.length);
  const points: DeadlinePoint[] = [];
  for (const system of DEADLINE_SYSTEMS) {
    for (const load of asked.loads) {
      progress.begin(`${system} at ${(load * 100).toFixed(0)} %`);
      points.push(deadlinePoint(system, load, asked.seed, asked.measured_ns));
      progress.end();
    }
    progress.part(system);
  }
  return points;
}

function percent(part: number): string {
  return Number.isNaN(part) ? "-" : `${(part * 100).toFixed(2)} %`;
}

function table(points: readonly DeadlinePoint[], loads: readonly number[]): string {
  const heads = ["load", "jobs"].concat(
    DEADLINE_SYSTEMS.flatMap((system) => [`${system}: late\nof soon`, `\nof later`]),
  );
  return tableText(
    heads.map((head) => ({ head, is_left: false })),
    loads.map((load) => {
      const own = DEADLINE_SYSTEMS.map((system) =>
        points.find((point) => point.system === system && point.load === load) as DeadlinePoint
      );
      return [
        `${(load * 100).toFixed(0)} %`,
        String(own[0].job_count),
        ...own.flatMap(({ soon_late, later_late }) => [percent(soon_late), percent(later_late)]),
      ];
    }),
  );
}

function csvText(points: readonly DeadlinePoint[], seed: number): string {
  const rows = points.map(({ system, load, job_count, soon_late, later_late }) =>
    [system, seed, load, job_count, soon_late.toFixed(6), later_late.toFixed(6)].join(",")
  );
  return ["sched,seed,load,jobs,soon_late,later_late", ...rows].join("\n") + "\n";
}

function lines(
  points: readonly DeadlinePoint[],
  valueOf: (point: DeadlinePoint) => number,
): ChartSeries[] {
  return DEADLINE_SYSTEMS.map((system, index) => ({
    name: NAMES[system],
    color: CHART_COLORS[1 - index],
    points: points.filter((point) => point.system === system)
      .map((point) => ({ x: point.load * 100, y: valueOf(point) * 100 })),
  }));
}

function page(points: readonly DeadlinePoint[], loads: readonly number[], text: string): string {
  const x = { label: "load (% of the CPUs)", min: loads[0] * 100, max: loads.at(-1)! * 100 };
  const yOf = (valueOf: (point: DeadlinePoint) => number): Chart["y"] => {
    const most = Math.max(...points.map((point) => valueOf(point) * 100).filter(Number.isFinite));
    const max = [1, 2, 5, 10, 20, 50].find((one) => one >= most) ?? 100;
    return { label: "late (%)", min: 0, max };
  };
  const soon = ({ soon_late }: DeadlinePoint): number => soon_late;
  const later = ({ later_late }: DeadlinePoint): number => later_late;
  return chartPage({
    title: "Jobs that miss their deadlines",
    origin: "simulated, not measured",
    intro: `${JOB_CPU_COUNT} CPUs and a global agent; jobs come by a Poisson process and take ` +
      `${MEAN_NS / MS} ms of CPU time on average, exponentially distributed. ${SOON_PER_100} % ` +
      `are due ${SOON_NS / MS} ms after they have come, the others ${LATER_NS / MS} ms. EDF is ` +
      "told the deadlines by a PrioTable and takes no CPU from a job that runs.",
    charts: [
      {
        title: `Late among the jobs that are due in ${SOON_NS / MS} ms`,
        x,
        y: yOf(soon),
        series: lines(points, soon),
      },
      {
        title: `Late among the jobs that are due in ${LATER_NS / MS} ms`,
        x,
        y: yOf(later),
        series: lines(points, later),
      },
    ],
    summary: text,
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
  console.log(`simple_edf: deadlines (a simulation, not a measurement; seed ${asked.seed})`);
  const points = sweep(asked);
  const text = `${table(points, asked.loads)}\nseed ${asked.seed}\n`;
  console.log(text);
  console.log(asked.results.commit(csvText(points, asked.seed), page(points, asked.loads, text)));
  return 0;
}
