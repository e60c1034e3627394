/**
 * Results of a sweep: read from the programs' output, kept in upstream's files and as one CSV file,
 * and drawn (reference section 6.5, run.py).
 *
 * @module
 */
import { OperatingError } from "../../lib/errors.ts";
import { type Chart, CHART_COLORS, chartPage, powerOfTenAbove } from "../chart.ts";
import type { SweepScheduler } from "./sweep_plan.ts";

/** The sections of rocksdb's results in their order, and upstream's file for each. */
const SECTIONS = [
  { name: "Get:", file: "rocksdb_get" },
  { name: "Range:", file: "rocksdb_range" },
  { name: "All:", file: "rocksdb" },
] as const;
const STAGES = ["ingress", "handle", "queue", "work", "total"];
const NUMBERS = ["requests", "served_rps", "min_us", "p50_us", "p99_us", "p995_us", "p999_us"];
const COLUMNS = ["scheduler", "offered_rps", "seed", "kind", "stage", ...NUMBERS, "max_us"];

/** One stage of one kind of requests: its eight numbers, or dashes. */
interface StageRow {
  readonly kind: string;
  readonly stage: string;
  readonly cells: readonly string[];
}

/** Results of one point. */
export interface SweepPoint {
  readonly scheduler: SweepScheduler;
  readonly offered_rps: number;
  readonly seed: number;
  readonly rows: readonly StageRow[];
  /** What each thread of the antagonist got, and all of them; empty without one. */
  readonly antagonist: readonly string[];
}

/**
 * Reads what rocksdb has printed with --print_format=csv, --print_get and --print_range.
 *
 * @param stdout Its output.
 * @returns The rows, or an error if a section is missing.
 */
export function parseRocksdb(stdout: string): StageRow[] | OperatingError {
  const lines = stdout.slice(stdout.indexOf("Stats:\n")).trimEnd().split("\n");
  const rows: StageRow[] = [];
  for (const { name } of SECTIONS) {
    const begin = lines.indexOf(name) + 1;
    const stages = begin === 0 ? [] : lines.slice(begin, begin + STAGES.length);
    const cells = stages.map((line) => line.split(","));
    if (cells.length < STAGES.length || cells.some((row) => row.length !== NUMBERS.length + 1)) {
      return new OperatingError(
        `rocksdb printed no results for "${name}"`,
        "run it by hand with the same flags to see why",
      );
    }
    const kind = name.slice(0, -1).toLowerCase();
    cells.forEach((row, index) => rows.push({ kind, stage: STAGES[index], cells: row }));
  }
  return rows;
}

/** The lines behind "Stats:" of the antagonist. */
export function parseAntagonist(stdout: string): string[] {
  const at = stdout.indexOf("Stats:\n");
  return at < 0 ? [] : stdout.slice(at + "Stats:\n".length).trimEnd().split("\n");
}

/** A point's lines for upstream's files, by name of the file. */
export function upstreamLines(point: SweepPoint): Record<string, string> {
  const lines: Record<string, string> = {};
  for (const { name, file } of SECTIONS) {
    const kind = name.slice(0, -1).toLowerCase();
    const rows = point.rows.filter((row) => row.kind === kind);
    lines[file] = `${rows.flatMap((row) => row.cells).join(",")}\n`;
  }
  if (point.antagonist.length > 0) {
    lines.antagonist = `${[point.offered_rps, ...point.antagonist].join(",")}\n`;
  }
  return lines;
}

/** Share of its CPUs that the antagonist got; NaN without one. */
function antagonistShare(point: SweepPoint): number {
  const total = point.antagonist.find((line) => line.startsWith("Total,"));
  return Number(total?.split(",")[2] ?? NaN);
}

