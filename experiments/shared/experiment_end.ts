/**
 * When an experiment ends, as upstream's: after its time, at SIGALRM or at the first SIGINT with
 * its results; at the second SIGINT at once (reference section 6.1).
 *
 * @module
 */

/** Exit status after a second SIGINT. */
const EXIT_INTERRUPTED = 130;
/** Longer timers do not fit into a 32-bit number of milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** What {@linkcode ExperimentEnd} needs. */
export interface EndOptions {
  /** Prints a line. */
  readonly log: (line: string) => void;
  /** Called before the process ends at once, to leave nothing behind. */
  readonly onAbort?: () => void;
  /** Ends the process. */
  readonly exit?: (status: number) => void;
}

/** Waits for the end of an experiment. */
export class ExperimentEnd {
  readonly #options: EndOptions;
  readonly #ending = Promise.withResolvers<void>();
  readonly #listeners: readonly [Deno.Signal, () => void][];
  #is_interrupted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Begins to listen for signals. */
  constructor(options: EndOptions) {
    this.#options = options;
    this.#listeners = [["SIGINT", () => this.interrupt()], ["SIGALRM", () => this.expire()]];
    for (const [signal, handler] of this.#listeners) Deno.addSignalListener(signal, handler);
  }

  /** True once a SIGINT has come. */
  get is_interrupted(): boolean {
    return this.#is_interrupted;
  }

  /** What SIGINT does. */
  interrupt(): void {
    if (!this.#is_interrupted) {
      this.#is_interrupted = true;
      this.#ending.resolve();
      return;
    }
    this.#options.log("Forcing exit...");
    this.#options.onAbort?.();
    (this.#options.exit ?? Deno.exit)(EXIT_INTERRUPTED);
  }

  /** What SIGALRM and the end of the time do. */
  expire(): void {
    this.#options.log("Timer fired...");
    this.#ending.resolve();
  }

  /**
   * Waits.
   *
   * @param duration_ns Time from now on; Infinity waits for a signal.
   */
  async wait(duration_ns: number): Promise<void> {
    const duration_ms = duration_ns / 1e6;
    // Signal listeners alone do not keep a program alive: an endless wait has a timer, too.
    this.#timer = duration_ms <= TIMER_MAX_MS
      ? setTimeout(() => this.expire(), duration_ms)
      : setInterval(() => {}, TIMER_MAX_MS);
    await this.#ending.promise;
    clearTimeout(this.#timer);
  }

  /** Stops listening. */
  close(): void {
    clearTimeout(this.#timer);
    for (const [signal, handler] of this.#listeners) Deno.removeSignalListener(signal, handler);
  }
}
