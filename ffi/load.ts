/**
 * Load threads (native/load.c): pthreads that carry out lists of operations, and their results.
 * experiments/native_steps.ts writes the lists.
 *
 * @module
 */
import { check, ShimError } from "./errors.ts";
import { shimPath } from "./shim.ts";

// Operations; the numbers and arguments are those of native/load.h.

/** The thread ends. */
export const LOAD_EXIT = 0;
/** Uses the CPU for `a` ns and up to `b` ns more. */
export const LOAD_RUN = 1;
/** Sleeps for `a` ns. */
export const LOAD_SLEEP = 2;
/** Yields. */
export const LOAD_YIELD = 3;
/** Joins the enclave. */
export const LOAD_ENTER = 4;
/** Goes back to SCHED_OTHER. */
export const LOAD_LEAVE = 5;
/** Fault `b` unless the thread is in the enclave's class (`a` = 1), or is not (`a` = 0). */
export const LOAD_EXPECT = 6;
/** Starts `b` threads of kind `a`. */
export const LOAD_FORK = 7;
/** Waits for all children. */
export const LOAD_JOIN = 8;
/** Repeats `a` times, or until stopped if `a` is negative; `b` is the place behind the end. */
export const LOAD_LOOP = 9;
/** Ends the loop that begins at `a`. */
export const LOAD_END = 10;
/** Goes on with a chance of `a` in `b`, else at `c`. */
export const LOAD_CHANCE = 11;
/** Goes on at `a`. */
export const LOAD_JUMP = 12;
/** The thread ends unless it is in the enclave's class. */
export const LOAD_ONLY_IN = 13;
/** Fault `a`. */
export const LOAD_FAIL = 14;
/** Moves every child out of the class; fault `a` if one was not in it once. */
export const LOAD_DRIVE = 15;
/** Gives the token of word `a`; with `c` = 1, of word `a` plus the thread's place. */
export const LOAD_GIVE = 16;
/** Takes the token of word `a`; `c` as above. */
export const LOAD_TAKE = 17;
/** Waits at word `a` (`c` as above) until `b` threads have come. */
export const LOAD_BARRIER = 18;
/** Has work of class `a`, to be done in `b` ns: {@linkcode LoadThreads.next} asks for its row. */
export const LOAD_HINT = 19;
/** Has no work until the agent says that it has. */
export const LOAD_REST = 20;
/** Uses the CPU for `a` ns of time after the last barrier or work; stage `b` is what it got. */
export const LOAD_WORK = 21;
/** Nice value `a`. */
export const LOAD_NICE = 22;
/** Bound to CPU number `a` of the load's CPUs; −1: to all of them. */
export const LOAD_BIND = 23;

/** Numbers of an operation: its code and three arguments. */
export const LOAD_OP_LENGTH = 4;
/** Bytes of a kind's name, the zero byte included. */
export const LOAD_NAME_BYTES = 16;

/** A fault that the load did not name: a thread could not enter the enclave. */
export const LOAD_FAULT_ENTER = -1;
/** A thread could not leave it. */
export const LOAD_FAULT_LEAVE = -2;
/** A thread could not be started. */
export const LOAD_FAULT_START = -3;
/** The CPUs could not be set. */
export const LOAD_FAULT_PIN = -4;
/** A thread has no row in the PrioTable. */
export const LOAD_FAULT_HINT = -6;
/** A nice value could not be set. */
export const LOAD_FAULT_NICE = -7;

/** Stages of which a thread's CPU time is kept. */
export const LOAD_STAGE_COUNT = 6;

/** {@linkcode LoadThreads.next}: nothing happened in time. */
export const LOAD_NEXT_TIMEOUT = -1;
/** {@linkcode LoadThreads.next}: all threads have ended. */
export const LOAD_NEXT_DONE = -2;

const BUCKET_BITS = 6;
const BUCKET_COUNT = (42 - BUCKET_BITS) << BUCKET_BITS;
const TOTALS_LENGTH = 6;
const THREAD_FACTS_LENGTH = 11;

