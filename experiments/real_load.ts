/**
 * Loads on a real kernel: their threads are pthreads (native/load.c), which enter an enclave or
 * stay in the default class.
 *
 * @module
 */
import { errnoName } from "../ffi/errno.ts";
import { check } from "../ffi/errors.ts";
import {
  LatencyBuckets,
  LOAD_ENTER,
  LOAD_NEXT_DONE,
  LOAD_NEXT_TIMEOUT,
  type LoadFault,
  LoadThreads,
  type LoadTotals,
} from "../ffi/load.ts";
import { type CompiledLoad, compileSteps, RUNTIME_TEXTS } from "./native_steps.ts";
import type { StageRow } from "./load.ts";
import type { SelfJoin } from "../kernels/real_kernel.ts";
import type { ThreadKind } from "./load_steps.ts";

/** How long a call waits for threads before the event loop has a turn. */
const TURN_NS = 200_000_000;

/** Where the threads of a load run, and for how long. */
export interface RealLoadOptions {
  /** Moves a thread into the enclave: 0 or −errno. */
  readonly join: (tid: number) => number;
  /** By what a thread enters by itself; without it `join` is called. */
  readonly self_join?: SelfJoin;
  /** What sched_getscheduler says of a thread in the enclave. */
  readonly policy: number;
  /** Most threads, the first one included. */
  readonly thread_capacity: number;
  /** CPUs of the load, for steps that name one; empty if none does. */
  readonly cpu_mask: Uint8Array<ArrayBuffer>;
  /** True: the threads are bound to these CPUs from the start. */
  readonly is_bound?: boolean;
  /** Where its threads tell the agent about their work; without it such steps do nothing. */
  readonly hints?: RealHints;
  /** Seed of random times. */
  readonly seed: number;
  /** Time after which the load counts as stuck, in ns. */
  readonly timeout_ns: number;
}

/** The PrioTable of this process as a load uses it. */
export interface RealHints {
  /** Where its data begins in memory. */
  readonly address: number;
  /** The first row that the load may use; each thread has one. */
  readonly first_sid: number;
  /** Says that a thread has work, in its row: 0 or −errno. */
  readonly hint: (sid: number, tid: number, class_id: number, deadline_ns: number) => number;
}

/** What a load has done. */
export interface RealResult {
  /** Time from the start of its first thread to the end of the last, in ns. */
  readonly time_ns: number;
  /** What was not as the load expects, and that it is stuck if it is; empty if all is well. */
  readonly faults: readonly string[];
  /** Sums over its threads. */
  readonly totals: LoadTotals;
  /** Stages of its threads. */
  readonly stages: readonly StageRow[];
}

/** What was measured between two points in time. */
export interface RealFigures {
  /** Length of the interval, in ns. */
  readonly time_ns: number;
  /** Yields. */
  readonly yield_count: number;
  /** Tokens given. */
  readonly give_count: number;
  /** Tokens that a thread slept for. */
  readonly wake_count: number;
  /** Wake-to-run latencies: from the giver's store to the first instruction of who slept. */
  readonly latencies: LatencyBuckets;
}

/** One load on real threads. */
export class RealLoad {
  readonly #options: RealLoadOptions;
  readonly #compiled: CompiledLoad;
  readonly #threads: LoadThreads;
  readonly #start: LoadTotals;
  #is_over = false;

