/**
 * Figures 6b and 6c of SOSP'21 on the simulated machine: requests share the CPUs with a batch
 * application of lower QoS, which gets what they leave.
 *
 * @module
 */
import { durationText } from "../../util/table.ts";
import { CHART_COLORS } from "../chart.ts";
import { type Figure, type FigurePoint, idealRps, type Line, runFigure } from "./figure.ts";
import { PAPER_LOAD } from "./model.ts";
import { batchChart, latencyChart, LOAD_TEXT, simulatedPage } from "./plot.ts";

const LINES: readonly Line[] = [
  {
    key: "alone",
    name: "requests alone",
    color: CHART_COLORS[1],
    system: "shinjuku",
    batch_count: 0,
  },
  {
    key: "with batch",
    name: "with a batch thread per CPU",
    color: CHART_COLORS[0],
    system: "shinjuku",
    batch_count: PAPER_LOAD.worker_cpu_count,
  },
];

function summary(points: readonly FigurePoint[]): string {
  const ideal_rps = idealRps();
  const loads = [...new Set(points.map((point) => point.offered_rps))]
    .filter((rps) => rps <= 0.9 * ideal_rps);
  let worst_ratio = 0;
  let worst_share = 0;
  for (const rps of loads) {
    const [alone, shared] = LINES.map(({ key }) =>
      points.find((point) => point.line === key && point.offered_rps === rps) as FigurePoint
    );
    worst_ratio = Math.max(worst_ratio, shared.p99_ns / alone.p99_ns);
    worst_share = Math.max(worst_share, 1 - rps / ideal_rps - shared.batch_share);
  }
  const most = points.filter((point) => point.line === LINES[1].key)[0];
  return `batch threads got ${(most.batch_share * 100).toFixed(1)} % of the CPUs at the least ` +
    `load, where p99 is ${durationText(most.p99_ns)}\n` +
    `up to 90 % of the ideal load: p99 at most ${worst_ratio.toFixed(2)} times that without ` +
    `batch threads, which got at most ${(worst_share * 100).toFixed(1)} points less than ` +
    "1 - load / ideal\n";
}

/** Figures 6b and 6c. */
export const FIGURE_6BC: Figure = {
  name: "shinjuku_shenango",
  title: "SOSP'21 figures 6b and 6c on the simulated machine",
  lines: LINES,
  summary,
  page: (points, text) =>
    simulatedPage({
      title: "Requests and a batch application on the same CPUs",
      intro: `SOSP'21 figures 6b and 6c: ${LOAD_TEXT} The batch threads have a lower QoS and ` +
        "always work. In the paper ghOSt gives them about 1 - load of the CPUs, Shinjuku nothing.",
      charts: [
        latencyChart(LINES, points),
        batchChart(LINES.filter((line) => line.batch_count > 0), points, idealRps()),
      ],
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
  return runFigure(FIGURE_6BC, args);
}