/** A load as native code takes it. */
export interface NativeProgram {
  /** Operations of all kinds. */
  readonly ops: Float64Array<ArrayBuffer>;
  /** Where each kind begins, in operations. */
  readonly kind_starts: Int32Array<ArrayBuffer>;
  /** Name of each kind. */
  readonly kind_names: readonly string[];
  /** Number of words. */
  readonly word_count: number;
}

/** What a run needs beside its program. */
export interface LoadRunOptions {
  /** Most threads in all. */
  readonly thread_capacity: number;
  /** Seed of the threads' random numbers. */
  readonly seed: number;
  /** What sched_getscheduler says of a thread in the enclave. */
  readonly policy: number;
  /** A file that takes "0" for the writing thread; −1: {@linkcode LoadThreads.next} asks. */
  readonly join_fd: number;
  /** With scx, where `join_fd` is the control program's: index of the enclave; else −1. */
  readonly join_enclave: number;
  /** CPUs of the load; empty if it names none. */
  readonly cpu_mask: Uint8Array<ArrayBuffer>;
  /** True: threads are bound to these CPUs from the start. */
  readonly is_bound: boolean;
  /** Address of a PrioTable; 0 if there is none. */
  readonly hint_table: number;
  /** Row of the first thread in it. */
  readonly first_sid: number;
}

/** What a thread wants of the caller. */
export interface LoadRequest {
  /** {@linkcode LOAD_ENTER} or {@linkcode LOAD_HINT}. */
  readonly code: number;
  /** With LOAD_HINT: the work class. */
  readonly a: number;
  /** With LOAD_HINT: ns until the deadline. */
  readonly b: number;
}

/** What a thread got in a stage. */
export interface LoadStage {
  /** CPU time. */
  readonly cpu_ns: number;
  /** Where it was at the end. */
  readonly cpu: number;
}

/** Sums over all threads. */
export interface LoadTotals {
  /** Threads started. */
  readonly started_count: number;
  /** Threads ended. */
  readonly ended_count: number;
  /** Yields. */
  readonly yield_count: number;
  /** Tokens given. */
  readonly give_count: number;
  /** Tokens that a thread slept for. */
  readonly wake_count: number;
  /** When the sums were taken, in ns of CLOCK_MONOTONIC. */
  readonly time_ns: number;
}

/** What is known of one thread. */
export interface LoadThreadFacts {
  /** Its id. */
  readonly tid: number;
  /** Its kind's number. */
  readonly kind: number;
  /** Number of its parent; −1: it is the root. */
  readonly parent: number;
  /** Its place among its siblings. */
  readonly sibling: number;
  /** True once it has ended. */
  readonly has_ended: boolean;
  /** The operation it is at. */
  readonly place: number;
  /** Where it last used the CPU; −1: nowhere yet. */
  readonly cpu: number;
  /** CPU time so far; 0 once it has ended. */
  readonly cpu_time_ns: number;
  /** Its yields. */
  readonly yield_count: number;
  /** Tokens that it slept for. */
  readonly wake_count: number;
}

/** Something that was not as the load expects. */
export interface LoadFault {
  /** Number of the thread. */
  readonly thread: number;
  /** Number of the text, or one of the LOAD_FAULT_ constants. */
  readonly text: number;
  /** The policy found, a count, or −errno. */
  readonly value: number;
}

interface LoadLibrary {
  create(
    config: Float64Array<ArrayBuffer>,
    ops: Float64Array<ArrayBuffer>,
    kind_starts: Int32Array<ArrayBuffer>,
    kind_names: Uint8Array<ArrayBuffer>,
    cpu_mask: Uint8Array<ArrayBuffer>,
  ): number;
  start(handle: number): number;
  next(handle: number, timeout_ns: number): number;
  request(handle: number, index: number, op: Float64Array<ArrayBuffer>): void;
  stages(handle: number, index: number, stages: Float64Array<ArrayBuffer>): number;
  answer(handle: number, index: number, result: number): void;
  stop(handle: number): void;
  totals(handle: number, totals: Float64Array<ArrayBuffer>): void;
  thread(handle: number, index: number, facts: Float64Array<ArrayBuffer>): number;
  takeLatencies(handle: number, sums: Float64Array<ArrayBuffer>): void;
  fault(handle: number, number: number, fault: Int32Array<ArrayBuffer>): number;
  free(handle: number): number;
}

