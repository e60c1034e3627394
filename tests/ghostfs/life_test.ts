import { assert, assertEquals } from "@std/assert";
import { ABI_VERSIONS } from "../../ffi/abi/abi.ts";
import { GHOST_TXN_COMPLETE } from "../../ffi/abi/constants.ts";
import { GhostAgentPort } from "../../kernels/ghost/ghost_port.ts";
import { EBUSY, EINVAL, ENODEV, ENOENT, ESRCH, ESTALE } from "../../kernels/kernel.ts";
import { RUN_LOCAL, YIELD } from "../../lib/policy.ts";
import { ABI_FACTS } from "./abi_facts.ts";
import { LabProcess } from "./lab.ts";
import { ScriptedGhostfs } from "./scripted_ghostfs.ts";

/** The same statement about every version. */
function eachAbi(name: string, check: (version: number) => void): void {
  for (const version of ABI_VERSIONS) Deno.test(`ABI ${version}: ${name}`, () => check(version));
}

function lab(version: number, options = {}): [ScriptedGhostfs, LabProcess] {
  const ghostfs = new ScriptedGhostfs({ versions: [version], ...options });
  return [ghostfs, new LabProcess(ghostfs)];
}

/** State of a transaction that is open. */
const OPEN = 0x7fffffff;

/** Words of a gtid as ports take them. */
function halves(gtid: bigint): [number, number] {
  return [Number(gtid & 0xffffffffn) | 0, Number(gtid >> 32n)];
}

eachAbi("an enclave is created with the commands of the reference", (version) => {
  const [ghostfs, process] = lab(version);
  const { kernel } = process;
  const enclave = process.create([0, 2, 3]);
  assertEquals(ghostfs.commands, [
    `create 1 ${version}`,
    "ctl: create sw_region 0 0",
    "cpumask: d",
  ]);
  assertEquals([enclave.id, enclave.cpus(), kernel.enclaveIds()], [1, [0, 2, 3], [1]]);
  assertEquals(enclave.cpu_data.byteLength, 4 * 4096);
  assertEquals(enclave.status_words[4], 256);
  assertEquals(kernel.abi.version, version);
});

eachAbi("threads become agents with that version's command, pinned to their CPU", (version) => {
  const [ghostfs, process] = lab(version);
  const on_it = process.policyOn(process.create([1, 3]));
  const agents = process.start(on_it);
  const [first, second] = on_it.queues.map((queue) => queue.id);
  const has_cpu = ABI_FACTS[version].become_agent_has_cpu;
  assertEquals(
    ghostfs.commands.slice(3),
    has_cpu
      ? [`ctl: become agent 1 ${first}`, `ctl: become agent 3 ${second}`]
      : [`ctl: become agent ${first}`, `ctl: become agent ${second}`],
  );
  assertEquals(agents.map(({ thread }) => [thread.cpu, thread.affinity]), [[1, [1]], [3, [3]]]);
  const words = agents.map(({ port }) => port.status_index);
  assertEquals(words, [on_it.control.agentStatusIndex(1), on_it.control.agentStatusIndex(3)]);
  assertEquals(on_it.control.isOnline(), true);
});

eachAbi("a thread that joins is scheduled by the policy, from TASK_NEW to TASK_DEAD", (version) => {
  const [ghostfs, process] = lab(version);
  const on_it = process.policyOn(process.create([0]));
  const [agent] = process.start(on_it);
  const thread = ghostfs.thread();
  assertEquals(on_it.control.join(thread.tid), 0);
  assertEquals(on_it.control.taskTids(), [thread.tid]);
  assertEquals(agent.policy.step(), RUN_LOCAL);
  assertEquals(agent.port.localCommit(), 0);
  assertEquals(on_it.control.cpu_data[2], GHOST_TXN_COMPLETE);
  const word = on_it.control.taskStatusIndex(...halves(thread.gtid));
  assert(word > 0);
  ghostfs.endThread(thread);
  assertEquals(agent.policy.step(), YIELD);
  // The policy has freed the dead thread's word, which the kernel cleared.
  assertEquals(on_it.control.status_words[16 + word * 8 + 1], 0);
  assertEquals(agent.port.localYield(agent.policy.yield_barrier, 0), 0);
});

