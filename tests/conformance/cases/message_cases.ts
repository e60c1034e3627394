/**
 * Messages about tasks, field by field, under each ABI version (reference sections 1.3, 1.4, 1.7).
 *
 * @module
 */
import {
  ELIDE_PREEMPT,
  GHOST_TXN_COMPLETE,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_NEW,
  MSG_TASK_ON_CPU,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
  SEND_TASK_ON_CPU,
} from "../../../ffi/abi/constants.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual } from "../expect.ts";
import type { ThreadAction } from "../host.ts";
import type { LoggedMessage } from "../case_memory.ts";
import { BUSY, isAbout, Lab } from "../lab.ts";
import { expectFields, fieldsOf, gtidNumber } from "../payloads.ts";

const ALL_ABIS = [69, 84, 90, 91] as const;
const MODERN_ABIS = [84, 90, 91] as const;
/** What a slow machine, or one that counts from the thread's start, may add. */
const SLOW_NS = 1_000_000_000;
const RUN_NS = 50_000;
const RUN: ThreadAction = { op: "run", ns: RUN_NS };

const LIFE_CASES: readonly ContractCase[] = [
  {
    name: "TASK_NEW: gtid, runtime, runnable, nice, parent and status word",
    abi_versions: ALL_ABIS,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const thread = host.spawn([RUN, { op: "block" }]);
      host.setNice(thread, -7);
      expectEqual(lab.control.join(thread.tid), 0, "join");
      const message = await lab.message(MSG_TASK_NEW, thread);
      expectFields(version, message, {
        gtid: gtidNumber(thread),
        runtime: 0,
        runnable: 0,
        sw_id: 0,
        sw_index: lab.indexOf(thread),
        ...(version >= 75 ? { nice: -7, parent_gtid: 0 } : {}),
        ...(version >= 88 ? { agent_data: 0 } : {}),
      });
      expectEqual(message.seqnum, lab.taskBarrier(thread), "seqnum is the barrier");
    },
  },
  {
    name: "TASK_WAKEUP: last CPU, wake-up CPU and waker's CPU",
    abi_versions: ALL_ABIS,
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      const sleeper = lab.task([RUN, { op: "block" }]);
      await lab.runOn(2, sleeper);
      await lab.message(MSG_TASK_BLOCKED, sleeper);
      const waker = lab.task([{ op: "wake", tid: sleeper.tid }, { op: "block" }]);
      await lab.runOn(1, waker);
      await lab.message(MSG_TASK_BLOCKED, waker);
      const wakeups = (await lab.messagesOf(sleeper)).filter((m) => m.type === MSG_TASK_WAKEUP);
      expectFields(host.kernel.abi.version, wakeups[1], {
        gtid: gtidNumber(sleeper),
        last_ran_cpu: 2,
        wake_up_cpu: 2,
        waker_cpu: 1,
        agent_data: 0,
      });
    },
  },
  {
    name: "TASK_WAKEUP: with wake_on_waker_cpu the wake-up CPU is not the task's own",
    rule: "wakeup.on_waker_cpu",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("wake_on_waker_cpu", 1), 0, "wake_on_waker_cpu");
      const sleeper = lab.task([RUN, { op: "block" }]);
      await lab.runOn(2, sleeper);
      await lab.message(MSG_TASK_BLOCKED, sleeper);
      const waker = lab.task([{ op: "wake", tid: sleeper.tid }, { op: "block" }]);
      await lab.runOn(1, waker);
      await lab.message(MSG_TASK_BLOCKED, waker);
      const wakeups = (await lab.messagesOf(sleeper)).filter((m) => m.type === MSG_TASK_WAKEUP);
      expectFields(host.kernel.abi.version, wakeups[1], { last_ran_cpu: 2, wake_up_cpu: 1 });
    },
  },
  {
    name: "TASK_DEAD: gtid and, from ABI 89 on, the CPU",
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const thread = lab.task([RUN]);
      await lab.runOn(1, thread);
      const message = await lab.message(MSG_TASK_DEAD, thread);
      expectFields(version, message, {
        gtid: gtidNumber(thread),
        ...(version >= 89 ? { cpu: 1 } : {}),
      });
    },
  },
];

