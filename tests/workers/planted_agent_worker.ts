/**
 * Agents' threads whose policies do what they should not: for tests of what the main isolate makes
 * of it.
 *
 * @module
 */
import type { AgentMessage, AgentSpec, PolicyTable } from "../../kernels/agent_spec.ts";
import { runAgentWorker } from "../../kernels/agent_worker.ts";
import { PEER_OPENER } from "../../kernels/peer/peer_kernel.ts";
import { AGAIN, type PolicyDefinition, type Verdict } from "../../lib/policy.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../../schedulers/fifo/per_cpu/scheduler.ts";

/** Messages after which a planted agent shows what it is. */
export const PLANTED_MESSAGES = 300;
/** The agent that misbehaves; the others are as they should be. */
export const PLANTED_CPU = 1;

class PlantedScheduler extends FifoPerCpuScheduler {
  readonly misbehave: () => Verdict;

  constructor(
    agent: ConstructorParameters<typeof FifoPerCpuScheduler>[0],
    misbehave: () => Verdict,
  ) {
    super(agent);
    this.misbehave = misbehave;
  }

  override step(): Verdict {
    const is_due = this.agent.cpu === PLANTED_CPU && this.message_count[0] > PLANTED_MESSAGES;
    return is_due ? this.misbehave() : super.step();
  }
}

function planted(name: string, misbehave: () => Verdict): PolicyDefinition {
  const create: PolicyDefinition["create"] = (agent) => new PlantedScheduler(agent, misbehave);
  return { ...FIFO_PER_CPU, name, create };
}

/** The planted policies. */
export const PLANTED_POLICIES: PolicyTable = {
  throwing: () =>
    planted("throwing", () => {
      throw new RangeError("planted:\nno such row");
    }),
  endless: () =>
    planted("endless", () => {
      for (;;);
    }),
  again: () => planted("again", () => AGAIN),
};

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<AgentSpec>) => void;
    postMessage(message: AgentMessage): void;
    close(): void;
  };
  scope.onmessage = ({ data }) => {
    const tables = { policies: PLANTED_POLICIES, ports: { peer: PEER_OPENER } };
    runAgentWorker(data, tables, (message) => scope.postMessage(message));
    scope.close();
  };
}
