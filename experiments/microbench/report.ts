/**
 * What `microbench` prints: a table, CSV or JSON.
 *
 * @module
 */
import { type Column, countText, durationText, tableText } from "../../util/table.ts";

/** Formats of the output. */
export const FORMATS = ["text", "csv", "json"] as const;

/** Version of the JSON output. */
const SCHEMA_VERSION = 1;

/** Figures of one measurement. */
export interface MicrobenchRow {
  /** What the user calls the run. */
  readonly label: string;
  /** Scheduling class: ghost, scx or default. */
  readonly class: string;
  /** yield or pingpong. */
  readonly bench: string;
  /** Threads, two for each pair. */
  readonly thread_count: number;
  /** Length of the measurement in seconds. */
  readonly seconds: number;
  /** Yields per second, or wake-ups per second. */
  readonly per_second: number;
  /** Wake-to-run time in ns that half of the samples do not exceed; NaN without wake-ups. */
  readonly wake_p50_ns: number;
  /** As above, 99 % of the samples. */
  readonly wake_p99_ns: number;
  /** As above, all samples. */
  readonly wake_max_ns: number;
}

const COLUMNS: readonly Column[] = [
  { head: "label", is_left: true },
  { head: "class", is_left: true },
  { head: "bench", is_left: true },
  { head: "threads", is_left: false },
  { head: "per second", is_left: false },
  { head: "wake-to-\nrun p50", is_left: false },
  { head: "\np99", is_left: false },
  { head: "\nmax", is_left: false },
];

const FIELDS = [
  "label",
  "class",
  "bench",
  "thread_count",
  "seconds",
  "per_second",
  "wake_p50_ns",
  "wake_p99_ns",
  "wake_max_ns",
] as const;

function csvCell(value: string | number): string {
  if (typeof value === "number") return Number.isNaN(value) ? "" : String(value);
  return /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/**
 * The rows as text.
 *
 * @param rows The rows.
 * @param format One of {@linkcode FORMATS}.
 */
export function reportText(rows: readonly MicrobenchRow[], format: string): string {
  if (format === "json") return JSON.stringify({ schema: SCHEMA_VERSION, rows }, null, 2);
  if (format === "csv") {
    const lines = rows.map((row) => FIELDS.map((field) => csvCell(row[field])).join(","));
    return [FIELDS.join(","), ...lines].join("\n");
  }
  const cells = rows.map((row) => [
    row.label,
    row.class,
    row.bench,
    String(row.thread_count),
    countText(Math.round(row.per_second)),
    durationText(row.wake_p50_ns),
    durationText(row.wake_p99_ns),
    durationText(row.wake_max_ns),
  ]);
  return tableText(COLUMNS, cells);
}
