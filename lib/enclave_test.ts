import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import type { SimEnclave } from "../kernels/sim/enclave.ts";
import { block, run } from "../kernels/sim/actions.ts";
import { EBUSY, EINVAL, ENODEV, ENXIO } from "../kernels/kernel.ts";
import { LoggingScheduler } from "../tests/fakes/logging_scheduler.ts";
import { EnclaveError, missingCapabilities, PolicyEnclave } from "./enclave.ts";
import { MAX_TASK_COUNT, QUEUE_ELEM_COUNT } from "./limits.ts";
import type { PolicyDefinition } from "./policy.ts";

const POLICY: PolicyDefinition = {
  policyApi: 1,
  name: "logging",
  requires: [],
  queues: "per_cpu",
  layout: (cpu_count) => ({ task: {}, cpu: {}, global: { seen_cpus: cpu_count } }),
  create: (agent) => new LoggingScheduler(agent),
};
const SMALL = { task_capacity: 16, queue_elem_count: 64 };

function setUp(cpus = [0, 1, 2]): { kernel: SimKernel; control: SimEnclave } {
  const kernel = new SimKernel({ cpus: 4, seed: 1 });
  return { kernel, control: kernel.createEnclave(cpus, kernel.abi.version) as SimEnclave };
}

/** Makes the enclave and returns the error that this throws. */
function refusal(make: () => PolicyEnclave): EnclaveError {
  return assertThrows(make, EnclaveError) as EnclaveError;
}

Deno.test("a per-CPU policy has a queue for each CPU, which wakes that CPU's agent", () => {
  const { kernel, control } = setUp();
  const enclave = new PolicyEnclave(kernel, control, POLICY, SMALL);
  assertEquals(new Set(enclave.queues.map((queue) => queue.id)).size, 3);
  const ports = [0, 1, 2].map((cpu) => enclave.becomeAgent(cpu));
  kernel.machine.runUntil(1_000_000); // they have nothing to do, and sleep
  const barriers = ports.map((port) => control.status.barrier(port.status_index));
  const thread = kernel.machine.spawn(function* () {
    yield block();
    yield run(1000);
  }, "t");
  kernel.machine.runUntil(2_000_000);
  assertEquals(control.join(thread.tid), 0);
  const barrier = control.status.barrier(thread.status_index);
  const { gtid_lo, gtid_hi } = thread;
  assertEquals(ports[0].associate(enclave.queues[2].id, gtid_lo, gtid_hi, barrier), 0);
  kernel.machine.wake(thread, 3);
  const moved = ports.map((port, index) =>
    control.status.barrier(port.status_index) - barriers[index]
  );
  assertEquals(moved, [1, 0, 1], "TASK_NEW to the default queue, WAKEUP to the third");
});

Deno.test("a global policy has one queue for all CPUs, which wakes nobody", () => {
  const { kernel, control } = setUp();
  const policy: PolicyDefinition = { ...POLICY, queues: "global" };
  const enclave = new PolicyEnclave(kernel, control, policy, SMALL);
  assertEquals(new Set(enclave.queues).size, 1);
  assertEquals(enclave.queues.length, 3);
  const port = enclave.becomeAgent(0);
  kernel.machine.runUntil(1_000_000);
  const barrier = control.status.barrier(port.status_index);
  control.join(kernel.machine.spawn(function* () {}, "t").tid);
  assertEquals(control.status.barrier(port.status_index), barrier);
});

Deno.test("sizes are those asked for, else the largest", () => {
  const small = setUp();
  const enclave = new PolicyEnclave(small.kernel, small.control, POLICY, SMALL);
  assertEquals(enclave.queues[0].elem_count, 64);
  assertEquals(enclave.state.shape.task_capacity, 16);
  const large = setUp([1]);
  const other = new PolicyEnclave(large.kernel, large.control, POLICY);
  assertEquals(other.queues[0].elem_count, QUEUE_ELEM_COUNT);
  assertEquals(other.state.shape.task_capacity, MAX_TASK_COUNT);
});

Deno.test("the policy's layout is asked for with the number of CPUs", () => {
  const { kernel, control } = setUp();
  const { state } = new PolicyEnclave(kernel, control, POLICY, SMALL);
  assertEquals([state.global("seen_cpus").length, state.shape.policy], [3, "logging"]);
  assertEquals(state.shape.cpus, [0, 1, 2]);
});

