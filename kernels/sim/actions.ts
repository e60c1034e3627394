/**
 * What a simulated thread's script may ask for. A script is a generator; it yields actions, which
 * are numbers (an operation and up to 44 bits of argument), so that a yield makes no object.
 *
 * @module
 */

const ARGUMENT_LIMIT = 17592186044416; // 2^44: four hours and a half in ns

// The operation is in the low bits, so that an action with an argument of less than 2^27 (134 ms)
// is an integer of 32 bits: a yield of it makes no object, and it is taken apart by shifts.
const OP_BITS = 4;
const OP_COUNT = 1 << OP_BITS;
const OP_MASK = OP_COUNT - 1;

// Operations of an action.

/** Uses the CPU. */
export const OP_RUN = 1;
/** Sleeps for a time. */
export const OP_SLEEP = 2;
/** Yields the CPU. */
export const OP_YIELD = 3;
/** Blocks until woken. */
export const OP_BLOCK = 4;
/** Hands the CPU to another thread. */
export const OP_SWITCHTO = 5;

/** An action as a script yields it. */
export type Action = number;

/** The script of a thread. */
export type Script = Generator<Action, void, void>;

/** What a source returns when it is over. */
export const SCRIPT_END: Action = -1;

/** A script without a generator, for loads that are to be fast: no object is made per action. */
export interface ActionSource {
  /** The next action, or {@linkcode SCRIPT_END}; not called again then. */
  nextAction(): Action;
}

/** Use the CPU for a time. */
export function run(ns: number): Action {
  return argument(ns) * OP_COUNT + OP_RUN;
}

/** A {@linkcode run} that takes longer by a time; both together are a time that `run` accepts. */
export function runLonger(action: Action, ns: number): Action {
  return action + ns * OP_COUNT;
}

/** Block, and wake up after a time. */
export function sleep(ns: number): Action {
  return argument(ns) * OP_COUNT + OP_SLEEP;
}

/** Let others run, if there are any (`sched_yield`). */
export function yieldCpu(): Action {
  return OP_YIELD;
}

/** Block until another thread wakes this one. */
export function block(): Action {
  return OP_BLOCK;
}

/** Block, and let the blocked thread `tid` run on this CPU without asking the agent. */
export function switchTo(tid: number): Action {
  return argument(tid) * OP_COUNT + OP_SWITCHTO;
}

/** The operation of an action. */
export function actionOp(action: Action): number {
  return action & OP_MASK;
}

/** The argument of an action. */
export function actionArgument(action: Action): number {
  return (action | 0) === action ? action >> OP_BITS : Math.floor(action / OP_COUNT);
}

function argument(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0 || value >= ARGUMENT_LIMIT) {
    throw new RangeError(`Cannot script ${value}: want an integer from 0 to ${ARGUMENT_LIMIT - 1}`);
  }
  return value;
}
