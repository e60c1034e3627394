/**
 * Status words: what they say of tasks and agents, and when they can be freed
 * (reference sections 1.1 to 1.3 and 2.3).
 *
 * @module
 */
import {
  GHOST_SW_CPU_AVAIL,
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  STATUS_WORD_BYTES,
  SW_REGION_AVAILABLE_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_ID_WORD,
  SW_REGION_START_WORD,
  SW_REGION_VERSION_WORD,
} from "../../../ffi/abi/constants.ts";
import { EINVAL, ENOENT, ESRCH } from "../../../kernels/kernel.ts";
import { CPU_TIME, FREE_STATUS_WORD } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual } from "../expect.ts";
import { createEnclave, Lab } from "../lab.ts";

/** Long enough to be seen on a CPU, in ns. */
const LONG_NS = 300_000_000;
const STATE_FLAGS = GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE | GHOST_SW_F_CANFREE;

const REGION_CASES: readonly ContractCase[] = [
  {
    name: "status words: the region's header describes it, and counts what is free",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [] });
      const words = lab.control.status_words;
      expectEqual([words[SW_REGION_VERSION_WORD], words[SW_REGION_ID_WORD]], [0, 0], "version, id");
      const capacity = words[SW_REGION_CAPACITY_WORD];
      const bytes = words[SW_REGION_START_WORD] + capacity * STATUS_WORD_BYTES;
      expect(capacity > 0 && bytes <= words.byteLength, `${capacity} words fit in the region`);
      const free = words[SW_REGION_AVAILABLE_WORD];
      lab.attach(0);
      const thread = lab.sleeper();
      expectEqual(words[SW_REGION_AVAILABLE_WORD], free - 2, "free with an agent and a task");
      const index = lab.indexOf(thread);
      host.kill(thread);
      await lab.until(() => host.hasExited(thread), "the thread is dead");
      expectEqual(lab.control.freeStatusWord(index), 0, "free the task's word");
      expectEqual(words[SW_REGION_AVAILABLE_WORD], free - 1, "free with an agent");
    },
  },
  {
    name: "status words: a task's word follows the task",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper([{ op: "run", ns: LONG_NS }, { op: "block" }]);
      const index = lab.indexOf(thread);
      const state = (): number => lab.status.flags(index) & STATE_FLAGS;
      const wanted = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED;
      expectEqual(lab.status.flags(index) & wanted, wanted, "in use");
      expectEqual(
        [lab.status.gtidLo(index), lab.status.gtidHi(index)],
        [thread.gtid_lo, thread.gtid_hi],
        "gtid",
      );
      expectEqual(state(), 0, "asleep");
      host.wake(thread);
      expectEqual(state(), GHOST_SW_TASK_RUNNABLE, "woken");
      await lab.runOn(0, thread);
      expectEqual(state(), GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU, "on a CPU");
      await lab.untilOf(thread, () => state() === 0, "asleep again", 10 * LONG_NS);
      expectBetween(lab.status.runtimeNs(index), LONG_NS * 0.9, LONG_NS * 2, "runtime");
      host.kill(thread);
      await lab.until(() => state() !== 0, "no longer asleep");
      // Where a killed thread dies on a CPU of ghOSt, somebody has to give it one.
      if (state() === GHOST_SW_TASK_RUNNABLE) await lab.runOn(0, thread);
      await lab.until(() => state() === GHOST_SW_F_CANFREE, "dead: can be freed");
    },
  },
  {
    name: "status words: CPU_AVAIL of an agent follows its CPU",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const isAvailable = (cpu: number): boolean =>
        (lab.agentFlags(cpu) & GHOST_SW_CPU_AVAIL) !== 0;
      await lab.until(() => isAvailable(0) && isAvailable(1), "both CPUs are available");
      const occupant = await lab.occupy(1);
      await lab.until(() => isAvailable(0), "the other CPU is available");
      host.kill(occupant);
      await lab.until(() => isAvailable(1), "available again");
    },
  },
];

const INFO_CASES: readonly ContractCase[] = [
  {
    name: "status word of an agent: a CPU out of range is an error",
    rule: "sw.info_bad_cpu",
    negative: true,
    abi_versions: [69, 91],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      for (const cpu of [-55, host.missing_cpu]) {
        const { bad_cpu_errno } = host.kernel.abi;
        expectEqual(lab.control.agentStatusIndex(cpu), -bad_cpu_errno, `CPU ${cpu}`);
      }
    },
  },
  {
    name: "status word of an agent: a CPU without one is EINVAL",
    rule: "sw.info_no_agent",
    negative: true,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [0] });
      expectEqual(lab.control.agentStatusIndex(1), -EINVAL, "result");
    },
  },
  {
    name: "status word of a task: a thread that is not in the enclave is ENOENT",
    rule: "sw.info_unknown_task",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { gtid_lo, gtid_hi } = host.spawn([]);
      expectEqual(lab.control.taskStatusIndex(gtid_lo, gtid_hi), -ENOENT, "not in ghOSt");
      expectEqual(lab.control.taskStatusIndex(1, 0x3ffffe00), -ENOENT, "no thread");
    },
  },
  {
    name: "runtime of a task: it grows while the task runs",
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      const runtime = () => lab.call(0, CPU_TIME, thread.gtid_lo, thread.gtid_hi);
      const [before_ns, start_ns] = [await runtime(), host.nowNs()];
      await lab.runOn(1, thread);
      await host.sleep(200_000);
      const ran_ns = await runtime() - before_ns;
      expectBetween(ran_ns, 150_000, host.nowNs() - start_ns, "runtime");
    },
  },
  {
    name: "runtime of a task: a gtid that is not in the enclave is ESRCH",
    rule: "cpu_time.unknown",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(await lab.call(0, CPU_TIME, 1, 0x3ffffe00), -ESRCH, "runtime");
    },
  },
];

const FREE_CASES: readonly ContractCase[] = [
  {
    name: "free a status word: one that nobody has is ENOENT",
    rule: "sw.free_bad_index",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const index of [0, -1, 1 << 20]) {
        expectEqual(control.freeStatusWord(index), -ENOENT, `index ${index}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "free a status word: one that is in use is EINVAL",
    rule: "sw.free_in_use",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      expectEqual(lab.control.freeStatusWord(lab.agentIndex(0)), -EINVAL, "an agent's");
      const index = lab.indexOf(thread);
      expectEqual(lab.control.freeStatusWord(index), -EINVAL, "a task's");
      expectEqual(lab.indexOf(thread), index, "the task keeps it");
    },
  },
  {
    name: "free a status word: an agent can do it within its step, once",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.sleeper();
      const index = lab.indexOf(thread);
      host.leaveGhost(thread);
      expectEqual(await lab.call(0, FREE_STATUS_WORD, index), 0, "the first time");
      expectEqual(await lab.call(0, FREE_STATUS_WORD, index), -ENOENT, "the second time");
    },
  },
];

/** Status words. */
export const STATUS_WORD_CASES: readonly ContractCase[] = [
  ...REGION_CASES,
  ...INFO_CASES,
  ...FREE_CASES,
];
