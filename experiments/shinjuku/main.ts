/**
 * Figure 6a of SOSP'21 on the simulated machine: p99 latency against load for a non-preemptive
 * FIFO, Shinjuku with a 30 us slice, and a model of the default class.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { OutputFile } from "../../util/output_file.ts";
import { countText, durationText, tableText } from "../../util/table.ts";
import {
  type LoadPoint,
  meanServiceNs,
  PAPER_LOAD,
  type PointTime,
  runPoint,
  type System,
  SYSTEMS,
} from "./model.ts";
import { plotPage } from "./plot.ts";

/** A p99 above this counts as saturated; the paper's curves are vertical there. */
export const SATURATED_P99_NS = 500_000;

const FLAGS: readonly Flag[] = [
  { name: "seed", value: "N", fallback: "1", help: "seed of arrivals and services" },
  { name: "ms", value: "N", fallback: "1000", help: "virtual time measured per point" },
  { name: "step_krps", value: "N", fallback: "20", help: "distance of the load points" },
  { name: "max_krps", value: "N", fallback: "360", help: "highest load" },
  { name: "csv", value: "FILE", fallback: "out/shinjuku.csv", help: "where the points go" },
  { name: "html", value: "FILE", fallback: "out/shinjuku.html", help: "where the plot goes" },
  { name: "help", help: "print this" },
];

/** What is asked for, checked. */
interface Request {
  readonly time: PointTime;
  readonly loads_rps: readonly number[];
  readonly csv: OutputFile;
  readonly html: OutputFile;
}

function request(args: readonly string[]): Request | UsageError | "help" {
  const flags = parseFlags(FLAGS, args, "experiment shinjuku");
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
  const csv = OutputFile.open(flags.text("csv"));
  if (csv instanceof UsageError) return csv;
  const html = OutputFile.open(flags.text("html"));
  if (html instanceof UsageError) {
    csv.abandon();
    return html;
  }
  const time = { seed, warmup_ns: 50_000_000, measured_ns: measured_ms * 1_000_000 };
  return { time, loads_rps, csv, html };
}

/** The highest load of a system before its p99 is that of a queue that grows, in requests/s. */
export function saturationRps(points: readonly LoadPoint[], system: System): number {
  let saturation_rps = 0;
  for (const point of points) {
    if (point.system !== system) continue;
    if (point.p99_ns > SATURATED_P99_NS) break;
    saturation_rps = point.offered_rps;
  }
  return saturation_rps;
}

function sweep(asked: Request): LoadPoint[] {
  const points: LoadPoint[] = [];
  const total = SYSTEMS.length * asked.loads_rps.length;
  const terminal = Deno.stderr.isTerminal();
  const encoder = new TextEncoder();
  for (const system of SYSTEMS) {
    for (const rps of asked.loads_rps) {
      points.push(runPoint(system, rps, PAPER_LOAD, asked.time));
      const text = `${points.length}/${total} points, ${system} at ${rps / 1000} krps`;
      if (terminal) Deno.stderr.writeSync(encoder.encode(`\r\x1b[K${text}`));
    }
    if (!terminal) console.error(`${points.length}/${total} points: ${system} done`);
  }
  if (terminal) Deno.stderr.writeSync(encoder.encode("\r\x1b[K"));
  return points;
}

function csvText(points: readonly LoadPoint[]): string {
  const rows = points.map((point) =>
    [
      point.system,
      point.offered_rps,
      Math.round(point.served_rps),
      Math.round(point.p50_ns),
      Math.round(point.p99_ns),
    ].join(",")
  );
  return ["system,offered_rps,served_rps,p50_ns,p99_ns", ...rows].join("\n") + "\n";
}

function table(points: readonly LoadPoint[]): string {
  const columns = [
    { head: "krps", is_left: false },
    ...SYSTEMS.flatMap((system) => [
      { head: `${system}\np50`, is_left: false },
      { head: `${system}\np99`, is_left: false },
    ]),
  ];
  const loads = [...new Set(points.map((point) => point.offered_rps))];
  const rows = loads.map((rps) => [
    countText(rps / 1000),
    ...SYSTEMS.flatMap((system) => {
      const point = points.find((one) => one.system === system && one.offered_rps === rps);
      return [durationText(point?.p50_ns ?? NaN), durationText(point?.p99_ns ?? NaN)];
    }),
  ]);
  return tableText(columns, rows);
}

function summary(points: readonly LoadPoint[]): string {
  const { worker_cpu_count } = PAPER_LOAD;
  const ideal_rps = worker_cpu_count * 1_000_000_000 / meanServiceNs(PAPER_LOAD);
  const preemptive_rps = saturationRps(points, "shinjuku");
  const fifo_rps = saturationRps(points, "fifo");
  const at_80 = points.filter((point) =>
    point.system === "shinjuku" && point.offered_rps <= 0.8 * preemptive_rps
  ).at(-1);
  const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)} %`;
  return `ideal (${worker_cpu_count} CPUs / mean service): ${
    (ideal_rps / 1000).toFixed(0)
  } krps\n` +
    `saturation (last load with p99 up to ${durationText(SATURATED_P99_NS)}): ` +
    `fifo ${fifo_rps / 1000} krps, shinjuku ${preemptive_rps / 1000} krps ` +
    `(${percent(preemptive_rps / fifo_rps - 1)} above fifo, ` +
    `${percent(preemptive_rps / ideal_rps)} of the ideal)\n` +
    `shinjuku at 80 % of its saturation: p99 ${durationText(at_80?.p99_ns ?? NaN)}\n`;
}

/**
 * Runs the experiment.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: string[]): number {
  const asked = request(args);
  if (asked === "help") {
    console.log("usage: deno task experiment shinjuku [FLAGS]\n\n" + flagsHelp(FLAGS));
    return 0;
  }
  if (asked instanceof UsageError) {
    console.error(`experiment shinjuku: ${asked.message}`);
    return asked.exit_status;
  }
  console.log("SOSP'21 figure 6a on the simulated machine (a simulation, not a measurement)");
  const points = sweep(asked);
  console.log(table(points));
  console.log(summary(points));
  asked.csv.write(csvText(points));
  asked.csv.commit();
  asked.html.write(plotPage(points, summary(points)));
  asked.html.commit();
  console.log("wrote the points and the plot; --help says where");
  return 0;
}
