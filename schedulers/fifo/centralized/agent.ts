/**
 * fifo_centralized_agent: the agent with the centralized FIFO policy.
 *
 * @module
 */
import { UsageError } from "../../../lib/errors.ts";
import { agentMain, type AgentProgram } from "../../../util/agent_main.ts";
import {
  GLOBAL_ROLE_FLAGS,
  globalRole,
  timeSliceFlag,
  timeSliceNs,
} from "../../../util/global_agent_flags.ts";
import { fifoCentralized } from "./scheduler.ts";

/** The executable. */
export const FIFO_CENTRALIZED_AGENT: AgentProgram = {
  name: "fifo_centralized_agent",
  summary: "schedules threads first in, first out, all CPUs from one",
  flags: [...GLOBAL_ROLE_FLAGS, timeSliceFlag("inf")],
  policy: (flags, cpus) => {
    const role = globalRole(flags, cpus);
    if (role instanceof UsageError) return role;
    const preemption_time_slice_ns = timeSliceNs(flags);
    if (preemption_time_slice_ns instanceof UsageError) return preemption_time_slice_ns;
    return fifoCentralized({ ...role, preemption_time_slice_ns });
  },
  shows_core_map: true,
  done_text: "Done!\n",
};

/**
 * Runs the agent.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  return await agentMain(FIFO_CENTRALIZED_AGENT, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
