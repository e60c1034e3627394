/**
 * Loads on the simulated machine: carries out what a load's threads ask for, and takes the figures
 * of each sub-test.
 *
 * @module
 */
import { block, run, type Script } from "../kernels/sim/actions.ts";
import type { SimEnclave } from "../kernels/sim/enclave.ts";
import { InvariantError } from "../lib/invariant.ts";
import type { SimMachine } from "../kernels/sim/machine.ts";
import type { SimThread, ThreadListener } from "../kernels/sim/thread.ts";
import * as states from "../kernels/sim/thread.ts";
import { Prng } from "../lib/prng.ts";
import { CPU_MASK_WORD_COUNT } from "../lib/limits.ts";
import { SCHED_ITEM_RUNNABLE } from "../shared/prio_table.ts";
import type { Load, LoadScript, LoadThread, StageRow, SubTest } from "./load.ts";
import type { SimHints } from "./shinjuku/sim_hints.ts";
import { Samples } from "./samples.ts";
import { SimWords } from "./sim_words.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { READY, SLEEPING } = states;

/** What a call of futex costs a thread that joins another. */
const JOIN_NS = 1_000;
/** Broken expectations whose text is kept. */
const FAULTS_MAX = 3;
/** Virtual time in which agents handle the last messages of a sub-test. */
const SETTLE_NS = 500_000;
/** Virtual time after which a sub-test counts as stuck. */
const SUB_TEST_NS_MAX = 60_000_000_000;

/** Figures of one sub-test. */
export interface SubTestResult {
  /** Name of the sub-test. */
  readonly name: string;
  /** Threads that ran to their end, the starting one not counted. */
  readonly thread_count: number;
  /** When it began, in ns of virtual time. */
  readonly start_ns: number;
  /** How long it took, in ns of virtual time. */
  readonly time_ns: number;
  /** Times that a CPU was given to a thread or to an agent. */
  readonly switch_count: number;
  /** Times that a ghOSt thread waited for its CPU after a wake-up, or after entering ghOSt. */
  readonly wake_count: number;
  /** Wake-to-run time in ns, half of the samples below it; NaN without samples. */
  readonly wake_p50_ns: number;
  /** As above, 99 % of the samples. */
  readonly wake_p99_ns: number;
  /** As above, all samples. */
  readonly wake_max_ns: number;
  /** Transactions that were committed. */
  readonly commit_count: number;
  /** Transactions that the kernel refused. */
  readonly refused_count: number;
  /** What was not as the load expects; empty if all was. */
  readonly faults: readonly string[];
  /** False if the run was stopped before all threads had ended. */
  readonly is_complete: boolean;
}

/** What a sub-test has done so far. */
export interface LoadProgress {
  /** Name of the sub-test. */
  readonly name: string;
  /** Threads that have ended. */
  readonly ended_count: number;
  /** Threads that it will have started. */
  readonly thread_count: number;
  /** Virtual time since the sub-test began, in ns. */
  readonly time_ns: number;
}

class SimLoadThread implements LoadThread, ThreadListener {
  declare readonly prng: Prng;
  declare private readonly run: SimLoadRun;
  declare private readonly thread: SimThread;
  declare private readonly parent: SimLoadThread | null;
  #child_count = 0;
  #has_ended = false;
  /** Its row in the hints. */
  #sid = -1;

  constructor(load_run: SimLoadRun, thread: SimThread, parent: SimLoadThread | null) {
    this.run = load_run;
    this.thread = thread;
    this.parent = parent;
    this.prng = load_run.prng;
  }

  inGhost(): boolean {
    return this.thread.enclave !== null;
  }

  hasEnded(): boolean {
    return this.#has_ended;
  }

  enterGhost(): void {
    const result = this.run.enclave.join(this.thread.tid);
    this.expect(result === 0, `a thread can enter ghOSt (errno ${-result})`);
    // It could run, and waits for an agent's decision as after a wake-up.
    if (this.thread.state === READY) this.thread.woken_ns = this.run.machine.now_ns;
  }

  leaveGhost(): void {
    this.thread.enclave?.depart(this.thread);
  }

  fork(name: string, script: LoadScript): LoadThread {
    this.#child_count++;
    return this.run.start(name, script, this.thread, this);
  }

