/**
 * The Worker "agent": an agent's thread, with every policy and every kernel of this program.
 *
 * @module
 */
import { runAgentWorker } from "../kernels/agent_worker.ts";
import type { AgentMessage, AgentSpec, PolicyTable, PortOpener } from "../kernels/agent_spec.ts";
import type { KernelKind } from "../kernels/kernel.ts";
import type { FifoCentralizedConfig } from "../schedulers/fifo/centralized/scheduler.ts";
import type { EdfConfig } from "../schedulers/edf/scheduler.ts";
import type { ShinjukuConfig } from "../schedulers/shinjuku/scheduler.ts";
import type { SolConfig } from "../schedulers/sol/scheduler.ts";
import type { WorkerMessage } from "./programs.ts";

type PolicyLoader = () => Promise<PolicyTable[string]>;
type PortLoader = () => Promise<PortOpener>;

/** Every policy, by its name: a thread loads the one that it runs. */
export const POLICY_LOADERS: Readonly<Record<string, PolicyLoader>> = {
  fifo_per_cpu: async () => {
    const { FIFO_PER_CPU } = await import("../schedulers/fifo/per_cpu/scheduler.ts");
    return () => FIFO_PER_CPU;
  },
  fifo_centralized: async () => {
    const { fifoCentralized } = await import("../schedulers/fifo/centralized/scheduler.ts");
    return (options) => fifoCentralized(options as unknown as FifoCentralizedConfig);
  },
  shinjuku: async () => {
    const { shinjuku } = await import("../schedulers/shinjuku/scheduler.ts");
    return (options) => shinjuku(options as unknown as ShinjukuConfig);
  },
  edf: async () => {
    const { edf } = await import("../schedulers/edf/scheduler.ts");
    return (options) => edf(options as unknown as EdfConfig);
  },
  sol: async () => {
    const { sol } = await import("../schedulers/sol/scheduler.ts");
    return (options) => sol(options as unknown as SolConfig);
  },
};

const PORT_LOADERS: Readonly<Partial<Record<KernelKind, PortLoader>>> = {
  ghost: async () => (await import("../kernels/ghost/ghost_port.ts")).GHOST_OPENER,
  peer: async () => (await import("../kernels/peer/peer_kernel.ts")).PEER_OPENER,
  scx: async () => (await import("../kernels/scx/scx_port.ts")).SCX_OPENER,
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
export async function workerMain(message: WorkerMessage): Promise<void> {
  const spec = message as AgentSpec;
  const { policy: { name }, kernel } = spec;
  const policy = Object.hasOwn(POLICY_LOADERS, name) ? await POLICY_LOADERS[name]() : undefined;
  const tables = {
    policies: policy === undefined ? {} : { [name]: policy },
    ports: { [kernel]: await PORT_LOADERS[kernel]?.() },
  };
  runAgentWorker(spec, tables, (answer) => scope.postMessage(answer));
  scope.close();
}
