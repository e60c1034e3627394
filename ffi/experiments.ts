/**
 * The functions of the experiments' threads (native/experiment.h, rocksdb_load.c, antagonist.c).
 * They are in the shim's library, and looked up only when an experiment runs.
 *
 * @module
 */
import { shimPath } from "./shim.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The experiments' functions; a failure is −errno. Handles are addresses. */
export interface ExperimentLibrary {
  /** Starts threads that sleep until they are told to end. Returns their handle. */
  readonly idleCreate: (count: number) => number;
  /** Starts threads that yield so often each, and end. Returns their handle. */
  readonly yieldCreate: (count: number, loop_count: number) => number;
  /** Thread id of a thread, by its number from 0. */
  readonly poolTid: (handle: number, sid: number) => number;
  /** Lets the threads of any experiment begin. */
  readonly poolGo: (handle: number) => void;
  /** Tells a thread to end. Returns 1 the first time, then 0. */
  readonly poolMarkExit: (handle: number, sid: number) => number;
  /** How many threads have ended. */
  readonly poolExited: (handle: number) => number;
  /** Joins the threads of `idleCreate` or `yieldCreate`, on a thread of Deno's pool. */
  readonly poolFree: (handle: number) => Promise<void>;
  /** Makes a source of Poisson arrivals. Returns its handle, or 0. */
  readonly networkCreate: (throughput_rps: number, range_ratio: number, seed: number) => number;
  /** Frees it. */
  readonly networkFree: (handle: number) => void;
  /** Lets it begin. */
  readonly networkStart: (handle: number, now_ns: number) => void;
  /** Takes a request that has arrived: 1, or 0 for none. */
  readonly networkPoll: (handle: number, now_ns: number, request: Float64Array) => number;
  /** Starts antagonists on `cpus` (−1: any). Returns their handle. */
  readonly antagonistCreate: (count: number, cpus: Int32Array, work_share: number) => number;
  /** CPU time in ns that a thread has used. */
  readonly antagonistRunNs: (handle: number, sid: number) => number;
  /** Ends the threads, on a thread of Deno's pool. */
  readonly antagonistStop: (handle: number) => Promise<void>;
  /** Frees what is left. */
  readonly antagonistFree: (handle: number) => void;
  /** Loads RocksDB: 0, −ENOENT or −ENOSYS with what the loader said. */
  readonly rocksdbLoad: (path: Bytes, text: Bytes, text_bytes: number) => number;
  /** Opens a database, on a thread of Deno's pool. Returns its handle, or −1 and why. */
  readonly databaseOpen: (
    path: Bytes,
    entry_count: number,
    rebuild: number,
    text: Bytes,
    text_bytes: number,
  ) => Promise<number>;
  /** Writes every entry, on a thread of Deno's pool. Returns 0, or −EIO and why. */
  readonly databaseFill: (handle: number, text: Bytes, text_bytes: number) => Promise<number>;
  /** Reads every entry, on a thread of Deno's pool. Returns how many were there and right. */
  readonly databaseWarm: (handle: number) => Promise<number>;
  /** Entries that the fill or the warm-up has done. */
  readonly databaseDone: (handle: number) => number;
  /** Reads a value: its length, 0 if it is missing. */
  readonly databaseGet: (handle: number, entry: number, into: Bytes) => number;
  /** Reads values with commas between them: the length, 0 if there are not so many. */
  readonly databaseRange: (handle: number, entry: number, count: number, into: Bytes) => number;
  /** Closes a database. */
  readonly databaseClose: (handle: number) => void;
  /** Starts a load's threads; they wait for `poolGo`. Returns its handle. */
  readonly rocksdbCreate: (config: Float64Array, cpus: Int32Array) => number;
  /** Ends a load, on a thread of Deno's pool. Returns how long it ran, in ns. */
  readonly rocksdbStop: (handle: number) => Promise<number>;
  /** When the load began, in ns of CLOCK_MONOTONIC; 0: it has not. */
  readonly rocksdbStartNs: (handle: number) => number;
  /** Wrong answers of the database, and requests that could not be kept. */
  readonly rocksdbFaults: (handle: number) => number;
  /** Requests that a thread has served; read after the stop. */
  readonly rocksdbDoneCount: (handle: number, sid: number) => number;
  /** Address of these requests, {@linkcode REQUEST_BYTES} each. */
  readonly rocksdbDone: (handle: number, sid: number) => number;
  /** Serves one request in the calling thread. Returns the CPU time in ns. */
  readonly rocksdbServe: (handle: number, kind: number, entry: number) => number;
  /** Frees a load that was stopped. */
  readonly rocksdbFree: (handle: number) => void;
}

