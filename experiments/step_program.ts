/**
 * The steps of a kind of thread as a chain of nodes, one behind the other, so that a state machine
 * can go through loops and choices without a call stack. Steps that need more than a node are left
 * whole.
 *
 * @module
 */
import type { LoadStep, ThreadKind } from "./load_steps.ts";

/** What a node does. */
export const NODE_RUN = 0;
/** Sleeps `min_ns`. */
export const NODE_SLEEP = 1;
/** Yields. */
export const NODE_YIELD = 2;
/** Enters ghOSt. */
export const NODE_ENTER = 3;
/** Leaves ghOSt. */
export const NODE_LEAVE = 4;
/** The script ends here unless the thread is in ghOSt. */
export const NODE_ONLY_IN_GHOST = 5;
/** With a chance of `numerator` in `denominator` on to `other`, else to `next`. */
export const NODE_CHANCE = 6;
/** A loop begins: `count` rounds. */
export const NODE_LOOP = 7;
/** Another round (`other`) or what is behind the loop (`next`). */
export const NODE_ROUND = 8;
/** A round is over. */
export const NODE_ROUND_END = 9;
/** Everything else: `step` says what. */
export const NODE_STEP = 10;

/** One node; all have the same shape, so that reading one is the same code for all. */
export interface StepNode {
  /** NODE_*. */
  readonly code: number;
  /** The step that it is made from. */
  readonly step: LoadStep;
  /** Duration in ns of a run (without the random part) or sleep; numerator of a chance. */
  readonly min_ns: number;
  /** Random part of a run in ns, exclusive; denominator of a chance. */
  readonly span_ns: number;
  /** Rounds of a loop. */
  readonly count: number;
  /** Loops around this one. */
  readonly depth: number;
  /** What comes behind it; null at the end. */
  next: StepNode | null;
  /** The other way on. */
  other: StepNode | null;
}

interface NodeFields {
  readonly min_ns?: number;
  readonly span_ns?: number;
  readonly count?: number;
  readonly depth?: number;
  readonly other?: StepNode | null;
}

function node(
  code: number,
  step: LoadStep,
  next: StepNode | null,
  { min_ns = 0, span_ns = 0, count = 0, depth = 0, other = null }: NodeFields = {},
): StepNode {
  return { code, step, min_ns, span_ns, count, depth, next, other };
}

function chain(
  steps: readonly LoadStep[],
  behind: StepNode | null,
  depth: number,
): StepNode | null {
  return steps.reduceRight((next, step) => nodeOf(step, next, depth), behind);
}

function nodeOf(step: LoadStep, next: StepNode | null, depth: number): StepNode {
  switch (step.kind) {
    case "run":
      return node(NODE_RUN, step, next, step);
    case "sleep":
      return node(NODE_SLEEP, step, next, { min_ns: step.ns });
    case "yield":
      return node(NODE_YIELD, step, next);
    case "enter":
      return node(NODE_ENTER, step, next);
    case "leave":
      return node(NODE_LEAVE, step, next);
    case "only_in_ghost":
      return node(NODE_ONLY_IN_GHOST, step, next);
    case "chance":
      return node(NODE_CHANCE, step, nodeOf(step.otherwise, next, depth), {
        min_ns: step.numerator,
        span_ns: step.denominator,
        other: nodeOf(step.then, next, depth),
      });
    case "loop": {
      const { count } = step;
      const round = node(NODE_ROUND, step, next, { count, depth });
      const end = node(NODE_ROUND_END, step, round, { count, depth });
      round.other = chain(step.body, end, depth + 1);
      return node(NODE_LOOP, step, round, { count, depth });
    }
    default:
      return node(NODE_STEP, step, next);
  }
}

const programs = new WeakMap<ThreadKind, StepNode>();

/** The first node of a kind of thread, or null if it has no steps. */
export function stepProgram(kind: ThreadKind): StepNode | null {
  let first = programs.get(kind) ?? null;
  if (first === null) {
    first = chain(kind.steps, null, 0);
    if (first !== null) programs.set(kind, first);
  }
  return first;
}
