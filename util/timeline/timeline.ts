/**
 * What the writers of timelines are given.
 *
 * @module
 */
import type { SpanLog } from "./span_log.ts";

/** A named stretch of time. */
export interface TimelineMark {
  /** Name of the sub-test. */
  readonly name: string;
  /** Begin in ns. */
  readonly start_ns: number;
  /** End in ns. */
  readonly end_ns: number;
}

/** A table to show below the chart. */
export interface TimelineTable {
  /** Heads of the columns. */
  readonly heads: readonly string[];
  /** Cells by row. */
  readonly rows: readonly (readonly string[])[];
}

/** A run, ready to be shown. */
export interface Timeline {
  /** What ran, in a few words. */
  readonly title: string;
  /** Where and how, in one line. */
  readonly subtitle: string;
  /** CPUs to show, ascending. */
  readonly cpus: readonly number[];
  /** Who had them when. */
  readonly log: SpanLog;
  /** Name of a thread. */
  readonly threadName: (tid: number) => string;
  /** Sub-tests. */
  readonly marks: readonly TimelineMark[];
  /** End of the run in ns. */
  readonly end_ns: number;
  /** Figures of the sub-tests. */
  readonly table: TimelineTable;
}

/** Takes text piece by piece. */
export interface TextSink {
  /** Adds text. */
  write(text: string): void;
}

/** What a timeline that could not keep everything says about it; undefined if it kept all. */
export function truncationNote(log: SpanLog): string | undefined {
  if (log.dropped_count === 0) return undefined;
  const ms = (log.truncated_ns / 1_000_000).toFixed(3);
  const all_count = log.span_count + log.refusals.length + log.dropped_count;
  return `truncated: ${log.dropped_count} of ${all_count} records from ${ms} ms on were not kept`;
}
