/**
 * The steps of a kind of thread as a chain of nodes, one behind the other, so that a state machine
 * can go through loops and choices without a call stack. Steps that need more than a node are left
 * whole.
 *
 * @module
 */
import type { Action } from "../kernels/sim/actions.ts";
import * as actions from "../kernels/sim/actions.ts";
import type { LoadStep, ThreadKind } from "./load_steps.ts";

/** What a node does: `action`, a run or sleep of fixed length, or a yield. */
export const NODE_ACTION = 0;
/** A run: `action`, longer by less than `span_ns`. */
export const NODE_RUN = 1;
/** Enters ghOSt. */
export const NODE_ENTER = 2;
/** Leaves ghOSt. */
export const NODE_LEAVE = 3;
/** The script ends here unless the thread is in ghOSt. */
export const NODE_ONLY_IN_GHOST = 4;
/** With a chance of `numerator` in `denominator` on to `other`, else to `next`. */
export const NODE_CHANCE = 5;
/** A loop begins: `count` rounds. */
export const NODE_LOOP = 6;
/** Another round (`other`) or what is behind the loop (`next`). */
export const NODE_ROUND = 7;
/** A round is over. */
export const NODE_ROUND_END = 8;
/** Everything else: `step` says what. */
export const NODE_STEP = 9;

/** One node; all have the same shape, so that reading one is the same code for all. */
export interface StepNode {
  /** NODE_*. */
  readonly code: number;
  /** The step that it is made from. */
  readonly step: LoadStep;
  /** A run without its random part, a sleep or a yield. */
  readonly action: Action;
  /** Numerator of a chance. */
  readonly numerator: number;
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
  readonly action?: Action;
  readonly numerator?: number;
  readonly span_ns?: number;
  readonly count?: number;
  readonly depth?: number;
  readonly other?: StepNode | null;
}

function node(
  code: number,
  step: LoadStep,
  next: StepNode | null,
  fields: NodeFields = {},
): StepNode {
  const { action = 0, numerator = 0, span_ns = 0, count = 0, depth = 0, other = null } = fields;
  return { code, step, action, numerator, span_ns, count, depth, next, other };
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
    case "run": {
      const { min_ns, span_ns } = step;
      // Refuses what no action can hold.
      actions.run(min_ns + span_ns);
      const code = span_ns > 0 ? NODE_RUN : NODE_ACTION;
      return node(code, step, next, { action: actions.run(min_ns), span_ns });
    }
    case "sleep":
      return node(NODE_ACTION, step, next, { action: actions.sleep(step.ns) });
    case "yield":
      return node(NODE_ACTION, step, next, { action: actions.yieldCpu() });
    case "enter":
      return node(NODE_ENTER, step, next);
    case "leave":
      return node(NODE_LEAVE, step, next);
    case "only_in_ghost":
      return node(NODE_ONLY_IN_GHOST, step, next);
    case "chance":
      return node(NODE_CHANCE, step, nodeOf(step.otherwise, next, depth), {
        numerator: step.numerator,
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
