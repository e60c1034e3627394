/**
 * Upstream's tests/agent_test.cc and tests/channel_test.cc on any kernel (reference sections 8.2
 * and 8.4).
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_TXN_COMMIT,
  GHOST_MAX_QUEUE_ELEMS,
  GHOST_SW_F_CANFREE,
  GHOST_TXN_COMPLETE,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AGENT_WAKEUP,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_TASK_DEAD,
  MSG_TASK_NEW,
  NEED_CPU_NOT_IDLE,
  SW_REGION_AVAILABLE_WORD,
} from "../../../ffi/abi/constants.ts";
import { ENXIO } from "../../../kernels/kernel.ts";
import { ARM_TIMER, LEAVE, PING, SLEEP } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual, expectOk } from "../expect.ts";
import { createEnclave, createQueue, Lab } from "../lab.ts";
import { fieldsOf } from "../payloads.ts";

const LIFE_CASES: readonly ContractCase[] = [
  {
    name: "agent_test DestructorCanFree: idle agents on all CPUs leave no status word behind",
    cpu_count: 8,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [] });
      const words = lab.control.status_words;
      const free = words[SW_REGION_AVAILABLE_WORD];
      for (const cpu of lab.control.cpus()) lab.attach(cpu);
      await host.sleep(100_000);
      expectEqual(words[SW_REGION_AVAILABLE_WORD], free - 8, "free words with the agents");
      for (const cpu of lab.control.cpus()) {
        const index = lab.agentIndex(cpu);
        await lab.call(cpu, LEAVE);
        const can_free = (): boolean => (lab.status.flags(index) & GHOST_SW_F_CANFREE) !== 0;
        await lab.until(can_free, `CANFREE of the agent of CPU ${cpu}`);
        expectEqual(lab.control.freeStatusWord(index), 0, "free it");
      }
      expectEqual(words[SW_REGION_AVAILABLE_WORD], free, "free words in the end");
    },
  },
  {
    name: "agent_test Ping: ten times asleep, pinged and awake, for each agent",
    cpu_count: 4,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const cpu of lab.control.cpus()) {
        const pinger = (cpu + 1) % 4;
        for (let cycle = 0; cycle < 10; cycle++) {
          await lab.idle(cpu);
          const before = lab.steps(cpu);
          expectEqual(await lab.call(pinger, PING, cpu), 0, `ping of CPU ${cpu}`);
          await lab.until(() => lab.steps(cpu) > before, `CPU ${cpu} awake`);
        }
      }
    },
  },
  {
    name: "agent_test GetStatusWordInfo: all agents have one, CPUs out of range have none",
    cpu_count: 4,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const cpu of lab.control.cpus()) {
        expect(lab.control.agentStatusIndex(cpu) >= 0, `CPU ${cpu}`);
      }
      for (const cpu of [-55, host.missing_cpu]) {
        const { bad_cpu_errno } = host.kernel.abi;
        expectEqual(lab.control.agentStatusIndex(cpu), -bad_cpu_errno, `CPU ${cpu}`);
      }
    },
  },
  {
    name: "agent_test FailToBecomeAgent: no queue and no default queue is ENXIO, nothing changes",
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const free = control.status_words[SW_REGION_AVAILABLE_WORD];
      const result = host.attachAgent(control, 0, { queues: [], queue_id: -1 });
      expectEqual(result, -ENXIO, "result");
      expectEqual(control.status_words[SW_REGION_AVAILABLE_WORD], free, "free status words");
      expectEqual(control.setCpus([]), 0, "the CPU has no agent");
      return Promise.resolve();
    },
  },
];

const MESSAGE_CASES: readonly ContractCase[] = [
  {
    name: "agent_test CpuTick: ticks go to the default queue, then to the one associated",
    requires: ["ticks"],
    cpu_count: 1,
    run: async (host) => {
      const control = createEnclave(host, [0]);
      const queues = [createQueue(control, 256, []), createQueue(control, 256, [])];
      expectEqual(control.setDefaultQueue(queues[0].id), 0, "set the default queue");
      const attached = host.attachAgent(control, 0, { queues, queue_id: -1 });
      expectOk(attached, "become the agent");
      const lab = await Lab.on(host, control, { agents: [] });
      await lab.hold(0);
      expectEqual(control.writeTunable("deliver_ticks", 1), 0, "deliver_ticks");
      const ticksOf = async (): Promise<number[]> => {
        await lab.messages();
        lab.log.length = 0;
        await host.sleep(50_000_000);
        const ticks = (await lab.messages()).filter(({ type }) => type === MSG_CPU_TICK);
        return queues.map(({ id }) => ticks.filter(({ queue_id }) => queue_id === id).length);
      };
      const first = await ticksOf();
      expect(first[0] > 5, `${first[0]} ticks in the default queue`);
      expectEqual(first[1], 0, "ticks in the other");
      const associated = control.associateAgent(queues[1].id, 0, lab.agentBarrier(0));
      expectEqual(associated, 0, "associate the agent");
      const second = await ticksOf();
      expectEqual(second[0], 0, "ticks in the default queue afterwards");
      expect(second[1] > 5, `${second[1]} ticks in the other`);
    },
  },
  {
    name: "agent_test MsgTimerExpired: a periodic timer tells its own CPU's agent only",
    requires: ["timers"],
    cpu_count: 4,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [cpu, id, count] = [2, 33, 20];
      for (let round = 0; round < count; round++) {
        expectEqual(await lab.call(cpu, ARM_TIMER, 1_000_000, id, id), 0, "arm");
        await host.sleep(1_100_000);
      }
      const messages = (await lab.messages()).filter(({ type }) => type === MSG_CPU_TIMER_EXPIRED);
      expectEqual(messages.length, count, "messages");
      for (const message of messages) {
        const fields = fieldsOf(host.kernel.abi.version, message);
        expectEqual([fields.cpu, fields.type, fields.cookie], [cpu, id, id], "cpu, type, cookie");
        expectEqual(message.reader, cpu, "reader");
      }
    },
  },
  {
    name: "agent_test MsgCpuNotIdle: only the CPU that asked, with the gtid of what runs next",
    requires: ["cpu_not_idle"],
    cpu_count: 4,
    run: async (host) => {
      const lab = await Lab.open(host);
      const asked = 3;
      for (const cpu of [1, 2, 3]) {
        const run_flags = cpu === asked ? NEED_CPU_NOT_IDLE : 0;
        const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
        const state = await lab.commit(0, cpu, { gtid: [-2, -1], run_flags, commit_flags });
        expectEqual(state, GHOST_TXN_COMPLETE, `idle transaction of CPU ${cpu}`);
      }
      for (const cpu of [1, 2, 3]) host.occupy(cpu);
      await lab.message(MSG_CPU_NOT_IDLE);
      await host.sleep(100_000);
      const messages = (await lab.messages()).filter(({ type }) => type === MSG_CPU_NOT_IDLE);
      expectEqual(messages.length, 1, "messages");
      const fields = fieldsOf(host.kernel.abi.version, messages[0]);
      expectEqual(fields.cpu, asked, "cpu");
      expect(fields.next_gtid !== 0, "next_gtid");
    },
  },
  {
    name: "agent_test AgentBlock: a sleep of 5 ms is told by AGENT_BLOCKED and AGENT_WAKEUP",
    requires: ["agent_runnability"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      // Upstream's test sets it; under sched_ext there is nothing dangerous to be tuned.
      if (lab.control.readTunable("live_dangerously") >= 0) {
        expectEqual(lab.control.writeTunable("live_dangerously", 1), 0, "live_dangerously");
      }
      expectEqual(lab.control.writeTunable("deliver_agent_runnability", 1), 0, "deliver");
      const start_ns = host.nowNs();
      await lab.call(0, SLEEP, 5_000_000);
      await lab.message(MSG_CPU_AGENT_BLOCKED);
      await lab.message(MSG_CPU_AGENT_WAKEUP);
      const most_ns = 5_000_000 + 15_000_000 * host.patience;
      expectBetween(host.nowNs() - start_ns, 5_000_000, most_ns, "ns asleep");
      expectEqual(lab.control.writeTunable("deliver_agent_runnability", 0), 0, "off");
    },
  },
];

const CHANNEL_CASES: readonly ContractCase[] = [
  {
    name: "channel_test Wakeup: TASK_NEW wakes the idle agent of the queue",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      await lab.idle(0);
      const before = [0, 1].map((cpu) => lab.steps(cpu));
      const thread = lab.sleeper();
      await lab.until(() => lab.steps(0) > before[0], "the agent wakes");
      await lab.message(MSG_TASK_NEW, thread);
      expectEqual(lab.steps(1), before[1], "steps of the other agent");
    },
  },
  {
    name: "channel_test Associate: TASK_NEW in the first queue, all later messages in the second",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper([{ op: "run", ns: 10_000 }, { op: "yield" }]);
      const fresh = await lab.message(MSG_TASK_NEW, thread);
      const { gtid_lo, gtid_hi } = thread;
      const [first, second] = lab.queues;
      const result = lab.control.associate(second.id, gtid_lo, gtid_hi, fresh.seqnum);
      expectEqual(result, 0, "associate");
      host.wake(thread);
      await lab.runOn(1, thread);
      await lab.until(() => !lab.isOnCpu(thread), "the task yields");
      await lab.runOn(1, thread);
      await lab.message(MSG_TASK_DEAD, thread);
      const [head, ...rest] = await lab.messagesOf(thread);
      expectEqual([head.type, head.queue_id], [MSG_TASK_NEW, first.id], "the first message");
      expect(rest.length >= 3, `${rest.length} later messages`);
      expect(rest.every(({ queue_id }) => queue_id === second.id), "in the second queue");
    },
  },
  {
    name: "channel_test MaxElements: a queue has as many slots as were asked for",
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (let elems = GHOST_MAX_QUEUE_ELEMS; elems >= 1; elems /= 2) {
        const queue = createQueue(control, elems, []);
        expectEqual(queue.elem_count, elems, "elem_count");
        expectEqual(control.closeQueue(queue.id), 0, "close");
      }
      return Promise.resolve();
    },
  },
];

/** agent_test.cc and channel_test.cc. */
export const UPSTREAM_AGENT_CASES: readonly ContractCase[] = [
  ...LIFE_CASES,
  ...MESSAGE_CASES,
  ...CHANNEL_CASES,
];
