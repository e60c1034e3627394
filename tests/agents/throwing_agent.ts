/**
 * An agent whose policy throws: for tests of the exit status and of what is left.
 *
 * @module
 */
import { FIFO_PER_CPU_AGENT } from "../../schedulers/fifo/per_cpu/agent.ts";
import { agentMain } from "../../util/agent_main.ts";
import { THROWING } from "./throwing_policy.ts";

const PROGRAM = { ...FIFO_PER_CPU_AGENT, name: "throwing_agent", policy: THROWING };

Deno.exit(await agentMain(PROGRAM, Deno.args));