Deno.test("an agent's views are of its own queue and of the whole enclave", () => {
  const { kernel, control } = setUp();
  const enclave = new PolicyEnclave(kernel, control, POLICY, SMALL);
  const agents = [0, 1, 2].map((cpu) => enclave.context(enclave.becomeAgent(cpu)));
  agents.forEach((agent, index) => {
    assertEquals([agent.cpu, agent.cpuIndex(index), agent.owner_id], [index, index, index + 1]);
    assertEquals(agent.queue_ids, enclave.queues.map((queue) => queue.id));
    assert(agent.ring.words === enclave.queues[index].words);
    assertEquals([agent.mailboxes.length, agent.status.capacity > 0], [3, true]);
  });
  assertEquals(agents[0].cpuIndex(3), -1);
  const row = agents[0].tasks.allocate(1, 512, 1);
  assertEquals(agents[2].tasks.find(1, 512), row);
  agents[0].mailboxes[2].send(row);
  assertEquals([agents[1].mailboxes[1].receive(), agents[2].mailboxes[2].receive()], [-1, row]);
});

Deno.test("what a policy requires and the kernel lacks is named", () => {
  const kernel = new SimKernel({ cpus: 1, abi_version: 69 });
  const control = kernel.createEnclave([0], 69) as SimEnclave;
  const policy: PolicyDefinition = { ...POLICY, requires: ["ticks", "latch_failure"] };
  assertEquals(missingCapabilities(kernel, policy), ["latch_failure"]);
  assertEquals(missingCapabilities(kernel, POLICY), []);
  const error = refusal(() => new PolicyEnclave(kernel, control, policy));
  assertStringIncludes(error.message, "run logging on sim without latch_failure");
});

Deno.test("a refusal names the call and the errno, and leaves nothing behind", () => {
  const { kernel, control } = setUp();
  const error = refusal(() => new PolicyEnclave(kernel, control, POLICY, { queue_elem_count: 3 }));
  assertEquals([error.call, error.errno], ["create a message queue", EINVAL]);
  assertEquals(error.message, `Cannot create a message queue: errno ${EINVAL}`);
  // The second queue cannot have its wake-up: the first one goes too.
  const wakeup = control.configQueueWakeup;
  control.configQueueWakeup = (id, cpus, flags) =>
    cpus[0] === 1 ? -EINVAL : wakeup.call(control, id, cpus, flags);
  const second = refusal(() => new PolicyEnclave(kernel, control, POLICY, SMALL));
  assertEquals(second.call, "configure a queue's wake-up");
  assertEquals(kernel.machine.queue_owners.size, 0);
  assertEquals(control.becomeAgent(0, -1), -ENXIO, "there is no default queue");
});

Deno.test("an enclave without CPUs, and one whose agents are online, take no policy", () => {
  const none = setUp([]);
  const no_cpu = refusal(() => new PolicyEnclave(none.kernel, none.control, POLICY, SMALL));
  assertEquals(no_cpu.errno, ENODEV);
  const { kernel, control } = setUp();
  const enclave = new PolicyEnclave(kernel, control, POLICY, SMALL);
  enclave.goOnline();
  const busy = refusal(() => new PolicyEnclave(kernel, control, POLICY, SMALL));
  assertEquals(busy.errno, EBUSY);
  assert(control.isOnline());
  assertEquals(assertThrows(() => enclave.goOnline(), EnclaveError).name, "EnclaveError");
});

Deno.test("a second agent of a CPU is refused", () => {
  const { kernel, control } = setUp();
  const enclave = new PolicyEnclave(kernel, control, POLICY, SMALL);
  enclave.becomeAgent(1);
  const error = assertThrows(() => enclave.becomeAgent(1), EnclaveError);
  assertStringIncludes((error as Error).message, `agent of CPU 1: errno ${EBUSY}`);
});

Deno.test("what is closed makes room for the next policy", () => {
  const { kernel, control } = setUp();
  const first = new PolicyEnclave(kernel, control, POLICY, SMALL);
  first.goOnline();
  first.close();
  assertEquals([control.isOnline(), kernel.machine.queue_owners.size], [false, 0]);
  const second = new PolicyEnclave(kernel, control, POLICY, SMALL);
  second.goOnline();
  first.close();
  assert(control.isOnline(), "closing twice does not touch the successor");
});
