/**
 * `simple_cfs`: the load as an executable, upstream's of the same name.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import type { ToolHost } from "../../util/tool_host.ts";
import { loadMain, type LoadProgram } from "../load_program.ts";
import { simpleCfs } from "./load.ts";

const NS_PER_MS = 1_000_000;
const STAGE_MS_MAX = 600_000;

const PROGRAM: LoadProgram = {
  name: "simple_cfs",
  summary: simpleCfs(1).summary,
  load: (flags) => {
    const stage_ms = flags.integer("stage_msec", 1, STAGE_MS_MAX);
    return stage_ms instanceof UsageError ? stage_ms : simpleCfs(stage_ms * NS_PER_MS);
  },
  sim_policy: FIFO_PER_CPU,
  flags: [{
    name: "stage_msec",
    value: "N",
    fallback: "10000",
    help: "length of each stage of SimpleNice; those of SimpleLoadBalancing: 1000 at most",
  }],
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
