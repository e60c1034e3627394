/**
 * `simple_edf`: the load as an executable, upstream's of the same name and flags.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { edf } from "../../schedulers/edf/scheduler.ts";
import type { ToolHost } from "../../util/tool_host.ts";
import { loadMain, type LoadProgram } from "../load_program.ts";
import { EDF_HINTS, simpleEdf } from "./load.ts";

const NS_PER_MS = 1_000_000;
/** Rows of the hints leave room for the threads of the other sub-tests. */
const SPIN_THREADS_MAX = 40_000;
const SPIN_MS_MAX = 100_000;

const PROGRAM: LoadProgram = {
  name: "simple_edf",
  summary: simpleEdf(1, 1).summary,
  load: (flags) => {
    const spin_threads = flags.integer("spin_threads", 1, SPIN_THREADS_MAX);
    if (spin_threads instanceof UsageError) return spin_threads;
    const spin_ms = flags.integer("spin_msec", 1, SPIN_MS_MAX);
    if (spin_ms instanceof UsageError) return spin_ms;
    return simpleEdf(spin_threads, spin_ms * NS_PER_MS);
  },
  sim_policy: (hints) => edf({ global_cpu: 0, ticks: false, hints }),
  sim_cpu_count: 3,
  stuck_cure: "simple_edf: wants an agent that reads PrioTables and repeats work, agent_exp",
  hints: EDF_HINTS,
  flags: [
    { name: "spin_threads", value: "N", fallback: "100", help: "threads of BusyExp" },
    { name: "spin_msec", value: "N", fallback: "10", help: "CPU time of each, in ms" },
  ],
};

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export function main(args: string[], host?: ToolHost): Promise<number> {
  return loadMain(PROGRAM, args, host);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
