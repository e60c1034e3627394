/**
 * Signals of an agent process: the first SIGINT asks for a graceful end, a second one ends at once,
 * SIGUSR1 asks for a dump. As upstream, reference section 4.0, but for the exit status of the
 * second SIGINT, which is 130 here.
 *
 * @module
 */

/** Exit status after a SIGINT that did not end cleanly. */
export const EXIT_INTERRUPTED = 130;

/** What signals do. */
export class AgentSignals {
  /** True once the agent should end. */
  is_stopping = false;
  /** Called for each SIGUSR1. */
  on_dump: (() => void) | null = null;
  /** Called before the process ends at once, to leave nothing half-made. */
  on_abort: (() => void) | null = null;
  readonly #exit: (status: number) => void;
  readonly #listeners: [Deno.Signal, () => void][];

  /**
   * @param exit Ends the process; another one for tests.
   * @param ends_on_sigterm SIGTERM does what SIGINT does; else it ends the process at once.
   */
  constructor(exit: (status: number) => void = Deno.exit, ends_on_sigterm = false) {
    this.#exit = exit;
    this.#listeners = [["SIGINT", () => this.interrupt()]];
    const has_sigterm = ends_on_sigterm && Deno.build.os !== "windows";
    if (has_sigterm) this.#listeners.push(["SIGTERM", () => this.interrupt()]);
    if (Deno.build.os !== "windows") this.#listeners.push(["SIGUSR1", () => this.dump()]);
  }

  /** Begins to listen. */
  listen(): void {
    for (const [signal, handler] of this.#listeners) Deno.addSignalListener(signal, handler);
  }

  /** Stops listening. */
  close(): void {
    for (const [signal, handler] of this.#listeners) Deno.removeSignalListener(signal, handler);
  }

  /** What SIGINT does. */
  interrupt(): void {
    if (!this.is_stopping) {
      this.is_stopping = true;
      return;
    }
    this.on_abort?.();
    this.#exit(EXIT_INTERRUPTED);
  }

  /** What SIGUSR1 does. */
  dump(): void {
    this.on_dump?.();
  }
}
