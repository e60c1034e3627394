/**
 * Flags of the rocksdb experiment: upstream's names, defaults and checks, and their dump
 * (reference section 6.1).
 *
 * @module
 */
import type { CpuList } from "../../lib/cpu_list.ts";
import { parseCpuStr } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { type Flag, type FlagValues, parseFlags } from "../../util/flags.ts";
import {
  abslDurationText,
  durationFlag,
  numberFlag,
  takeBooleans,
  wordFlag,
} from "../shared/absl_flags.ts";
import {
  allGood,
  experimentFlags,
  type ExperimentOptions,
  experimentOptions,
  threadCpus,
} from "../shared/flag_checks.ts";
import { measuredCpus } from "../shared/host_cpus.ts";
import type { PrintOptions } from "./latency.ts";

/** What is asked for. */
export interface RocksdbOptions extends Omit<ExperimentOptions, "print_format"> {
  readonly print: PrintOptions;
  /** Also results of gets, of range queries, alone. */
  readonly print_get: boolean;
  readonly print_range: boolean;
  /** Folder of the database; "": a temporary one. */
  readonly db_path: string;
  /** Requests per second in all. */
  readonly throughput_rps: number;
  readonly range_query_ratio: number;
  readonly load_generator_cpus: readonly number[];
  readonly cfs_dispatcher_cpus: readonly number[];
  readonly worker_count: number;
  /** One per worker, or none with ghOSt. */
  readonly worker_cpus: readonly number[];
  readonly cfs_wait_type: "spin" | "futex";
  readonly ghost_wait_type: "prio_table" | "futex";
  readonly get_ns: number;
  readonly range_ns: number;
  readonly get_exponential_ns: number;
  readonly batch: number;
  readonly discard_ns: number;
  /** Of arrivals and requests; not of upstream's flags. */
  readonly seed: number;
  /** Library to load instead of the system's; "": the system's. Not of upstream's flags. */
  readonly library: string;
}

/** The flags that are on or off. */
const BOOLEANS: readonly Flag[] = [
  { name: "print_last", help: "print only the time from begin to end of requests" },
  { name: "print_distribution", help: "print the time of every request" },
  { name: "print_ns", help: "print nanoseconds instead of microseconds" },
  { name: "print_get", help: "print results of gets alone, too" },
  { name: "print_range", help: "print results of range queries alone, too" },
];

const VALUES: readonly Flag[] = [
  {
    name: "rocksdb_db_path",
    value: "FOLDER",
    fallback: "",
    help: "folder of the database, made if it is missing; without it a temporary one",
  },
  { name: "throughput", value: "N", fallback: "20000", help: "requests per second" },
  {
    name: "range_query_ratio",
    value: "R",
    fallback: "0.0",
    help: "share of range queries among the requests, 0 to 1",
  },
  { name: "load_generator_cpus", value: "LIST", fallback: "10", help: "their CPUs" },
  { name: "cfs_dispatcher_cpus", value: "LIST", fallback: "11", help: "theirs, with cfs" },
  { name: "num_workers", value: "N", fallback: "6", help: "threads that serve requests" },
  {
    name: "worker_cpus",
    value: "LIST",
    fallback: "12-17",
    help: "with cfs one per worker, with ghost empty",
  },
  { name: "cfs_wait_type", value: "HOW", fallback: "spin", help: "spin or futex" },
  { name: "ghost_wait_type", value: "HOW", fallback: "prio_table", help: "prio_table or futex" },
  { name: "get_duration", value: "TIME", fallback: "10us", help: "CPU time of a get" },
  { name: "range_duration", value: "TIME", fallback: "10ms", help: "that of a range query" },
  {
    name: "get_exponential_mean",
    value: "TIME",
    fallback: "0",
    help: "mean of what a get takes longer, exponentially distributed",
  },
  { name: "batch", value: "N", fallback: "1", help: "most requests handed to a worker at once" },
  {
    name: "discard_duration",
    value: "TIME",
    fallback: "2s",
    help: "time at the beginning whose requests do not count",
  },
  { name: "seed", value: "N", help: "seed of the requests; without it another one each time" },
  {
    name: "rocksdb_library",
    value: "FILE",
    fallback: "",
    help: "RocksDB's library, where it is not installed",
  },
];

/** Every flag, for `--help`. */
export const ROCKSDB_FLAGS: readonly Flag[] = [
  ...BOOLEANS,
  ...experimentFlags("workers", VALUES),
];

/** Sizes above these are a mistake, and would exhaust the machine. */
const WORKERS_MAX = 10_000;
const BATCH_MAX = 10_000;

const WORKER_FLAGS = { cpus: "worker_cpus", count: "num_workers", whose: "workers" };

