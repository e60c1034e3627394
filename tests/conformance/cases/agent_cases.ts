/**
 * Agents: becoming one and leaving, yields, pings, barriers, run flags and timers
 * (reference sections 1.1, 1.2, 2.3 and 3.4).
 *
 * @module
 */
import {
  GHOST_SW_BOOST_PRIO,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
  GHOST_TXN_COMPLETE,
  RTLA_ON_BLOCKED,
  RTLA_ON_IDLE,
  RTLA_ON_PREEMPT,
  RTLA_ON_YIELD,
} from "../../../ffi/abi/constants.ts";
import type { RuleName } from "../../../kernels/sim/rules.ts";
import { EBADF, EBUSY, EINVAL, ENODEV, ENXIO, ESTALE } from "../../../kernels/kernel.ts";
import { DESTROY_AND_YIELD, LEAVE, NOTHING, PING, YIELD_NOW } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual } from "../expect.ts";
import type { ContractHost, ThreadAction } from "../host.ts";
import { BUSY, createEnclave, createQueue, Lab } from "../lab.ts";

const BECOME_CASES: readonly ContractCase[] = [
  {
    name: "become agent: the agent's status word says so, and it has its CPU",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const cpu of [0, 1]) {
        const wanted = GHOST_SW_F_INUSE | GHOST_SW_TASK_IS_AGENT;
        expectEqual(lab.agentFlags(cpu) & wanted, wanted, `flags of the agent of CPU ${cpu}`);
      }
      expect(lab.agentIndex(0) !== lab.agentIndex(1), "each has its own status word");
    },
  },
  {
    name: "become agent: a CPU outside the enclave is ENODEV",
    rule: "become.cpu_in_enclave",
    negative: true,
    cpu_count: 2,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queues = [createQueue(control, 64, [])];
      for (const cpu of [1, host.outside_cpu]) {
        expectEqual(host.attachAgent(control, cpu, { queues }), -ENODEV, `CPU ${cpu}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "become agent: a CPU that has an agent is EBUSY",
    rule: "become.busy",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const queues = [lab.queueOf(0)];
      expectEqual(host.attachAgent(lab.control, 0, { queues }), -EBUSY, "a second agent");
    },
  },
  {
    name: "become agent: a queue that is not there is EBADF, below −1 too",
    rule: "become.bad_queue",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.setDefaultQueue(queue.id), 0, "a default queue");
      for (const queue_id of [queue.id + 100, -2]) {
        const result = host.attachAgent(control, 0, { queues: [queue], queue_id });
        expectEqual(result, -EBADF, `queue ${queue_id}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "become agent: without a queue and without a default queue it is ENXIO",
    rule: "become.no_default",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const result = host.attachAgent(control, 0, { queues: [], queue_id: -1 });
      expectEqual(result, -ENXIO, "result");
      expectEqual(control.agentStatusIndex(0), -EINVAL, "status word of the agent");
      return Promise.resolve();
    },
  },
  {
    name: "leave: the status word can be freed, and another agent can follow",
    rule: "agent.leave_canfree",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const index = lab.agentIndex(0);
      expectEqual(lab.status.flags(index) & GHOST_SW_F_CANFREE, 0, "not before it left");
      await lab.call(0, LEAVE);
      const can_free = (): boolean => (lab.status.flags(index) & GHOST_SW_F_CANFREE) !== 0;
      await lab.until(can_free, "CANFREE");
      expectEqual(lab.control.freeStatusWord(index), 0, "free it");
      lab.attach(0);
      await lab.call(0, NOTHING);
    },
  },
];