/** Bytes of one request: five times in ns as doubles, then kind and entry as u32. */
export const REQUEST_BYTES = 48;
/** Kind of a request for one entry. */
export const REQUEST_GET = 0;
/** Kind of a request for a range of entries. */
export const REQUEST_RANGE = 1;

const F = "f64";
const I = "i32";
const U = "u32";
const B = "buffer";

/** C name, parameter types and result type. */
const SIGNATURES: Readonly<
  Record<
    keyof ExperimentLibrary,
    readonly [string, readonly Deno.NativeType[], Deno.NativeResultType]
  >
> = {
  idleCreate: ["idle_create", [U], F],
  yieldCreate: ["yield_create", [U, U], F],
  poolTid: ["pool_tid", [F, U], I],
  poolGo: ["pool_go", [F], "void"],
  poolMarkExit: ["pool_mark_exit", [F, U], I],
  poolExited: ["pool_exited", [F], U],
  poolFree: ["pool_free", [F], "void"],
  networkCreate: ["network_create", [F, F, F], F],
  networkFree: ["network_free", [F], "void"],
  networkStart: ["network_start", [F, F], "void"],
  networkPoll: ["network_poll", [F, F, B], I],
  antagonistCreate: ["antagonist_create", [U, B, F], F],
  antagonistRunNs: ["antagonist_run_ns", [F, U], F],
  antagonistStop: ["antagonist_stop", [F], "void"],
  antagonistFree: ["antagonist_free", [F], "void"],
  rocksdbLoad: ["rocksdb_load", [B, B, U], I],
  databaseOpen: ["database_open", [B, U, I, B, U], F],
  databaseFill: ["database_fill", [F, B, U], I],
  databaseWarm: ["database_warm", [F], U],
  databaseDone: ["database_done", [F], U],
  databaseGet: ["database_get", [F, U, B], I],
  databaseRange: ["database_range", [F, U, U, B], I],
  databaseClose: ["database_close", [F], "void"],
  rocksdbCreate: ["rocksdb_create", [B, B], F],
  rocksdbStop: ["rocksdb_stop", [F], F],
  rocksdbStartNs: ["rocksdb_start_ns", [F], F],
  rocksdbFaults: ["rocksdb_faults", [F], U],
  rocksdbDoneCount: ["rocksdb_done_count", [F, U], F],
  rocksdbDone: ["rocksdb_done", [F, U], F],
  rocksdbServe: ["rocksdb_serve", [F, U, U], F],
  rocksdbFree: ["rocksdb_free", [F], "void"],
};

/** Functions that may take long: they run on a thread of Deno's pool and give a promise. */
const ASYNC: ReadonlySet<string> = new Set<keyof ExperimentLibrary>([
  "poolFree",
  "antagonistStop",
  "databaseOpen",
  "databaseFill",
  "databaseWarm",
  "rocksdbStop",
]);

let loaded: ExperimentLibrary | undefined;

/**
 * The experiments' functions; looked up at the first call in each isolate.
 *
 * @returns The functions.
 * @throws {ShimError} If the shim can neither be found, built nor loaded.
 */
export function loadExperiments(): ExperimentLibrary {
  if (loaded !== undefined) return loaded;
  const symbols: Record<string, Deno.ForeignFunction> = {};
  for (const [key, [name, parameters, result]] of Object.entries(SIGNATURES)) {
    symbols[key] = { name: `exp_${name}`, parameters, result, nonblocking: ASYNC.has(key) };
  }
  return loaded = Deno.dlopen(shimPath(), symbols).symbols as unknown as ExperimentLibrary;
}