eachAbi("every call of a port reaches the kernel with the bytes that it wants", (version) => {
  const [ghostfs, process] = lab(version);
  const on_it = process.policyOn(process.create([0, 1]));
  const [first, second] = process.start(on_it);
  const thread = ghostfs.thread();
  thread.runtime_ns = 7_000_000_123n;
  on_it.control.join(thread.tid);
  const gtid = halves(thread.gtid);
  const { port } = first;
  assertEquals(port.cpuTimeNs(...gtid), 7_000_000_123);
  assertEquals(port.cpuTimeNs(5, 5), -ESRCH);
  assertEquals(port.associate(on_it.queues[0].id, ...gtid, 77), -ESTALE);
  assertEquals(port.associate(on_it.queues[0].id, ...gtid, 1), 1);
  assertEquals(port.associate(on_it.queues[1].id, ...gtid, 1), 0);
  assertEquals(port.associate(on_it.queues[1].id, 1, 1, 1), -ENOENT);
  assertEquals(on_it.control.associateAgent(on_it.queues[0].id, 0, 0), -EINVAL);
  assertEquals(on_it.control.associate(on_it.queues[0].id, ...gtid, 1), 0);
  assertEquals(port.freeStatusWord(999), -ENOENT);
  assertEquals(port.ping(1), 0);
  assertEquals(port.ping(2), -EINVAL);
  const barrier = second.context.status.barrier(second.port.status_index);
  assertEquals(second.port.localYield(barrier - 1, 0), -ESTALE);
  assertEquals(second.port.localYield(barrier, 32), 0);
  assertEquals(second.port.localYield(barrier, 64), -EINVAL);
  assertEquals(port.armTimer(2_500_000_001, 3, 4), 0);
  assertEquals(port.armTimer(0, 0, 0), 0);
  const [armed, disarmed] = process.process.timers;
  assertEquals([armed.deadline_ns, armed.cpu, armed.type, armed.cookie], [2500000001, 0, 3n, 4n]);
  assertEquals([disarmed.deadline_ns, disarmed.cpu, disarmed.fd], [0, -1, armed.fd]);
});

eachAbi(
  "transactions of other CPUs are committed one by one, as a group, all or none",
  (version) => {
    const [, process] = lab(version, { cpu_count: 40 });
    const on_it = process.policyOn(process.create([0, 1, 35]));
    const [{ port }] = process.start(on_it);
    const state = (cpu: number) => on_it.control.cpu_data[cpu * 1024 + 2];
    const open = (...cpus: number[]) => {
      for (const cpu of cpus) on_it.control.cpu_data[cpu * 1024 + 2] = OPEN;
    };
    const states = () => [state(0), state(1), state(35)];
    open(1, 35);
    port.commit(35);
    assertEquals(states(), [0, OPEN, GHOST_TXN_COMPLETE]);
    // No CPU of an earlier mask is left in a later one.
    open(35);
    port.commit(1);
    assertEquals(states(), [0, GHOST_TXN_COMPLETE, OPEN]);
    open(1);
    const mask = new Int32Array(16);
    mask[0] = 1 << 1;
    mask[1] = 1 << 3;
    port.commitGroup(mask);
    assertEquals(states(), [0, GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE]);
    open(0, 1, 35);
    port.commit(0);
    assertEquals(states(), [GHOST_TXN_COMPLETE, OPEN, OPEN]);
    assertEquals(port.commitSyncGroup(mask), 1);
    open(1);
    assertEquals(port.commitSyncGroup(mask), 0);
  },
);

eachAbi("tunables of that version are read and written, others are not there", (version) => {
  const [, process] = lab(version);
  const enclave = process.create([0]);
  assertEquals(enclave.writeTunable("runnable_timeout", 500), 0);
  assertEquals(enclave.readTunable("runnable_timeout"), 500);
  assertEquals(enclave.writeTunable("deliver_ticks", 1), 0);
  assertEquals(enclave.readTunable("deliver_ticks"), 1);
  const has_it = ABI_FACTS[version].tunables.includes("deliver_cpu_availability");
  assertEquals(enclave.writeTunable("deliver_cpu_availability", 1), has_it ? 0 : -ENOENT);
  assertEquals(process.kernel.capabilities.has("cpu_availability"), has_it);
  assertEquals(process.kernel.capabilities.has("ticks"), true);
  assertEquals(enclave.readTunable("ctl"), -ENOENT);
  assertEquals(enclave.agentStatusIndex(3), -ABI_FACTS[version].bad_cpu_errno);
});

eachAbi("discovery asks the kernel for TASK_NEW of every task", (version) => {
  const [ghostfs, process] = lab(version);
  const enclave = process.create([0]);
  process.policyOn(enclave);
  enclave.join(ghostfs.thread().tid);
  const { sent } = ghostfs.enclaves.get(1)!;
  assertEquals(sent[67], 1);
  assertEquals(enclave.discoverTasks(), 0);
  assertEquals(sent[67], 2);
});

