/**
 * Charts of the figures: latency on a logarithmic axis against load.
 *
 * @module
 */
import { type Chart, type ChartPage, chartPage, powerOfTenAbove } from "../chart.ts";
import type { FigurePoint, Line } from "./figure.ts";

/** The load of all figures, for their pages. */
export const LOAD_TEXT = "20 worker CPUs, 200 worker threads, 99.5 % of the requests take 4 us " +
  "and 0.5 % take 10 ms; costs are those of the paper's Table 3, and none is fitted.";

const P99_MAX_US = 10_000;

/** Loads from 0 to a little more than the highest. */
function loadAxis(points: readonly FigurePoint[]): Chart["x"] {
  const max = Math.max(...points.map((point) => point.offered_rps / 1000), 50);
  return { label: "load (krps)", min: 0, max: Math.ceil(max / 10) * 10 };
}

/** p99 of each line against the load. */
export function latencyChart(lines: readonly Line[], points: readonly FigurePoint[]): Chart {
  const most_us = Math.max(...points.map((point) => point.p99_ns / 1000).filter(Number.isFinite));
  const max = Math.min(powerOfTenAbove(most_us), P99_MAX_US);
  return {
    title: "99th percentile of the time from arrival to answer",
    x: loadAxis(points),
    y: { label: "p99 (us)", min: 1, max: Math.max(max, 100), is_log: true },
    series: lines.map(({ key, name, color }) => ({
      name,
      color,
      points: points.filter((point) => point.line === key)
        .map((point) => ({ x: point.offered_rps / 1000, y: point.p99_ns / 1000 })),
    })),
  };
}

/**
 * Share of the CPUs that batch threads got against the load.
 *
 * @param lines Lines with batch threads.
 * @param points All points.
 * @param ideal_rps Load at which nothing is left for batch threads; drawn as a line of its own.
 */
export function batchChart(
  lines: readonly Line[],
  points: readonly FigurePoint[],
  ideal_rps: number,
): Chart {
  const x = loadAxis(points);
  const shares = lines.map(({ key, name, color }) => ({
    name,
    color,
    points: points.filter((point) => point.line === key)
      .map((point) => ({ x: point.offered_rps / 1000, y: point.batch_share })),
  }));
  const left = (krps: number): number => Math.max(1 - krps * 1000 / ideal_rps, 0);
  const ends = [0, Math.min(ideal_rps / 1000, x.max), x.max];
  const ideal = {
    name: "what the requests leave",
    color: "#8c959f",
    points: ends.map((krps) => ({ x: krps, y: left(krps) })),
  };
  return {
    title: "Share of the worker CPUs that batch threads got",
    x,
    y: { label: "share of the CPUs", min: 0, max: 1 },
    series: [...shares, ideal],
  };
}

/** A page of these figures, which says that they are simulated. */
export function simulatedPage(page: Omit<ChartPage, "origin">): string {
  return chartPage({ ...page, origin: "simulated, not measured" });
}
