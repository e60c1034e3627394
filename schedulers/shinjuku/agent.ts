/**
 * agent_shinjuku: the agent with the Shinjuku policy.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { makeHintRegistry } from "../../shared/hint_registry.ts";
import { agentMain, type AgentProgram } from "../../util/agent_main.ts";
import { serveHints } from "../../util/hint_service.ts";
import type { FlagValues } from "../../util/flags.ts";
import {
  GLOBAL_ROLE_FLAGS,
  globalRole,
  timeSliceFlag,
  timeSliceNs,
} from "../../util/global_agent_flags.ts";
import { shinjuku } from "./scheduler.ts";

/** As upstream: a range of CPUs, and no list. */
function cpuList(flags: FlagValues): string | UsageError {
  const first_cpu = flags.integer("firstcpu", 0, MAX_CPU_COUNT - 1);
  if (first_cpu instanceof UsageError) return first_cpu;
  const cpu_count = flags.integer("ncpus", 2, MAX_CPU_COUNT - first_cpu);
  if (cpu_count instanceof UsageError) return cpu_count;
  return `${first_cpu}-${first_cpu + cpu_count - 1}`;
}

/** The executable. */
export const SHINJUKU_AGENT: AgentProgram = {
  name: "agent_shinjuku",
  summary: "preempts after microseconds, for short and long requests",
  flags: [
    { name: "firstcpu", value: "CPU", fallback: "1", help: "first CPU to schedule" },
    ...GLOBAL_ROLE_FLAGS,
    { name: "ncpus", value: "N", fallback: "5", help: "number of CPUs to schedule, 2 or more" },
    timeSliceFlag("50us"),
  ],
  cpuList,
  policy: (flags, cpus) => {
    const role = globalRole(flags, cpus, "ncpus");
    if (role instanceof UsageError) return role;
    const preemption_time_slice_ns = timeSliceNs(flags);
    if (preemption_time_slice_ns instanceof UsageError) return preemption_time_slice_ns;
    return shinjuku({ ...role, preemption_time_slice_ns, hint_registry: makeHintRegistry() });
  },
  shows_core_map: true,
  serve: serveHints,
  done_text: "Done!\n",
};

/**
 * Runs the agent.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  return await agentMain(SHINJUKU_AGENT, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
