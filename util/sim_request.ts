/**
 * What an agent on the simulated kernel is asked for: its flags, checked, and its files, begun.
 *
 * @module
 */
import type { Load } from "../experiments/load.ts";
import { WORKLOADS } from "../experiments/workloads.ts";
import { parseCpuStr } from "../lib/cpu_list.ts";
import { UsageError } from "../lib/errors.ts";
import { ioReason } from "../lib/host_files.ts";
import { MAX_CPU_COUNT } from "../lib/limits.ts";
import { decodeSnapshot, type Snapshot } from "../lib/snapshot.ts";
import type { AgentOptions } from "./agent_flags.ts";
import type { AgentProgram } from "./agent_main.ts";
import { OutputFile } from "./output_file.ts";

/** What is asked for, checked. */
export interface SimRequest {
  /** The load. */
  readonly load: Load;
  /** Seed of all that is random. */
  readonly seed: number;
  /** CPUs of the machine. */
  readonly machine_cpus: number;
  /** The Perfetto trace, begun. */
  readonly trace: OutputFile | undefined;
  /** The page, begun. */
  readonly html: OutputFile | undefined;
  /** The recording, begun. */
  readonly record: OutputFile | undefined;
  /** The kept state, begun. */
  readonly state: OutputFile | undefined;
  /** What an earlier run kept. */
  readonly kept: Snapshot | undefined;
}

function findLoad(program: AgentProgram, name: string): Load | UsageError {
  const loads = program.workloads ?? WORKLOADS;
  const known = `give one of: ${loads.map((load) => load.name).join(", ")}`;
  if (name === "") {
    return new UsageError("--kernel=sim needs a load", `add --workload=NAME; ${known}`);
  }
  return loads.find((load) => load.name === name) ??
    new UsageError(`unknown workload ${JSON.stringify(name)}`, known);
}

/** The size of the machine: given, or just enough. */
function machineCpus(options: AgentOptions): number | UsageError {
  const enough = options.cpus[options.cpus.length - 1] + 1;
  if (!options.flags.has("cpus")) return enough;
  const count = options.flags.integer("cpus", 1, MAX_CPU_COUNT);
  if (typeof count !== "number") return count;
  const list = parseCpuStr(options.ghost_cpus, count);
  if (!(list instanceof UsageError)) return count;
  return new UsageError(
    `--ghost_cpus: ${list.fault}`,
    `the machine of --cpus=${count} has CPUs 0 to ${count - 1}`,
  );
}

const OUTPUT_FLAGS = ["trace", "html", "record", "state"] as const;
/** Files that are read, and must not be written over. */
const INPUT_FLAGS = ["replay"] as const;
type Outputs = Record<typeof OUTPUT_FLAGS[number], OutputFile | undefined>;

/** True if two paths lead to the same file, by the same name or another. */
function isSamePlace(one: string, other: string): boolean {
  if (one === other) return true;
  try {
    return Deno.realPathSync(one) === Deno.realPathSync(other);
  } catch {
    return false;
  }
}

/** Begins all files that are to be written, or none. */
function openOutputs({ flags }: AgentOptions): Outputs | UsageError {
  const outputs: Outputs = {
    trace: undefined,
    html: undefined,
    record: undefined,
    state: undefined,
  };
  const given = OUTPUT_FLAGS.filter((flag) => flags.has(flag));
  for (const [index, flag] of given.entries()) {
    const path = flags.text(flag);
    const before = [...INPUT_FLAGS.filter((other) => flags.has(other)), ...given.slice(0, index)];
    const same = before.find((other) => isSamePlace(flags.text(other), path));
    const file = same === undefined ? OutputFile.open(path) : new UsageError(
      `names the same file as --${same}`,
      "give two names",
    );
    if (file instanceof UsageError) {
      for (const other of given) outputs[other]?.abandon();
      return new UsageError(`--${flag}: ${file.fault}`, file.cure);
    }
    outputs[flag] = file;
  }
  return outputs;
}

/** What an earlier run kept; undefined if there was none. */
function readKept(options: AgentOptions, policy: string): Snapshot | UsageError | undefined {
  if (!options.flags.has("state")) return undefined;
  const path = options.flags.text("state");
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    // What is there but cannot be read must not be written over.
    return new UsageError(
      `--state: cannot read ${path}: ${ioReason(error)}`,
      "give a file that you may read, or leave the flag out",
    );
  }
  const snapshot = decodeSnapshot(text, path, policy);
  return snapshot instanceof UsageError
    ? new UsageError(`--state: ${snapshot.fault}`, snapshot.cure)
    : snapshot;
}

/**
 * Checks the flags of the simulated kernel, and begins the files that the run will write.
 *
 * @param program The agent.
 * @param options Its common flags, checked.
 * @param policy Name of its policy.
 * @returns The request, or the first thing that is wrong; no file is left begun then.
 */
export function simRequest(
  program: AgentProgram,
  options: AgentOptions,
  policy: string,
): SimRequest | UsageError {
  if (options.enclave !== "") {
    return new UsageError(
      "--enclave: the simulated kernel has no enclave of another process",
      "leave it away",
    );
  }
  const load = findLoad(program, options.flags.text("workload"));
  if (load instanceof UsageError) return load;
  const seed = options.flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  const machine_cpus = machineCpus(options);
  if (machine_cpus instanceof UsageError) return machine_cpus;
  if (options.flags.has("record") && options.flags.has("state")) {
    return new UsageError(
      "--record and --state exclude each other",
      "a recording holds all that its run depends on",
    );
  }
  const kept = readKept(options, policy);
  if (kept instanceof UsageError) return kept;
  const outputs = openOutputs(options);
  return outputs instanceof UsageError ? outputs : { load, seed, machine_cpus, kept, ...outputs };
}