const SIGNATURES: Readonly<
  Record<keyof LoadLibrary, readonly [string, readonly Deno.NativeType[], Deno.NativeResultType]>
> = {
  create: ["create", ["buffer", "buffer", "buffer", "buffer", "buffer"], "f64"],
  start: ["start", ["f64"], "i32"],
  next: ["next", ["f64", "f64"], "i32"],
  request: ["request", ["f64", "i32", "buffer"], "void"],
  stages: ["stages", ["f64", "i32", "buffer"], "i32"],
  answer: ["answer", ["f64", "i32", "i32"], "void"],
  stop: ["stop", ["f64"], "void"],
  totals: ["totals", ["f64", "buffer"], "void"],
  thread: ["thread", ["f64", "i32", "buffer"], "i32"],
  takeLatencies: ["take_latencies", ["f64", "buffer"], "void"],
  fault: ["fault", ["f64", "i32", "buffer"], "i32"],
  free: ["free", ["f64"], "i32"],
};

let loaded: LoadLibrary | undefined;

function loadLibrary(): LoadLibrary {
  if (loaded !== undefined) return loaded;
  const symbols: Record<string, Deno.ForeignFunction> = {};
  for (const [key, [name, parameters, result]] of Object.entries(SIGNATURES)) {
    symbols[key] = { name: `shim_load_${name}`, parameters, result };
  }
  return loaded = Deno.dlopen(shimPath(), symbols).symbols as unknown as LoadLibrary;
}

/** Latencies by bucket; each is exact to 1.6 %. */
export class LatencyBuckets {
  /** Samples in each bucket. */
  readonly sums: Float64Array<ArrayBuffer> = new Float64Array(BUCKET_COUNT);

  /** Number of samples. */
  get count(): number {
    return this.sums.reduce((sum, count) => sum + count, 0);
  }

  /**
   * The latency that so many percent of the samples do not exceed (nearest rank).
   *
   * @param percent Above 0, at most 100.
   * @returns Upper end of its bucket in ns; NaN without samples.
   */
  percentile(percent: number): number {
    let left = Math.ceil(percent * this.count / 100);
    if (left === 0) return NaN;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      left -= this.sums[bucket];
      if (left <= 0) return bucketEndNs(bucket);
    }
    return NaN;
  }
}

/** Greatest ns that fall into a bucket. */
function bucketEndNs(bucket: number): number {
  const size = 1 << BUCKET_BITS;
  if (bucket < size) return bucket;
  const shift = Math.floor(bucket / size) - 1;
  return (size + bucket % size + 1) * 2 ** shift - 1;
}

/** The threads of one load. */
export class LoadThreads {
  readonly #library = loadLibrary();
  readonly #handle: number;
  readonly #facts = new Float64Array(THREAD_FACTS_LENGTH);

  /**
   * Makes room for the threads; none runs yet.
   *
   * @param program What they do; kind 0 is the first thread's.
   * @param options See {@linkcode LoadRunOptions}.
   * @throws {ShimError} If there is no shim.
   * @throws {SystemError} If the program is empty or there is no memory.
   */
  constructor(program: NativeProgram, options: LoadRunOptions) {
    const names = new Uint8Array(program.kind_names.length * LOAD_NAME_BYTES);
    const encoder = new TextEncoder();
    program.kind_names.forEach((name, kind) => {
      const at = kind * LOAD_NAME_BYTES;
      encoder.encodeInto(name, names.subarray(at, at + LOAD_NAME_BYTES - 1));
    });
    const config = Float64Array.of(
      program.ops.length / LOAD_OP_LENGTH,
      program.kind_names.length,
      options.thread_capacity,
      program.word_count,
      options.seed,
      options.policy,
      options.join_fd,
      options.cpu_mask.length,
      options.is_bound ? 0 : 1,
      options.hint_table,
      options.first_sid,
      options.join_enclave,
    );
    const { ops, kind_starts } = program;
    const handle = this.#library.create(config, ops, kind_starts, names, options.cpu_mask);
    this.#handle = check("load", handle);
  }

