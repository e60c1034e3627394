/**
 * Which queue a task's and an agent's messages go to (reference section 1.2, ASSOC_QUEUE).
 *
 * @module
 */
import {
  GHOST_ASSOC_SF_ALREADY,
  GHOST_ASSOC_SF_BRAND_NEW,
  MSG_CPU_TIMER_EXPIRED,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_NEW,
} from "../../../ffi/abi/constants.ts";
import { EBADF, ENOENT, ESTALE } from "../../../kernels/kernel.ts";
import { ARM_TIMER, ASSOCIATE } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual } from "../expect.ts";
import type { ContractThread } from "../host.ts";
import { Lab } from "../lab.ts";

/** Associates a task with the queue of a CPU. */
function associate(lab: Lab, cpu: number, thread: ContractThread, barrier: number): number {
  return lab.control.associate(lab.queueOf(cpu).id, thread.gtid_lo, thread.gtid_hi, barrier);
}

const TASK_CASES: readonly ContractCase[] = [
  {
    name: "association: later messages of the task go to the other queue",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      expectEqual(associate(lab, 1, thread, lab.taskBarrier(thread)), 0, "associate");
      host.setAffinity(thread, [0]);
      const messages = await lab.messagesOf(thread);
      const seen = messages.map(({ type, queue_id, reader }) => [type, queue_id, reader]);
      expectEqual(seen, [
        [MSG_TASK_NEW, lab.queueOf(0).id, 0],
        [MSG_TASK_AFFINITY_CHANGED, lab.queueOf(1).id, 1],
      ], "type, queue and reader of each message");
    },
  },
  {
    name: "association: an agent can do it within its step",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const { gtid_lo, gtid_hi } = thread;
      const [barrier, queue] = [lab.taskBarrier(thread), lab.queueOf(1).id];
      const result = await lab.call(0, ASSOCIATE, queue, gtid_lo, gtid_hi, barrier);
      expectEqual(result, 0, "associate");
    },
  },
  {
    name: "association: a queue that is not there is EBADF",
    rule: "assoc.bad_queue",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const { gtid_lo, gtid_hi } = thread;
      const barrier = lab.taskBarrier(thread);
      for (const queue_id of [lab.queueOf(0).id + 100, -1]) {
        const result = lab.control.associate(queue_id, gtid_lo, gtid_hi, barrier);
        expectEqual(result, -EBADF, `queue ${queue_id}`);
      }
    },
  },
  {
    name: "association: a thread that is not in the enclave is ENOENT",
    rule: "assoc.unknown_task",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(associate(lab, 0, host.spawn([]), 0), -ENOENT, "never in ghOSt");
      const thread = lab.sleeper();
      const barrier = lab.taskBarrier(thread);
      host.leaveGhost(thread);
      expectEqual(associate(lab, 0, thread, barrier), -ENOENT, "left");
    },
  },
  {
    name: "association: a barrier that moved on is ESTALE, and nothing changes",
    rule: "assoc.stale",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const barrier = lab.taskBarrier(thread);
      host.setAffinity(thread, [0]);
      expectEqual(associate(lab, 1, thread, barrier), -ESTALE, "associate");
      host.setAffinity(thread, [0, 1]);
      const readers = (await lab.messagesOf(thread)).map((message) => message.reader);
      expectEqual(readers, [0, 0, 0], "readers of the messages");
    },
  },
  {
    name: "association: with the queue it has already it does not go unsaid",
    rule: "assoc.already",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const barrier = lab.taskBarrier(thread);
      expectEqual(associate(lab, 0, thread, barrier), GHOST_ASSOC_SF_ALREADY, "the same");
      expectEqual(associate(lab, 1, thread, barrier), 0, "another");
    },
  },
  {
    name: "association: of a task whose TASK_NEW waits it does not go unsaid",
    rule: "assoc.brand_new",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      host.leaveGhost(thread);
      expectEqual(lab.control.join(thread.tid), 0, "join again");
      const result = associate(lab, 1, thread, lab.taskBarrier(thread));
      expect((result & GHOST_ASSOC_SF_BRAND_NEW) !== 0, `result ${result} has BRAND_NEW`);
    },
  },
];

const AGENT_ASSOCIATION_CASES: readonly ContractCase[] = [
  {
    name: "association of an agent: messages about its CPU go to the other queue",
    requires: ["timers"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const queue_id = lab.queueOf(0).id;
      expectEqual(lab.control.associateAgent(queue_id, 1, lab.agentBarrier(1)), 0, "associate");
      await lab.call(1, ARM_TIMER, 10_000, 1, 2);
      const message = await lab.message(MSG_CPU_TIMER_EXPIRED);
      expectEqual([message.reader, message.queue_id], [0, queue_id], "reader and queue");
    },
  },
  {
    name: "association of an agent: a queue that is not there is EBADF",
    rule: "assoc_agent.bad_queue",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const result = lab.control.associateAgent(9999, 0, lab.agentBarrier(0));
      expectEqual(result, -EBADF, "result");
    },
  },
  {
    name: "association of an agent: a CPU without one is ENOENT",
    rule: "assoc_agent.no_agent",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [0] });
      expectEqual(lab.control.associateAgent(lab.queueOf(0).id, 1, 0), -ENOENT, "result");
    },
  },
  {
    name: "association of an agent: a barrier that moved on is ESTALE",
    rule: "assoc_agent.stale",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const barrier = lab.agentBarrier(0) - 1;
      const result = lab.control.associateAgent(lab.queueOf(0).id, 0, barrier);
      expectEqual(result, -ESTALE, "result");
    },
  },
];

/** Association. */
export const ASSOCIATION_CASES: readonly ContractCase[] = [
  ...TASK_CASES,
  ...AGENT_ASSOCIATION_CASES,
];