const OFF_CPU_CASES: readonly ContractCase[] = [
  {
    name: "TASK_BLOCKED: runtime and CPU",
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([RUN, { op: "block" }]);
      await lab.runOn(1, thread);
      const message = await lab.message(MSG_TASK_BLOCKED, thread);
      expectFields(host.kernel.abi.version, message, {
        gtid: gtidNumber(thread),
        cpu: 1,
        from_switchto: 0,
      });
      const { runtime } = fieldsOf(host.kernel.abi.version, message);
      expectBetween(runtime, RUN_NS, RUN_NS + SLOW_NS, "runtime");
    },
  },
  {
    name: "TASK_YIELD: runtime and CPU",
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([RUN, { op: "yield" }, ...BUSY]);
      await lab.runOn(1, thread);
      const message = await lab.message(MSG_TASK_YIELD, thread);
      expectFields(host.kernel.abi.version, message, {
        gtid: gtidNumber(thread),
        cpu: 1,
        from_switchto: 0,
        agent_data: 0,
      });
      const { runtime } = fieldsOf(host.kernel.abi.version, message);
      expectBetween(runtime, RUN_NS, RUN_NS + SLOW_NS, "runtime");
      expect(!lab.isOnCpu(thread), "it waits for the next commit");
    },
  },
  {
    name: "TASK_PREEMPT: a task that a higher class displaces does not go without a message",
    rule: "message.preempt",
    negative: true,
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      await lab.occupy(1);
      const message = await lab.message(MSG_TASK_PREEMPT, thread);
      expectFields(host.kernel.abi.version, message, {
        gtid: gtidNumber(thread),
        cpu: 1,
        from_switchto: 0,
        was_latched: 0,
        agent_data: 0,
      });
    },
  },
  {
    name: "ELIDE_PREEMPT: the displaced task sends no TASK_PREEMPT, and its barrier moves",
    rule: "run.elide_preempt",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [first, second] = [lab.task(), lab.task()];
      await lab.runOn(1, first);
      const before = lab.taskBarrier(first);
      const fields = { thread: second, run_flags: ELIDE_PREEMPT };
      expectEqual(await lab.commit(0, 1, fields), GHOST_TXN_COMPLETE, "state");
      await lab.until(() => lab.isOnCpu(second), "the second task runs");
      expectEqual(lab.taskBarrier(first) - before, 1, "barrier moved by");
      const types = (await lab.messagesOf(first)).map((message) => message.type);
      expect(!types.includes(MSG_TASK_PREEMPT), "no TASK_PREEMPT");
    },
  },
  {
    name: "cpu_seqnum: it grows from message to message of a CPU",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const script: ThreadAction[] = [{ op: "repeat", count: 3, actions: [RUN, { op: "yield" }] }];
      const thread = lab.task(script);
      let seqnum = -1;
      for (let turn = 1; turn <= 3; turn++) {
        await lab.runOn(1, thread);
        await lab.until(() => !lab.isOnCpu(thread), "the task yields");
        const yields = (await lab.messagesOf(thread)).filter((m) => m.type === MSG_TASK_YIELD);
        expectEqual(yields.length, turn, "TASK_YIELD messages");
        const { cpu_seqnum } = fieldsOf(host.kernel.abi.version, yields[turn - 1]);
        expect(cpu_seqnum > seqnum, `cpu_seqnum ${cpu_seqnum} after ${seqnum}`);
        seqnum = cpu_seqnum;
      }
    },
  },
];

const CHANGE_CASES: readonly ContractCase[] = [
  {
    name: "TASK_AFFINITY_CHANGED: the gtid",
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([{ op: "affinity", cpus: [1] }, { op: "block" }]);
      await lab.runOn(0, thread);
      const message = await lab.message(MSG_TASK_AFFINITY_CHANGED, thread);
      expectFields(host.kernel.abi.version, message, { gtid: gtidNumber(thread) });
    },
  },
  {
    name: "TASK_PRIORITY_CHANGED: a change of nice does not go unsaid",
    rule: "message.priority",
    negative: true,
    requires: ["priority_changed"],
    abi_versions: MODERN_ABIS,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([{ op: "nice", nice: -3 }, { op: "block" }]);
      await lab.runOn(0, thread);
      const message = await lab.message(MSG_TASK_PRIORITY_CHANGED, thread);
      expectFields(host.kernel.abi.version, message, { gtid: gtidNumber(thread), nice: -3 });
    },
  },
  {
    name: "TASK_PRIORITY_CHANGED: ABI 69 has no such message",
    abi_versions: [69],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      host.setNice(thread, 5);
      host.wake(thread);
      const messages = await lab.messagesOf(thread);
      const seen = messages.map(({ type }) => type);
      expectEqual(seen, [MSG_TASK_NEW, MSG_TASK_WAKEUP], "messages");
    },
  },
  {
    name: "TASK_LATCH_FAILURE: a latched task that cannot be switched to says why",
    requires: ["latch_failure"],
    needs: ["latch_failure"],
    abi_versions: MODERN_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      expectEqual(await lab.commit(0, 1, { thread }), GHOST_TXN_COMPLETE, "state");
      const message = await lab.message(MSG_TASK_LATCH_FAILURE, thread);
      const fields = fieldsOf(host.kernel.abi.version, message);
      expectEqual(fields.gtid, gtidNumber(thread), "gtid");
      expect(fields.errno > 0, `errno ${fields.errno}`);
      expect(!lab.isOnCpu(thread), "the task does not run");
    },
  },
];