const YIELD_CASES: readonly ContractCase[] = [
  {
    name: "yield: an agent barrier that moved on is ESTALE",
    rule: "yield.agent_barrier",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(await lab.call(0, YIELD_NOW, -1, 0), -ESTALE, "yield");
    },
  },
  {
    name: "yield: flags other than RTLA_ON_IDLE are EINVAL",
    rule: "yield.flags",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const flags of [RTLA_ON_BLOCKED, RTLA_ON_IDLE | RTLA_ON_YIELD, 1 << 20]) {
        expectEqual(await lab.call(0, YIELD_NOW, 0, flags), -EINVAL, `flags ${flags}`);
      }
    },
  },
  {
    name: "yield: in an enclave that is gone it is ENODEV",
    rule: "yield.destroyed",
    negative: true,
    needs: ["survives_destroy"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(await lab.call(0, DESTROY_AND_YIELD), -ENODEV, "yield");
    },
  },
  {
    name: "yield: with RTLA_ON_IDLE the agent does not sleep on when its CPU idles",
    rule: "yield.rtla_on_idle",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.hold(0);
      const occupant = host.occupy(0);
      const boosted = (): boolean => (lab.agentFlags(0) & GHOST_SW_BOOST_PRIO) !== 0;
      await lab.until(boosted, "the other thread waits for the agent");
      lab.setYieldFlags(0, RTLA_ON_IDLE);
      await lab.release(0);
      const before = lab.steps(0);
      await host.sleep(200_000);
      expectEqual(lab.steps(0), before, "steps while the CPU is busy");
      host.kill(occupant);
      await lab.until(() => lab.steps(0) > before, "a step when the CPU idles");
      lab.setYieldFlags(0, 0);
    },
  },
  {
    name: "yield: without RTLA_ON_IDLE the agent sleeps on when its CPU idles",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const occupant = await lab.occupy(0);
      await lab.idle(0);
      const before = lab.steps(0);
      host.kill(occupant);
      await host.sleep(200_000);
      expectEqual(lab.steps(0), before, "steps");
    },
  },
];

const PING_CASES: readonly ContractCase[] = [
  {
    name: "ping: it wakes the agent of another CPU",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.idle(1);
      const before = lab.steps(1);
      expectEqual(await lab.call(0, PING, 1), 0, "ping");
      await lab.until(() => lab.steps(1) > before, "a step of the other agent");
    },
  },
  {
    name: "ping: a CPU without an agent, or that is not there, is EINVAL",
    rule: "ping.no_agent",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [0] });
      for (const cpu of [1, host.outside_cpu, host.missing_cpu, -1]) {
        expectEqual(await lab.call(0, PING, cpu), -EINVAL, `CPU ${cpu}`);
      }
    },
  },
  {
    name: "ping: it does not leave the agent's barrier as it was",
    rule: "ping.barrier_inc",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.idle(1);
      const before = lab.agentBarrier(1);
      expectEqual(await lab.call(0, PING, 1), 0, "ping");
      expect(lab.agentBarrier(1) !== before, "the barrier moved");
    },
  },
];

/** The agent of CPU 1 runs a task; its queue wakes nobody. */
async function runUnwatched(
  host: ContractHost,
  script: readonly ThreadAction[],
  run_flags: number,
): Promise<{ lab: Lab; steps: number }> {
  const lab = await Lab.open(host, { queues: "polled" });
  const thread = lab.task(script);
  await lab.idle(1);
  const before = lab.steps(1);
  await lab.runOn(1, thread, run_flags);
  // One step for the commit; any more is because of the task.
  return { lab, steps: before + 1 };
}

/** What takes a task off its CPU; for a preemption the host has to do something. */
const RETURNS: readonly {
  readonly name: string;
  readonly rule: RuleName;
  readonly flag: number;
  readonly script: readonly ThreadAction[];
  readonly preempts: boolean;
}[] = [
  {
    name: "RTLA_ON_BLOCKED: the agent does not sleep on when its task blocks",
    rule: "run.rtla_on_blocked",
    flag: RTLA_ON_BLOCKED,
    script: [{ op: "run", ns: 50_000 }, { op: "block" }],
    preempts: false,
  },
  {
    name: "RTLA_ON_YIELD: the agent does not sleep on when its task yields",
    rule: "run.rtla_on_yield",
    flag: RTLA_ON_YIELD,
    script: [{ op: "run", ns: 50_000 }, { op: "yield" }],
    preempts: false,
  },
  {
    name: "RTLA_ON_PREEMPT: the agent does not sleep on when its task is preempted",
    rule: "run.rtla_on_preempt",
    flag: RTLA_ON_PREEMPT,
    script: BUSY,
    preempts: true,
  },
];

