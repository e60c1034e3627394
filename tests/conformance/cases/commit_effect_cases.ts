/**
 * What a commit does, and when: barriers, commit points, what happens to the threads
 * (reference sections 1.1 and 1.5).
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_SCHEDULE,
  COMMIT_AT_TXN_COMMIT,
  DEFER_LATCHED_PREEMPTION_BY_AGENT,
  ELIDE_AGENT_BARRIER_INC,
  GHOST_SW_BOOST_PRIO,
  GHOST_TXN_ABORTED,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_NO_AGENT,
  GHOST_TXN_READY,
  GHOST_TXN_TARGET_NOT_FOUND,
  GHOST_TXN_TARGET_ONCPU,
  INC_AGENT_BARRIER_ON_FAILURE,
  MSG_TASK_PREEMPT,
  TXN_CPU_SEQNUM_WORD,
} from "../../../ffi/abi/constants.ts";
import { u64At } from "../../../ffi/memory.ts";
import { TXN_STRIDE_WORDS, txnClaimed } from "../../../lib/transaction.ts";
import { COMMIT, NOTHING } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual } from "../expect.ts";
import { BUSY, isAbout, Lab, type TxnFields } from "../lab.ts";
import { expectFields } from "../payloads.ts";

/** Longer than any interrupt takes. */
const SOON_NS = 100_000;
/** Longer than a few ticks. */
const TICKS_NS = 20_000_000;
const UNKNOWN_GTID: readonly [number, number] = [1, 0x3ffffe00];

/** How far a commit moves the target's agent barrier. */
async function barrierMove(lab: Lab, fields: TxnFields, wanted: number): Promise<number> {
  const before = lab.agentBarrier(1);
  expectEqual(await lab.commit(0, 1, fields), wanted, "state");
  return lab.agentBarrier(1) - before;
}

const BARRIER_CASES: readonly ContractCase[] = [
  {
    name: "barrier: a commit does not leave the target CPU's agent barrier as it was",
    rule: "commit.barrier_inc",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      expectEqual(await barrierMove(lab, { thread }, GHOST_TXN_COMPLETE), 1, "a task");
      expectEqual(await barrierMove(lab, {}, GHOST_TXN_COMPLETE), 1, "gtid 0");
    },
  },
  {
    name: "barrier: a commit with ELIDE_AGENT_BARRIER_INC does not move it",
    rule: "commit.elide_barrier_inc",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const commit_flags = COMMIT_AT_TXN_COMMIT | ELIDE_AGENT_BARRIER_INC;
      const fields = { thread: lab.task(), commit_flags };
      expectEqual(await barrierMove(lab, fields, GHOST_TXN_COMPLETE), 0, "barrier moved by");
    },
  },
  {
    name: "barrier: a failed commit with INC_AGENT_BARRIER_ON_FAILURE does not leave it",
    rule: "commit.failure_barrier_inc",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const commit_flags = COMMIT_AT_TXN_COMMIT | INC_AGENT_BARRIER_ON_FAILURE;
      const fields = { gtid: UNKNOWN_GTID, commit_flags };
      expectEqual(await barrierMove(lab, fields, GHOST_TXN_TARGET_NOT_FOUND), 1, "moved by");
    },
  },
  {
    name: "barrier: a failed commit without that flag does not move it",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const fields = { gtid: UNKNOWN_GTID };
      expectEqual(await barrierMove(lab, fields, GHOST_TXN_TARGET_NOT_FOUND), 0, "moved by");
    },
  },
  {
    name: "barrier: a remote commit may say any agent barrier",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const agent_barrier of [0, 12345, -1]) {
        const state = await lab.commit(0, 1, { agent_barrier });
        expectEqual(state, GHOST_TXN_COMPLETE, `agent barrier ${agent_barrier}`);
      }
    },
  },
];

