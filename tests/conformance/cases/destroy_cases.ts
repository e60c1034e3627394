/**
 * The end of an enclave, and of its agents while it goes on: destroy, runnable_timeout, discovery
 * and upgrade (reference sections 2.3, 2.4 and 3.6).
 *
 * @module
 */
import { GHOST_SW_F_CANFREE, MSG_TASK_NEW } from "../../../ffi/abi/constants.ts";
import { ENODEV, ENOENT } from "../../../kernels/kernel.ts";
import { LEAVE } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual } from "../expect.ts";
import type { ContractHost, ContractThread, ThreadAction } from "../host.ts";
import { createEnclave, createQueue, Lab } from "../lab.ts";
import {
  COMPLETE_CELL,
  DISCOVER_CELL,
  GLOBAL_CPU_CELL,
  miniPolicyStep,
  startPolicy,
} from "../mini_policy.ts";
import { fieldsOf } from "../payloads.ts";
import { DISCOVERED_CELL } from "../task_rows.ts";

const LONG_NS = 500_000_000;
/** A `runnable_timeout` that no machine exceeds because it is slow. */
const WAIT_MS = 500;
/** What the threads of a load do. */
const WORK: readonly ThreadAction[] = [{
  op: "repeat",
  count: 10,
  actions: [{ op: "run", ns: 50_000 }, { op: "sleep", ns: 20_000 }, { op: "run", ns: 30_000 }, {
    op: "yield",
  }],
}];

/** True once all threads have exited. */
function allExited(host: ContractHost, threads: readonly ContractThread[]): boolean {
  return threads.every((thread) => host.hasExited(thread));
}

const END_CASES: readonly ContractCase[] = [
  {
    name: "load: a small policy runs its threads to the end, on every ABI",
    abi_versions: [69, 84, 90, 91],
    cpu_count: 3,
    step: miniPolicyStep,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      startPolicy(lab);
      const threads = Array.from({ length: 8 }, () => lab.task(WORK));
      await lab.until(() => allExited(host, threads), "all threads exit", LONG_NS);
      expect(host.words[COMPLETE_CELL] >= 8 * 20, "each turn took a commit");
      await lab.until(() => lab.control.taskTids().length === 0, "the enclave is empty");
    },
  },
  {
    name: "destroy: threads do not stay behind, but end under the default class",
    rule: "destroy.fallback",
    negative: true,
    cpu_count: 3,
    step: miniPolicyStep,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      startPolicy(lab);
      const threads = Array.from({ length: 8 }, () => lab.task(WORK));
      await host.sleep(300_000);
      expect(!allExited(host, threads), "the load is under way");
      expectEqual(lab.control.destroy(), 0, "destroy");
      await lab.until(() => allExited(host, threads), "all threads exit", LONG_NS);
    },
  },
  {
    name: "destroy: an agent that had its CPU does not run on",
    rule: "destroy.agents",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.hold(0);
      lab.control.destroy();
      const before = lab.steps(0);
      await host.sleep(5_000_000);
      expectEqual(lab.steps(0), before, "steps after the end");
    },
  },
  {
    name: "destroy: its CPUs do not stay taken",
    rule: "destroy.cpus",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.destroy(), 0, "destroy");
      const next = await Lab.open(host);
      await next.runOn(0, next.task());
    },
  },
  {
    name: "destroy: the enclave is gone, and says so",
    cpu_count: 1,
    run: async (host) => {
      const control = createEnclave(host, [0]);
      control.setOnline(true);
      expectEqual(control.destroy(), 0, "destroy");
      expect(control.isDestroyed(), "destroyed");
      expect(!control.isOnline(), "not online");
      expectEqual(control.destroy(), -ENODEV, "a second time");
      const attach = (): unknown => host.kernel.attachEnclave(control.id);
      await host.until(() => attach() === -ENOENT, "attach says ENOENT");
      await host.until(() => !host.kernel.enclaveIds().includes(control.id), "not listed");
    },
  },
  {
    name: "destroy: calls for an enclave that is gone are ENODEV",
    rule: "destroy.calls",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { control } = lab;
      const { id } = lab.queueOf(0);
      control.destroy();
      const calls: Readonly<Record<string, () => unknown>> = {
        createQueue: () => control.createQueue(64, 0, 0),
        setDefaultQueue: () => control.setDefaultQueue(id),
        configQueueWakeup: () => control.configQueueWakeup(id, [0], 0),
        becomeAgent: () => control.becomeAgent(0, id),
        associate: () => control.associate(id, 1, 2, 3),
        associateAgent: () => control.associateAgent(id, 0, 0),
        freeStatusWord: () => control.freeStatusWord(0),
        agentStatusIndex: () => control.agentStatusIndex(0),
        taskStatusIndex: () => control.taskStatusIndex(1, 2),
        setOnline: () => control.setOnline(true),
        discoverTasks: () => control.discoverTasks(),
        readTunable: () => control.readTunable("deliver_ticks"),
        writeTunable: () => control.writeTunable("deliver_ticks", 1),
      };
      for (const [name, call] of Object.entries(calls)) expectEqual(call(), -ENODEV, name);
    },
  },
];

