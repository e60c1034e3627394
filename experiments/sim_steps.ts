/**
 * The steps of a load as a state machine for the simulated kernel: what threads do again and again
 * makes no object; the rest are generators.
 *
 * @module
 */
import type { Action, ActionSource, Script } from "../kernels/sim/actions.ts";
import * as actions from "../kernels/sim/actions.ts";
import { InvariantError } from "../lib/invariant.ts";
import type { Load, LoadScript, LoadThread, StageRow, SubTest } from "./load.ts";
import type { LoadStep, ThreadKind, Word } from "./load_steps.ts";
import type { StepNode } from "./step_program.ts";
import * as program from "./step_program.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { run, runLonger, SCRIPT_END, sleep } = actions;
const {
  NODE_ACTION,
  NODE_CHANCE,
  NODE_ENTER,
  NODE_LEAVE,
  NODE_LOOP,
  NODE_ONLY_IN_GHOST,
  NODE_ROUND,
  NODE_ROUND_END,
  NODE_RUN,
  stepProgram,
} = program;

/** What moving another thread to another class costs the caller. */
const MOVE_NS = 2_000;
/** Pause between two looks at the children that are to be moved out. */
const DRIVE_PAUSE_NS = 15_000;
/** What a word to the kernel or to the agent costs. */
const TELL_NS = 1_000;
/** Work is done in pieces of this length. */
const WORK_NS = 50_000;
/** What a call of futex costs. */
const FUTEX_NS = 1_000;

/** A list of a thread that needs none, which most threads do: nobody writes to this one. */
const NONE_YET: never[] = [];

/** One thread: where it is in its steps, and what they need to know of it. */
class StepThread implements ActionSource {
  declare private readonly self: LoadThread;
  readonly #name: string;
  readonly #sibling: number = 0;
  readonly #is_root: boolean = false;
  #children: LoadThread[] = NONE_YET;
  /** Rounds left of each loop that it is in. */
  #rounds: number[] = NONE_YET;
  declare private node: StepNode | null;
  /** A step under way that is a script of its own. */
  #script: Script | null = null;
  /** End of the last barrier or work. */
  #window_ns = 0;

  constructor(
    self: LoadThread,
    { name, sibling, is_root }: { name: string; sibling: number; is_root: boolean },
    kind: ThreadKind,
  ) {
    this.self = self;
    this.#name = name;
    this.#sibling = sibling;
    this.#is_root = is_root;
    this.node = stepProgram(kind);
  }

  /** See {@linkcode ActionSource.nextAction}. */
  nextAction(): Action {
    const { self } = this;
    let { node } = this;
    while (node !== null) {
      switch (node.code) {
        case NODE_ACTION:
          this.node = node.next;
          return node.action;
        case NODE_RUN:
          this.node = node.next;
          return runLonger(node.action, self.prng.below(node.span_ns));
        case NODE_ENTER:
          node = node.next;
          self.enterGhost();
          break;
        case NODE_LEAVE:
          node = node.next;
          self.leaveGhost();
          break;
        case NODE_ONLY_IN_GHOST:
          node = self.inGhost() ? node.next : null;
          break;
        case NODE_CHANCE:
          node = self.prng.chance(node.numerator, node.span_ns) ? node.other : node.next;
          break;
        case NODE_LOOP:
        case NODE_ROUND_END:
        case NODE_ROUND:
          node = this.#round(node);
          break;
        default: {
          const action = this.#rest(node);
          if (action !== SCRIPT_END) {
            this.node = node;
            return action;
          }
          node = node.next;
        }
      }
    }
    this.node = null;
    return SCRIPT_END;
  }

