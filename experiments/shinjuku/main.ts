/**
 * Figure 6a of SOSP'21 on the simulated machine: p99 latency against load for a non-preemptive
 * FIFO, Shinjuku with a 30 us slice, and a model of the default class.
 *
 * @module
 */
import { durationText } from "../../util/table.ts";
import { CHART_COLORS } from "../chart.ts";
import {
  type Figure,
  type FigurePoint,
  idealRps,
  type Line,
  runFigure,
  SATURATED_P99_NS,
  saturationRps,
  throughputRps,
} from "./figure.ts";
import { PAPER_LOAD } from "./model.ts";
import { latencyChart, LOAD_TEXT, simulatedPage } from "./plot.ts";

const LINES: readonly Line[] = [
  {
    key: "fifo",
    name: "centralized FIFO, no preemption",
    color: CHART_COLORS[0],
    system: "fifo",
    batch_count: 0,
  },
  {
    key: "shinjuku",
    name: "Shinjuku policy, 30 us slice",
    color: CHART_COLORS[1],
    system: "shinjuku",
    batch_count: 0,
  },
  {
    key: "default",
    name: "model of the default class",
    color: CHART_COLORS[2],
    system: "default",
    batch_count: 0,
  },
];

/**
 * Loads at which curves of figure 6a turn up, read off the printed figure (± 5 krps). The paper's
 * requests include a RocksDB GET of about 6 us, so that its ideal is 333 krps, not 371.
 */
const PAPER_KNEES = [
  { name: "paper: CFS", x: 190 },
  { name: "paper: ghOSt", x: 307 },
  { name: "paper: Shinjuku", x: 322 },
];

/** A fifth more than the ideal. */
const OVERLOAD_RPS = 445_000;

/**
 * Two readings of saturation. The paper's statements on figure 6a are read off where a curve turns
 * vertical, which is a bound of latency; a queue without preemption serves as much as any other,
 * only later, so that throughput alone would show no difference.
 */
function summary(points: readonly FigurePoint[]): string {
  const ideal_rps = idealRps();
  const preemptive_rps = saturationRps(points, "shinjuku");
  const fifo_rps = saturationRps(points, "fifo");
  const at_80 = points.filter((point) =>
    point.line === "shinjuku" && point.offered_rps <= 0.8 * preemptive_rps
  ).at(-1);
  const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)} %`;
  const krps = (rps: number): string => (rps / 1000).toFixed(0);
  const throughputs = ["fifo", "shinjuku"].map((line) => throughputRps(points, line));
  const throughput_text = throughputs.some(Number.isNaN) ? "" : `throughput (served when ` +
    `${krps(OVERLOAD_RPS)} krps arrive): fifo ${krps(throughputs[0])} krps, shinjuku ` +
    `${krps(throughputs[1])} krps (${percent(throughputs[1] / ideal_rps)} of the ideal)\n`;
  return `ideal (${PAPER_LOAD.worker_cpu_count} CPUs / mean service): ${krps(ideal_rps)} krps\n` +
    `saturation, as one reads it off the figure (last load with p99 up to ` +
    `${durationText(SATURATED_P99_NS)}): ` +
    `fifo ${krps(fifo_rps)} krps, shinjuku ${krps(preemptive_rps)} krps ` +
    `(${percent(preemptive_rps / fifo_rps - 1)} above fifo, ` +
    `${percent(preemptive_rps / ideal_rps)} of the ideal)\n` +
    throughput_text +
    `shinjuku at 80 % of its saturation: p99 ${durationText(at_80?.p99_ns ?? NaN)}\n`;
}

/** Figure 6a. */
export const FIGURE_6A: Figure = {
  name: "shinjuku",
  title: "SOSP'21 figure 6a on the simulated machine",
  lines: LINES,
  overload_rps: OVERLOAD_RPS,
  summary,
  page: (points, text) =>
    simulatedPage({
      title: "p99 latency against load",
      intro: `SOSP'21 figure 6a: ${LOAD_TEXT} Dashed: loads at which the paper's own curves turn ` +
        "up; its requests take longer, by a GET of about 6 us.",
      charts: [{ ...latencyChart(LINES, points), marks: PAPER_KNEES }],
      summary: text,
    }),
};

/**
 * Runs the experiment.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: readonly string[]): number {
  return runFigure(FIGURE_6A, args);
}
