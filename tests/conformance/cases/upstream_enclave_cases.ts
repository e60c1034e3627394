/**
 * Upstream's tests/enclave_test.cc on any kernel (reference section 8.3). CPU masks and lists go
 * through the same texts as there.
 *
 * @module
 */
import {
  GHOST_TXN_COMPLETE,
  SYNC_GROUP_NOT_OWNED,
  TXN_CPU_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
  TXN_VERSION_WORD,
} from "../../../ffi/abi/constants.ts";
import {
  EBADF,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENXIO,
  EOVERFLOW,
  ESRCH,
  EXDEV,
} from "../../../kernels/kernel.ts";
import { CpuList, parseCpuMask, parseCpuStr } from "../../../lib/cpu_list.ts";
import { TXN_STRIDE_WORDS } from "../../../lib/transaction.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual, expectOneOf } from "../expect.ts";
import type { ThreadAction } from "../host.ts";
import { createEnclave, Lab } from "../lab.ts";
import { miniPolicyStep, startPolicy } from "../mini_policy.ts";

const LONG_NS = 500_000_000;
/** Upstream's pairs of mask and list. */
const CPU_TEXTS: readonly (readonly [mask: string, list: string])[] = [
  ["1e", "1-4"],
  ["21", "0,5"],
  ["ff", "0-7"],
  ["4d", "0,2-3,6"],
];

function cpusOf(list: CpuList | Error): number[] {
  return list instanceof CpuList ? [...list] : [];
}