const POINT_CASES: readonly ContractCase[] = [
  {
    name: "commit point: a withdrawn transaction is not committed",
    rule: "commit.claim",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      lab.openTxn(1, { thread });
      expect(lab.txns.abort(1), "withdrawn");
      await lab.call(0, COMMIT, 1);
      await host.sleep(SOON_NS);
      expectEqual(lab.txns.state(1), GHOST_TXN_ABORTED, "state");
      expect(!lab.isOnCpu(thread), "the task does not run");
    },
  },
  {
    name: "commit point: a greedy transaction is not decided within the call",
    rule: "commit.greedy_later",
    negative: true,
    requires: ["greedy_commit"],
    needs: ["late_greedy"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.openTxn(1, { thread: lab.task(), commit_flags: 0 });
      await lab.call(0, COMMIT, 1);
      expect(txnClaimed(lab.txns.state(1)), "claimed, not decided");
      expectEqual(await lab.decided(1), GHOST_TXN_COMPLETE, "state");
    },
  },
  {
    name: "commit point: a greedy transaction is decided in the end, well or badly",
    requires: ["greedy_commit"],
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [0, 1] });
      const thread = lab.task();
      const good = await lab.commit(0, 1, { thread, commit_flags: 0 });
      expectEqual(good, GHOST_TXN_COMPLETE, "a task");
      await lab.until(() => lab.isOnCpu(thread), "the task runs");
      const bad = await lab.commit(0, 1, { gtid: UNKNOWN_GTID, commit_flags: 0 });
      expectEqual(bad, GHOST_TXN_TARGET_NOT_FOUND, "an unknown gtid");
      for (const cpu of [2, host.outside_cpu]) {
        const nobody = await lab.commit(0, cpu, { commit_flags: 0 });
        expectEqual(nobody, GHOST_TXN_NO_AGENT, `CPU ${cpu}, which has no agent`);
      }
    },
  },
  {
    name:
      "commit point: COMMIT_AT_SCHEDULE is not committed by the call, but when the agent yields",
    rule: "commit.at_schedule",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.idle(1);
      lab.openTxn(1, { thread, commit_flags: COMMIT_AT_SCHEDULE });
      await lab.call(0, COMMIT, 1);
      await host.sleep(SOON_NS);
      expectEqual(lab.txns.state(1), GHOST_TXN_READY, "after the call");
      lab.fill(1, {
        thread,
        commit_flags: COMMIT_AT_SCHEDULE,
        agent_barrier: lab.agentBarrier(1) + 1,
      });
      host.nudge(lab.control, 1);
      expectEqual(await lab.decided(1), GHOST_TXN_COMPLETE, "after the yield");
      await lab.until(() => lab.isOnCpu(thread), "the task runs");
    },
  },
  {
    name: "commit point: a tick commits nothing without commit_at_tick",
    rule: "commit.tick_off",
    negative: true,
    requires: ["ticks"],
    cpu_count: 2,
    run: async (host) => {
      // Nothing else may happen on the CPU: a greedy transaction is committed at any chance.
      const lab = await Lab.open(host, { queues: "polled" });
      expectEqual(lab.control.writeTunable("deliver_ticks", 1), 0, "deliver_ticks");
      await lab.idle(1);
      lab.openTxn(1, { thread: lab.task(), commit_flags: 0 });
      await host.sleep(TICKS_NS);
      expectEqual(lab.txns.state(1), GHOST_TXN_READY, "state");
    },
  },
  {
    name: "commit point: commit_at_tick commits greedy transactions at the next tick",
    requires: ["ticks"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("commit_at_tick", 1), 0, "commit_at_tick");
      const thread = lab.task();
      lab.openTxn(1, { thread, commit_flags: 0 });
      await lab.until(() => lab.txns.state(1) < 0, "decided", TICKS_NS);
      expectEqual(lab.txns.state(1), GHOST_TXN_COMPLETE, "state");
      await lab.until(() => lab.isOnCpu(thread), "the task runs");
    },
  },
  {
    name: "commit point: commit_at_tick leaves transactions with another commit point alone",
    rule: "commit.tick_greedy_only",
    negative: true,
    requires: ["ticks"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("commit_at_tick", 1), 0, "commit_at_tick");
      lab.openTxn(1, { thread: lab.task() });
      await host.sleep(TICKS_NS);
      expectEqual(lab.txns.state(1), GHOST_TXN_READY, "state");
    },
  },
];

const LOCAL_CASES: readonly ContractCase[] = [
  {
    name: "local commit: with a thread of a higher class waiting, the task is PREEMPT, was_latched",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.hold(0);
      host.occupy(0);
      const boosted = (): boolean => (lab.agentFlags(0) & GHOST_SW_BOOST_PRIO) !== 0;
      await lab.until(boosted, "the agent's priority is boosted");
      expectEqual(await lab.commitLocal(0, { thread }), GHOST_TXN_COMPLETE, "state");
      const message = await lab.message(MSG_TASK_PREEMPT, thread);
      expectFields(host.kernel.abi.version, message, { cpu: 0, was_latched: 1 });
    },
  },
  {
    name: "local commit: the agent gives its CPU away and is not stepped until it is woken",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(0, thread);
      const before = lab.steps(0);
      await host.sleep(1_000_000);
      expectEqual(lab.steps(0), before, "steps while the task runs");
      expect(lab.isOnCpu(thread), "the task still runs");
      await lab.call(0, NOTHING);
      expect(lab.steps(0) > before, "a ping brings the agent back");
      await lab.message(MSG_TASK_PREEMPT, thread);
    },
  },
  {
    name: "local commit: an agent whose commit failed keeps its CPU",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.idle(0);
      const before = lab.steps(0);
      const state = await lab.commitLocal(0, { gtid: UNKNOWN_GTID });
      expectEqual(state, GHOST_TXN_TARGET_NOT_FOUND, "state");
      await lab.until(() => lab.steps(0) > before + 1, "a step after the commit");
    },
  },
];

