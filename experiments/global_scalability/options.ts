/**
 * Flags of global_scalability: upstream's names, defaults and checks (reference section 6.3).
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { ENCLAVE_FLAGS } from "../../util/enclave_choice.ts";
import { type Flag, type FlagValues, parseFlags } from "../../util/flags.ts";
import { takeBooleans } from "../shared/absl_flags.ts";

/** What schedules; "none": an agent that runs already. */
export const SCALABILITY_POLICIES = ["edf", "shinjuku", "sol", "none"] as const;
/** See {@linkcode SCALABILITY_POLICIES}. */
export type ScalabilityPolicy = typeof SCALABILITY_POLICIES[number];

/** What is asked for. */
export interface ScalabilityOptions {
  readonly policy: ScalabilityPolicy;
  /** File for the results; "/dev/stdout" is upstream's default. */
  readonly output: string;
  readonly enclave: string;
  readonly global_cpu: number;
  /** CPUs of the first and of the last point, with the agent's and CPU 0. */
  readonly min_cpus: number;
  readonly max_cpus: number;
  readonly total_loops: number;
  readonly threads_per_cpu: number;
  readonly skips_cpu0: boolean;
  readonly packs_smt: boolean;
  readonly kernel: string;
  /** Of the simulated kernel. */
  readonly seed: number;
}

const BOOLEANS: readonly Flag[] = [
  { name: "skip_cpu0", help: "keep off CPU 0; on unless --noskip_cpu0 is given" },
  { name: "pack_smt", help: "fill both hardware threads of a core before the next core" },
];

/** The flags. */
export const SCALABILITY_FLAGS: readonly Flag[] = [
  { name: "o", value: "FILE", fallback: "/dev/stdout", help: "where the results go" },
  { name: "global_cpu", value: "CPU", fallback: "1", help: "CPU of the global agent" },
  {
    name: "max_cpus",
    value: "N",
    fallback: "-1",
    help: "CPUs of the last point, with the agent's and CPU 0; -1: all",
  },
  { name: "min_cpus", value: "N", fallback: "-1", help: "CPUs of the first point; -1: the least" },
  {
    name: "total_loops",
    value: "N",
    fallback: "5000000",
    help: "yields of all threads of a point",
  },
  { name: "threads_per_cpu", value: "N", fallback: "5", help: "threads per CPU" },
  ...BOOLEANS,
  { name: "kernel", value: "NAME", fallback: "auto", help: "auto, ghost, scx or sim" },
  { name: "seed", value: "N", fallback: "1", help: "seed of the simulated kernel" },
  ...ENCLAVE_FLAGS,
  { name: "help", help: "print this" },
];

/** A flag whose −1 stands for something else. */
function countFlag(
  flags: FlagValues,
  name: string,
  least: number,
  most: number,
  otherwise: number,
): number | UsageError {
  return flags.text(name) === "-1" ? otherwise : flags.integer(name, least, most);
}

/** CPUs of the first and the last point, and the agent's. */
function cpuCounts(
  flags: FlagValues,
  skips_cpu0: boolean,
  host_cpus: number,
): Pick<ScalabilityOptions, "min_cpus" | "max_cpus" | "global_cpu"> | UsageError {
  const is_sim = flags.text("kernel") === "sim";
  const least = skips_cpu0 ? 3 : 2;
  const most = is_sim ? MAX_CPU_COUNT : host_cpus;
  if (most < least) {
    return new UsageError(
      `this host has ${host_cpus} CPUs, and ${least} are needed`,
      skips_cpu0 ? "give --noskip_cpu0, or --kernel=sim" : "simulate with --kernel=sim",
    );
  }
  const max_cpus = countFlag(flags, "max_cpus", least, most, host_cpus);
  if (max_cpus instanceof UsageError) return max_cpus;
  if (max_cpus < least) {
    return new UsageError(`${max_cpus} CPUs are fewer than ${least}`, "give --max_cpus");
  }
  const min_cpus = countFlag(flags, "min_cpus", least, max_cpus, least);
  if (min_cpus instanceof UsageError) return min_cpus;
  const global_cpu = flags.integer("global_cpu", skips_cpu0 ? 1 : 0, max_cpus - 1);
  if (global_cpu instanceof UsageError) return global_cpu;
  return { min_cpus, max_cpus, global_cpu };
}