const CPU_CASES: readonly ContractCase[] = [
  {
    name: "enclave_test SetCpus: masks and lists set the same CPUs, and the empty list none",
    cpu_count: 8,
    run: (host) => {
      const control = createEnclave(host, []);
      for (const [mask, list] of CPU_TEXTS) {
        for (const parsed of [parseCpuMask(mask), parseCpuStr(list, 8)]) {
          expectEqual(control.setCpus(cpusOf(parsed)), 0, `set ${mask} or ${list}`);
          expectEqual(control.cpus(), cpusOf(parsed), "CPUs");
          const cpus = CpuList.from(control.cpus());
          expectEqual(cpusOf(parseCpuMask(cpus.cpuMaskStr())), cpusOf(parsed), `mask ${mask}`);
        }
      }
      expectEqual(control.setCpus(cpusOf(parseCpuStr("", 8))), 0, "the empty list");
      expectEqual(control.cpus(), [], "no CPUs");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test BadCpus: what is no CPU set is refused and changes nothing",
    cpu_count: 2,
    run: (host) => {
      const control = createEnclave(host, [0, 1]);
      expect(parseCpuMask("hello") instanceof Error, "the mask hello");
      for (const list of ["-2", "9999999999"]) {
        expect(parseCpuStr(list, 512) instanceof Error, `the list ${list}`);
      }
      for (const cpu of [-2, 9999999999, host.missing_cpu]) {
        expect(control.setCpus([cpu]) < 0, `CPU ${cpu}`);
      }
      expectEqual(control.cpus(), [0, 1], "CPUs");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test CleanupLeakedCpus: destroying an enclave gives its CPU back",
    cpu_count: 2,
    run: (host) => {
      const first = createEnclave(host, [1]);
      expectEqual(first.destroy(), 0, "destroy");
      expectEqual(createEnclave(host, [1]).cpus(), [1], "CPUs of the next");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test CpuListComma: a mask of more than 32 CPUs works, or is EOVERFLOW",
    cpu_count: 34,
    run: (host) => {
      const cpus = cpusOf(parseCpuMask("1,84218421"));
      expectEqual(cpus, [0, 5, 10, 15, 16, 21, 26, 31, 32], "CPUs of the mask");
      const control = createEnclave(host, []);
      const result = control.setCpus(cpus);
      expectOneOf(result, [0, -EOVERFLOW], "setCpus");
      expectEqual(control.cpus(), result === 0 ? cpus : [], "CPUs");
      return Promise.resolve();
    },
  },
];

const LIFE_CASES: readonly ContractCase[] = [
  {
    name: "enclave_test TxnRegionFree: all CPUs, destroyed and created again",
    cpu_count: 8,
    run: async (host) => {
      for (let count = 0; count < 3; count++) {
        const lab = await Lab.open(host);
        await lab.runOn(7, lab.task());
        lab.close();
      }
    },
  },
  {
    name: "enclave_test MakeAnyEnclave: each enclave gets the next id that is free",
    cpu_count: 2,
    run: (host) => {
      const [first, second] = [createEnclave(host, [0]), createEnclave(host, [1])];
      expect(first.id > 0 && second.id > first.id, `ids ${first.id} and ${second.id}`);
      expectEqual(host.kernel.enclaveIds(), [first.id, second.id], "enclaves");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test MmapTxn: a CPU's record is ready for use once the CPU is added",
    cpu_count: 5,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.setCpus([0, 4]), 0, "add CPU 4");
      for (const cpu of [0, 4]) {
        const base = cpu * TXN_STRIDE_WORDS;
        const words = [TXN_CPU_WORD, TXN_VERSION_WORD, TXN_OWNER_WORD, TXN_STATE_WORD]
          .map((word) => control.cpu_data[base + word]);
        const wanted = [cpu, 0, SYNC_GROUP_NOT_OWNED, GHOST_TXN_COMPLETE];
        expectEqual(words, wanted, `cpu, version, owner and state of CPU ${cpu}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test GetNrTasks: a fresh enclave has no tasks",
    cpu_count: 1,
    run: (host) => {
      expectEqual(createEnclave(host, [0]).taskTids(), [], "threads");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test DestroyAndSetsched: joining races destroying, and both win sometimes",
    cpu_count: 1,
    run: async (host) => {
      const wins = { join: 0, destroy: 0 };
      for (let round = 0; round < 100; round++) {
        const lab = await Lab.open(host, { agents: [] });
        // Long enough to be there when it is asked to join, on a fast machine too.
        const thread = host.spawn([{ op: "run", ns: 5_000_000 }]);
        host.wake(thread);
        // Upstream lets the scheduler choose; here the round does, half of the time each.
        const first = round % 2 === 0 ? lab.control.destroy() : lab.control.join(thread.tid);
        const second = round % 2 === 0 ? lab.control.join(thread.tid) : lab.control.destroy();
        const joined = round % 2 === 0 ? second : first;
        if (joined === 0 || joined === -ENXIO || joined === -ENOMEM) wins.join++;
        else {
          expectOneOf(joined, [-EBADF, -EXDEV, -ENODEV, -ENOENT, -ESRCH], "join");
          wins.destroy++;
        }
        await lab.until(() => host.hasExited(thread), "the thread ends in any case");
      }
      expect(wins.join > 0 && wins.destroy > 0, `${wins.join} and ${wins.destroy} wins`);
    },
  },
  {
    name: "enclave_test KillActiveEnclave: destroyed under a running policy, threads go on",
    cpu_count: 4,
    step: miniPolicyStep,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      startPolicy(lab);
      const actions: ThreadAction[] = [{ op: "run", ns: 20_000 }, { op: "sleep", ns: 10_000 }];
      const script: ThreadAction[] = [{ op: "repeat", count: 20, actions }];
      const threads = Array.from({ length: 10 }, () => lab.task(script));
      await host.sleep(250_000);
      expectEqual(lab.control.destroy(), 0, "destroy");
      const ended = (): boolean => threads.every((thread) => host.hasExited(thread));
      await lab.until(ended, "all threads end", LONG_NS);
    },
  },
];

const TUNABLE_CASES: readonly ContractCase[] = [
  {
    name: "enclave_test SetDeliverAgentRunnability: reads 0, then 1",
    requires: ["agent_runnability"],
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.readTunable("deliver_agent_runnability"), 0, "at first");
      expectEqual(control.writeTunable("deliver_agent_runnability", 1), 0, "write");
      expectEqual(control.readTunable("deliver_agent_runnability"), 1, "then");
      return Promise.resolve();
    },
  },
  {
    name: "enclave_test SetDeliverCpuAvailability: reads 0, then 1",
    requires: ["cpu_availability"],
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.readTunable("deliver_cpu_availability"), 0, "at first");
      expectEqual(control.writeTunable("deliver_cpu_availability", 1), 0, "write");
      expectEqual(control.readTunable("deliver_cpu_availability"), 1, "then");
      return Promise.resolve();
    },
  },
];

/** enclave_test.cc. */
export const UPSTREAM_ENCLAVE_CASES: readonly ContractCase[] = [
  ...CPU_CASES,
  ...LIFE_CASES,
  ...TUNABLE_CASES,
];
