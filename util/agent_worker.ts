/**
 * The Worker "agent": an agent's thread, with every policy and every kernel of this program.
 *
 * @module
 */
import { type AgentTables, runAgentWorker } from "../kernels/agent_worker.ts";
import type { AgentMessage, AgentSpec } from "../kernels/agent_spec.ts";
import { GHOST_OPENER } from "../kernels/ghost/ghost_port.ts";
import { PEER_OPENER } from "../kernels/peer/peer_kernel.ts";
import { SCX_OPENER } from "../kernels/scx/scx_port.ts";
import {
  fifoCentralized,
  type FifoCentralizedConfig,
} from "../schedulers/fifo/centralized/scheduler.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { edf, type EdfConfig } from "../schedulers/edf/scheduler.ts";
import { shinjuku, type ShinjukuConfig } from "../schedulers/shinjuku/scheduler.ts";
import { sol, type SolConfig } from "../schedulers/sol/scheduler.ts";
import type { WorkerMessage } from "./programs.ts";

/** What an agent's thread of this program can be. */
export const AGENT_TABLES: AgentTables = {
  policies: {
    [FIFO_PER_CPU.name]: () => FIFO_PER_CPU,
    fifo_centralized: (options) => fifoCentralized(options as unknown as FifoCentralizedConfig),
    shinjuku: (options) => shinjuku(options as unknown as ShinjukuConfig),
    edf: (options) => edf(options as unknown as EdfConfig),
    sol: (options) => sol(options as unknown as SolConfig),
  },
  ports: { ghost: GHOST_OPENER, peer: PEER_OPENER, scx: SCX_OPENER },
};

const scope = globalThis as unknown as {
  postMessage(message: AgentMessage): void;
  close(): void;
};

/**
 * Runs an agent until it has left.
 *
 * @param message What it is told.
 */
export function workerMain(message: WorkerMessage): void {
  runAgentWorker(message as AgentSpec, AGENT_TABLES, (answer) => scope.postMessage(answer));
  scope.close();
}
