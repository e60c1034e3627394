/**
 * How far a sweep over points is, on stderr: one line that is rewritten on a terminal, a line per
 * finished part elsewhere.
 *
 * @module
 */

/** Counts points. */
export class PointProgress {
  readonly #total: number;
  readonly #is_terminal = Deno.stderr.isTerminal();
  readonly #start_ms = performance.now();
  #done = 0;

  /** @param total Number of points. */
  constructor(total: number) {
    this.#total = total;
  }

  /**
   * A point is about to be worked on.
   *
   * @param what Which one.
   */
  begin(what: string): void {
    if (!this.#is_terminal) return;
    const left = this.#done === 0 ? "" : `, about ${
      Math.ceil(
        (performance.now() - this.#start_ms) / this.#done * (this.#total - this.#done) / 1000,
      )
    } s left`;
    const text = `\r\x1b[K${this.#done}/${this.#total} points${left}: ${what}`;
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  }

  /** A point is done. */
  end(): void {
    this.#done++;
    if (this.#done === this.#total) this.clear();
  }

  /** A part of the sweep is done; told where lines are not rewritten. */
  part(what: string): void {
    if (!this.#is_terminal) console.error(`${this.#done}/${this.#total} points: ${what} done`);
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#is_terminal) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
  }
}
