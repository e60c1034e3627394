/**
 * The sweeps of upstream's scripts: which programs run with which flags at which throughputs
 * (reference section 6.5).
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";

/** What the workers run under. */
export type SweepScheduler = "cfs" | "ghost";

/** One of upstream's scripts. */
interface Script {
  readonly summary: string;
  /** Threads that serve requests with ghost; with cfs there is one per CPU. */
  readonly ghost_workers: number;
  /** Flags of rocksdb, and of rocksdb with cfs alone. */
  readonly flags: readonly string[];
  readonly cfs_flags: readonly string[];
  readonly slice: string;
  readonly has_antagonist: boolean;
  /** See {@linkcode parseThroughputs}. */
  readonly throughputs: Readonly<Record<SweepScheduler, string>>;
}

const LONG_CFS = "10000-40000/10000,50000-80000/1000";
const LONG_GHOST = "10000-130000/10000,140000-150000/1000";

/** Upstream's scripts. (Its shenango goes to 590000 with cfs, where its comment says 60000.) */
export const SCRIPTS: Readonly<Record<string, Script>> = {
  centralized_queuing: {
    summary: "short requests",
    ghost_workers: 11,
    flags: ["--get_exponential_mean=1us"],
    cfs_flags: [],
    slice: "inf",
    has_antagonist: false,
    throughputs: {
      cfs: "10000-440000/10000,450000-480000/1000",
      ghost: "10000-420000/10000,430000-460000/1000",
    },
  },
  shenango: {
    summary: "short requests beside an antagonist",
    ghost_workers: 11,
    flags: ["--get_exponential_mean=1us"],
    cfs_flags: ["--cfs_wait_type=futex"],
    slice: "inf",
    has_antagonist: true,
    throughputs: {
      cfs: "10000-60000/10000,70000-120000/1000",
      ghost: "10000-380000/10000,390000-450000/1000",
    },
  },
  shinjuku: {
    summary: "short requests and 0.5 % long ones",
    ghost_workers: 200,
    flags: ["--range_query_ratio=0.005"],
    cfs_flags: [],
    slice: "30us",
    has_antagonist: false,
    throughputs: { cfs: LONG_CFS, ghost: LONG_GHOST },
  },
  shinjuku_shenango: {
    summary: "short requests and 0.5 % long ones beside an antagonist",
    ghost_workers: 200,
    flags: ["--range_query_ratio=0.005"],
    cfs_flags: ["--cfs_wait_type=futex"],
    slice: "30us",
    has_antagonist: true,
    throughputs: { cfs: LONG_CFS, ghost: LONG_GHOST },
  },
};

/** What a sweep runs on, and how long each point takes. */
export interface SweepHost {
  readonly first_cpu: number;
  readonly cpu_count: number;
  readonly experiment_duration: string;
  readonly discard_duration: string;
  readonly db_path: string;
  readonly seed: number;
  /** RocksDB's library; "": the system's. */
  readonly library: string;
}

/** The programs of one point, and their arguments. */
export interface PointPlan {
  readonly rocksdb: readonly string[];
  readonly antagonist: readonly string[] | undefined;
  readonly agent: readonly string[] | undefined;
  /** Nice values of rocksdb and antagonist, with cfs beside each other. */
  readonly nice: readonly [rocksdb: number, antagonist: number];
}

/** Most points of a sweep. */
const POINTS_MAX = 10_000;

/**
 * Reads throughputs: numbers and ranges, as "10000-40000/10000,50000".
 *
 * @returns Requests per second, in the order of the text.
 */
export function parseThroughputs(text: string): number[] | UsageError {
  const all: number[] = [];
  for (const field of text.split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9})\/(\d{1,9}))?$/.exec(field);
    const [first, last, step] = match === null ? [] : match.slice(1).map((n) => Number(n ?? NaN));
    const count = last >= first ? Math.floor((last - first) / step) + 1 : 0;
    if (match === null || (match[2] !== undefined && !(count >= 1 && count <= POINTS_MAX))) {
      return new UsageError(
        `bad throughputs ${JSON.stringify(field)}`,
        "give numbers and ranges FIRST-LAST/STEP, such as 1000,10000-40000/10000",
      );
    }
    if (match[2] === undefined) all.push(first);
    else for (let index = 0; index < count; index++) all.push(first + index * step);
  }
  return all;
}