  /**
   * Starts the first thread.
   *
   * @param root What it does.
   * @param options See {@linkcode RealLoadOptions}.
   * @throws {ShimError} If there is no shim.
   * @throws {SystemError} If there is no memory or no thread left.
   */
  constructor(root: ThreadKind, options: RealLoadOptions) {
    this.#options = options;
    this.#compiled = compileSteps(root);
    const { hints } = options;
    this.#threads = new LoadThreads(this.#compiled.program, {
      ...options,
      join_fd: options.self_join?.join_fd ?? -1,
      join_enclave: options.self_join?.join_enclave ?? -1,
      is_bound: options.is_bound ?? false,
      hint_table: hints?.address ?? 0,
      first_sid: hints?.first_sid ?? 0,
    });
    this.#start = this.#threads.totals();
    check("load", this.#threads.start());
  }

  /**
   * Lets the threads go on, and joins those to the enclave that ask for it.
   *
   * @param time_ns For how long, unless all end before.
   * @returns False once all have ended.
   */
  async advance(time_ns: number): Promise<boolean> {
    const threads = this.#threads;
    const end_ns = threads.totals().time_ns + time_ns;
    for (let left_ns = time_ns; !this.#is_over && left_ns > 0;) {
      const next = threads.next(Math.min(left_ns, TURN_NS));
      if (next === LOAD_NEXT_DONE) this.#is_over = true;
      else if (next !== LOAD_NEXT_TIMEOUT) {
        threads.answer(next, this.#carryOut(next));
        continue;
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
      left_ns = end_ns - threads.totals().time_ns;
    }
    return !this.#is_over;
  }

  /** Does what a thread asks for: 0 or −errno. */
  #carryOut(thread: number): number {
    const { join, hints } = this.#options;
    const { code, a, b } = this.#threads.request(thread);
    const tid = this.#threads.thread(thread)?.tid ?? 0;
    if (code === LOAD_ENTER) return join(tid);
    return hints === undefined ? 0 : hints.hint(hints.first_sid + thread, tid, a, b);
  }

  /** Waits until all have ended, or the load's time is over. */
  async finish(): Promise<RealResult> {
    await this.advance(this.#options.timeout_ns);
    const totals = this.#threads.totals();
    const result: RealResult = {
      time_ns: totals.time_ns - this.#start.time_ns,
      faults: this.#faults(totals),
      totals,
      stages: this.#stages(totals.started_count),
    };
    // The threads of a stuck load keep their memory until the process ends.
    if (this.#is_over) this.#threads.free();
    return result;
  }

  /**
   * Measures.
   *
   * @param time_ns For how long.
   * @returns The figures of that time.
   */
  async measure(time_ns: number): Promise<RealFigures> {
    const threads = this.#threads;
    threads.takeLatencies(new LatencyBuckets());
    const before = threads.totals();
    await this.advance(time_ns);
    const after = threads.totals();
    const latencies = new LatencyBuckets();
    threads.takeLatencies(latencies);
    return {
      time_ns: after.time_ns - before.time_ns,
      yield_count: after.yield_count - before.yield_count,
      give_count: after.give_count - before.give_count,
      wake_count: after.wake_count - before.wake_count,
      latencies,
    };
  }

  /** Ends loops that have no count. */
  stop(): void {
    this.#threads.stop();
  }

  /** Stages in which threads did something. */
  #stages(thread_count: number): StageRow[] {
    const rows: StageRow[] = [];
    for (let index = 0; index < thread_count; index++) {
      this.#threads.stages(index).forEach(({ cpu_ns, cpu }, stage) => {
        if (cpu_ns > 0) rows.push({ thread: this.#name(index), stage, cpu_ns, cpu });
      });
    }
    return rows;
  }

  #faults(totals: LoadTotals): string[] {
    const faults = this.#threads.faults().map((fault) => this.#faultText(fault));
    if (this.#is_over) return faults;
    const alive: string[] = [];
    for (let index = 0; index < totals.started_count && alive.length < 3; index++) {
      const facts = this.#threads.thread(index);
      if (facts !== undefined && !facts.has_ended) {
        alive.push(`${this.#name(index)} (tid ${facts.tid})`);
      }
    }
    const left_count = totals.started_count - totals.ended_count;
    const seconds = this.#options.timeout_ns / 1e9;
    const stuck = `stuck: ${left_count} of ${totals.started_count} threads have not ended after ` +
      `${seconds} s, among them ${alive.join(", ")}`;
    return [...faults, stuck];
  }

  /** As on the simulated kernel: the name of the parent comes first, unless it is the root. */
  #name(index: number): string {
    const facts = this.#threads.thread(index);
    if (facts === undefined) return `thread ${index}`;
    const name = this.#compiled.program.kind_names[facts.kind];
    const is_one = this.#compiled.fork_counts[facts.kind] === 1;
    const own_name = is_one ? name : `${name} ${facts.sibling}`;
    return facts.parent <= 0 ? own_name : `${this.#name(facts.parent)} ${own_name}`;
  }

  #faultText({ thread, text, value }: LoadFault): string {
    const what = RUNTIME_TEXTS.get(text) ?? this.#compiled.texts[text] ?? "its steps are known";
    const reason = value < 0 ? ` (${errnoName(-value)})` : "";
    return `${this.#name(thread)}: expected that ${what}${reason}`;
  }
}