/** CPUs of the three kinds of threads; dispatchers and workers have CPUs of their own with cfs. */
function cpuFlags(
  flags: FlagValues,
  scheduler: "cfs" | "ghost",
  worker_count: number,
  online: CpuList,
): Pick<RocksdbOptions, CpuFlagName> | UsageError {
  const generators = measuredCpus(
    "load_generator_cpus",
    flags.text("load_generator_cpus"),
    online,
  );
  if (generators instanceof UsageError) return generators;
  const dispatchers_text = flags.text("cfs_dispatcher_cpus");
  const is_cfs = scheduler === "cfs";
  // With ghost there are no dispatchers: what the flag says is shown, and may be the default.
  const dispatchers = is_cfs
    ? measuredCpus("cfs_dispatcher_cpus", dispatchers_text, online)
    : parseCpuStr(dispatchers_text, MAX_CPU_COUNT);
  if (dispatchers instanceof UsageError) return dispatchers;
  const asked = { scheduler, thread_count: worker_count };
  const workers = threadCpus(flags, WORKER_FLAGS, asked, online);
  if (workers instanceof UsageError) return workers;
  if (generators.length === 0 || (is_cfs && generators.length !== 1)) {
    return new UsageError(
      `--load_generator_cpus names ${generators.length} CPUs`,
      is_cfs ? "with --scheduler=cfs give one" : "give one or more",
    );
  }
  const cfs_dispatcher_cpus = "toIntVector" in dispatchers
    ? dispatchers.toIntVector()
    : dispatchers;
  if (is_cfs && cfs_dispatcher_cpus.length === 0) {
    return new UsageError("--cfs_dispatcher_cpus names no CPU", "give one or more");
  }
  return { load_generator_cpus: generators, cfs_dispatcher_cpus, worker_cpus: workers };
}

type CpuFlagName = "load_generator_cpus" | "cfs_dispatcher_cpus" | "worker_cpus";

function seedOf(flags: FlagValues): number | UsageError {
  if (!flags.has("seed")) return crypto.getRandomValues(new Uint32Array(1))[0];
  return flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
}

/**
 * Reads the flags.
 *
 * @param args The arguments.
 * @param online The host's CPUs.
 * @returns The options, "help", or what is wrong.
 */
export function rocksdbOptions(
  args: readonly string[],
  online: CpuList,
): RocksdbOptions | UsageError | "help" {
  const booleans = takeBooleans(BOOLEANS.map(({ name }) => name), args);
  if (booleans instanceof UsageError) return booleans;
  const { on, rest } = booleans;
  const flags = parseFlags(ROCKSDB_FLAGS, rest, "rocksdb");
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const common = experimentOptions(flags);
  if (common instanceof UsageError) return common;
  const read = allGood({
    cfs_wait_type: wordFlag(flags, "cfs_wait_type", ["spin", "futex"]),
    ghost_wait_type: wordFlag(flags, "ghost_wait_type", ["prio_table", "futex"]),
    throughput_rps: numberFlag(flags, "throughput", 1e9),
    range_query_ratio: numberFlag(flags, "range_query_ratio", 1),
    worker_count: flags.integer("num_workers", 1, WORKERS_MAX),
    batch: flags.integer("batch", 1, BATCH_MAX),
    get_ns: durationFlag(flags, "get_duration"),
    range_ns: durationFlag(flags, "range_duration"),
    get_exponential_ns: durationFlag(flags, "get_exponential_mean"),
    discard_ns: durationFlag(flags, "discard_duration"),
    seed: seedOf(flags),
  });
  if (read instanceof UsageError) return read;
  const endless = (["get_ns", "range_ns", "get_exponential_ns"] as const)
    .find((name) => read[name] === Infinity);
  if (endless !== undefined) {
    return new UsageError("a request that takes inf is never over", "give a finite duration");
  }
  const cpus = cpuFlags(flags, common.scheduler, read.worker_count, online);
  if (cpus instanceof UsageError) return cpus;
  const { print_format, ...others } = common;
  return {
    ...others,
    ...read,
    ...cpus,
    print: {
      is_pretty: print_format === "pretty",
      is_last_only: on.has("print_last"),
      has_distribution: on.has("print_distribution"),
      is_ns: on.has("print_ns"),
    },
    print_get: on.has("print_get"),
    print_range: on.has("print_range"),
    db_path: flags.text("rocksdb_db_path"),
    library: flags.text("rocksdb_library"),
  };
}

/** The dump: one "name: value" a line, by name; what is not upstream's is left out. */
export function optionsText(options: RocksdbOptions): string {
  const lines: Record<string, string | number | boolean> = {
    batch: options.batch,
    cfs_dispatcher_cpus: options.cfs_dispatcher_cpus.join(" "),
    cfs_wait_type: options.cfs_wait_type,
    discard_duration: abslDurationText(options.discard_ns),
    experiment_duration: abslDurationText(options.experiment_ns),
    get_duration: abslDurationText(options.get_ns),
    get_exponential_mean: abslDurationText(options.get_exponential_ns),
    ghost_qos: options.ghost_qos,
    ghost_wait_type: options.ghost_wait_type,
    load_generator_cpus: options.load_generator_cpus.join(" "),
    num_workers: options.worker_count,
    print_distribution: options.print.has_distribution,
    print_format: options.print.is_pretty ? "pretty" : "csv",
    print_get: options.print_get,
    print_ns: options.print.is_ns,
    print_range: options.print_range,
    range_duration: abslDurationText(options.range_ns),
    range_query_ratio: options.range_query_ratio.toFixed(6),
    rocksdb_db_path: options.db_path,
    scheduler: options.scheduler,
    throughput: options.throughput_rps.toFixed(6),
  };
  if (options.worker_cpus.length > 0) lines.worker_cpus = options.worker_cpus.join(" ");
  return Object.entries(lines).map(([name, value]) => `${name}: ${value}`).join("\n");
}