  /** Starts the first thread: 0 or −errno. */
  start(): number {
    return this.#library.start(this.#handle);
  }

  /**
   * Waits until a thread wants to enter the enclave or a row, or all have ended.
   *
   * @param timeout_ns How long at most.
   * @returns Number of the thread, {@linkcode LOAD_NEXT_TIMEOUT} or {@linkcode LOAD_NEXT_DONE}.
   */
  next(timeout_ns: number): number {
    return this.#library.next(this.#handle, timeout_ns);
  }

  /** What a thread wants that {@linkcode next} named. */
  request(thread: number): LoadRequest {
    const op = new Float64Array(LOAD_OP_LENGTH);
    this.#library.request(this.#handle, thread, op);
    const [code, a, b] = op;
    return { code, a, b };
  }

  /** Stages of a thread; none if no thread of that number was started. */
  stages(thread: number): LoadStage[] {
    const pairs = new Float64Array(2 * LOAD_STAGE_COUNT);
    if (this.#library.stages(this.#handle, thread, pairs) < 0) return [];
    return Array.from(
      { length: LOAD_STAGE_COUNT },
      (_, stage) => ({ cpu_ns: pairs[2 * stage], cpu: pairs[2 * stage + 1] }),
    );
  }

  /** Answers a thread that {@linkcode next} named: 0 or −errno. */
  answer(thread: number, result: number): void {
    this.#library.answer(this.#handle, thread, result);
  }

  /** Loops without a count end, and nobody waits for a token any more. */
  stop(): void {
    this.#library.stop(this.#handle);
  }

  /** Sums over all threads. */
  totals(): LoadTotals {
    const totals = new Float64Array(TOTALS_LENGTH);
    this.#library.totals(this.#handle, totals);
    const [started_count, ended_count, yield_count, give_count, wake_count, time_ns] = totals;
    return { started_count, ended_count, yield_count, give_count, wake_count, time_ns };
  }

  /** What is known of a thread; undefined if none of that number was started. */
  thread(index: number): LoadThreadFacts | undefined {
    const facts = this.#facts;
    if (this.#library.thread(this.#handle, index, facts) < 0) return undefined;
    const [tid, kind, parent, sibling, state, place, cpu, cpu_time_ns, yield_count, , wake_count] =
      facts;
    const has_ended = state === 2;
    return {
      tid,
      kind,
      parent,
      sibling,
      has_ended,
      place,
      cpu,
      cpu_time_ns,
      yield_count,
      wake_count,
    };
  }

  /** Adds the wake-to-run latencies since the last call. */
  takeLatencies(buckets: LatencyBuckets): void {
    this.#library.takeLatencies(this.#handle, buckets.sums);
  }

  /** What was not as expected, the first 16. */
  faults(): LoadFault[] {
    const faults: LoadFault[] = [];
    const fields = new Int32Array(3);
    while (this.#library.fault(this.#handle, faults.length, fields) === 0) {
      const [thread, text, value] = fields;
      faults.push({ thread, text, value });
    }
    return faults;
  }

  /**
   * Frees all; to be called once, after the threads have ended.
   *
   * @throws {ShimError} If threads still run.
   */
  free(): void {
    if (this.#library.free(this.#handle) < 0) {
      throw new ShimError("load threads still run", "wait until next() says that all have ended");
    }
  }
}