  *join(): Script {
    // Between the check and the block no other thread can run, so no wake-up is lost.
    yield run(JOIN_NS);
    while (this.#child_count > 0) yield block();
  }

  expect(holds: boolean, what: string): void {
    if (!holds) this.run.fault(`${this.thread.name}: expected that ${what}`);
  }

  isStopped(): boolean {
    return this.run.words.is_stopped;
  }

  give(word: number): void {
    this.run.words.give(word, this.thread.cpu);
  }

  take(word: number): Script {
    return this.run.words.take(word, this.thread);
  }

  meet(word: number, thread_count: number): Script {
    return this.run.words.meet(word, thread_count, this.thread);
  }

  nowNs(): number {
    return this.run.machine.now_ns;
  }

  metNs(word: number): number {
    return this.run.words.metNs(word);
  }

  setNice(value: number): void {
    this.thread.nice = value;
    this.run.machine.messages.taskPriorityChanged(this.thread);
  }

  bind(nth: number): void {
    const cpus = this.run.enclave.cpus();
    const mask = new Int32Array(CPU_MASK_WORD_COUNT);
    for (const cpu of nth < 0 ? cpus : [cpus[nth]]) mask[cpu >> 5] |= 1 << (cpu & 31);
    this.thread.affinity = mask;
    this.run.machine.messages.taskAffinityChanged(this.thread);
  }

  noteStage(stage: number, cpu_ns: number): void {
    const { name, cpu } = this.thread;
    this.run.stages.at(-1)?.push({ thread: name, stage, cpu_ns, cpu });
  }

  hint(class_id: number, deadline_ns: number): void {
    const hints = this.run.hints;
    if (hints === null) return;
    if (this.#sid < 0) this.#sid = this.run.takeSid();
    hints.addThread(this.#sid, this.thread, {
      wcid: class_id,
      flags: SCHED_ITEM_RUNNABLE,
      deadline_ns: this.nowNs() + deadline_ns,
    });
  }

  markIdle(): void {
    if (this.#sid >= 0) this.run.hints?.setRunnable(this.#sid, false);
  }

  isIdle(): boolean {
    return this.#sid >= 0 && (this.run.hints?.client.isIdle(this.#sid) ?? false);
  }

  /** See {@linkcode ThreadListener}. */
  end(): void {
    this.#has_ended = true;
    this.run.ended_count++;
    this.parent?.childEnded(this.thread.cpu);
  }

  childEnded(cpu: number): void {
    if (--this.#child_count > 0 || this.thread.state !== SLEEPING) return;
    this.run.machine.wake(this.thread, cpu);
  }
}

/** Runs the sub-tests of a load one after the other; the caller drives it in pieces. */
export class SimLoadRun {
  /** The machine. */
  declare readonly machine: SimMachine;
  /** The enclave that the threads enter. */
  declare readonly enclave: SimEnclave;
  /** Random numbers of the load. */
  declare readonly prng: Prng;
  /** Words of the present sub-test. */
  declare words: SimWords;
  /** Hints to the agent, for loads that give some. */
  hints: SimHints | null = null;
  /** Stages of each sub-test that has begun. */
  readonly stages: StageRow[][] = [];
  /** Figures of the sub-tests that are over. */
  readonly results: SubTestResult[] = [];
  /** Threads of the present sub-test that have ended, the starting one included. */
  ended_count = 0;
  declare private readonly load: Load;
  readonly #samples = new Samples();
  readonly #faults: string[] = [];
  #sub_test: SubTest | null = null;
  #sid_count = 0;
  #is_last = false;
  #start_ns = 0;
  #switch_start = 0;
  #commit_start = 0;
  #refused_start = 0;

  /**
   * Gets the wake-to-run times of the machine; whoever observes it goes on doing so.
   *
   * @param machine The machine.
   * @param enclave The enclave; it has agents.
   * @param load The load.
   * @param seed Seed of the load's random numbers.
   */
  constructor(machine: SimMachine, enclave: SimEnclave, load: Load, seed: number) {
    this.machine = machine;
    this.enclave = enclave;
    this.prng = new Prng(seed).fork(load.name);
    this.load = load;
    this.words = new SimWords(machine);
    machine.on_latency = (_thread, latency_ns) => this.#samples.add(latency_ns);
  }

  /** Starts a thread. */
  start(
    name: string,
    script: LoadScript,
    parent_thread: SimThread | null,
    parent: SimLoadThread | null,
  ): LoadThread {
    let made: SimLoadThread | undefined;
    this.machine.spawn(
      (thread) => {
        const self = new SimLoadThread(this, thread, parent);
        thread.listener = self;
        made = self;
        return script(self);
      },
      name,
      parent_thread,
    );
    return made as SimLoadThread;
  }

  /** A row of the hints for a thread; a row has one thread at most in all its time. */
  takeSid(): number {
    return this.#sid_count++;
  }

  /** Notes a broken expectation. */
  fault(text: string): void {
    if (this.#faults.length < FAULTS_MAX) this.#faults.push(text);
  }

  /**
   * Handles a number of events.
   *
   * @param event_count Events at most.
   * @returns False once all sub-tests are over.
   * @throws {InvariantError} If the machine is broken, or a sub-test can never end.
   */
  advance(event_count: number): boolean {
    const { machine } = this;
    for (let left = event_count; left > 0;) {
      if (this.#sub_test === null && !this.#beginNext()) return false;
      left = machine.runLive(left, this.#start_ns + SUB_TEST_NS_MAX);
      if (left > 0 && machine.live_count > 0) {
        throw new InvariantError(
          `${this.#sub_test?.name} is stuck: ${machine.live_count} of its threads never end`,
        );
      }
      if (machine.live_count === 0) {
        this.#finish();
        left--;
      }
    }
    return true;
  }

  /** No further sub-test begins. */
  endEarly(): void {
    this.#is_last = true;
  }

  #beginNext(): boolean {
    const next = this.load.sub_tests[this.results.length];
    if (next === undefined || this.#is_last) return false;
    const { machine } = this;
    this.#sub_test = next;
    this.#start_ns = machine.now_ns;
    this.#switch_start = machine.counters.busy_span_count;
    this.#commit_start = machine.counters.commit_count;
    this.#refused_start = machine.counters.refused_count;
    this.#samples.clear();
    this.#faults.length = 0;
    this.ended_count = 0;
    const words = new SimWords(machine);
    this.words = words;
    this.stages.push([]);
    this.start(next.name, next.main, null, null);
    if (next.duration_ns !== undefined) {
      machine.at(machine.now_ns + next.duration_ns, () => words.stop());
    }
    return true;
  }

  /** What the present sub-test, or the last one, has done so far. */
  progress(): LoadProgress {
    const last = this.results.length - 1;
    const sub_test = this.#sub_test ?? this.load.sub_tests[Math.max(last, 0)];
    return {
      name: sub_test.name,
      ended_count: Math.min(this.ended_count, sub_test.thread_count),
      thread_count: sub_test.thread_count,
      time_ns: this.machine.now_ns - this.#start_ns,
    };
  }

  /** Closes the present sub-test, as far as it has come; for a run that is stopped. */
  stop(): void {
    if (this.#sub_test !== null) this.#close(this.#sub_test);
  }

  #finish(): void {
    const sub_test = this.#sub_test as SubTest;
    const thread_count = this.ended_count - 1;
    if (thread_count !== sub_test.thread_count) {
      this.fault(`expected ${sub_test.thread_count} threads, ${thread_count} ran to their end`);
    }
    this.#close(sub_test);
    this.machine.runUntil(this.machine.now_ns + SETTLE_NS);
  }

  #close(sub_test: SubTest): void {
    const { machine } = this;
    const samples = this.#samples;
    this.results.push({
      name: sub_test.name,
      thread_count: Math.min(this.ended_count, sub_test.thread_count),
      start_ns: this.#start_ns,
      time_ns: machine.now_ns - this.#start_ns,
      switch_count: machine.counters.busy_span_count - this.#switch_start,
      wake_count: samples.count,
      wake_p50_ns: samples.percentile(50),
      wake_p99_ns: samples.percentile(99),
      wake_max_ns: samples.percentile(100),
      commit_count: machine.counters.commit_count - this.#commit_start,
      refused_count: machine.counters.refused_count - this.#refused_start,
      faults: [...this.#faults],
      is_complete: machine.live_count === 0,
    });
    this.#sub_test = null;
  }
}