/**
 * Reads the arguments.
 *
 * @param args The policy and flags.
 * @param host_cpus CPUs of this host.
 * @returns The options, "help", or what is wrong.
 */
export function scalabilityOptions(
  args: readonly string[],
  host_cpus: number,
): ScalabilityOptions | UsageError | "help" {
  const booleans = takeBooleans(BOOLEANS.map(({ name }) => name), ["--skip_cpu0", ...args]);
  if (booleans instanceof UsageError) return booleans;
  const at = booleans.rest.findIndex((arg) => !arg.startsWith("-"));
  // The policy may stand before or behind the flags, but not where a flag's value does.
  const is_first = at === 0;
  const is_last = !is_first && (SCALABILITY_POLICIES as readonly string[])
    .includes(booleans.rest.at(-1) ?? "");
  const word = is_first ? booleans.rest[0] : is_last ? booleans.rest.at(-1) : undefined;
  const rest = is_first
    ? booleans.rest.slice(1)
    : is_last
    ? booleans.rest.slice(0, -1)
    : booleans.rest;
  const flags = parseFlags(SCALABILITY_FLAGS, rest, "global_scalability");
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const policy = SCALABILITY_POLICIES.find((name) => name === word);
  if (policy === undefined) {
    const fault = word === undefined ? "Need a scheduler type" : `Unrecognized scheduler '${word}'`;
    return new UsageError(fault, `give one of ${SCALABILITY_POLICIES.join(", ")}`);
  }
  const skips_cpu0 = booleans.on.has("skip_cpu0");
  const cpus = cpuCounts(flags, skips_cpu0, host_cpus);
  if (cpus instanceof UsageError) return cpus;
  const total_loops = flags.integer("total_loops", 1, 2 ** 31 - 1);
  if (total_loops instanceof UsageError) return total_loops;
  const threads_per_cpu = flags.integer("threads_per_cpu", 1, 1000);
  if (threads_per_cpu instanceof UsageError) return threads_per_cpu;
  const seed = flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  return {
    ...cpus,
    policy,
    output: flags.text("o"),
    enclave: flags.text("enclave"),
    total_loops,
    threads_per_cpu,
    skips_cpu0,
    packs_smt: booleans.on.has("pack_smt"),
    kernel: flags.text("kernel"),
    seed,
  };
}

/** The lines before the results. */
export function headText(options: ScalabilityOptions): string {
  const own_cpus = options.skips_cpu0 ? 2 : 1;
  return `testing sched ${options.policy}\n` +
    `global agent on cpu ${options.global_cpu}\n` +
    `testing up to ${options.max_cpus - own_cpus} worker cpus\n` +
    `nr_loops total: ${options.total_loops}\n` +
    `nr_threads per cpu: ${options.threads_per_cpu}\n` +
    `${options.skips_cpu0 ? "" : "not "}skipping cpu 0\n\n` +
    "nr_task_cpus,scheds_per_sec,loops_per_thread\n";
}

/** What is measured for one number of CPUs. */
export interface ScalabilityPoint {
  /** CPUs that threads run on. */
  readonly task_cpu_count: number;
  /** The agent's CPU first. */
  readonly cpus: readonly number[];
  readonly thread_count: number;
  /** Yields of each thread. */
  readonly loop_count: number;
}

/** One line of the results; `elapsed_ns` is the time that all yields took. */
export function rowText(point: ScalabilityPoint, elapsed_ns: number): string {
  const { task_cpu_count, thread_count, loop_count } = point;
  const rate = loop_count === 0 ? 0 : thread_count * loop_count / elapsed_ns * 1e9;
  return `${task_cpu_count},${rate.toFixed(6)},${loop_count}\n`;
}
