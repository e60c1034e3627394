/**
 * Signals of an agent process: the first SIGINT asks for a graceful end, a second one ends at once,
 * SIGUSR1 asks for a dump, SIGUSR2 for an end that leaves the enclave to a successor. As upstream,
 * reference section 4.0, but for SIGUSR2 and the exit status of the second SIGINT, 130 here.
 *
 * @module
 */
import { check } from "../ffi/errors.ts";
import { SIGURG, SIGUSR1 } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";

/**
 * What a SIGUSR1 is turned into: at a SIGUSR1 Deno 2.9 opens a port for debuggers on localhost,
 * whoever listens to the signal, and any user of the host could run code in the agent through it.
 *
 * @returns The signal to listen to instead.
 */
export function redirectDumpSignal(): Deno.Signal {
  check("sigaction", loadShim().redirectSignal(SIGUSR1, SIGURG));
  return "SIGURG";
}

/** Exit status after a SIGINT that did not end cleanly. */
export const EXIT_INTERRUPTED = 130;

/** What signals do. */
export class AgentSignals {
  /** True once the agent should end. */
  is_stopping = false;
  /** True if the enclave is to stay. */
  keeps_enclave = false;
  /** Called for each SIGUSR1. */
  on_dump: (() => void) | null = null;
  /** Called before the process ends at once, to leave nothing half-made. */
  on_abort: (() => void) | null = null;
  readonly #stopping = Promise.withResolvers<void>();
  readonly #exit: (status: number) => void;
  readonly #listeners: [Deno.Signal, () => void][];

  /**
   * @param exit Ends the process; another one for tests.
   * @param stop_signals Signals that do what SIGINT does.
   * @param dump_signal The signal that asks for a dump.
   */
  constructor(
    exit: (status: number) => void = Deno.exit,
    stop_signals: readonly Deno.Signal[] = ["SIGINT"],
    dump_signal: Deno.Signal = "SIGUSR1",
  ) {
    this.#exit = exit;
    const is_windows = Deno.build.os === "windows";
    const names = is_windows ? ["SIGINT"] as const : stop_signals;
    this.#listeners = names.map((name) => [name, () => this.interrupt(name)]);
    if (!is_windows) this.#listeners.push([dump_signal, () => this.dump()]);
  }

  /** Fulfilled once the agent should end. */
  get stopping(): Promise<void> {
    return this.#stopping.promise;
  }

  /** Begins to listen. */
  listen(): void {
    for (const [signal, handler] of this.#listeners) Deno.addSignalListener(signal, handler);
  }

  /** Stops listening. */
  close(): void {
    for (const [signal, handler] of this.#listeners) Deno.removeSignalListener(signal, handler);
  }

  /** What a signal does that asks for the end. */
  interrupt(name: Deno.Signal = "SIGINT"): void {
    if (!this.is_stopping) {
      this.keeps_enclave = name === "SIGUSR2";
      this.is_stopping = true;
      this.#stopping.resolve();
      return;
    }
    // A service manager sends SIGTERM to every process, and the guard passes its own one on.
    if (name !== "SIGINT") return;
    this.on_abort?.();
    this.#exit(EXIT_INTERRUPTED);
  }

  /** What SIGUSR1 does. */
  dump(): void {
    this.on_dump?.();
  }
}
