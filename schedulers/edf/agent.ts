/**
 * agent_exp: the agent with the EDF policy, by upstream's name.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { makeHintRegistry } from "../../shared/hint_registry.ts";
import { agentMain, type AgentProgram } from "../../util/agent_main.ts";
import { serveHints } from "../../util/hint_service.ts";
import { GLOBAL_ROLE_FLAGS, globalRole } from "../../util/global_agent_flags.ts";
import { edf } from "./scheduler.ts";

/** The executable. */
export const EDF_AGENT: AgentProgram = {
  name: "agent_exp",
  summary: "schedules by deadlines that applications give (EDF)",
  flags: [...GLOBAL_ROLE_FLAGS, { name: "ticks", help: "send the kernel's ticks to the agent" }],
  policy: (flags, cpus) => {
    const role = globalRole(flags, cpus);
    if (role instanceof UsageError) return role;
    return edf({ ...role, ticks: flags.has("ticks"), hint_registry: makeHintRegistry() });
  },
  shows_core_map: true,
  serve: serveHints,
  ends_on_sigterm: true,
  done_text: "\nDone!\n",
};

/**
 * Runs the agent.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  return await agentMain(EDF_AGENT, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
