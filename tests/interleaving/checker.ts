/**
 * A small interleaving checker for structures in shared memory. Operations of several logical
 * threads run on one real thread; at every access to shared memory, atomic or plain, the checker
 * may run another logical thread's next operation first. It tries every such schedule with at most
 * a given number of switches, depth first, by running the scenario again from the start.
 *
 * What it covers: operations that interrupt each other like a stack (one runs whole inside another
 * one, at any access). What it does not: two operations that both stop halfway and both go on, and
 * the orders that a weak memory allows; tests with real threads and the litmus test do that.
 *
 * @module
 */
import { InvariantError } from "../../lib/invariant.ts";
import { CheckedMemory, type MemoryFault } from "./checked_memory.ts";

/** One operation of a logical thread. */
export interface Operation {
  /** For the report. */
  readonly name: string;
  /** Does it; what it returns goes into the history. */
  run(): unknown;
}

/** What a run did, one entry per operation in the order of their starts. */
export interface Event {
  readonly thread: number;
  readonly name: string;
  /** Position of its start among all starts and ends. */
  readonly start: number;
  /** Position of its end. */
  end: number;
  result: unknown;
}

/** Threads on fresh memory, and what must be true when they are done. */
export interface Scenario {
  /** Operations of each thread, in order. */
  readonly threads: readonly (readonly Operation[])[];
  /** Throws if the run was wrong. */
  check(history: readonly Event[]): void;
}

/** How far to look. */
export interface ExploreOptions {
  /** Most switches per schedule; 2 if left out. */
  readonly switch_count_max?: number;
  /** A bug of the structure to plant. */
  readonly fault?: MemoryFault;
}

/** What was found. */
export interface Exploration {
  /** Schedules that ran to their end. */
  readonly schedule_count: number;
  /** Schedules given up because an operation waited for the one it interrupts. */
  readonly blocked_count: number;
  /** The first schedule that went wrong, and how; null if none did. */
  readonly failure: string | null;
}

/** Ends a schedule in which an interrupting operation waits for the one that it interrupts. */
class Blocked extends Error {}

const ACCESSES_MAX = 20_000;

/** The choices of one schedule: those of the prefix, then always the first. */
class Choices {
  readonly #taken: number[] = [];
  readonly #counts: number[] = [];
  readonly #prefix: readonly number[];

  constructor(prefix: readonly number[]) {
    this.#prefix = prefix;
  }

  take(count: number): number {
    const choice = this.#prefix[this.#taken.length] ?? 0;
    this.#taken.push(choice);
    this.#counts.push(count);
    return choice;
  }

  /** The prefix of the next schedule, or null after the last. */
  next(): number[] | null {
    let at = this.#taken.length - 1;
    while (at >= 0 && this.#taken[at] + 1 >= this.#counts[at]) at--;
    return at < 0 ? null : [...this.#taken.slice(0, at), this.#taken[at] + 1];
  }
}

/** One run of a scenario under one schedule. */
class Run {
  readonly history: Event[] = [];
  readonly log: string[] = [];
  readonly #threads: readonly (readonly Operation[])[];
  readonly #choices: Choices;
  readonly #memory: CheckedMemory;
  readonly #next_op: number[];
  readonly #stack: number[] = [];
  #switches_left: number;
  #access_count = 0;
  #clock = 0;

  constructor(
    scenario: Scenario,
    choices: Choices,
    memory: CheckedMemory,
    switch_count_max: number,
  ) {
    this.#threads = scenario.threads;
    this.#choices = choices;
    this.#memory = memory;
    this.#switches_left = switch_count_max;
    this.#next_op = scenario.threads.map(() => 0);
  }

  /** Threads that are not running and have something to do. */
  #startable(): number[] {
    const list: number[] = [];
    for (let thread = 0; thread < this.#threads.length; thread++) {
      const has_work = this.#next_op[thread] < this.#threads[thread].length;
      if (has_work && !this.#stack.includes(thread)) list.push(thread);
    }
    return list;
  }

  /** Runs all operations. */
  all(): void {
    for (let list = this.#startable(); list.length > 0; list = this.#startable()) {
      this.#runOp(list[list.length === 1 ? 0 : this.#choices.take(list.length)]);
    }
  }

  /** Before an access: others may come first. */
  beforeAccess(): void {
    if (this.#stack.length === 0) return;
    if (++this.#access_count > ACCESSES_MAX) throw new InvariantError("an operation never ends");
    while (this.#switches_left > 0) {
      const list = this.#startable();
      if (list.length === 0) return;
      const choice = this.#choices.take(list.length + 1);
      if (choice === 0) return;
      this.#switches_left--;
      this.log.push(`at access ${this.#access_count}:`);
      this.#runOp(list[choice - 1]);
    }
  }

  /** An operation waits for another one. */
  paused(): void {
    if (this.#stack.length > 1) throw new Blocked();
    throw new InvariantError("an operation waits though nobody else is at work");
  }

  #runOp(thread: number): void {
    const operation = this.#threads[thread][this.#next_op[thread]++];
    const { name } = operation;
    const event: Event = { thread, name, start: this.#clock++, end: -1, result: undefined };
    this.history.push(event);
    this.log.push(`${thread}:${name}(`);
    this.#stack.push(thread);
    this.#memory.beginOperation();
    event.result = operation.run();
    this.#memory.endOperation();
    this.#stack.pop();
    event.end = this.#clock++;
    this.log.push(`)=${String(event.result)}`);
  }
}

/**
 * Tries every schedule of a scenario.
 *
 * @param make Makes the scenario on fresh memory; called once per schedule.
 * @param options How far to look.
 * @returns How many schedules there were, and the first that went wrong.
 */
export function explore(
  make: (memory: CheckedMemory) => Scenario,
  options: ExploreOptions = {},
): Exploration {
  let schedule_count = 0;
  let blocked_count = 0;
  let prefix: number[] | null = [];
  while (prefix !== null) {
    const choices: Choices = new Choices(prefix);
    const memory = new CheckedMemory(options.fault);
    const scenario = make(memory);
    const run = new Run(scenario, choices, memory, options.switch_count_max ?? 2);
    memory.before_access = () => run.beforeAccess();
    memory.on_pause = () => run.paused();
    try {
      run.all();
      memory.before_access = () => {};
      scenario.check(run.history);
      schedule_count++;
    } catch (error) {
      if (!(error instanceof Blocked)) {
        const text = error instanceof Error ? error.message : String(error);
        const failure = `${run.log.join(" ")}: ${text}`;
        return { schedule_count, blocked_count, failure };
      }
      blocked_count++;
    }
    prefix = choices.next();
  }
  return { schedule_count, blocked_count, failure: null };
}

/** What an operation does in a world where operations do not overlap; returns its result. */
export type Sequential = (model: Map<string, number>) => unknown;

/**
 * True if the operations of a run can be put in an order that respects which ended before which
 * began, and in which each returns what it did return.
 *
 * @param history The run.
 * @param sequential By name: what the operation does one at a time.
 * @param initial The model before the run.
 */
export function isLinearizable(
  history: readonly Event[],
  sequential: Readonly<Record<string, Sequential>>,
  initial: ReadonlyMap<string, number>,
): boolean {
  if (history.length === 0) return true;
  const first_end = Math.min(...history.map((event) => event.end));
  return history.some((event, index) => {
    if (event.start > first_end) return false;
    const model = new Map(initial);
    if (sequential[event.name](model) !== event.result) return false;
    return isLinearizable(history.toSpliced(index, 1), sequential, model);
  });
}