/** All points with a head line; one row per stage, and one for the antagonist. */
export function csvText(points: readonly SweepPoint[]): string {
  const lines = points.flatMap((point) => {
    const head = [point.scheduler, point.offered_rps, point.seed];
    const rows = point.rows.map(({ kind, stage, cells }) =>
      [...head, kind, stage, ...cells.map((cell) => cell === "-" ? "" : cell)].join(",")
    );
    const share = antagonistShare(point);
    if (Number.isNaN(share)) return rows;
    return [...rows, [...head, "antagonist", "share", "", share, ...Array(6).fill("")].join(",")];
  });
  return [COLUMNS.join(","), ...lines].join("\n") + "\n";
}

/** A number of a point's last stage; NaN if no request came so far. */
export function totalOf(point: SweepPoint, kind: string, column: string): number {
  const row = point.rows.find((one) => one.kind === kind && one.stage === "total");
  const cell = row?.cells[NUMBERS.indexOf(column)] ?? "-";
  return cell === "-" ? NaN : Number(cell);
}

const COLORS: Readonly<Record<SweepScheduler, string>> = {
  cfs: CHART_COLORS[0],
  ghost: CHART_COLORS[1],
};
const NAMES: Readonly<Record<SweepScheduler, string>> = {
  cfs: "default scheduler",
  ghost: "agent_shinjuku",
};

function lines(
  points: readonly SweepPoint[],
  valueOf: (point: SweepPoint) => number,
): Chart["series"] {
  const schedulers = [...new Set(points.map(({ scheduler }) => scheduler))];
  return schedulers.map((scheduler) => ({
    name: NAMES[scheduler],
    color: COLORS[scheduler],
    points: points.filter((point) => point.scheduler === scheduler)
      .map((point) => ({ x: point.offered_rps / 1000, y: valueOf(point) })),
  }));
}

function latencyChart(points: readonly SweepPoint[], kind: string, title: string): Chart {
  const value = (point: SweepPoint): number => totalOf(point, kind, "p99_us");
  const values = points.map(value).filter(Number.isFinite);
  const least = Math.max(Math.min(...values, 100), 1);
  return {
    title,
    x: loadAxis(points),
    y: {
      label: "p99 (us)",
      min: powerOfTenAbove(least / 10),
      max: powerOfTenAbove(Math.max(...values, 100)),
      is_log: true,
    },
    series: lines(points, value),
  };
}

function loadAxis(points: readonly SweepPoint[]): Chart["x"] {
  const max = Math.max(...points.map((point) => point.offered_rps / 1000), 1);
  return { label: "requests that arrive (k/s)", min: 0, max };
}

/**
 * The page of a sweep.
 *
 * @param points All points.
 * @param title What was swept.
 * @param intro On what, and how.
 */
export function sweepPage(points: readonly SweepPoint[], title: string, intro: string): string {
  const has_ranges = points.some((point) => totalOf(point, "range", "requests") > 0);
  const x = loadAxis(points);
  const served = (point: SweepPoint): number => totalOf(point, "all", "served_rps") / 1000;
  const charts: Chart[] = [
    latencyChart(points, "get", "Gets: 99th percentile of the time from arrival to answer"),
    ...(has_ranges
      ? [latencyChart(points, "range", "Range queries: 99th percentile of the same")]
      : []),
    {
      title: "Requests served",
      x,
      y: { label: "requests served (k/s)", min: 0, max: x.max },
      series: lines(points, served),
    },
  ];
  if (points.some((point) => point.antagonist.length > 0)) {
    charts.push({
      title: "Share of its CPUs that the antagonist got",
      x,
      y: { label: "share of the CPUs", min: 0, max: 1 },
      series: lines(points, antagonistShare),
    });
  }
  const summary = [...new Set(points.map(({ scheduler }) => scheduler))].map((scheduler) => {
    const own = points.filter((point) => point.scheduler === scheduler);
    const most = Math.max(...own.map(served));
    return `${NAMES[scheduler]}: ${own.length} points, at most ${most.toFixed(1)} k/s served, ` +
      `seed ${own[0].seed}`;
  }).join("\n");
  return chartPage({ title, origin: "measured on this host", intro, charts, summary });
}