const SWITCH_CASES: readonly ContractCase[] = [
  {
    name: "TASK_SWITCHTO: a task hands its CPU to a sleeper, whose messages tell of it",
    requires: ["switchto"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const target = lab.task([RUN, { op: "block" }, RUN, { op: "yield" }]);
      await lab.runOn(1, target);
      await lab.message(MSG_TASK_BLOCKED, target);
      const source = lab.task([RUN, { op: "switch_to", tid: target.tid }]);
      await lab.runOn(1, source);
      const switched = await lab.message(MSG_TASK_SWITCHTO, source);
      expectFields(version, switched, { gtid: gtidNumber(source), cpu: 1 });
      expect(fieldsOf(version, switched).runtime >= RUN_NS, "runtime");
      const yielded = await lab.message(MSG_TASK_YIELD, target);
      expectFields(version, yielded, { gtid: gtidNumber(target), cpu: 1, from_switchto: 1 });
    },
  },
  {
    name: "TASK_SWITCHTO: with switchto_disabled no task gets a CPU that way",
    rule: "switchto.disabled",
    negative: true,
    requires: ["switchto"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("switchto_disabled", 1), 0, "switchto_disabled");
      const target = lab.sleeper();
      const source = lab.task([RUN, { op: "switch_to", tid: target.tid }, { op: "block" }]);
      await lab.runOn(1, source);
      await lab.message(MSG_TASK_BLOCKED, source);
      expect(!lab.isOnCpu(target), "the sleeper does not run");
      const types = (await lab.messagesOf(source)).map((message) => message.type);
      expect(!types.includes(MSG_TASK_SWITCHTO), "no TASK_SWITCHTO");
    },
  },
];

/** From this version on the message is TASK_ON_CPU; before, TASK_LATCHED. */
const ON_CPU_SINCE = 78;

const ON_CPU_CASES: readonly ContractCase[] = [
  {
    name: "TASK_ON_CPU: with SEND_TASK_ON_CPU it tells commit time, cpu_seqnum and CPU",
    requires: ["on_cpu_message"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      const state = await lab.commit(0, 1, { thread, run_flags: SEND_TASK_ON_CPU });
      expectEqual(state, GHOST_TXN_COMPLETE, "state");
      const message = await lab.message(MSG_TASK_ON_CPU, thread);
      const { version } = host.kernel.abi;
      expectFields(version, message, { gtid: gtidNumber(thread), cpu: 1 });
      // TASK_LATCHED of old ABIs tells its own time.
      const commit_ns = lab.txns.commitTimeNs(1);
      const until_ns = version < ON_CPU_SINCE ? host.nowNs() : commit_ns;
      expectBetween(fieldsOf(version, message).commit_time, commit_ns, until_ns, "commit_time");
    },
  },
  {
    name: "TASK_ON_CPU: it is not sent of a task that did not run, but by ABI 69, as preempted",
    requires: ["on_cpu_message"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const thread = lab.task();
      await lab.hold(1);
      await lab.commit(0, 1, { thread, run_flags: SEND_TASK_ON_CPU });
      await lab.message(MSG_TASK_PREEMPT, thread);
      const told = (): LoggedMessage[] =>
        lab.log.filter((message) => message.type === MSG_TASK_ON_CPU && isAbout(message, thread));
      const preempted = told().map((message) => fieldsOf(version, message).latched_preempt);
      expectEqual(
        preempted,
        version < ON_CPU_SINCE ? [1] : [],
        "told of the task that did not run",
      );
      await lab.release(1);
      await lab.commit(0, 1, { thread, run_flags: SEND_TASK_ON_CPU });
      await lab.until(() => lab.isOnCpu(thread), "the task runs");
      await lab.messages();
      expectEqual(told().length, preempted.length + 1, "messages");
    },
  },
  {
    name: "TASK_ON_CPU: it is not sent unless it was asked for",
    rule: "message.on_cpu_asked",
    negative: true,
    abi_versions: [69, 91],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      const types = (await lab.messagesOf(thread)).map((message) => message.type);
      expect(!types.includes(MSG_TASK_ON_CPU), "no TASK_ON_CPU");
    },
  },
  {
    name: "seqnum: it does not stay the same from one message of a task to the next",
    rule: "message.seqnum",
    negative: true,
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([RUN, { op: "yield" }, RUN, { op: "block" }]);
      await lab.runOn(1, thread);
      await lab.message(MSG_TASK_YIELD, thread);
      await lab.runOn(1, thread);
      await lab.message(MSG_TASK_BLOCKED, thread);
      const seqnums = (await lab.messagesOf(thread)).map((message) => message.seqnum);
      expectEqual(seqnums.length, 4, "messages");
      seqnums.reduce((before, now) => {
        expect(now > before, `seqnum ${now} after ${before}`);
        return now;
      });
      expectEqual(seqnums.at(-1), lab.taskBarrier(thread), "the last one is the barrier");
    },
  },
];

/** Messages about tasks. */
export const MESSAGE_CASES: readonly ContractCase[] = [
  ...LIFE_CASES,
  ...OFF_CPU_CASES,
  ...CHANGE_CASES,
  ...SWITCH_CASES,
  ...ON_CPU_CASES,
];
