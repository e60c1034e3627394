/**
 * Upstream's tests/api_test.cc on any kernel (reference section 8.1).
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_TXN_COMMIT,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  MSG_CPU_NOT_IDLE,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_NEW,
  MSG_TASK_PRIORITY_CHANGED,
  NEED_CPU_NOT_IDLE,
  STATUS_WORD_BYTES,
  SW_REGION_START_WORD,
  SW_SWITCH_TIME_WORD,
} from "../../../ffi/abi/constants.ts";
import { u64At } from "../../../ffi/memory.ts";
import { EPERM, ESRCH } from "../../../kernels/kernel.ts";
import { AGAIN, type Verdict } from "../../../lib/policy.ts";
import { commandStep } from "../agent_commands.ts";
import { CELL_COUNT } from "../case_memory.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual, expectOneOf } from "../expect.ts";
import type { ContractAgent, ContractHost, ContractThread, ThreadAction } from "../host.ts";
import { BUSY, Lab } from "../lab.ts";
import {
  COMPLETE_CELL,
  CPU_COUNT_CELL,
  GLOBAL_CPU_CELL,
  miniPolicyStep,
  startPolicy,
} from "../mini_policy.ts";
import { fieldsOf } from "../payloads.ts";
import { FAILURE_CELL, SUCCESS_CELL, syncGroupStep, VIOLATION_CELL } from "../sync_group_policy.ts";
import { STRAY_CELL, TWICE_NEW_CELL } from "../task_rows.ts";

const LONG_NS = 60_000_000_000;
// Cells of runDeadStep: 1 while it commits, status index, gtid words, commits so far.
const [ACTIVE, TARGET_INDEX, TARGET_LO, TARGET_HI, COMMITS] = [20, 21, 22, 23, 24];

/** Commits one task on CPU 1 again and again, whatever comes of it. */
function runDeadStep(agent: ContractAgent): Verdict {
  const { words, txns, port, status, memory } = agent;
  if (agent.cpu !== 0 || memory.acquire(words, ACTIVE) === 0) return commandStep(agent);
  commandStep(agent);
  if (txns.state(1) < 0) {
    const barrier = status.barrier(words[TARGET_INDEX]);
    const [lo, hi] = [words[TARGET_LO], words[TARGET_HI]];
    txns.open(1, lo, hi, barrier, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(1);
    words[COMMITS]++;
  }
  return AGAIN;
}

const SYNC_WORK: readonly ThreadAction[] = [
  { op: "run", ns: 1_000_000 },
  { op: "repeat", count: 20, actions: [{ op: "sleep", ns: 100_000 }, { op: "run", ns: 10_000 }] },
  { op: "run", ns: 100_000 },
  { op: "yield" },
];

/** One size of SyncGroupTest.Commit; how many groups succeeded and how many failed. */
async function runSyncGroups(
  host: ContractHost,
  cpu_count: number,
  count: number,
): Promise<readonly [succeeded: number, failed: number]> {
  const cpus = host.cpus.slice(0, cpu_count);
  const { words } = host;
  words.fill(0, 0, CELL_COUNT);
  const lab = await Lab.open(host, { cpus, queues: "one" });
  words[CPU_COUNT_CELL] = cpu_count;
  host.kernel.memory.publish(words, GLOBAL_CPU_CELL, cpus[0] + 1);
  host.nudge(lab.control, cpus[0]);
  const threads = Array.from({ length: count }, () => lab.task(SYNC_WORK));
  const all = (): boolean => threads.every((thread) => host.hasExited(thread));
  const size = `${cpu_count} CPUs, ${count} threads`;
  await lab.until(all, `all threads exit with ${size}`, LONG_NS);
  expectEqual(words[VIOLATION_CELL], 0, `groups that broke the contract with ${size}`);
  // On a real machine a nap can be over before its thread sleeps, and needs no group then.
  const is_exact = host.patience === 1;
  expect(words[SUCCESS_CELL] > (is_exact ? 20 : 0), `groups succeeded with ${size}`);
  if (is_exact) expect(words[FAILURE_CELL] > 0, `groups failed with ${size}`);
  lab.close();
  return [words[SUCCESS_CELL], words[FAILURE_CELL]];
}

const TRANSACTION_CASES: readonly ContractCase[] = [
  {
    name: "api_test RunDeadTask: a task that exits under commits leaves nothing stranded",
    cpu_count: 2,
    step: runDeadStep,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (let count = 0; count < 50; count++) {
        const thread = lab.task([{ op: "run", ns: 1_000 + count * 100 }]);
        const index = lab.indexOf(thread);
        host.words.set([index, thread.gtid_lo, thread.gtid_hi], TARGET_INDEX);
        host.kernel.memory.publish(host.words, ACTIVE, 1);
        host.nudge(lab.control, 0);
        await lab.until(() => host.hasExited(thread), "the task exits");
        await lab.message(MSG_TASK_DEAD, thread);
        host.kernel.memory.publish(host.words, ACTIVE, 0);
        await lab.until(() => lab.txns.state(1) < 0, "the transaction is decided");
        expectEqual(lab.control.freeStatusWord(index), 0, "free the status word");
      }
      expect(host.words[COMMITS] > 50, `${host.words[COMMITS]} commits`);
      expectEqual(lab.control.taskTids(), [], "threads of the enclave");
    },
  },
  {
    name: "api_test SyncGroupTest.Commit: 1 to 8 CPUs with 1 to 16 threads, all or none",
    requires: ["sync_group"],
    cpu_count: 8,
    step: syncGroupStep,
    run: async (host) => {
      let [succeeded, failed] = [0, 0];
      for (const cpu_count of [1, 2, 4, 8]) {
        for (const count of [1, 4, 8, 16]) {
          const counts = await runSyncGroups(host, cpu_count, count);
          succeeded += counts[0];
          failed += counts[1];
        }
      }
      expect(succeeded > 20 * 16, `${succeeded} groups succeeded`);
      expect(failed > 0, "groups failed");
    },
  },
  {
    name: "sync group: a thread of the default class that is bound to the agent's CPU gets it",
    requires: ["sync_group"],
    cpu_count: 1,
    step: syncGroupStep,
    run: async (host) => {
      const [cpu] = host.cpus;
      host.words[CPU_COUNT_CELL] = 1;
      const lab = await Lab.open(host, { queues: "one" });
      host.kernel.memory.publish(host.words, GLOBAL_CPU_CELL, cpu + 1);
      host.nudge(lab.control, cpu);
      const turns: ThreadAction[] = [{ op: "run", ns: 50_000 }, { op: "yield" }];
      const threads = Array.from(
        { length: 4 },
        () => lab.task([{ op: "repeat", count: 20, actions: turns }]),
      );
      await lab.until(() => host.words[SUCCESS_CELL] > 0, "a group succeeds");
      const naps: ThreadAction[] = [{ op: "sleep", ns: 100_000 }, { op: "run", ns: 50_000 }];
      const actions: ThreadAction[] = [{ op: "repeat", count: 5, actions: naps }];
      const bound = host.spawn([{ op: "affinity", cpus: [cpu] }, ...actions]);
      host.wake(bound);
      const all = [bound, ...threads];
      await lab.until(() => all.every((thread) => host.hasExited(thread)), "all end", LONG_NS);
      expectEqual(host.words[VIOLATION_CELL], 0, "groups that broke the contract");
    },
  },
  {
    name: "api_test NeedCpuNotIdle: edges of a CPU are told if asked for, of others never",
    requires: ["cpu_not_idle"],
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (let count = 0; count < 10; count++) {
        for (const cpu of [1, 2]) {
          const run_flags = cpu % 2 === 1 ? NEED_CPU_NOT_IDLE : 0;
          const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
          const state = await lab.commit(0, cpu, { gtid: [-2, -1], run_flags, commit_flags });
          expectEqual(state, GHOST_TXN_COMPLETE, `idle transaction of CPU ${cpu}`);
        }
        const threads = [host.occupy(1), host.occupy(2)];
        await host.sleep(50_000);
        threads.forEach((thread) => host.kill(thread));
        await host.sleep(50_000);
      }
      const messages = (await lab.messages()).filter(({ type }) => type === MSG_CPU_NOT_IDLE);
      expect(messages.length >= 1, "CPU_NOT_IDLE was sent");
      expect(messages.every(({ payload }) => payload[0] === 1), "about CPU 1 only");
    },
  },
  {
    name: "api_test CheckVersion: the ABI in use is one that the kernel offers",
    abi_versions: [69, 84, 90, 91],
    cpu_count: 1,
    run: (host) => {
      const { version } = host.kernel.abi;
      expect(host.kernel.abiVersions().includes(version), `ABI ${version} is offered`);
      return Promise.resolve();
    },
  },
  {
    name: "api_test KernelTimes: commit, then switch, each soon after the other",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const soon_ns = 100_000 * host.patience;
      const actions: ThreadAction[] = [{ op: "run", ns: 10_000 }, { op: "yield" }];
      const thread = lab.task([{ op: "repeat", count: 10, actions }, ...BUSY]);
      const at = lab.control.status_words[SW_REGION_START_WORD] / 4 +
        lab.indexOf(thread) * (STATUS_WORD_BYTES / 4) + SW_SWITCH_TIME_WORD;
      for (let turn = 0; turn < 10; turn++) {
        const asked_ns = host.nowNs();
        await lab.runOn(0, thread);
        const commit_ns = lab.txns.commitTimeNs(0);
        const switch_ns = u64At(lab.control.status_words, at);
        expectBetween(commit_ns - asked_ns, 0, soon_ns, "ns from asking to the commit");
        expectBetween(switch_ns - commit_ns, 1, soon_ns, "ns from the commit to the switch");
        await lab.until(() => !lab.isOnCpu(thread), "the task yields");
      }
    },
  },
];

