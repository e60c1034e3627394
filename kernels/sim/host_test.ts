import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { AgentContext } from "../../lib/agent_context.ts";
import { EnclaveError } from "../../lib/enclave.ts";
import { DUMP_BYTES_MAX } from "../../lib/limits.ts";
import type { PolicyDefinition, Verdict } from "../../lib/policy.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { run, type Script, sleep } from "./actions.ts";
import type { AgentPort, Queue } from "../kernel.ts";
import type { SimEnclave } from "./enclave.ts";
import { SimPolicyHost } from "./host.ts";
import { checkAll } from "./invariants.ts";
import { SimKernel } from "./sim_kernel.ts";

function* worker(): Script {
  for (let turn = 0; turn < 10; turn++) {
    yield run(50_000);
    yield sleep(20_000);
  }
}

function machineWith(policy: PolicyDefinition, cpus = [0, 1]) {
  const kernel = new SimKernel({ cpus: 2, seed: 1 });
  const enclave = kernel.createEnclave(cpus, kernel.abi.version) as SimEnclave;
  const host = new SimPolicyHost(kernel, enclave, policy);
  const spawn = (): void => {
    const { tid } = kernel.machine.spawn(worker, "w");
    assertEquals(enclave.join(tid), 0);
  };
  return { kernel, machine: kernel.machine, enclave, host, spawn };
}

/** FIFO whose instances throw at the n-th step of all of them. */
function failing(step_count: number, dump = ""): PolicyDefinition {
  let left = step_count;
  class Failing extends FifoPerCpuScheduler {
    override step(): Verdict {
      if (left-- === 0) throw new Error("planted");
      return super.step();
    }
    override dump(flags: number): string {
      return dump === "throw" ? badDump() : dump || super.dump(flags);
    }
  }
  return { ...FIFO_PER_CPU, create: (agent: AgentContext) => new Failing(agent) };
}

function badDump(): string {
  throw new Error("no state to be had");
}

Deno.test("threads are scheduled by the policy to their end", () => {
  const { machine, enclave, host, spawn } = machineWith(FIFO_PER_CPU);
  for (let count = 0; count < 5; count++) spawn();
  machine.runUntil(Infinity);
  assertEquals([host.failure, machine.live_count, enclave.isOnline()], [null, 0, true]);
  assert(machine.counters.commit_count >= 50);
  checkAll(machine);
});

Deno.test("a policy that throws is stopped, and its threads finish under the default class", () => {
  for (const step_count of [0, 7, 40]) {
    const { machine, enclave, host, spawn } = machineWith(failing(step_count));
    for (let count = 0; count < 5; count++) spawn();
    machine.runUntil(Infinity);
    assert(host.failure !== null);
    assertStringIncludes(String(host.failure.error), "planted");
    assertEquals([machine.live_count, enclave.isDestroyed()], [0, true]);
    assertEquals(machine.cpus.map((cpu) => cpu.agent), [null, null]);
    checkAll(machine);
  }
});

Deno.test("the dump of a stopped policy shows every agent, and is of bounded size", () => {
  const small = machineWith(failing(5));
  small.spawn();
  small.machine.runUntil(Infinity);
  const text = small.host.failure?.dump ?? "";
  for (const cpu of [0, 1]) assertStringIncludes(text, `SchedState[${cpu}]`);
  const large = machineWith(failing(5, "€".repeat(DUMP_BYTES_MAX)));
  large.spawn();
  large.machine.runUntil(Infinity);
  const bytes = new TextEncoder().encode(large.host.failure?.dump).length;
  assert(bytes > DUMP_BYTES_MAX - 8 && bytes <= DUMP_BYTES_MAX, `${bytes} bytes`);
});

Deno.test("a policy that cannot even dump is stopped all the same", () => {
  const { machine, host, spawn } = machineWith(failing(5, "throw"));
  spawn();
  machine.runUntil(Infinity);
  assertStringIncludes(host.failure?.dump ?? "", "no dump: no state to be had");
  assertEquals(machine.live_count, 0);
});

Deno.test("a policy that throws while it looks for tasks is stopped as well", () => {
  class Lost extends FifoPerCpuScheduler {
    override discover(): void {
      throw new Error("planted");
    }
  }
  const policy = { ...FIFO_PER_CPU, create: (agent: AgentContext) => new Lost(agent) };
  const { machine, enclave, host } = machineWith(policy);
  assertStringIncludes(String(host.failure?.error), "planted");
  assertEquals([enclave.isDestroyed(), enclave.isOnline()], [true, false]);
  machine.runUntil(Infinity);
  checkAll(machine);
});

Deno.test("a policy that needs what the kernel lacks does not start, and leaves nothing", () => {
  const kernel = new SimKernel({ cpus: 2, abi_version: 69 });
  const enclave = kernel.createEnclave([0, 1], 69) as SimEnclave;
  const policy: PolicyDefinition = { ...FIFO_PER_CPU, requires: ["latch_failure"] };
  assertThrows(
    () => new SimPolicyHost(kernel, enclave, policy),
    EnclaveError,
    "run fifo_per_cpu on sim without latch_failure",
  );
  assertEquals([enclave.isOnline(), enclave.agents.size], [false, 0]);
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
});

Deno.test("a second policy on the same enclave is refused and disturbs nothing", () => {
  const { kernel, machine, enclave, host, spawn } = machineWith(FIFO_PER_CPU);
  for (let count = 0; count < 4; count++) spawn();
  machine.runUntil(100_000);
  const second = () => new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  assertThrows(second, EnclaveError, "agents are online");
  for (let count = 0; count < 2; count++) spawn();
  machine.runUntil(Infinity);
  assertEquals([host.failure, machine.live_count, enclave.isDestroyed()], [null, 0, false]);
  assert(enclave.isOnline());
});

Deno.test("a policy that gets one CPU and not the next gives the first one back", () => {
  const kernel = new SimKernel({ cpus: 2, seed: 1 });
  const enclave = kernel.createEnclave([0, 1], kernel.abi.version) as SimEnclave;
  const queue = enclave.createQueue(64, 0, 0) as Queue;
  const squatter = enclave.becomeAgent(1, queue.id) as AgentPort;
  const start = () => new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  assertThrows(start, EnclaveError, "become the agent of CPU 1");
  assertEquals([...enclave.agents.keys()], [1]);
  assertEquals([enclave.isOnline(), kernel.machine.queue_owners.size], [false, 1]);
  squatter.leave();
  start();
  assert(enclave.isOnline());
});

Deno.test("agents leave and others go on with their tasks", () => {
  const { kernel, machine, enclave, host, spawn } = machineWith(FIFO_PER_CPU);
  for (let count = 0; count < 6; count++) spawn();
  machine.runUntil(200_000);
  host.leave();
  assertEquals([enclave.isOnline(), enclave.isDestroyed(), enclave.agents.size], [false, false, 0]);
  machine.runUntil(400_000);
  assert(machine.live_count === 6);
  const successor = new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  machine.runUntil(Infinity);
  assertEquals([successor.failure, machine.live_count], [null, 0]);
  checkAll(machine);
});
