/**
 * Threads enter and leave an enclave (reference sections 1.4, 2.3 and 2.4).
 *
 * @module
 */
import {
  GHOST_SW_TASK_MSG_GATED,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEPARTED,
  MSG_TASK_NEW,
  MSG_TASK_WAKEUP,
} from "../../../ffi/abi/constants.ts";
import { ENOMEM, ENXIO, EPERM, ESRCH, EXDEV } from "../../../kernels/kernel.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual, expectOneOf } from "../expect.ts";
import { BUSY, createEnclave, createQueue, Lab } from "../lab.ts";
import { expectFields, fieldsOf } from "../payloads.ts";

const ERROR_CASES: readonly ContractCase[] = [
  {
    name: "join: a thread that does not exist is ESRCH",
    rule: "join.unknown",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = host.spawn([]);
      host.kill(thread);
      await lab.until(() => host.hasExited(thread), "the thread is dead");
      expectEqual(lab.control.join(thread.tid), -ESRCH, "a dead thread");
      expectEqual(lab.control.join(999_999_999), -ESRCH, "no thread");
    },
  },
  {
    name: "join: a thread that is in ghOSt is EPERM, here or in another enclave",
    rule: "join.twice",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { cpus: [0] });
      const other = await Lab.open(host, { cpus: [1] });
      const thread = lab.sleeper();
      expectEqual(lab.control.join(thread.tid), -EPERM, "the same enclave");
      expectEqual(other.control.join(thread.tid), -EPERM, "another enclave");
      expectEqual(lab.control.taskTids(), [thread.tid], "threads of the enclave");
      expectEqual(other.control.taskTids(), [], "threads of the other");
    },
  },
  {
    name: "join: without a default queue it is ENXIO",
    rule: "join.no_default",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const thread = host.spawn([]);
      expectEqual(control.join(thread.tid), -ENXIO, "without");
      expectEqual(control.setDefaultQueue(createQueue(control, 64, []).id), 0, "set one");
      expectEqual(control.join(thread.tid), 0, "with");
      return Promise.resolve();
    },
  },
  {
    name: "join: without a free status word it is ENOMEM",
    rule: "join.no_status_word",
    negative: true,
    needs: ["small_status_region"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      let result = 0;
      for (let count = 0; count < 20 && result === 0; count++) {
        result = lab.control.join(host.spawn([]).tid);
      }
      expectEqual(result, -ENOMEM, "join");
    },
  },
  {
    name: "join: a destroyed enclave is EXDEV",
    rule: "join.dying",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.control.destroy();
      expectEqual(lab.control.join(host.spawn([]).tid), -EXDEV, "join");
    },
  },
  {
    name: "CPUs: those of a destroyed enclave are EXDEV",
    rule: "cpus.dying",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      control.destroy();
      expectEqual(control.setCpus([0]), -EXDEV, "setCpus");
      return Promise.resolve();
    },
  },
];

const ENTER_CASES: readonly ContractCase[] = [
  {
    name: "join: the enclave lists its threads, agents left out",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.taskTids(), [], "at first");
      const [first, second] = [lab.sleeper(), lab.task()];
      const tids = [...lab.control.taskTids()].sort((a, b) => a - b);
      expectEqual(tids, [first.tid, second.tid], "two threads");
      host.leaveGhost(first);
      expectEqual(lab.control.taskTids(), [second.tid], "one has left");
      host.kill(second);
      await lab.until(() => lab.control.taskTids().length === 0, "the other has died");
    },
  },
  {
    name: "join: no message of a task comes before its TASK_NEW",
    rule: "message.new_first",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      const types = (await lab.messagesOf(thread)).map((message) => message.type);
      expectEqual(types, [MSG_TASK_NEW, MSG_TASK_WAKEUP], "messages");
    },
  },
  {
    name: "join: a thread that runs is taken off its CPU and is new and runnable",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = host.spawn([{ op: "join", enclave: lab.control }, ...BUSY]);
      host.wake(thread);
      const message = await lab.message(MSG_TASK_NEW, thread);
      expectFields(host.kernel.abi.version, message, { runnable: 1 });
      expectEqual(lab.taskFlags(thread) & GHOST_SW_TASK_RUNNABLE, GHOST_SW_TASK_RUNNABLE, "flags");
      await host.sleep(100_000);
      expect(!lab.isOnCpu(thread), "it waits for a commit");
      expectEqual(await lab.commitLocal(0, { thread }), GHOST_TXN_COMPLETE, "state");
    },
  },
  {
    name: "leave: a task that runs departs from its CPU, and goes on in the default class",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task([{ op: "run", ns: 50_000 }, { op: "leave" }, {
        op: "run",
        ns: 50_000,
      }]);
      await lab.runOn(1, thread);
      const message = await lab.message(MSG_TASK_DEPARTED, thread);
      expectFields(host.kernel.abi.version, message, { cpu: 1, was_current: 1, from_switchto: 0 });
      await lab.until(() => host.hasExited(thread), "the thread ends");
    },
  },
  {
    name: "leave: a task that sleeps departs without having been current",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      host.leaveGhost(thread);
      const message = await lab.message(MSG_TASK_DEPARTED, thread);
      expectFields(host.kernel.abi.version, message, { was_current: 0 });
    },
  },
];

