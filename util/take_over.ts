/**
 * How an agent takes an enclave over from another one: it is ready before the old agent leaves,
 * takes its place at once, is given what the old policy has kept, and tells how long no agent
 * scheduled. Source: reference section 2.4 (WaitForOldAgent).
 *
 * @module
 */
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { EBUSY } from "../kernels/kernel.ts";
import { EnclaveError, type PolicyEnclave } from "../lib/enclave.ts";
import { OperatingError } from "../lib/errors.ts";
import { TaskTable } from "../lib/task_table.ts";
import type { BoardView } from "./guard/board.ts";
import { findPredecessor, upgradeGap } from "./guard/predecessor.ts";
import type { OpenEnclave } from "./real_enclave.ts";

/** How often it is looked whether the old agent has left; its own end takes longer. */
const POLL_MS = 1;
/** How long two processes may both be about to take an enclave. */
const CLAIM_MS = 10_000;
/** How long agents may take to their first step once they are online. */
const FIRST_STEP_MS = 1000;

/** Waits for a time. */
export function pause(duration_ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, duration_ms));
}

/** The user has asked for the end before the agents were there. */
export class Interrupted extends Error {
  /** See {@linkcode Error.name}. */
  override name = "Interrupted";
}

/** What a take-over needs of its agent process. */
export interface TakeOverHost {
  /** Says something on stderr. */
  say(text: string): void;
  /** True once the user has asked for the end. */
  isStopping(): boolean;
  /** Time in ns, CLOCK_MONOTONIC. */
  nowNs(): number;
}

/** The take-over of one enclave. */
export class TakeOver {
  /** The agent of before, if it is one of ours. */
  old: BoardView | undefined;
  readonly #open: OpenEnclave;
  readonly #host: TakeOverHost;
  #offline_ns = 0;

  /**
   * @param open The enclave.
   * @param host The agent process.
   * @param old The agent of before, if the guard knows it; else it is looked for.
   */
  constructor(open: OpenEnclave, host: TakeOverHost, old: BoardView | undefined) {
    this.#open = open;
    this.#host = host;
    this.old = old;
  }

  #checkGoing(): void {
    const { control, path } = this.#open;
    if (this.#host.isStopping()) throw new Interrupted();
    if (control.isDestroyed()) {
      throw new OperatingError(`${path} is gone`, "start without --enclave to make a new one");
    }
  }

  /**
   * Waits until no agent is online in the enclave.
   *
   * @throws {OperatingError} If the enclave is gone.
   * @throws {Interrupted} If the user does not want to wait any longer.
   */
  async awaitTurn(): Promise<void> {
    const { control, path } = this.#open;
    this.#checkGoing();
    if (!control.isOnline()) return;
    this.old ??= findPredecessor(path);
    this.#host.say(`waiting for the agent of ${path} to leave`);
    while (control.isOnline()) {
      this.#checkGoing();
      await pause(POLL_MS);
    }
    this.#checkGoing();
    this.#offline_ns = this.#host.nowNs();
  }

  /**
   * Takes the enclave; of two processes that try, one gets it.
   *
   * @throws {OperatingError} If another agent has it.
   */
  async claim(enclave: PolicyEnclave): Promise<void> {
    const end_ms = performance.now() + CLAIM_MS;
    for (;;) {
      try {
        return enclave.takeOver();
      } catch (error) {
        if (!(error instanceof EnclaveError) || error.errno !== EBUSY) throw error;
      }
      this.#checkGoing();
      if (this.#open.control.isOnline() || performance.now() > end_ms) {
        throw new OperatingError(
          `another agent has taken ${this.#open.path}`,
          "stop that one first, or leave the enclave to it",
        );
      }
      await pause(POLL_MS);
    }
  }

  /** Says how long no agent scheduled, once all agents have taken a step. */
  async report(enclave: PolicyEnclave): Promise<void> {
    const { state } = enclave;
    const end_ms = performance.now() + FIRST_STEP_MS;
    const began = (): number[] => state.shape.cpus.map((cpu) => state.cpuF64("began_ns", cpu)[0]);
    while (began().includes(0) && performance.now() < end_ms) await pause(POLL_MS);
    const task_count = new TaskTable(HARDWARE_MEMORY, state).liveCount();
    const tasks = `took over ${this.#open.path} with ${task_count} threads`;
    const ms = (ns: number): string => `${(ns / 1e6).toFixed(2)} ms`;
    const gap = this.old === undefined ? undefined : upgradeGap(this.old, state);
    if (gap !== undefined) {
      const { longest_ns, median_ns } = gap;
      const half = state.shape.cpus.length > 1 ? `, half of the CPUs at most ${ms(median_ns)}` : "";
      this.#host.say(`${tasks}; no CPU was without agent for more than ${ms(longest_ns)}${half}`);
    } else if (this.#offline_ns > 0) {
      const gap_ns = Math.max(...began()) - this.#offline_ns;
      this.#host.say(`${tasks}, ${ms(gap_ns)} after its agent went offline`);
    } else this.#host.say(tasks);
  }
}