/** Consecutive CPUs as a list. */
function cpuRange(first: number, count: number): string {
  return count === 1 ? `${first}` : `${first}-${first + count - 1}`;
}

/** Common flags of rocksdb, as upstream's scripts have them. */
function rocksdbFlags(script: Script, host: SweepHost, throughput: number): string[] {
  return [
    "--print_format=csv",
    "--print_get",
    "--print_range",
    `--rocksdb_db_path=${host.db_path}`,
    `--throughput=${throughput}`,
    "--range_duration=5000us",
    `--experiment_duration=${host.experiment_duration}`,
    `--discard_duration=${host.discard_duration}`,
    `--seed=${host.seed}`,
    `--load_generator_cpus=${host.first_cpu}`,
    ...(host.library === "" ? [] : [`--rocksdb_library=${host.library}`]),
    ...script.flags,
  ];
}

function cfsPlan(script: Script, host: SweepHost, throughput: number): PointPlan {
  const { first_cpu, cpu_count } = host;
  // Generator, dispatcher and workers have CPUs of their own where there are three or more.
  const dispatcher = first_cpu + (cpu_count >= 3 ? 1 : 0);
  const worker = cpu_count >= 3 ? first_cpu + 2 : first_cpu + cpu_count - 1;
  const worker_count = Math.max(cpu_count - 2, 1);
  const soak_first = first_cpu + (cpu_count > 1 ? 1 : 0);
  const soak_count = Math.max(cpu_count - 1, 1);
  const antagonist = [
    "--print_format=csv",
    `--num_threads=${soak_count}`,
    `--cpus=${cpuRange(soak_first, soak_count)}`,
    `--experiment_duration=${host.experiment_duration}`,
  ];
  return {
    rocksdb: [
      ...rocksdbFlags(script, host, throughput),
      ...script.cfs_flags,
      "--scheduler=cfs",
      `--cfs_dispatcher_cpus=${dispatcher}`,
      `--num_workers=${worker_count}`,
      `--worker_cpus=${cpuRange(worker, worker_count)}`,
    ],
    antagonist: script.has_antagonist ? antagonist : undefined,
    agent: undefined,
    nice: script.has_antagonist ? [-20, 19] : [0, 0],
  };
}

function ghostPlan(script: Script, host: SweepHost, throughput: number): PointPlan {
  const { first_cpu, cpu_count } = host;
  const antagonist = [
    "--print_format=csv",
    "--scheduler=ghost",
    "--cpus=",
    `--num_threads=${cpu_count - 1}`,
    "--ghost_qos=1",
    `--experiment_duration=${host.experiment_duration}`,
  ];
  return {
    rocksdb: [
      ...rocksdbFlags(script, host, throughput),
      "--scheduler=ghost",
      "--worker_cpus=",
      `--num_workers=${script.ghost_workers}`,
      "--ghost_qos=2",
    ],
    antagonist: script.has_antagonist ? antagonist : undefined,
    agent: [
      `--firstcpu=${first_cpu + 1}`,
      `--globalcpu=${first_cpu + 1}`,
      `--ncpus=${cpu_count - 1}`,
      `--preemption_time_slice=${script.slice}`,
    ],
    nice: [0, 0],
  };
}

/**
 * What runs for one point.
 *
 * @param script_name A name of {@linkcode SCRIPTS}.
 * @param scheduler What the workers run under.
 * @param host CPUs and times.
 * @param throughput Requests per second.
 */
export function pointPlan(
  script_name: string,
  scheduler: SweepScheduler,
  host: SweepHost,
  throughput: number,
): PointPlan {
  const plan = scheduler === "cfs" ? cfsPlan : ghostPlan;
  return plan(SCRIPTS[script_name], host, throughput);
}
