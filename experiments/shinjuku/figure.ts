/**
 * A figure of SOSP'21 section 4.2 on the simulated machine: latency against load for several
 * systems. Flags, the sweep over the loads, the table and the points are the same for all.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { countText, durationText, tableText } from "../../util/table.ts";
import { PointProgress } from "../point_progress.ts";
import { OUT_FLAG, ResultsFolder } from "../results_folder.ts";
import {
  type LoadPoint,
  meanServiceNs,
  PAPER_LOAD,
  type PointTime,
  runPoint,
  type System,
} from "./model.ts";

/** A p99 above this counts as saturated; the paper's curves are vertical there. */
export const SATURATED_P99_NS = 500_000;

/** Until every worker has a long request: before that, short ones are served beyond all measure. */
const OVERLOAD_WARMUP_NS = 1_500_000_000;
/** Shorter runs are for a quick look, without the overload. */
const OVERLOAD_MEASURED_NS_MIN = 100_000_000;

/** One line of a figure. */
export interface Line {
  /** Name in the table and in the points. */
  readonly key: string;
  /** Name in the plot. */
  readonly name: string;
  readonly color: string;
  readonly system: System;
  /** Batch threads beside the requests' threads. */
  readonly batch_count: number;
}

/** A point of a line. */
export interface FigurePoint extends LoadPoint {
  /** See {@linkcode Line.key}. */
  readonly line: string;
}

/** A figure. */
export interface Figure {
  /** Name of the experiment and of its files. */
  readonly name: string;
  /** First line of the output. */
  readonly title: string;
  readonly lines: readonly Line[];
  /** A load that nobody can serve, measured last: what is served then is all that can be. */
  readonly overload_rps?: number;
  /** The page with the plots. */
  readonly page: (points: readonly FigurePoint[], summary: string) => string;
  /** Lines below the table. */
  readonly summary: (points: readonly FigurePoint[]) => string;
}

const FLAGS: readonly Flag[] = [
  { name: "seed", value: "N", fallback: "1", help: "seed of arrivals and services" },
  { name: "ms", value: "N", fallback: "1000", help: "virtual time measured per point" },
  { name: "step_krps", value: "N", fallback: "20", help: "distance of the load points" },
  { name: "max_krps", value: "N", fallback: "360", help: "highest load" },
  OUT_FLAG,
  { name: "help", help: "print this" },
];

/** What is asked for, checked. */
interface Request {
  readonly time: PointTime;
  readonly loads_rps: readonly number[];
  readonly results: ResultsFolder;
}

function request(figure: Figure, args: readonly string[]): Request | UsageError | "help" {
  const flags = parseFlags(FLAGS, args, `experiment ${figure.name}`);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const seed = flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  const measured_ms = flags.integer("ms", 1, 100_000);
  if (measured_ms instanceof UsageError) return measured_ms;
  const step_krps = flags.integer("step_krps", 1, 1000);
  if (step_krps instanceof UsageError) return step_krps;
  const max_krps = flags.integer("max_krps", 1, 1000);
  if (max_krps instanceof UsageError) return max_krps;
  const loads_rps: number[] = [];
  for (let krps = step_krps; krps <= max_krps; krps += step_krps) loads_rps.push(krps * 1000);
  if (loads_rps.length === 0) {
    return new UsageError("--step_krps is above --max_krps", "give a smaller step");
  }
  const results = ResultsFolder.open(flags.text("out"), figure.name);
  if (results instanceof UsageError) return results;
  const time = { seed, warmup_ns: 50_000_000, measured_ns: measured_ms * 1_000_000 };
  return { time, loads_rps, results };
}

/**
 * The highest load of a line before its p99 is that of a queue that grows.
 *
 * @param points All points.
 * @param line See {@linkcode Line.key}.
 * @returns Requests per second; 0 if there is none.
 */
export function saturationRps(points: readonly FigurePoint[], line: string): number {
  let saturation_rps = 0;
  for (const point of points) {
    if (point.line !== line) continue;
    if (point.p99_ns > SATURATED_P99_NS) break;
    saturation_rps = point.offered_rps;
  }
  return saturation_rps;
}