const RETURN_CASES: readonly ContractCase[] = RETURNS.flatMap((back) => [
  {
    name: back.name,
    rule: back.rule,
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const { lab, steps } = await runUnwatched(host, back.script, back.flag);
      if (back.preempts) host.occupy(1);
      await lab.until(() => lab.steps(1) > steps, "a step");
    },
  },
  {
    name: `${back.name.split(":")[0]}: without the flag the agent sleeps on`,
    cpu_count: 2,
    run: async (host) => {
      const { lab, steps } = await runUnwatched(host, back.script, 0);
      if (back.preempts) host.occupy(1);
      await host.sleep(300_000);
      expectEqual(lab.steps(1), steps, "steps");
    },
  },
]);

/** A short run, then asleep. */
const SHORT: readonly ThreadAction[] = [{ op: "run", ns: 50_000 }, { op: "block" }];

const IDLE_CASES: readonly ContractCase[] = [
  {
    name: "RTLA_ON_IDLE: after a local commit the agent does not sleep on when the CPU idles",
    rule: "run.rtla_on_idle",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const { lab, steps } = await runUnwatched(host, SHORT, RTLA_ON_IDLE);
      await lab.until(() => lab.steps(1) > steps, "a step");
    },
  },
  {
    name: "RTLA_ON_IDLE: a commit from another CPU brings the agent of the task's CPU back, once",
    rule: "run.rtla_on_idle",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "polled" });
      const thread = lab.task(SHORT);
      await lab.idle(1);
      const before = lab.steps(1);
      const state = await lab.commit(0, 1, { thread, run_flags: RTLA_ON_IDLE });
      expectEqual(state, GHOST_TXN_COMPLETE, "state");
      await lab.until(() => lab.steps(1) > before, "a step");
      await host.sleep(300_000);
      expectEqual(lab.steps(1), before + 1, "steps");
    },
  },
  {
    name: "RTLA_ON_IDLE: without the flag the agent sleeps on",
    cpu_count: 2,
    run: async (host) => {
      const { lab, steps } = await runUnwatched(host, SHORT, 0);
      await host.sleep(300_000);
      expectEqual(lab.steps(1), steps, "steps");
    },
  },
];

const BARRIER_CASES: readonly ContractCase[] = [
  {
    name: "agent barrier: a message does not leave it as it was, so that a yield sees it",
    rule: "queue.barrier_inc",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.hold(0);
      const before = lab.agentBarrier(0);
      host.setAffinity(thread, [0]);
      expect(lab.agentBarrier(0) > before, "the barrier moved");
    },
  },
  {
    name: "agent barrier: a message in a queue that wakes nobody leaves it alone",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "polled" });
      const thread = lab.task();
      await lab.idle(0);
      const before = lab.agentBarrier(0);
      host.setAffinity(thread, [0]);
      await host.sleep(100_000);
      expectEqual(lab.agentBarrier(0), before, "barrier");
    },
  },
  {
    name: "agent barrier: an agent that yields right before a message is woken by it",
    rule: "queue.wake",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.idle(0);
      const before = lab.steps(0);
      host.setAffinity(thread, [0]);
      await lab.until(() => lab.steps(0) > before, "a step");
    },
  },
];

/** Agents. */
export const AGENT_CASES: readonly ContractCase[] = [
  ...BECOME_CASES,
  ...YIELD_CASES,
  ...PING_CASES,
  ...RETURN_CASES,
  ...IDLE_CASES,
  ...BARRIER_CASES,
];
