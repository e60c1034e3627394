/**
 * Progress of a run on stderr: one line that is rewritten on a terminal, one line per finished part
 * elsewhere.
 *
 * @module
 */
import type { LoadProgress, SubTestResult } from "../experiments/sim_load.ts";
import { countText, durationText } from "./table.ts";

/** Where progress is shown. */
export interface ProgressOutput {
  /** Writes text to stderr. */
  stderr(text: string): void;
  /** True if a line may be rewritten. */
  readonly is_terminal: boolean;
}

const BAR_COLUMNS = 24;
const PERIOD_MS = 50;

/** Shows how far a run is. */
export class Progress {
  readonly #output: ProgressOutput;
  #is_shown = false;
  #next_ms = 0;
  #told_count = 0;

  /** @param output Where to show it. */
  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  /** A sub-test is under way. */
  show(progress: LoadProgress): void {
    if (!this.#output.is_terminal || performance.now() < this.#next_ms) return;
    this.#next_ms = performance.now() + PERIOD_MS;
    const { name, ended_count, thread_count, time_ns } = progress;
    const done_columns = Math.floor(ended_count / Math.max(thread_count, 1) * BAR_COLUMNS);
    const bar = "#".repeat(done_columns).padEnd(BAR_COLUMNS, ".");
    const threads = `${countText(ended_count)}/${countText(thread_count)} threads`;
    this.#output.stderr(
      `\r\x1b[K${name.padEnd(20)} [${bar}] ${threads}, ${durationText(time_ns)}`,
    );
    this.#is_shown = true;
  }

  /** Sub-tests are over; those that were told before are not told again. */
  ended(results: readonly SubTestResult[]): void {
    for (; this.#told_count < results.length; this.#told_count++) {
      this.clear();
      const { name, faults, time_ns } = results[this.#told_count];
      const verdict = faults.length === 0 ? "ok" : "FAILED";
      this.#output.stderr(`${name} ... ${verdict}, ${durationText(time_ns)}\n`);
    }
  }

  /** Takes the line away. */
  clear(): void {
    if (!this.#is_shown) return;
    this.#output.stderr("\r\x1b[K");
    this.#is_shown = false;
  }
}
