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
/** A warm-up's task table is smaller than that of any test. */
const DRY_CAPACITY_MAX = 100;
/** The agent that misbehaves; the others are as they should be. */
export const PLANTED_CPU = 1;

class PlantedScheduler extends FifoPerCpuScheduler {
  readonly misbehave: () => Verdict;
  readonly early: boolean;

  constructor(
    agent: ConstructorParameters<typeof FifoPerCpuScheduler>[0],
    misbehave: () => Verdict,
    early: boolean,
  ) {
    super(agent);
    this.early = early;
    this.misbehave = misbehave;
  }

  override step(): Verdict {
    const is_due = this.agent.cpu === PLANTED_CPU && this.message_count[0] > PLANTED_MESSAGES;
    const { task_capacity } = this.agent.state.shape;
    const is_late = this.early || task_capacity > DRY_CAPACITY_MAX;
    return is_due && is_late ? this.misbehave() : super.step();
  }
}

/** @param early Misbehaves during the warm-up already. */
function planted(name: string, misbehave: () => Verdict, early = false): PolicyDefinition {
  const create: PolicyDefinition["create"] = (agent) =>
    new PlantedScheduler(agent, misbehave, early);
  return { ...FIFO_PER_CPU, name, create };
}

function throwRangeError(): never {
  throw new RangeError("planted:\nno such row");
}

/** The planted policies, and the one they are made from. */
export const PLANTED_POLICIES: PolicyTable = {
  [FIFO_PER_CPU.name]: () => FIFO_PER_CPU,
  throwing: () => planted("throwing", throwRangeError),
  throwing_early: () => planted("throwing_early", throwRangeError, true),
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
