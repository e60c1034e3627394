/**
 * An agent whose policy runs the thread with the highest tid first: for a job of the VM that sees
 * whether real threads run in the order that a policy says. Main program and Worker in one module,
 * as every executable is.
 *
 * @module
 */
import type { AgentMessage, AgentSpec } from "../../kernels/agent_spec.ts";
import { runAgentWorker } from "../../kernels/agent_worker.ts";
import { SCX_OPENER } from "../../kernels/scx/scx_port.ts";
import type { PolicyDefinition, Verdict } from "../../lib/policy.ts";
import { FIFO_PER_CPU_AGENT } from "../../schedulers/fifo/per_cpu/agent.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { agentMain, PROCESS_HOST } from "../../util/agent_main.ts";

class HighestTidScheduler extends FifoPerCpuScheduler {
  /** Brings the highest gtid, thus the highest tid, to the front of the run queue. */
  protected override schedule(barrier: number): Verdict {
    const { gtid_hi } = this.agent.tasks;
    let best = this.run_queue.front();
    for (let row = best; row >= 0; row = this.run_queue.after(row)) {
      if (gtid_hi[row] > gtid_hi[best]) best = row;
    }
    if (best >= 0) {
      this.run_queue.remove(best);
      this.run_queue.pushFront(best);
    }
    return super.schedule(barrier);
  }
}

const NAME = "highest_tid";
const HIGHEST_TID: PolicyDefinition = {
  ...FIFO_PER_CPU,
  name: NAME,
  create: (agent) => new HighestTidScheduler(agent),
};

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<AgentSpec>) => void;
  postMessage(message: AgentMessage): void;
  close(): void;
};

function runWorker({ data }: MessageEvent<AgentSpec>): void {
  const tables = { policies: { [NAME]: () => HIGHEST_TID }, ports: { scx: SCX_OPENER } };
  runAgentWorker(data, tables, (answer) => scope.postMessage(answer));
  scope.close();
}

if ("WorkerGlobalScope" in globalThis) scope.onmessage = runWorker;
else if (import.meta.main) {
  const program = { ...FIFO_PER_CPU_AGENT, policy: HIGHEST_TID };
  const host = { ...PROCESS_HOST, worker_url: import.meta.url, guard: undefined };
  Deno.exit(await agentMain(program, Deno.args, host));
}
