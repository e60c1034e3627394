/**
 * agent_sol: the agent with the Sol policy.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { agentMain, type AgentProgram } from "../../util/agent_main.ts";
import {
  GLOBAL_ROLE_FLAGS,
  globalRole,
  timeSliceFlag,
  timeSliceNs,
} from "../../util/global_agent_flags.ts";
import { schedOverheadNs, sol } from "./scheduler.ts";

/** The executable. */
export const SOL_AGENT: AgentProgram = {
  name: "agent_sol",
  summary: "schedules first in, first out from one CPU, without waiting for commits",
  flags: [...GLOBAL_ROLE_FLAGS, timeSliceFlag("inf")],
  policy: (flags, cpus) => {
    const role = globalRole(flags, cpus);
    if (role instanceof UsageError) return role;
    const preemption_time_slice_ns = timeSliceNs(flags);
    if (preemption_time_slice_ns instanceof UsageError) return preemption_time_slice_ns;
    return sol({ ...role, preemption_time_slice_ns });
  },
  shows_core_map: true,
  finalText: (enclave) => `${schedOverheadNs(enclave)} nsecs\n`,
  done_text: "Done!\n",
};

/**
 * Runs the agent.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  return await agentMain(SOL_AGENT, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
