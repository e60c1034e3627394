/**
 * The steps of a load as operations for native load threads.
 *
 * @module
 */
import {
  LOAD_BARRIER,
  LOAD_BIND,
  LOAD_CHANCE,
  LOAD_DRIVE,
  LOAD_END,
  LOAD_ENTER,
  LOAD_EXIT,
  LOAD_EXPECT,
  LOAD_FAIL,
  LOAD_FAULT_ENTER,
  LOAD_FAULT_HINT,
  LOAD_FAULT_LEAVE,
  LOAD_FAULT_NICE,
  LOAD_FAULT_PIN,
  LOAD_FAULT_START,
  LOAD_FORK,
  LOAD_GIVE,
  LOAD_HINT,
  LOAD_JOIN,
  LOAD_JUMP,
  LOAD_LEAVE,
  LOAD_LOOP,
  LOAD_NICE,
  LOAD_ONLY_IN,
  LOAD_OP_LENGTH,
  LOAD_REST,
  LOAD_RUN,
  LOAD_SLEEP,
  LOAD_TAKE,
  LOAD_WORK,
  LOAD_YIELD,
  type NativeProgram,
} from "../ffi/load.ts";
import type { LoadStep, ThreadKind, Word } from "./load_steps.ts";

/** Deepest nesting of loops that the native side keeps count of. */
const DEPTH_MAX = 8;

/** A compiled load. */
export interface CompiledLoad {
  /** For {@linkcode LoadThreads}. */
  readonly program: NativeProgram;
  /** Texts of its faults by number. */
  readonly texts: readonly string[];
  /** How many threads a fork of each kind starts. */
  readonly fork_counts: readonly number[];
}

/** What a fault that the load did not name itself means; completes "expected that ...". */
export const RUNTIME_TEXTS: ReadonlyMap<number, string> = new Map([
  [LOAD_FAULT_ENTER, "a thread can enter ghOSt"],
  [LOAD_FAULT_LEAVE, "a thread can leave ghOSt"],
  [LOAD_FAULT_START, "a thread can be started"],
  [LOAD_FAULT_PIN, "the threads can be bound to their CPUs"],
  [LOAD_FAULT_HINT, "the PrioTable takes a row for every thread"],
  [LOAD_FAULT_NICE, "a nice value can be set"],
]);

class Compiler {
  readonly ops: number[] = [];
  readonly texts: string[] = [];
  readonly kinds: ThreadKind[] = [];
  readonly fork_counts: number[] = [];
  #first_word_max = 0;
  #sibling_max = 1;
  #depth = 0;

  kind(kind: ThreadKind): number {
    const known = this.kinds.indexOf(kind);
    if (known >= 0) return known;
    this.fork_counts.push(1);
    return this.kinds.push(kind) - 1;
  }

  /** Enough for every sibling to have a word behind the last one that is named. */
  get word_count(): number {
    return this.#first_word_max + this.#sibling_max;
  }

  get place(): number {
    return this.ops.length / LOAD_OP_LENGTH;
  }

  steps(steps: readonly LoadStep[]): void {
    for (const step of steps) this.#step(step);
  }

  emit(code: number, a = 0, b = 0, c = 0): number {
    return this.ops.push(code, a, b, c) / LOAD_OP_LENGTH - 1;
  }

  #patch(place: number, argument: number, value: number): void {
    this.ops[place * LOAD_OP_LENGTH + argument] = value;
  }

  #text(what: string): number {
    const known = this.texts.indexOf(what);
    return known >= 0 ? known : this.texts.push(what) - 1;
  }

  #onWord(code: number, word: Word, count = 0): number {
    const is_sibling = typeof word !== "number";
    const first = is_sibling ? word.first : word;
    this.#first_word_max = Math.max(this.#first_word_max, first);
    return this.emit(code, first, count, is_sibling ? 1 : 0);
  }

  #step(step: LoadStep): number {
    switch (step.kind) {
      case "run":
        return this.emit(LOAD_RUN, step.min_ns, step.span_ns);
      case "sleep":
        return this.emit(LOAD_SLEEP, step.ns);
      case "yield":
        return this.emit(LOAD_YIELD);
      case "enter":
        return this.emit(LOAD_ENTER);
      case "leave":
        return this.emit(LOAD_LEAVE);
      case "expect":
        return this.emit(LOAD_EXPECT, step.in_ghost ? 1 : 0, this.#text(step.what));
      case "fork":
        return this.#fork(step.thread, step.count);
      case "join":
        return this.emit(LOAD_JOIN);
      case "only_in_ghost":
        return this.emit(LOAD_ONLY_IN);
      case "fail":
        return this.emit(LOAD_FAIL, this.#text(step.what));
      case "drive_out":
        return this.emit(LOAD_DRIVE, this.#text(step.what));
      case "give":
        return this.#onWord(LOAD_GIVE, step.word);
      case "take":
        return this.#onWord(LOAD_TAKE, step.word);
      case "barrier":
        return this.#onWord(LOAD_BARRIER, step.word, step.count);
      case "hint":
        return this.emit(LOAD_HINT, step.class_id, step.deadline_ns);
      case "rest":
        return this.emit(LOAD_REST);
      case "work":
        return this.emit(LOAD_WORK, step.ns, step.stage);
      case "nice":
        return this.emit(LOAD_NICE, step.value);
      case "bind":
        return this.emit(LOAD_BIND, step.nth);
      case "loop":
        return this.#loop(step.count, step.body);
      case "chance":
        return this.#chance(step);
    }
  }

  #fork(thread: ThreadKind, count: number): number {
    const kind = this.kind(thread);
    this.#sibling_max = Math.max(this.#sibling_max, count);
    this.fork_counts[kind] = Math.max(this.fork_counts[kind], count);
    return this.emit(LOAD_FORK, kind, count);
  }

  #loop(count: number, body: readonly LoadStep[]): number {
    if (++this.#depth > DEPTH_MAX) throw new RangeError(`loops nested deeper than ${DEPTH_MAX}`);
    const start = this.emit(LOAD_LOOP, Number.isFinite(count) ? count : -1);
    this.steps(body);
    this.emit(LOAD_END, start);
    this.#patch(start, 2, this.place);
    this.#depth--;
    return start;
  }

  #chance(step: Extract<LoadStep, { kind: "chance" }>): number {
    const start = this.emit(LOAD_CHANCE, step.numerator, step.denominator);
    this.#step(step.then);
    const jump = this.emit(LOAD_JUMP);
    this.#patch(start, 3, this.place);
    this.#step(step.otherwise);
    this.#patch(jump, 1, this.place);
    return start;
  }
}

/**
 * Compiles a load.
 *
 * @param root What its first thread does.
 * @returns The operations of that thread and of all that it starts.
 * @throws {RangeError} If loops are nested too deep.
 */
export function compileSteps(root: ThreadKind): CompiledLoad {
  const compiler = new Compiler();
  compiler.kind(root);
  const starts: number[] = [];
  // Compiling a kind may find further ones.
  for (let kind = 0; kind < compiler.kinds.length; kind++) {
    starts.push(compiler.place);
    compiler.steps(compiler.kinds[kind].steps);
    compiler.emit(LOAD_EXIT);
  }
  const program = {
    ops: Float64Array.from(compiler.ops),
    kind_starts: Int32Array.from(starts),
    kind_names: compiler.kinds.map(({ name }) => name),
    word_count: compiler.word_count,
  };
  return { program, texts: compiler.texts, fork_counts: compiler.fork_counts };
}
