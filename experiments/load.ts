/**
 * What an experiment's load is: threads whose scripts say what they do, without a word on where
 * they run. A script is a generator; it yields actions (use the CPU, sleep, block) and calls its
 * {@linkcode LoadThread} for everything that a thread asks the operating system for.
 *
 * @module
 */
import type { Prng } from "../lib/prng.ts";
import type { ActionSource, Script } from "../kernels/sim/actions.ts";

/** One thread of a load, as its own script and its parent see it. */
export interface LoadThread {
  /** Random numbers of the load; the same seed gives the same ones. */
  readonly prng: Prng;
  /** True if the thread is in ghOSt now (`sched_getscheduler`). */
  inGhost(): boolean;
  /** True once its script is over. */
  hasEnded(): boolean;
  /** Moves the thread from the default class into ghOSt. */
  enterGhost(): void;
  /** Moves the thread to the default class; another thread may ask for it. */
  leaveGhost(): void;
  /** Starts a child, in the class that this thread is in. */
  fork(name: string, script: LoadScript): LoadThread;
  /** Waits until all children have ended. */
  join(): Script;
  /** Notes that something is not as the load expects, and goes on. */
  expect(holds: boolean, what: string): void;
  /** True once a sub-test that does not end by itself is to end. */
  isStopped(): boolean;
  /** Gives the token of a word, and wakes who waits for it. */
  give(word: number): void;
  /** Takes the token of a word, waiting for it until the sub-test is stopped. */
  take(word: number): Script;
  /** Waits until so many threads have come to a word, or the sub-test is stopped. */
  meet(word: number, thread_count: number): Script;
  /** The time in ns. */
  nowNs(): number;
  /** When the last thread came to a word where threads meet, in ns. */
  metNs(word: number): number;
  /** Sets the nice value. */
  setNice(value: number): void;
  /** Binds the thread to one of the load's CPUs; −1: to all of them. */
  bind(nth: number): void;
  /** Notes the CPU time that the thread got in a stage, and where it is now. */
  noteStage(stage: number, cpu_ns: number): void;
  /** Tells the agent: work of a class, to be done in `deadline_ns` from now. */
  hint(class_id: number, deadline_ns: number): void;
  /** Tells the agent that there is no work. */
  markIdle(): void;
  /** True until the agent says that there is work. */
  isIdle(): boolean;
}

/** What a thread got in a stage of its script. */
export interface StageRow {
  /** Name of the thread. */
  readonly thread: string;
  /** Number of the stage. */
  readonly stage: number;
  /** CPU time in ns. */
  readonly cpu_ns: number;
  /** CPU at the end of the stage. */
  readonly cpu: number;
}

/** Makes the script of a thread. */
export type LoadScript = (self: LoadThread) => Script | ActionSource;

/** One part of a load with figures of its own. */
export interface SubTest {
  /** As upstream calls it. */
  readonly name: string;
  /** Threads that it starts, without the one that starts them. */
  readonly thread_count: number;
  /** The thread that starts the others; it begins in the default class. */
  readonly main: LoadScript;
  /** Time in ns after which it is stopped; without it, it ends by itself. */
  readonly duration_ns?: number;
}

/** A load: sub-tests that run one after the other. */
export interface Load {
  /** Value of `--workload`. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** The sub-tests in order. */
  readonly sub_tests: readonly SubTest[];
}