/**
 * What a line serves when more arrives than it can serve.
 *
 * @param points All points.
 * @param line See {@linkcode Line.key}.
 * @returns Requests per second; NaN if no such load was measured.
 */
export function throughputRps(points: readonly FigurePoint[], line: string): number {
  const over = points.filter((point) => point.line === line && point.offered_rps > idealRps());
  return over.length === 0 ? NaN : Math.max(...over.map((point) => point.served_rps));
}

/** The load that worker CPUs could serve if nothing cost anything, in requests per second. */
export function idealRps(): number {
  return PAPER_LOAD.worker_cpu_count * 1_000_000_000 / meanServiceNs(PAPER_LOAD);
}

function sweep(figure: Figure, asked: Request): FigurePoint[] {
  const points: FigurePoint[] = [];
  const overload_rps = asked.time.measured_ns < OVERLOAD_MEASURED_NS_MIN
    ? undefined
    : figure.overload_rps;
  const load_count = asked.loads_rps.length + (overload_rps === undefined ? 0 : 1);
  const progress = new PointProgress(figure.lines.length * load_count);
  for (const { key, system, batch_count } of figure.lines) {
    const model = { ...PAPER_LOAD, batch_count };
    for (const rps of asked.loads_rps) {
      progress.begin(`${key} at ${rps / 1000} krps`);
      points.push({ ...runPoint(system, rps, model, asked.time), line: key });
      progress.end();
    }
    if (overload_rps !== undefined) {
      progress.begin(`${key} at ${overload_rps / 1000} krps`);
      const time = { ...asked.time, warmup_ns: OVERLOAD_WARMUP_NS };
      points.push({ ...runPoint(system, overload_rps, model, time), line: key });
      progress.end();
    }
    progress.part(key);
  }
  return points;
}

function csvText(points: readonly FigurePoint[], seed: number): string {
  const rows = points.map((point) =>
    [
      point.line,
      seed,
      point.offered_rps,
      Math.round(point.served_rps),
      Math.round(point.p50_ns),
      Math.round(point.p99_ns),
      point.batch_share.toFixed(4),
    ].join(",")
  );
  const head = "system,seed,offered_rps,served_rps,p50_ns,p99_ns,batch_share";
  return [head, ...rows].join("\n") + "\n";
}

/** Columns of one line: p50, p99 and, where there are batch threads, their share. */
function lineCells(line: Line, point: FigurePoint | undefined): string[] {
  const latencies = [durationText(point?.p50_ns ?? NaN), durationText(point?.p99_ns ?? NaN)];
  if (line.batch_count === 0) return latencies;
  return [...latencies, `${((point?.batch_share ?? NaN) * 100).toFixed(1)} %`];
}

function table(figure: Figure, points: readonly FigurePoint[]): string {
  const columns = [
    { head: "krps", is_left: false },
    ...figure.lines.flatMap((line) => [
      { head: `${line.key}\np50`, is_left: false },
      { head: `${line.key}\np99`, is_left: false },
      ...(line.batch_count > 0 ? [{ head: "batch\nshare", is_left: false }] : []),
    ]),
  ];
  const loads = [...new Set(points.map((point) => point.offered_rps))];
  const rows = loads.map((rps) => [
    countText(rps / 1000),
    ...figure.lines.flatMap((line) =>
      lineCells(
        line,
        points.find((one) => one.line === line.key && one.offered_rps === rps),
      )
    ),
  ]);
  return tableText(columns, rows);
}

/**
 * Runs a figure.
 *
 * @param figure The figure.
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export function runFigure(figure: Figure, args: readonly string[]): number {
  const asked = request(figure, args);
  if (asked === "help") {
    console.log(`usage: deno task experiment ${figure.name} [FLAGS]\n\n` + flagsHelp(FLAGS));
    return 0;
  }
  if (asked instanceof UsageError) {
    console.error(`experiment ${figure.name}: ${asked.message}`);
    return asked.exit_status;
  }
  const { seed } = asked.time;
  console.log(`${figure.title} (a simulation, not a measurement; seed ${seed})`);
  const points = sweep(figure, asked);
  const summary = `${figure.summary(points)}seed ${seed}\n`;
  console.log(table(figure, points));
  console.log(summary);
  console.log(asked.results.commit(csvText(points, seed), figure.page(points, summary)));
  return 0;
}