const TIMEOUT_CASES: readonly ContractCase[] = [
  {
    name: "runnable_timeout: an enclave does not outlive a task that waits longer for a CPU",
    rule: "timeout.destroy",
    negative: true,
    requires: ["runnable_timeout"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("runnable_timeout", WAIT_MS), 0, "runnable_timeout");
      const thread = lab.task([{ op: "run", ns: 10_000 }]);
      await host.sleep(WAIT_MS * 800_000);
      expect(!lab.control.isDestroyed(), "not before its time");
      await lab.until(() => lab.control.isDestroyed(), "destroyed", WAIT_MS * 2_000_000);
      await lab.until(() => host.hasExited(thread), "the task ends under the default class");
    },
  },
  {
    name: "runnable_timeout: tasks that get a CPU in time do no harm, nor do those that sleep",
    requires: ["runnable_timeout"],
    cpu_count: 3,
    step: miniPolicyStep,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      expectEqual(lab.control.writeTunable("runnable_timeout", WAIT_MS), 0, "runnable_timeout");
      startPolicy(lab);
      lab.sleeper();
      const threads = [lab.task(WORK), lab.task([{ op: "run", ns: WAIT_MS * 1_500_000 }])];
      await lab.until(() => allExited(host, threads), "all threads exit", WAIT_MS * 30_000_000);
      expect(!lab.control.isDestroyed(), "the enclave is there");
    },
  },
  {
    name: "runnable_timeout: 0 is off",
    requires: ["runnable_timeout"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.control.writeTunable("runnable_timeout", 5);
      expectEqual(lab.control.writeTunable("runnable_timeout", 0), 0, "runnable_timeout");
      lab.task();
      await host.sleep(50_000_000);
      expect(!lab.control.isDestroyed(), "the enclave is there");
    },
  },
];

/** All agents leave, as an agent process does that makes room for the next. */
async function leaveAll(lab: Lab): Promise<void> {
  const { control, host } = lab;
  control.setOnline(false);
  host.kernel.memory.publish(host.words, GLOBAL_CPU_CELL, 0);
  for (const cpu of control.cpus()) {
    const index = lab.agentIndex(cpu);
    await lab.call(cpu, LEAVE);
    const can_free = (): boolean => (lab.status.flags(index) & GHOST_SW_F_CANFREE) !== 0;
    await lab.until(can_free, `CANFREE of the agent of CPU ${cpu}`);
    expectEqual(control.freeStatusWord(index), 0, `free the agent's word of CPU ${cpu}`);
  }
  for (const queue of new Set(lab.queues)) control.closeQueue(queue.id);
}

const UPGRADE_CASES: readonly ContractCase[] = [
  {
    name: "discover tasks: no task is left out, and sequence numbers go on",
    rule: "discover.all",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const threads = [lab.sleeper(), lab.task()];
      const before = threads.map((thread) => lab.taskBarrier(thread));
      await lab.messages();
      expectEqual(lab.control.discoverTasks(), 0, "discover");
      for (const [index, thread] of threads.entries()) {
        const messages = await lab.messagesOf(thread);
        const last = messages[messages.length - 1];
        expectEqual(last.type, MSG_TASK_NEW, "the last message");
        expect(last.seqnum > before[index], "its sequence number is a new one");
        expectEqual(fieldsOf(host.kernel.abi.version, last).runnable, index, "runnable");
      }
    },
  },
  {
    name: "upgrade: agents leave, others follow, and every thread ends",
    requires: ["upgrade"],
    abi_versions: [69, 91],
    cpu_count: 3,
    step: miniPolicyStep,
    run: async (host) => {
      const first = await Lab.open(host, { queues: "one" });
      startPolicy(first);
      const threads = Array.from({ length: 8 }, () => first.task(WORK));
      await host.sleep(400_000);
      await leaveAll(first);
      await host.sleep(200_000);
      const left = threads.filter((thread) => !host.hasExited(thread));
      expect(left.length > 0, "the load is under way");
      expectEqual(first.control.taskTids().length, left.length, "threads that stayed");
      host.words.fill(0, 0, 2048);
      const second = await Lab.on(host, first.control, { queues: "one" });
      host.words[DISCOVER_CELL] = 1;
      startPolicy(second);
      await second.until(() => allExited(host, threads), "all threads exit", LONG_NS);
      expect(host.words[DISCOVERED_CELL] > 0, "tasks were found in the status words");
    },
  },
  {
    name: "upgrade: a message that came while nobody was there is in the status word",
    requires: ["upgrade"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const before = lab.taskBarrier(thread);
      await leaveAll(lab);
      host.wake(thread);
      expect(lab.taskBarrier(thread) > before, "the barrier moved");
      const queue = createQueue(lab.control, 64, []);
      const { gtid_lo, gtid_hi } = thread;
      const barrier = lab.taskBarrier(thread);
      expectEqual(lab.control.associate(queue.id, gtid_lo, gtid_hi, barrier), 0, "associate");
    },
  },
];

/** Ends and successions. */
export const DESTROY_CASES: readonly ContractCase[] = [
  ...END_CASES,
  ...TIMEOUT_CASES,
  ...UPGRADE_CASES,
];