const RACE_CASES: readonly ContractCase[] = [
  {
    name: "api_test SchedAffinityRace: a task whose CPU is taken from it is not stranded",
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      const actions: ThreadAction[] = [{ op: "run", ns: 5_000 }, { op: "yield" }];
      // It sleeps in the end: a kernel warns of a change of affinity that finds a thread dead.
      const thread = lab.task([{ op: "repeat", count: 100, actions }, { op: "block" }]);
      const isAsleep = (): boolean => (lab.taskFlags(thread) & GHOST_SW_TASK_RUNNABLE) === 0;
      await lab.until(() => !isAsleep(), "the task can run");
      for (let turn = 0; !isAsleep(); turn++) {
        expect(turn < 1000, "the task gets on");
        const cpu = 1 + (turn & 1);
        const state = await lab.commit(0, cpu, { thread });
        if (state === GHOST_TXN_COMPLETE) host.setAffinity(thread, [0, 3 - cpu]);
        await host.sleep(10_000);
      }
      await lab.message(MSG_TASK_BLOCKED, thread);
    },
  },
  {
    name: "api_test DepartedRace: 1000 times out and in again, and TASK_NEW comes first",
    cpu_count: 3,
    step: miniPolicyStep,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      startPolicy(lab);
      const actions: ThreadAction[] = [
        { op: "run", ns: 3_000 },
        { op: "leave" },
        { op: "affinity", cpus: [1, 2] },
        { op: "run", ns: 2_000 },
        // If nobody else has moved it in by now: a real host's control side is too slow for most.
        { op: "join", enclave: lab.control },
        { op: "affinity", cpus: [0, 1, 2] },
      ];
      const thread = host.spawn([{ op: "repeat", count: 1000, actions }]);
      host.wake(thread);
      let joined = 0;
      for (let turn = 0; !host.hasExited(thread); turn++) {
        expect(turn < 20_000, `the thread gets on: ${joined} times in`);
        const result = lab.control.join(thread.tid);
        expectOneOf(result, [0, -EPERM, -ESRCH], "join");
        if (result === 0) joined++;
        await host.sleep(1_000 + (joined * 7919) % 4_000);
      }
      const run_count = host.words[COMPLETE_CELL];
      if (host.patience === 1) expect(joined > 300, `${joined} times in`);
      expect(
        run_count > 300,
        `${run_count} times on a CPU of the enclave, ${joined} times moved in`,
      );
      await lab.until(() => lab.control.taskTids().length === 0, "the enclave is empty");
      expectEqual(host.words[STRAY_CELL], 0, "messages before TASK_NEW");
      expectEqual(host.words[TWICE_NEW_CELL], 0, "TASK_NEW of a task that was there");
    },
  },
];

