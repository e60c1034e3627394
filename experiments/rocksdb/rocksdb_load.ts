/**
 * The threads of the rocksdb experiment, and what they have measured. The threads are native
 * (native/rocksdb_load.c): a request takes microseconds.
 *
 * @module
 */
import { cureOf } from "../../ffi/errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import {
  type ExperimentLibrary,
  loadExperiments,
  REQUEST_BYTES,
  REQUEST_GET,
} from "../../ffi/experiments.ts";
import { bufferAt } from "../../ffi/shim.ts";
import { OperatingError } from "../../lib/errors.ts";
import type { Database } from "./database.ts";
import { latencyText, type RequestTimes } from "./latency.ts";
import type { RocksdbOptions } from "./options.ts";

/** What a thread does. */
export type ThreadRole = "Load generator" | "Dispatcher" | "Worker";

/** A thread, in the order of their numbers (SID). */
export interface LoadThread {
  readonly role: ThreadRole;
  /** The CPU that it is bound to; −1: none. */
  readonly cpu: number;
}

/** Requests of more than this time need not have their place beforehand. */
const RESERVE_MAX_NS = 30e9;

/** Threads that an experiment has: load generators, with cfs dispatchers, workers. */
export function loadThreads(options: RocksdbOptions): LoadThread[] {
  const is_cfs = options.scheduler === "cfs";
  const dispatchers = is_cfs ? options.cfs_dispatcher_cpus : [];
  return [
    ...options.load_generator_cpus.map((cpu) => ({ role: "Load generator" as const, cpu })),
    ...dispatchers.map((cpu) => ({ role: "Dispatcher" as const, cpu })),
    ...Array.from({ length: options.worker_count }, (_, index) => ({
      role: "Worker" as const,
      cpu: is_cfs ? options.worker_cpus[index] : -1,
    })),
  ];
}

/** True if a CPU is given to two threads: those that wait then sleep, whatever the flags say. */
export function hasSharedCpu(threads: readonly LoadThread[]): boolean {
  const cpus = threads.map(({ cpu }) => cpu).filter((cpu) => cpu >= 0);
  return new Set(cpus).size < cpus.length;
}

/** The numbers of `enum config` in native/rocksdb_load.c, in its order. */
function configOf(
  options: RocksdbOptions,
  threads: readonly LoadThread[],
  database: Database,
  hints_address: number,
): Float64Array {
  const is_ghost = options.scheduler === "ghost";
  const shares_cpus = hasSharedCpu(threads);
  const waits_on_futex = is_ghost || shares_cpus || options.cfs_wait_type === "futex";
  const reserve_ns = Math.min(options.experiment_ns, RESERVE_MAX_NS) + 1e9;
  const reserve = reserve_ns / 1e9 * options.throughput_rps / options.worker_count * 2;
  return Float64Array.of(
    is_ghost ? 1 : 0,
    waits_on_futex ? 1 : 0,
    options.load_generator_cpus.length,
    is_ghost ? 0 : options.cfs_dispatcher_cpus.length,
    options.worker_count,
    options.throughput_rps,
    options.range_query_ratio,
    options.get_ns,
    options.range_ns,
    options.get_exponential_ns,
    options.batch,
    Math.ceil(reserve),
    options.seed,
    database.handle,
    hints_address,
    shares_cpus ? 1 : 0,
  );
}

/** Requests that were served, thread by thread, as native code wrote them. */
class ServedRequests {
  readonly #views: readonly { times: Float64Array; kinds: Uint32Array }[];

  constructor(buffers: readonly ArrayBuffer[]) {
    this.#views = buffers.map((buffer) => ({
      times: new Float64Array(buffer),
      kinds: new Uint32Array(buffer),
    }));
  }

  /** Times of the requests that a test accepts, by their kind and when they were made. */
  select(accepts: (kind: number, generated_ns: number) => boolean): RequestTimes {
    const columns: number[][] = [[], [], [], [], []];
    for (const { times, kinds } of this.#views) {
      for (let at = 0; at < times.length; at += REQUEST_BYTES / 8) {
        if (!accepts(kinds[at * 2 + 10], times[at])) continue;
        for (let column = 0; column < 5; column++) columns[column].push(times[at + column]);
      }
    }
    const [generated, received, assigned, start, finished] = columns.map((column) =>
      Float64Array.from(column)
    );
    return { generated, received, assigned, start, finished };
  }
}

