/**
 * The figures of a load's sub-tests as a table.
 *
 * @module
 */
import { type Column, countText, durationText, tableText } from "../util/table.ts";
import type { SubTestResult } from "./sim_load.ts";

/** The columns; the figures are those of {@linkcode SubTestResult}. */
export const LOAD_COLUMNS: readonly Column[] = [
  { head: "sub-test", is_left: true },
  { head: "threads", is_left: false },
  { head: "virtual\ntime", is_left: false },
  { head: "switches", is_left: false },
  { head: "wake-to-\nrun p50", is_left: false },
  { head: "\np99", is_left: false },
  { head: "\nmax", is_left: false },
  { head: "\ncommits", is_left: false },
  { head: "refused\ncommits", is_left: false },
];

/** The cells of one row. */
export function loadCells(result: SubTestResult): string[] {
  return [
    result.is_complete ? result.name : `${result.name} (stopped)`,
    countText(result.thread_count),
    durationText(result.time_ns),
    countText(result.switch_count),
    durationText(result.wake_p50_ns),
    durationText(result.wake_p99_ns),
    durationText(result.wake_max_ns),
    countText(result.commit_count),
    countText(result.refused_count),
  ];
}

/** The table of a run, and below it what was not as expected. */
export function loadTable(results: readonly SubTestResult[]): string {
  const faults = results.flatMap(({ name, faults }) =>
    faults.map((fault) => `${name}: ${fault}\n`)
  );
  return tableText(LOAD_COLUMNS, results.map(loadCells)) + faults.join("");
}
