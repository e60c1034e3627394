/**
 * The flags that all agents have. Names and defaults of `--ghost_cpus`, `--enclave`, `--verbose`
 * and `--ghost_version` are upstream's, reference sections 3.0 and 4.0.
 *
 * @module
 */
import { parseCpuStr } from "../lib/cpu_list.ts";
import { type OperatingError, UsageError } from "../lib/errors.ts";
import { MAX_CPU_COUNT } from "../lib/limits.ts";
import { KERNEL_NAMES } from "../kernels/choose.ts";
import type { Flag, FlagValues } from "./flags.ts";

/** Flags that only the simulated kernel has. */
export const SIM_FLAGS: readonly Flag[] = [
  { name: "workload", value: "NAME", help: "load to run, for example simple_exp" },
  { name: "seed", value: "N", fallback: "1", help: "seed of all that is random" },
  { name: "cpus", value: "N", help: "CPUs of the machine (default: just enough)" },
  { name: "trace", value: "FILE.json", help: "write a Perfetto/Chrome trace" },
  { name: "html", value: "FILE.html", help: "write a page with the timeline of every CPU" },
  {
    name: "state",
    value: "FILE",
    help: "take over what an earlier run kept there, and keep it for the next",
  },
  { name: "record", value: "FILE", help: "write a recording of the run" },
  { name: "replay", value: "FILE", help: "repeat a recorded run and compare" },
];

/** Flags of every agent. */
export const AGENT_FLAGS: readonly Flag[] = [
  {
    name: "ghost_cpus",
    value: "LIST",
    fallback: "1-5",
    help: "CPUs to schedule, such as 0-3,6",
  },
  {
    name: "enclave",
    value: "DIR",
    fallback: "",
    help: "enclave to attach to; without it the agent makes one",
  },
  {
    name: "kernel",
    value: "NAME",
    fallback: "auto",
    help: `what to run on: ${KERNEL_NAMES.join(", ")}`,
  },
  { name: "verbose", value: "N", fallback: "0", help: "above 0: dump state once a second" },
  { name: "ghost_version", help: "print the ghOSt ABI versions on stderr" },
  { name: "version", help: "print the version" },
  { name: "help", help: "print this" },
];

const VERBOSE_MAX = 9;

/** What an agent was asked to do, checked as far as that needs no kernel. */
export interface AgentOptions {
  /** `--ghost_cpus` as given. */
  readonly ghost_cpus: string;
  /** Its CPUs, ascending. */
  readonly cpus: readonly number[];
  /** Enclave to attach to; "" for a new one. */
  readonly enclave: string;
  /** Name of a kernel, not checked yet. */
  readonly kernel: string;
  /** Above 0: periodic dumps. */
  readonly verbose: number;
  /** The flags of the simulated kernel and of the agent itself. */
  readonly flags: FlagValues;
}

/**
 * Checks the common flags.
 *
 * @param flags The flags.
 * @param ghost_cpus CPUs to schedule, where another flag than `--ghost_cpus` names them.
 */
export function agentOptions(
  flags: FlagValues,
  ghost_cpus: string = flags.text("ghost_cpus"),
): AgentOptions | UsageError {
  const list = parseCpuStr(ghost_cpus, MAX_CPU_COUNT);
  if (list instanceof UsageError) {
    return new UsageError(`--ghost_cpus: ${list.fault}`, list.cure);
  }
  if (list.isEmpty()) {
    return new UsageError("--ghost_cpus is empty", "name at least one CPU, such as 0-1");
  }
  const verbose = flags.integer("verbose", 0, VERBOSE_MAX);
  if (verbose instanceof UsageError) return verbose;
  return {
    ghost_cpus,
    cpus: list.toIntVector(),
    enclave: flags.text("enclave"),
    kernel: flags.text("kernel"),
    verbose,
    flags,
  };
}

/** A flag that only the simulated kernel has, given for a real one; undefined if there is none. */
export function simFlagFault(flags: FlagValues): OperatingError | undefined {
  const given = SIM_FLAGS.find(({ name, fallback }) =>
    flags.has(name) && flags.text(name) !== fallback
  );
  if (given === undefined) return undefined;
  return new UsageError(
    `--${given.name} is for the simulated kernel`,
    "add --kernel=sim, or leave it away",
  );
}