  /** The node behind one of a loop's. */
  #round(node: StepNode): StepNode | null {
    const { code, count, depth } = node;
    // A new list is as long as it must be; one that grows makes room for seventeen.
    if (code === NODE_LOOP) this.#rounds = [...this.#rounds.slice(0, depth), count];
    const rounds = this.#rounds;
    if (code === NODE_ROUND_END) rounds[depth]--;
    const goes_on = rounds[depth] > 0 && (count !== Infinity || !this.self.isStopped());
    // Beginning and end of a round have the round itself behind them.
    const round = code === NODE_ROUND ? node : node.next as StepNode;
    return goes_on ? round.other : round.next;
  }

  /** The next action of a step that has no node of its own, or SCRIPT_END if it is over. */
  #rest(node: StepNode): Action {
    const { step } = node;
    if (step.kind === "expect") {
      this.self.expect(this.self.inGhost() === step.in_ghost, step.what);
    } else if (step.kind === "fork" && step.cost_ns === 0) {
      for (let sibling = 0; sibling < step.count; sibling++) this.#start(step, sibling);
    } else {
      this.#script ??= this.#scriptOf(step);
      const result = this.#script.next();
      if (result.done !== true) return result.value;
      this.#script = null;
    }
    return SCRIPT_END;
  }

  #word(word: Word): number {
    return typeof word === "number" ? word : word.first + this.#sibling;
  }

  *#scriptOf(step: LoadStep): Script {
    const self = this.self;
    switch (step.kind) {
      case "fail":
        return self.expect(false, step.what);
      case "join":
        return yield* self.join();
      case "fork":
        for (let sibling = 0; sibling < step.count; sibling++) {
          yield run(step.cost_ns);
          this.#start(step, sibling);
        }
        return;
      case "drive_out":
        return yield* this.#driveOut(step.what);
      case "give":
      case "take":
      case "barrier":
        return yield* this.#meet(step);
      case "hint":
      case "rest":
      case "work":
      case "nice":
      case "bind":
        return yield* this.#tell(step);
      default:
        throw new InvariantError(`the step ${step.kind} has a node of its own`);
    }
  }

  /** What a thread tells the agent and the kernel about itself. */
  *#tell(step: Extract<LoadStep, { kind: "hint" | "rest" | "work" | "nice" | "bind" }>): Script {
    const self = this.self;
    switch (step.kind) {
      case "hint":
        yield run(TELL_NS);
        self.hint(step.class_id, step.deadline_ns);
        return;
      case "rest":
        self.markIdle();
        do yield run(TELL_NS); while (self.isIdle() && !self.isStopped());
        return;
      case "nice":
        yield run(TELL_NS);
        self.setNice(step.value);
        return;
      case "bind":
        yield run(TELL_NS);
        self.bind(step.nth);
        return;
      default:
        return yield* this.#work(step.ns, step.stage);
    }
  }

  *#work(ns: number, stage: number): Script {
    const end_ns = this.#window_ns += ns;
    let cpu_ns = 0;
    for (; this.self.nowNs() < end_ns; cpu_ns += WORK_NS) yield run(WORK_NS);
    this.self.noteStage(stage, cpu_ns);
  }

  *#meet(step: Extract<LoadStep, { kind: "give" | "take" | "barrier" }>): Script {
    yield run(FUTEX_NS);
    if (step.kind === "give") this.self.give(this.#word(step.word));
    else if (step.kind === "take") yield* this.self.take(this.#word(step.word));
    else {
      yield* this.self.meet(step.word, step.count);
      this.#window_ns = this.self.metNs(step.word);
    }
  }

  #start({ thread, count }: Extract<LoadStep, { kind: "fork" }>, sibling: number): void {
    const own_name = count === 1 ? thread.name : `${thread.name} ${sibling}`;
    const name = this.#is_root ? own_name : `${this.#name} ${own_name}`;
    if (this.#children === NONE_YET) this.#children = [];
    this.#children.push(
      this.self.fork(name, (child) => {
        return new StepThread(child, { name, sibling, is_root: false }, thread);
      }),
    );
  }

  /** Who has not had a CPU yet has not entered ghOSt: those are found in a later round. */
  *#driveOut(what: string): Script {
    let moved_count = 0;
    let left = this.#children;
    for (; left.length > 0; left = left.filter((thread) => !thread.hasEnded())) {
      for (const thread of left) {
        if (!thread.inGhost()) continue;
        yield run(MOVE_NS);
        thread.leaveGhost();
        moved_count++;
      }
      yield sleep(DRIVE_PAUSE_NS);
    }
    this.self.expect(moved_count === this.#children.length, what);
  }
}

/** The script of a load's first thread. */
export function rootScript(root: ThreadKind): LoadScript {
  return (self) => new StepThread(self, { name: root.name, sibling: 0, is_root: true }, root);
}

/** A sub-test whose threads are written as steps, so that it runs on every kernel. */
export interface SteppedSubTest extends SubTest {
  /** What its first thread does. */
  readonly root: ThreadKind;
  /** Lines on what its threads got in their stages. */
  readonly report?: (stages: readonly StageRow[]) => string[];
}

/** A load that runs on every kernel. */
export interface SteppedLoad extends Load {
  /** Its sub-tests in order. */
  readonly sub_tests: readonly SteppedSubTest[];
}

/**
 * Makes a sub-test of steps.
 *
 * @param root What its first thread does; its name is the sub-test's.
 * @param thread_count Threads that it starts, in all.
 * @param duration_ns When it is stopped, if it does not end by itself.
 */
export function steppedSubTest(
  root: ThreadKind,
  thread_count: number,
  duration_ns?: number,
): SteppedSubTest {
  return { name: root.name, thread_count, main: rootScript(root), root, duration_ns };
}