const THREAD_CASES: readonly ContractCase[] = [
  {
    name: "gtid 0: the task on the CPU does not stay there",
    rule: "commit.null_gtid",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      expectEqual(await lab.commit(0, 1, {}), GHOST_TXN_COMPLETE, "state");
      await lab.until(() => !lab.isOnCpu(thread), "the task is off its CPU");
      const message = await lab.message(MSG_TASK_PREEMPT, thread);
      expectFields(host.kernel.abi.version, message, { cpu: 1, was_latched: 0 });
    },
  },
  {
    name: "idle gtid: the task on the CPU is preempted",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      expectEqual(await lab.commit(0, 1, { gtid: [-2, -1] }), GHOST_TXN_COMPLETE, "state");
      await lab.message(MSG_TASK_PREEMPT, thread);
      expect(!lab.isOnCpu(thread), "the task is off its CPU");
    },
  },
  {
    name: "a committed task displaces the one that runs, which is told by TASK_PREEMPT",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [first, second] = [lab.task(), lab.task()];
      await lab.runOn(1, first);
      expectEqual(await lab.commit(0, 1, { thread: second }), GHOST_TXN_COMPLETE, "state");
      const message = await lab.message(MSG_TASK_PREEMPT, first);
      expectFields(host.kernel.abi.version, message, { cpu: 1, was_latched: 0 });
      await lab.until(() => lab.isOnCpu(second), "the second task runs");
    },
  },
  {
    name: "a task that is latched while the CPU's agent runs is PREEMPT with was_latched",
    rule: "latch.agent_preempts",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.hold(1);
      expectEqual(await lab.commit(0, 1, { thread }), GHOST_TXN_COMPLETE, "state");
      const message = await lab.message(MSG_TASK_PREEMPT, thread);
      expectFields(host.kernel.abi.version, message, { cpu: 1, was_latched: 1 });
      await lab.release(1);
      expect(!lab.isOnCpu(thread), "it does not run");
    },
  },
  {
    name: "DEFER_LATCHED_PREEMPTION_BY_AGENT: a latched task that is displaced is PREEMPT",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [first, second] = [lab.task(), lab.task()];
      const run_flags = DEFER_LATCHED_PREEMPTION_BY_AGENT;
      await lab.hold(1);
      for (const thread of [first, second]) {
        const state = await lab.commit(0, 1, { thread, run_flags });
        expectEqual(state, GHOST_TXN_COMPLETE, "state");
      }
      const message = await lab.message(MSG_TASK_PREEMPT, first);
      expectFields(host.kernel.abi.version, message, { cpu: 1, was_latched: 1 });
      await lab.release(1);
      // Meanwhile a tick may have come, which the flag does not outlast.
      const isTold = (): boolean => {
        lab.takeMessages();
        return lab.log.some((one) => one.type === MSG_TASK_PREEMPT && isAbout(one, second));
      };
      await lab.until(() => lab.isOnCpu(second) || isTold(), "the second task runs or is told off");
    },
  },
  {
    name: "ALLOW_TASK_ONCPU: a task goes on where it is, without a message",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
      const state = await lab.commit(0, 1, { thread, commit_flags });
      expectEqual(state, GHOST_TXN_COMPLETE, "state");
      await host.sleep(SOON_NS);
      expect(lab.isOnCpu(thread), "the task still runs");
      await lab.call(0, NOTHING);
      const types = lab.takeMessages().map((message) => message.type);
      expect(!types.includes(MSG_TASK_PREEMPT), "no TASK_PREEMPT");
    },
  },
  {
    name: "ALLOW_TASK_ONCPU: a task that runs on another CPU than the record's is TARGET_ONCPU",
    rule: "commit.oncpu",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task(BUSY);
      await lab.runOn(2, thread);
      const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
      const state = await lab.commit(0, 1, { thread, commit_flags });
      expectEqual(state, GHOST_TXN_TARGET_ONCPU, "state");
    },
  },
  {
    name: "commit_time is the time of the commit, and cpu_seqnum grows with each",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      let seqnum = 0;
      for (const thread of [lab.task(), lab.task()]) {
        const before_ns = host.nowNs();
        expectEqual(await lab.commit(0, 1, { thread }), GHOST_TXN_COMPLETE, "state");
        expectBetween(lab.txns.commitTimeNs(1), before_ns, host.nowNs(), "commit_time");
        const now = u64At(lab.txns.words, TXN_STRIDE_WORDS + TXN_CPU_SEQNUM_WORD);
        expect(now > seqnum, `cpu_seqnum ${now} after ${seqnum}`);
        seqnum = now;
      }
    },
  },
];

/** What a commit does. */
export const COMMIT_EFFECT_CASES: readonly ContractCase[] = [
  ...BARRIER_CASES,
  ...POINT_CASES,
  ...LOCAL_CASES,
  ...THREAD_CASES,
];
