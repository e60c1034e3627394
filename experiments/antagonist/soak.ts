/**
 * The antagonist's threads (native/antagonist.c).
 *
 * @module
 */
import { errnoName } from "../../ffi/errno.ts";
import { cureOf } from "../../ffi/errors.ts";
import { type ExperimentLibrary, loadExperiments } from "../../ffi/experiments.ts";
import { loadShim } from "../../ffi/shim.ts";
import { OperatingError } from "../../lib/errors.ts";

/** Threads that each use a share of a CPU. */
export class Soak {
  readonly #library: ExperimentLibrary;
  readonly #handle: number;
  readonly #count: number;
  #start_ns = 0;
  #stopped: Promise<number> | undefined;

  private constructor(library: ExperimentLibrary, handle: number, count: number) {
    this.#library = library;
    this.#handle = handle;
    this.#count = count;
  }

  /**
   * Starts the threads; they wait for {@linkcode Soak.go}.
   *
   * @param cpus The CPU of each thread; −1: any.
   * @param work_share Share that each uses, 0 to 1.
   * @returns The threads, or why they could not be started.
   */
  static create(cpus: readonly number[], work_share: number): Soak | OperatingError {
    const library = loadExperiments();
    const count = cpus.length;
    const handle = library.antagonistCreate(count, Int32Array.from(cpus), work_share);
    if (handle > 0) return new Soak(library, handle, count);
    return new OperatingError(
      `the threads cannot be started (${errnoName(-handle)})`,
      cureOf("satellite", -handle),
    );
  }

  /** Thread ids. */
  tids(): number[] {
    return Array.from(
      { length: this.#count },
      (_, sid) => this.#library.poolTid(this.#handle, sid),
    );
  }

  /** Lets the threads begin. */
  go(): void {
    this.#start_ns = loadShim().clockMonotonicNs();
    this.#library.poolGo(this.#handle);
  }

  /**
   * Ends the threads.
   *
   * @returns How long they ran, in ns.
   */
  async stop(): Promise<number> {
    this.#stopped ??= this.#stop();
    return await this.#stopped;
  }

  async #stop(): Promise<number> {
    const run_ns = this.#start_ns === 0 ? 0 : loadShim().clockMonotonicNs() - this.#start_ns;
    await this.#library.antagonistStop(this.#handle);
    return run_ns;
  }

  /** CPU time that each thread has used, in ns. */
  runNs(): number[] {
    return Array.from(
      { length: this.#count },
      (_, sid) => this.#library.antagonistRunNs(this.#handle, sid),
    );
  }

  /** Frees what stopped threads have. */
  free(): void {
    this.#library.antagonistFree(this.#handle);
  }
}