eachAbi("agents leave with their words free, then the enclave is destroyed", (version) => {
  const [ghostfs, process] = lab(version);
  const enclave = process.create([0, 1]);
  const on_it = process.policyOn(enclave);
  const agents = process.start(on_it);
  const thread = ghostfs.thread();
  enclave.join(thread.tid);
  assertEquals(process.stop(on_it, agents), [0, 0]);
  const { default_queue, is_online } = ghostfs.enclaves.get(1)!;
  assertEquals([default_queue, is_online], [undefined, false]);
  assertEquals(enclave.destroy(), 0);
  ghostfs.sleep(200);
  assertEquals([enclave.isDestroyed(), process.process.is_dead], [true, false]);
  assertEquals(thread.enclave, undefined);
  assertEquals(process.kernel.enclaveIds(), []);
  // Views of the enclave outlive it.
  assertEquals(enclave.status_words[4], 256);
  assertEquals(on_it.queues[0].words[2], 65536);
  assertEquals([enclave.destroy(), enclave.taskTids(), enclave.isOnline()], [-ENODEV, [], false]);
  process.kernel.close();
  assertEquals([process.process.openCount(), process.process.memory.mappingCount()], [0, 0]);
});

eachAbi("an upgrade finds every task again and loses none", (version) => {
  const [ghostfs, old] = lab(version);
  const old_policy = old.policyOn(old.create([0, 1]));
  const old_agents = old.start(old_policy);
  const threads = [1, 2, 3].map(() => ghostfs.thread());
  for (const { tid } of threads) old_policy.control.join(tid);
  old_agents[0].policy.step();

  const next = new LabProcess(ghostfs);
  const enclave = next.attach(1);
  assertEquals(enclave.cpus(), [0, 1]);
  const next_policy = next.policyOn(enclave, { is_early: true });
  assertEquals(next.openPort(next_policy, 0)[1], -EBUSY);
  // The new one may go on as soon as the old one is offline, before its agents are gone.
  old_policy.goOffline();
  next_policy.takeOver();
  assertEquals(next.openPort(next_policy, 0)[1], -EBUSY);
  assertEquals(old.stop(old_policy, old_agents), [0, 0]);
  const [first] = next.start(next_policy);
  const gtids = threads.map(({ gtid }) => halves(gtid));
  assertEquals(gtids.map(([lo, hi]) => first.context.tasks.find(lo, hi) >= 0), [true, true, true]);
  assertEquals(first.policy.step(), RUN_LOCAL);
  assertEquals(ghostfs.enclaves.get(1)!.agents.size, 2);
});

eachAbi(
  "after a crash a new process takes the enclave and frees the dead agents' words",
  (version) => {
    const [ghostfs, old] = lab(version);
    const old_policy = old.policyOn(old.create([0, 1]));
    const words = old.start(old_policy).map(({ port }) => port.status_index);
    const thread = ghostfs.thread();
    old_policy.control.join(thread.tid);
    old.process.crash();
    const model = ghostfs.enclaves.get(1)!;
    assertEquals([model.is_online, model.agents.size, model.tasks.size], [false, 0, 1]);

    const next = new LabProcess(ghostfs);
    const on_it = next.policyOn(next.attach(1));
    const [first] = next.start(on_it);
    assertEquals(first.policy.step(), RUN_LOCAL);
    assertEquals(words.map((index) => model.flags(index)), [0, 0]);
  },
);

eachAbi(
  "an enclave that is destroyed from outside kills its agents, not an onlooker",
  (version) => {
    const [ghostfs, process] = lab(version);
    const on_it = process.policyOn(process.create([0]));
    process.start(on_it);
    const onlooker = new LabProcess(ghostfs);
    const seen = onlooker.attach(1);
    ghostfs.destroy(ghostfs.enclaves.get(1)!);
    assertEquals(process.process.is_dead, false);
    // The command comes first, files and memory go a moment later.
    assertEquals(seen.isDestroyed(), true);
    ghostfs.sleep(200);
    assertEquals([process.process.is_dead, onlooker.process.is_dead], [true, false]);
    assertEquals(seen.status_words.length, (64 + 256 * 32) / 4);
    assertEquals([seen.createQueue(8, 0, 0), seen.freeStatusWord(1)], [-ENODEV, -ENODEV]);
    assertEquals(seen.join(1), -ENOENT);
  },
);

eachAbi("a port of a dry run is of the same class, succeeds and touches nothing", (version) => {
  const [ghostfs, process] = lab(version);
  const before = ghostfs.commands.length;
  const port = GhostAgentPort.dry(process.process.thread(), 0, 1);
  port.associate_result = -ESTALE;
  assertEquals([port.localCommit(), port.localYield(1, 32), port.ping(1)], [0, 0, 0]);
  assertEquals([port.armTimer(5, 1, 1), port.cpuTimeNs(1, 1), port.freeStatusWord(1)], [0, 0, 0]);
  assertEquals(port.associate(1, 1, 1, 1), -ESTALE);
  assertEquals([port.leave(), ghostfs.commands.length], [0, before]);
});