/** The thread runs to its end: TASK_NEW has told of nice 1, a message after it of nice 2. */
async function expectNiceTold(lab: Lab, thread: ContractThread): Promise<void> {
  await lab.runOn(1, thread);
  await lab.message(MSG_TASK_DEAD, thread);
  const wanted = [MSG_TASK_NEW, MSG_TASK_PRIORITY_CHANGED, MSG_TASK_DEAD];
  const messages = (await lab.messagesOf(thread)).filter(({ type }) => wanted.includes(type));
  expectEqual(messages.map(({ type }) => type), wanted, "messages in their order");
  const { version } = lab.host.kernel.abi;
  expectEqual(fieldsOf(version, messages[0]).nice, 1, "nice of TASK_NEW");
  expectEqual(fieldsOf(version, messages[1]).nice, 2, "nice of TASK_PRIORITY_CHANGED");
}

const TASK_CASES: readonly ContractCase[] = [
  {
    name: "api_test GhostCloneGhost: the child of a ghOSt thread is a ghOSt thread",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const parent = lab.task([{ op: "fork", script: BUSY }, { op: "block" }]);
      await lab.runOn(1, parent);
      await lab.message(MSG_TASK_BLOCKED, parent);
      await lab.until(() => lab.control.taskTids().length === 2, "two threads in the enclave");
      expect(lab.control.taskTids().includes(parent.tid), "the parent is one of them");
    },
  },
  {
    name: "api_test GhostTaskPriorityViaGetSetPriority: nice before and after entering is told",
    requires: ["priority_changed"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = host.spawn([{ op: "nice", nice: 2 }, { op: "run", ns: 1_000 }]);
      host.setNice(thread, 1);
      expectEqual(lab.control.join(thread.tid), 0, "join");
      host.wake(thread);
      await expectNiceTold(lab, thread);
    },
  },
  {
    name:
      "api_test GhostTaskPriorityViaSchedGetSetAttr: the same by sched_setattr, class as it was",
    requires: ["priority_changed"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = host.spawn([{ op: "run", ns: 1_000 }]);
      const outside = host.setNiceByAttr(thread, 1);
      expectEqual(outside, [0, 0], "the default class before and after");
      expectEqual(lab.control.join(thread.tid), 0, "join");
      host.wake(thread);
      await lab.message(MSG_TASK_NEW, thread);
      const [before, after] = host.setNiceByAttr(thread, 2);
      expectEqual([before !== 0, after], [true, before], "its class before and after");
      await lab.message(MSG_TASK_PRIORITY_CHANGED, thread);
      await expectNiceTold(lab, thread);
    },
  },
];

/** api_test.cc. */
export const UPSTREAM_API_CASES: readonly ContractCase[] = [
  ...TRANSACTION_CASES,
  ...RACE_CASES,
  ...TASK_CASES,
];
