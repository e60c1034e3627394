/**
 * The steps of a load as a generator for the simulated kernel.
 *
 * @module
 */
import { type Action, run, sleep, yieldCpu } from "../kernels/sim/actions.ts";
import type { Load, LoadScript, LoadThread, StageRow, SubTest } from "./load.ts";
import type { LoadStep, ThreadKind, Word } from "./load_steps.ts";

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

/** Steps of a thread; the value tells whether the thread is to end. */
type Steps = Generator<Action, boolean, void>;

/** One thread: what its steps need to know of it. */
class StepThread {
  readonly #self: LoadThread;
  readonly #name: string;
  readonly #sibling: number;
  readonly #is_root: boolean;
  readonly #children: LoadThread[] = [];
  /** End of the last barrier or work. */
  #window_ns = 0;

  constructor(self: LoadThread, name: string, sibling: number, is_root: boolean) {
    this.#self = self;
    this.#name = name;
    this.#sibling = sibling;
    this.#is_root = is_root;
  }

  *run(steps: readonly LoadStep[]): Steps {
    for (const step of steps) {
      if (yield* this.#step(step)) return true;
    }
    return false;
  }

  #word(word: Word): number {
    return typeof word === "number" ? word : word.first + this.#sibling;
  }

  *#step(step: LoadStep): Steps {
    const self = this.#self;
    switch (step.kind) {
      case "run":
        yield run(step.min_ns + (step.span_ns > 0 ? self.prng.below(step.span_ns) : 0));
        return false;
      case "sleep":
        yield sleep(step.ns);
        return false;
      case "yield":
        yield yieldCpu();
        return false;
      case "enter":
        self.enterGhost();
        return false;
      case "leave":
        self.leaveGhost();
        return false;
      case "expect":
        self.expect(self.inGhost() === step.in_ghost, step.what);
        return false;
      case "join":
        yield* self.join();
        return false;
      case "only_in_ghost":
        return !self.inGhost();
      case "fail":
        self.expect(false, step.what);
        return false;
      case "chance": {
        const { numerator, denominator, then, otherwise } = step;
        return yield* this.#step(self.prng.chance(numerator, denominator) ? then : otherwise);
      }
      case "loop":
        return yield* this.#loop(step.count, step.body);
      case "fork":
        yield* this.#fork(step);
        return false;
      case "drive_out":
        yield* this.#driveOut(step.what);
        return false;
      case "give":
      case "take":
      case "barrier":
        yield* this.#meet(step);
        return false;
      default:
        yield* this.#tell(step);
        return false;
    }
  }

  /** What a thread tells the agent and the kernel about itself. */
  *#tell(step: Extract<LoadStep, { kind: "hint" | "rest" | "work" | "nice" | "bind" }>): Steps {
    const self = this.#self;
    switch (step.kind) {
      case "hint":
        yield run(TELL_NS);
        self.hint(step.class_id, step.deadline_ns);
        return false;
      case "rest":
        self.markIdle();
        do yield run(TELL_NS); while (self.isIdle() && !self.isStopped());
        return false;
      case "nice":
        yield run(TELL_NS);
        self.setNice(step.value);
        return false;
      case "bind":
        yield run(TELL_NS);
        self.bind(step.nth);
        return false;
      default:
        return yield* this.#work(step.ns, step.stage);
    }
  }

  *#work(ns: number, stage: number): Steps {
    const end_ns = this.#window_ns += ns;
    let cpu_ns = 0;
    for (; this.#self.nowNs() < end_ns; cpu_ns += WORK_NS) yield run(WORK_NS);
    this.#self.noteStage(stage, cpu_ns);
    return false;
  }

  *#meet(step: Extract<LoadStep, { kind: "give" | "take" | "barrier" }>): Steps {
    yield run(FUTEX_NS);
    if (step.kind === "give") this.#self.give(this.#word(step.word));
    else if (step.kind === "take") yield* this.#self.take(this.#word(step.word));
    else {
      yield* this.#self.meet(step.word, step.count);
      this.#window_ns = this.#self.metNs(step.word);
    }
    return false;
  }

  *#loop(count: number, body: readonly LoadStep[]): Steps {
    const has_count = Number.isFinite(count);
    for (let left = count; left > 0 && (has_count || !this.#self.isStopped()); left--) {
      if (yield* this.run(body)) return true;
    }
    return false;
  }

  *#fork({ thread, count, cost_ns }: Extract<LoadStep, { kind: "fork" }>): Steps {
    for (let sibling = 0; sibling < count; sibling++) {
      if (cost_ns > 0) yield run(cost_ns);
      const own_name = count === 1 ? thread.name : `${thread.name} ${sibling}`;
      const name = this.#is_root ? own_name : `${this.#name} ${own_name}`;
      this.#children.push(this.#self.fork(name, (child) => {
        return scriptOf(new StepThread(child, name, sibling, false), thread);
      }));
    }
    return false;
  }

  /** Who has not had a CPU yet has not entered ghOSt: those are found in a later round. */
  *#driveOut(what: string): Steps {
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
    this.#self.expect(moved_count === this.#children.length, what);
    return false;
  }
}

function* scriptOf(thread: StepThread, kind: ThreadKind): Generator<Action, void, void> {
  yield* thread.run(kind.steps);
}

/** The script of a load's first thread. */
export function rootScript(root: ThreadKind): LoadScript {
  return (self) => scriptOf(new StepThread(self, root.name, 0, true), root);
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
