/**
 * What the threads of a load do, as data: the same steps are a generator on the simulated kernel
 * (sim_steps.ts) and operations of pthreads on a real one (native_steps.ts).
 *
 * @module
 */

/** One kind of thread: its name and its steps. A fork names the kind that it starts. */
export interface ThreadKind {
  /** Name of its threads, at most 15 bytes of which a real kernel keeps. */
  readonly name: string;
  /** What they do. */
  readonly steps: readonly LoadStep[];
}

/** A word of which one thread gives the token and one takes it, by its number. */
export type Word = number | SiblingWord;

/** A word for each thread of a fork: the number is `first` plus its place among its siblings. */
export interface SiblingWord {
  /** Number of the first sibling's word. */
  readonly first: number;
}

/** One step. */
export type LoadStep =
  | { readonly kind: "run"; readonly min_ns: number; readonly span_ns: number }
  | { readonly kind: "sleep"; readonly ns: number }
  | { readonly kind: "yield" }
  | { readonly kind: "enter" }
  | { readonly kind: "leave" }
  | { readonly kind: "expect"; readonly in_ghost: boolean; readonly what: string }
  | {
    readonly kind: "fork";
    readonly thread: ThreadKind;
    readonly count: number;
    readonly cost_ns: number;
  }
  | { readonly kind: "join" }
  | { readonly kind: "loop"; readonly count: number; readonly body: readonly LoadStep[] }
  | {
    readonly kind: "chance";
    readonly numerator: number;
    readonly denominator: number;
    readonly then: LoadStep;
    readonly otherwise: LoadStep;
  }
  | { readonly kind: "only_in_ghost" }
  | { readonly kind: "fail"; readonly what: string }
  | { readonly kind: "drive_out"; readonly what: string }
  | { readonly kind: "give"; readonly word: Word }
  | { readonly kind: "take"; readonly word: Word }
  | { readonly kind: "barrier"; readonly word: number; readonly count: number }
  | { readonly kind: "hint"; readonly class_id: number; readonly deadline_ns: number }
  | { readonly kind: "rest" }
  | { readonly kind: "work"; readonly ns: number; readonly stage: number }
  | { readonly kind: "nice"; readonly value: number }
  | { readonly kind: "bind"; readonly nth: number };

/** What starting a thread costs its parent in the simulation: about a pthread_create. */
export const FORK_NS = 15_000;
/** Count of a loop that goes on until the load is stopped. */
export const UNTIL_STOPPED = Infinity;

/** Uses the CPU for a random time from `min_ns` to below `min_ns + span_ns`, or for `min_ns`. */
export function run(min_ns: number, span_ns = 0): LoadStep {
  return { kind: "run", min_ns, span_ns };
}

/** Sleeps. */
export function sleep(ns: number): LoadStep {
  return { kind: "sleep", ns };
}

/** Lets others run (`sched_yield`). */
export function yieldCpu(): LoadStep {
  return { kind: "yield" };
}

/** Enters ghOSt: joins the enclave. */
export function enterGhost(): LoadStep {
  return { kind: "enter" };
}

/** Goes back to the default class. */
export function leaveGhost(): LoadStep {
  return { kind: "leave" };
}

/** Notes a fault unless the thread is in ghOSt; `what` completes "expected that ...". */
export function expectInGhost(what: string): LoadStep {
  return { kind: "expect", in_ghost: true, what };
}

/** Notes a fault unless the thread is in the default class. */
export function expectOutside(what: string): LoadStep {
  return { kind: "expect", in_ghost: false, what };
}

/** Starts threads; each costs `cost_ns` in the simulation. */
export function fork(thread: ThreadKind, count = 1, cost_ns = 0): LoadStep {
  return { kind: "fork", thread, count, cost_ns };
}

/** Waits for all children. */
export function join(): LoadStep {
  return { kind: "join" };
}

/** Repeats steps so many times, or {@linkcode UNTIL_STOPPED}. */
export function loop(count: number, ...body: LoadStep[]): LoadStep {
  return { kind: "loop", count, body };
}

/** With a chance of `numerator` in `denominator` the one step, else the other. */
export function chance(
  numerator: number,
  denominator: number,
  then: LoadStep,
  otherwise: LoadStep,
): LoadStep {
  return { kind: "chance", numerator, denominator, then, otherwise };
}

/** The thread ends here unless it is in ghOSt. */
export function onlyInGhost(): LoadStep {
  return { kind: "only_in_ghost" };
}

/** Notes a fault. */
export function fail(what: string): LoadStep {
  return { kind: "fail", what };
}

/** Moves every child out of ghOSt, whatever it is doing, until all have ended; each once. */
export function driveOut(what: string): LoadStep {
  return { kind: "drive_out", what };
}

/** Gives the token of a word, and wakes who waits for it. */
export function give(word: Word): LoadStep {
  return { kind: "give", word };
}

/** Takes the token of a word; waits for it. */
export function take(word: Word): LoadStep {
  return { kind: "take", word };
}

/** Waits until `count` threads have come to this word. */
export function barrier(word: number, count: number): LoadStep {
  return { kind: "barrier", word, count };
}

/** Tells the agent by the PrioTable: work of a class, to be done in `deadline_ns` from now. */
export function hint(class_id: number, deadline_ns: number): LoadStep {
  return { kind: "hint", class_id, deadline_ns };
}

/** Tells the agent that there is no work, and waits until it says that there is. */
export function rest(): LoadStep {
  return { kind: "rest" };
}

/**
 * Uses the CPU as far as it gets it until `ns` have passed since the last barrier or work; what it
 * got is that stage's figure. Threads that met at a barrier so have the same windows of time.
 */
export function work(ns: number, stage: number): LoadStep {
  return { kind: "work", ns, stage };
}

/** Sets the thread's nice value. */
export function nice(value: number): LoadStep {
  return { kind: "nice", value };
}

/** Binds the thread to one of the load's CPUs; −1: to all of them. */
export function bind(nth: number): LoadStep {
  return { kind: "bind", nth };
}

/** A kind of thread. */
export function threadKind(name: string, ...steps: LoadStep[]): ThreadKind {
  return { name, steps };
}
