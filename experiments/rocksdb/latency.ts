/**
 * Latencies of requests by stage, in upstream's columns (reference section 6.1, Latency output).
 *
 * @module
 */

/** One stage of a request's way, by the times at its ends. */
interface Stage {
  readonly name: string;
  readonly from: TimeName;
  readonly to: TimeName;
}

/** Times of requests, in ns; 0: the request has not come so far. Index i is request i. */
export interface RequestTimes {
  readonly generated: Float64Array;
  readonly received: Float64Array;
  readonly assigned: Float64Array;
  readonly start: Float64Array;
  readonly finished: Float64Array;
}

type TimeName = keyof RequestTimes;

/** How results are printed. */
export interface PrintOptions {
  /** A table, else values with commas. */
  readonly is_pretty: boolean;
  /** Only from generated to finished. */
  readonly is_last_only: boolean;
  /** Also every single latency. */
  readonly has_distribution: boolean;
  /** Nanoseconds, else microseconds. */
  readonly is_ns: boolean;
}

const STAGES: readonly Stage[] = [
  { name: "Ingress Queue Time", from: "generated", to: "received" },
  { name: "Repeatable Handle Time", from: "received", to: "assigned" },
  { name: "Worker Queue Time", from: "assigned", to: "start" },
  { name: "Worker Handle Time", from: "start", to: "finished" },
];
const TOTAL: Stage = { name: "Total", from: "generated", to: "finished" };

/** Widths of the stage, the number of requests, the throughput and each of the six latencies. */
const WIDTHS: readonly number[] = [28, 18, 22, 12, 12, 12, 12, 12, 12];
/** Number of dashes below the head. */
export const DASH_COUNT = 148;
const PERCENTILES: readonly number[] = [0.5, 0.99, 0.995, 0.999];

function prettyLine(cells: readonly string[]): string {
  return cells.map((cell, index) => cell.padEnd(WIDTHS[index])).join(" ") + "\n";
}

/** Latencies of the requests that have come to the end of a stage, ascending, in ns. */
function stageNs(requests: RequestTimes, stage: Stage): Float64Array {
  const from = requests[stage.from];
  const to = requests[stage.to];
  const latencies = new Float64Array(to.length);
  let count = 0;
  for (let i = 0; i < to.length; i++) {
    if (to[i] !== 0) latencies[count++] = to[i] - from[i];
  }
  return latencies.subarray(0, count).sort();
}

/**
 * The eight numbers of a stage: requests, requests per second, least latency, percentiles, most.
 *
 * @param latencies Ascending, in ns.
 * @param runtime_ns Time in which these requests came.
 * @param unit_ns 1 or 1000.
 */
function stageNumbers(latencies: Float64Array, runtime_ns: number, unit_ns: number): number[] {
  const count = latencies.length;
  // Upstream's way to a percentile: of 10 values the 5th is the 50th.
  const size = count % 2 === 0 ? count - 1 : count;
  const places = [
    0,
    ...PERCENTILES.map((part) => Math.floor(size * part)),
    count - 1,
  ];
  return [
    count,
    Math.floor(count / (runtime_ns / 1e6) * 1000),
    ...places.map((place) => Math.floor(latencies[place] / unit_ns)),
  ];
}

function stageText(
  stage: Stage,
  requests: RequestTimes,
  runtime_ns: number,
  print: PrintOptions,
): string {
  const latencies = stageNs(requests, stage);
  const unit_ns = print.is_ns ? 1 : 1000;
  const is_empty = latencies.length === 0;
  const cells = is_empty
    ? WIDTHS.slice(1).map(() => "-")
    : stageNumbers(latencies, runtime_ns, unit_ns).map(String);
  const line = print.is_pretty ? prettyLine([stage.name, ...cells]) : `${cells.join(",")}\n`;
  if (is_empty || !print.has_distribution) return line;
  const values = Array.from(latencies, (ns) => `${Math.floor(ns / unit_ns)} `).join("");
  return `${line}Distribution:\n${values}\n`;
}

/**
 * The results of some requests.
 *
 * @param requests Their times.
 * @param runtime_ns Time in which these requests came.
 * @param print How.
 * @returns Lines that end with "\n".
 */
export function latencyText(
  requests: RequestTimes,
  runtime_ns: number,
  print: PrintOptions,
): string {
  let text = "";
  if (print.is_pretty) {
    const unit = print.is_ns ? "ns" : "us";
    const heads = ["Min", "50%", "99%", "99.5%", "99.9%", "Max"].map((name) => `${name} (${unit})`);
    text += prettyLine(["Stage", "Total Requests", "Throughput (req/s)", ...heads]);
    text += `${"-".repeat(DASH_COUNT)}\n`;
  }
  const stages = print.is_last_only ? [TOTAL] : [...STAGES, TOTAL];
  return text + stages.map((stage) => stageText(stage, requests, runtime_ns, print)).join("");
}
