/**
 * `deno task demo`: fifo_per_cpu_agent with simple_exp on the simulated kernel, with its timeline.
 * Arguments are those of the agent and come after the demo's own, so that they win.
 *
 * @module
 */
import { type AgentHost, agentMain, PROCESS_HOST } from "../util/agent_main.ts";
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";

/** Folder for the files that the demo writes. */
const OUT_FOLDER = "out";

/**
 * Runs the demo.
 *
 * @param args Arguments for the agent.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export async function main(
  args: readonly string[],
  host: AgentHost = PROCESS_HOST,
): Promise<number> {
  Deno.mkdirSync(OUT_FOLDER, { recursive: true });
  const own = [
    "--kernel=sim",
    "--workload=simple_exp",
    "--ghost_cpus=0-1",
    `--trace=${OUT_FOLDER}/simple_exp.trace.json`,
    `--html=${OUT_FOLDER}/simple_exp.html`,
  ];
  host.stdout(`${FIFO_PER_CPU_AGENT.name} ${[...own, ...args].join(" ")}\n`);
  return await agentMain(FIFO_PER_CPU_AGENT, [...own, ...args], host);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
