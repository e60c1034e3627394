/**
 * The flags of agents with a global CPU, as upstream has them: reference sections 4.2 to 4.5.
 *
 * @module
 */
import { parseCpuStr } from "../lib/cpu_list.ts";
import { UsageError } from "../lib/errors.ts";
import { MAX_CPU_COUNT } from "../lib/limits.ts";
import type { GlobalRole } from "../lib/role_candidates.ts";
import { parseDurationNs } from "./duration.ts";
import type { Flag, FlagValues } from "./flags.ts";

/** Shorter slices would be over before they are noticed. */
const SLICE_MIN_NS = 1000;

/** Where the global agent runs: upstream's flag, and which CPUs it may move to. */
export const GLOBAL_ROLE_FLAGS: readonly Flag[] = [
  {
    name: "globalcpu",
    value: "CPU",
    fallback: "-1",
    help: "CPU of the global agent; -1 for the first one",
  },
  {
    name: "role_cpus",
    value: "LIST",
    fallback: "",
    help: "CPUs that may become the global one; the others cost less memory",
  },
];

/** `--preemption_time_slice` with an agent's own default. */
export function timeSliceFlag(fallback: string): Flag {
  return {
    name: "preemption_time_slice",
    value: "TIME",
    fallback,
    help: "time after which a thread makes room, as 50us",
  };
}

/** The flag's CPU, or what is wrong. */
function globalCpu(flags: FlagValues, cpus: readonly number[]): number | UsageError {
  const text = flags.text("globalcpu");
  const cpu = /^-?\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (cpu === -1) return cpus[0];
  if (cpus.includes(cpu)) return cpu;
  const [first, last] = [cpus[0], cpus[cpus.length - 1]];
  const known = last - first + 1 === cpus.length ? `${first} to ${last}` : cpus.join(", ");
  return new UsageError(
    `--globalcpu: ${JSON.stringify(text)} is none of the CPUs to schedule`,
    `give one of ${known}, or -1 for the first one`,
  );
}

/** The flag's CPUs, ascending; undefined if it is not given; or what is wrong. */
function roleCpus(
  flags: FlagValues,
  cpus: readonly number[],
  global_cpu: number,
): readonly number[] | undefined | UsageError {
  const text = flags.text("role_cpus");
  if (text === "") return undefined;
  const list = parseCpuStr(text, MAX_CPU_COUNT);
  if (list instanceof UsageError) {
    return new UsageError(`--role_cpus: ${list.fault}`, list.cure);
  }
  const role_cpus = list.toIntVector();
  const outside = role_cpus.find((cpu) => !cpus.includes(cpu));
  if (outside === undefined && role_cpus.includes(global_cpu)) return role_cpus;
  const what = outside === undefined
    ? `the global CPU ${global_cpu} is not among them`
    : `CPU ${outside} is none of the CPUs to schedule`;
  return new UsageError(
    `--role_cpus: ${what}`,
    "name CPUs that are scheduled, the global one included, such as 0-1",
  );
}

/**
 * Who has the role of the global agent, and who may get it.
 *
 * @param flags The flags, with {@linkcode GLOBAL_ROLE_FLAGS}.
 * @param cpus CPUs to schedule, ascending.
 * @param list_flag The flag that says which CPUs to schedule.
 * @returns The role, or what is wrong.
 */
export function globalRole(
  flags: FlagValues,
  cpus: readonly number[],
  list_flag = "ghost_cpus",
): GlobalRole | UsageError {
  if (cpus.length < 2) {
    return new UsageError(
      `--${list_flag}: a global agent needs a CPU of its own and one to schedule`,
      list_flag === "ncpus" ? "give 2 or more" : "name two CPUs or more, such as 0-1",
    );
  }
  const global_cpu = globalCpu(flags, cpus);
  if (global_cpu instanceof UsageError) return global_cpu;
  const role_cpus = roleCpus(flags, cpus, global_cpu);
  return role_cpus instanceof UsageError ? role_cpus : { global_cpu, role_cpus };
}

/** The time slice in ns, Infinity for none; or what is wrong. */
export function timeSliceNs(flags: FlagValues): number | UsageError {
  const text = flags.text("preemption_time_slice");
  const slice_ns = parseDurationNs(text);
  if (slice_ns >= SLICE_MIN_NS) return slice_ns;
  const what = Number.isNaN(slice_ns) ? "is no duration" : "is shorter than a microsecond";
  return new UsageError(
    `--preemption_time_slice: ${JSON.stringify(text)} ${what}`,
    "give a number with ns, us, ms, s, m or h, such as 50us, or inf",
  );
}
