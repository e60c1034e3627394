/**
 * A program that is main and Worker in one module, as every executable is: four agents with the
 * shipped policy run the load of a native peer. Writes what became of it.
 *
 * @module
 */
import { AgentThreads } from "../../kernels/agent_threads.ts";
import { PEER_OPENER, type PeerEnclave, PeerKernel } from "../../kernels/peer/peer_kernel.ts";
import { PolicyEnclave } from "../../lib/enclave.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { workerMain } from "../../util/agent_worker.ts";
import type { WorkerMessage } from "../../util/programs.ts";

const CPUS = [0, 1, 2, 3];
const TASK_COUNT = 60;

/** What the program writes. */
export interface ThreadProgramResult {
  readonly gone_count: number;
  readonly broken_count: number;
  readonly left_count: number;
  readonly failures: readonly string[];
}

async function main(): Promise<ThreadProgramResult> {
  const kernel = new PeerKernel({
    cpu_count: CPUS.length,
    task_count: TASK_COUNT,
    producer_count: 3,
    round_count: 20,
    refuse_per_10000: 100,
  });
  const control = kernel.createEnclave(CPUS, kernel.abi.version) as PeerEnclave;
  const enclave = new PolicyEnclave(kernel, control, FIFO_PER_CPU, { task_capacity: 512 });
  const threads = await AgentThreads.start({
    kernel,
    control,
    enclave,
    choice: { name: FIFO_PER_CPU.name, options: {} },
    opener: PEER_OPENER,
    pin: false,
  });
  kernel.start();
  while (kernel.report().gone_count < TASK_COUNT && threads.liveCount() === CPUS.length) {
    await new Promise((wake) => setTimeout(wake, 5));
  }
  const { left_count, failures } = await threads.stop();
  const { gone_count, double_run_count, policy_fault_count } = kernel.report();
  return {
    gone_count,
    broken_count: double_run_count + policy_fault_count,
    left_count,
    failures: failures.map(({ text }) => text),
  };
}

if ("WorkerGlobalScope" in globalThis) {
  globalThis.addEventListener(
    "message",
    (event) => workerMain((event as MessageEvent<WorkerMessage>).data),
    { once: true },
  );
} else if (import.meta.main) {
  console.log(JSON.stringify(await main()));
  Deno.exit(0);
}