/** A load that runs, or has run. */
export class RocksdbLoad {
  /** Its threads. */
  readonly threads: readonly LoadThread[];
  readonly #library: ExperimentLibrary;
  readonly #handle: number;
  readonly #options: RocksdbOptions;
  #run_ns: Promise<number> | undefined;

  private constructor(
    library: ExperimentLibrary,
    handle: number,
    options: RocksdbOptions,
    threads: readonly LoadThread[],
  ) {
    this.#library = library;
    this.#handle = handle;
    this.#options = options;
    this.threads = threads;
  }

  /**
   * Starts the threads; they wait for {@linkcode RocksdbLoad.go}.
   *
   * @param options What is asked for.
   * @param database Outlives the load.
   * @param hints_address Where the PrioTable is, from its header on; 0: workers wait on a futex.
   * @returns The load, or why threads could not be started.
   */
  static create(
    options: RocksdbOptions,
    database: Database,
    hints_address = 0,
  ): RocksdbLoad | OperatingError {
    const library = loadExperiments();
    const threads = loadThreads(options);
    const config = configOf(options, threads, database, hints_address);
    const cpus = Int32Array.from(threads, ({ cpu }) => cpu);
    const handle = library.rocksdbCreate(config, cpus);
    if (handle > 0) return new RocksdbLoad(library, handle, options, threads);
    return new OperatingError(
      `the load's threads cannot be started (${errnoName(-handle)})`,
      cureOf("satellite", -handle),
    );
  }

  /** Thread ids, by SID. */
  tids(): number[] {
    return this.threads.map((_, sid) => this.#library.poolTid(this.#handle, sid));
  }

  /** Lets the load begin. */
  go(): void {
    this.#library.poolGo(this.#handle);
  }

  /**
   * Ends the load.
   *
   * @returns How long it ran, in ns.
   */
  async stop(): Promise<number> {
    this.#run_ns ??= this.#library.rocksdbStop(this.#handle);
    return await this.#run_ns;
  }

  /** Wrong answers of the database, and requests that could not be kept. */
  get fault_count(): number {
    return this.#library.rocksdbFaults(this.#handle);
  }

  #served(): ServedRequests {
    const buffers = this.threads.flatMap((_, sid) => {
      const count = this.#library.rocksdbDoneCount(this.#handle, sid);
      if (count === 0) return [];
      return [bufferAt(this.#library.rocksdbDone(this.#handle, sid), count * REQUEST_BYTES)];
    });
    return new ServedRequests(buffers);
  }

  /**
   * The results after the stop, from "Stats:" on.
   *
   * @param run_ns How long the load ran.
   */
  resultsText(run_ns: number): string {
    const { print, print_get, print_range, discard_ns } = this.#options;
    const served = this.#served();
    const from_ns = this.#library.rocksdbStartNs(this.#handle) + discard_ns;
    const section = (name: string, accepts: (kind: number) => boolean): string => {
      const requests = served.select((kind, generated_ns) =>
        generated_ns >= from_ns && accepts(kind)
      );
      return `${name}:\n${latencyText(requests, run_ns - discard_ns, print)}`;
    };
    return "Stats:\n" +
      (print_get ? section("Get", (kind) => kind === REQUEST_GET) : "") +
      (print_range ? section("Range", (kind) => kind !== REQUEST_GET) : "") +
      section("All", () => true);
  }

  /**
   * Serves one request in the calling thread, for tests.
   *
   * @returns The CPU time that it took, in ns.
   */
  serve(kind: number, entry: number): number {
    return this.#library.rocksdbServe(this.#handle, kind, entry);
  }

  /** Frees what a stopped load has. */
  free(): void {
    this.#library.rocksdbFree(this.#handle);
  }
}
