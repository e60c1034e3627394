/**
 * A process with four agents, one of which never returns from a step: stops them, writes the
 * report, and ends. The test cannot do that in its own process, where the thread would stay.
 *
 * @module
 */
import { AgentThreads } from "../../kernels/agent_threads.ts";
import { PEER_OPENER, type PeerEnclave, PeerKernel } from "../../kernels/peer/peer_kernel.ts";
import { PolicyEnclave } from "../../lib/enclave.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { PLANTED_CPU, PLANTED_MESSAGES } from "../workers/planted_agent_worker.ts";

const CPUS = [0, 1, 2, 3];
const kernel = new PeerKernel({
  cpu_count: CPUS.length,
  task_count: 120,
  producer_count: 3,
  round_count: 1_000_000_000,
});
const control = kernel.createEnclave(CPUS, kernel.abi.version) as PeerEnclave;
const enclave = new PolicyEnclave(kernel, control, FIFO_PER_CPU, { task_capacity: 512 });
const threads = await AgentThreads.start({
  kernel,
  control,
  enclave,
  choice: { name: "endless", options: {} },
  opener: PEER_OPENER,
  worker_url: new URL("../workers/planted_agent_worker.ts", import.meta.url).href,
  pin: false,
  lock_memory: false,
  warm_up: "none",
});
kernel.start();
const active = enclave.state.cpu("step_active", PLANTED_CPU);
const steps = enclave.state.cpu("step_count", PLANTED_CPU);
const messages = enclave.state.cpu("message_count", PLANTED_CPU);
// The step that never returns comes after so many messages, and is under way for good. A step of
// before that the machine did not let go on for a while would be taken for it otherwise.
for (let seen = -1, same_count = 0; same_count < 10;) {
  const stands = active[0] !== 0 && steps[0] === seen && messages[0] > PLANTED_MESSAGES;
  same_count = stands ? same_count + 1 : 0;
  seen = steps[0];
  await new Promise((wake) => setTimeout(wake, 20));
}
const { left_count, killed_count, failures, exit_status } = await threads.stop({
  drain_ms: 20,
  leave_ms: 300,
});
console.log(
  JSON.stringify({ left_count, killed_count, failures: failures.map(({ text }) => text) }),
);
Deno.exit(exit_status);
