/**
 * fifo_per_cpu_agent: the agent with the per-CPU FIFO policy.
 *
 * @module
 */
import { agentMain, type AgentProgram } from "../../../util/agent_main.ts";
import { countAllTasks } from "../../../util/rpc/requests.ts";
import { FIFO_PER_CPU } from "./scheduler.ts";

/** The executable. */
export const FIFO_PER_CPU_AGENT: AgentProgram = {
  name: "fifo_per_cpu_agent",
  summary: "schedules threads first in, first out on each CPU",
  policy: FIFO_PER_CPU,
  done_text: "\nDone!\n",
  rpc: countAllTasks,
};

/**
 * Runs the agent.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  return await agentMain(FIFO_PER_CPU_AGENT, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
