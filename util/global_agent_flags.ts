/**
 * The flags of agents with a global CPU, as upstream has them: reference sections 4.2 to 4.5.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { parseDurationNs } from "./duration.ts";
import type { Flag, FlagValues } from "./flags.ts";

/** Shorter slices would be over before they are noticed. */
const SLICE_MIN_NS = 1000;

/** `--globalcpu`. */
export const GLOBAL_CPU_FLAG: Flag = {
  name: "globalcpu",
  value: "CPU",
  fallback: "-1",
  help: "CPU of the global agent; -1 for the first one",
};

/** `--preemption_time_slice` with an agent's own default. */
export function timeSliceFlag(fallback: string): Flag {
  return {
    name: "preemption_time_slice",
    value: "TIME",
    fallback,
    help: "time after which a thread makes room, as 50us",
  };
}

/**
 * The global CPU.
 *
 * @param flags The flags, with {@linkcode GLOBAL_CPU_FLAG}.
 * @param cpus CPUs to schedule, ascending.
 * @param list_flag The flag that says which CPUs to schedule.
 * @returns The CPU, or what is wrong.
 */
export function globalCpu(
  flags: FlagValues,
  cpus: readonly number[],
  list_flag = "ghost_cpus",
): number | UsageError {
  if (cpus.length < 2) {
    return new UsageError(
      `--${list_flag}: a global agent needs a CPU of its own and one to schedule`,
      list_flag === "ncpus" ? "give 2 or more" : "name two CPUs or more, such as 0-1",
    );
  }
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