const GATE_CASES: readonly ContractCase[] = [
  {
    name: "join again: messages do not come before the old status word is freed",
    rule: "message.gated",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const old_index = lab.indexOf(thread);
      host.leaveGhost(thread);
      expectEqual(lab.control.join(thread.tid), 0, "join again");
      const index = lab.indexOf(thread);
      expect(index !== old_index, "another status word");
      expect((lab.status.flags(old_index) & GHOST_SW_TASK_MSG_GATED) !== 0, "the old one gates");
      const before = lab.taskBarrier(thread);
      host.wake(thread);
      expect(lab.taskBarrier(thread) > before, "the barrier moves all the same");
      const held = (await lab.messagesOf(thread)).map((message) => message.type);
      expectEqual(held, [MSG_TASK_NEW, MSG_TASK_DEPARTED], "messages while it is held back");
      expectEqual(lab.control.freeStatusWord(old_index), 0, "free the old word");
      const messages = await lab.messagesOf(thread);
      expectEqual(messages.length, 3, "messages in the end");
      const fields = fieldsOf(host.kernel.abi.version, messages[2]);
      expectEqual([messages[2].type, fields.runnable], [MSG_TASK_NEW, 1], "type and runnable");
      expectEqual(fields.sw_index, index, "the new status word");
    },
  },
  {
    name: "join again: a thread that dies unheard of leaves no status word behind",
    needs: ["small_status_region"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const old_index = lab.indexOf(thread);
      for (let count = 0; count < 20; count++) {
        host.leaveGhost(thread);
        expectEqual(lab.control.join(thread.tid), 0, `join, time ${count}`);
      }
      host.kill(thread);
      await lab.until(() => host.hasExited(thread), "the thread is dead");
      expectEqual(lab.control.freeStatusWord(old_index), 0, "free the only word it was known by");
      expectEqual(lab.control.join(host.spawn([]).tid), 0, "another thread joins");
    },
  },
];

const FORK_CASES: readonly ContractCase[] = [
  {
    name: "fork: a child of a ghOSt thread is not left out of the enclave",
    rule: "fork.inherits",
    negative: true,
    abi_versions: [69, 91],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const parent = lab.task([{ op: "fork", script: BUSY }, { op: "block" }]);
      await lab.runOn(1, parent);
      await lab.message(MSG_TASK_BLOCKED, parent);
      expectEqual(lab.control.taskTids().length, 2, "threads of the enclave");
      const news = (await lab.messages()).filter((message) => message.type === MSG_TASK_NEW);
      expectEqual(news.length, 2, "TASK_NEW messages");
      const fields = fieldsOf(host.kernel.abi.version, news[1]);
      expectEqual(fields.runnable, 1, "runnable");
      if (host.kernel.abi.version >= 77) {
        const expected = fieldsOf(host.kernel.abi.version, news[0]).gtid;
        expectEqual(fields.parent_gtid, expected, "parent_gtid");
      }
    },
  },
  {
    name: "affinity: a change does not go unsaid",
    rule: "message.affinity",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      host.setAffinity(thread, [1]);
      const types = (await lab.messagesOf(thread)).map((message) => message.type);
      expectOneOf(MSG_TASK_AFFINITY_CHANGED, types, "messages of the task");
    },
  },
];

/** Threads of an enclave. */
export const JOIN_CASES: readonly ContractCase[] = [
  ...ERROR_CASES,
  ...ENTER_CASES,
  ...GATE_CASES,
  ...FORK_CASES,
];
