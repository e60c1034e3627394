/**
 * Several transactions in one call: group commits and sync groups (reference sections 1.2 and 1.5).
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_TXN_COMMIT,
  GHOST_TXN_ABORTED,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_POISONED,
  GHOST_TXN_TARGET_NOT_FOUND,
  INC_AGENT_BARRIER_ON_FAILURE,
} from "../../../ffi/abi/constants.ts";
import { COMMIT_GROUP, COMMIT_SYNC } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual } from "../expect.ts";
import type { ContractHost, ContractThread } from "../host.ts";
import { Lab, type TxnFields } from "../lab.ts";

const UNKNOWN: TxnFields = { gtid: [1, 0x3ffffe00] };
const OWNER = 7;
/** Argument of the group commands: the own record is filled in, open it. */
const WITH_OWN = 1;

/** States of some CPUs' records. */
function states(lab: Lab, cpus: readonly number[]): number[] {
  return cpus.map((cpu) => lab.txns.state(cpu));
}

const GROUP_CASES: readonly ContractCase[] = [
  {
    name: "group commit: one call commits several records, each for itself",
    requires: ["group_commit"],
    cpu_count: 4,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [first, last] = [lab.task(), lab.task()];
      lab.openTxn(1, { thread: first });
      lab.openTxn(2, UNKNOWN);
      lab.openTxn(3, { thread: last });
      await lab.callMask(0, COMMIT_GROUP, [1, 2, 3]);
      await lab.until(() => states(lab, [1, 2, 3]).every((state) => state < 0), "all decided");
      expectEqual(
        states(lab, [1, 2, 3]),
        [GHOST_TXN_COMPLETE, GHOST_TXN_TARGET_NOT_FOUND, GHOST_TXN_COMPLETE],
        "states",
      );
      await lab.untilAllRun([1, 3], [first, last]);
    },
  },
  {
    name:
      "group commit: the own record is committed too, and runs when the agent gives its CPU away",
    requires: ["group_commit"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [mine, other] = [lab.task(), lab.task()];
      lab.fill(0, { thread: mine });
      lab.openTxn(1, { thread: other });
      await lab.requestMask(0, COMMIT_GROUP, [0, 1], WITH_OWN);
      await lab.untilAllRun([0, 1], [mine, other]);
      expectEqual(states(lab, [0, 1]), [GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE], "states");
    },
  },
  {
    name: "group commit: the own record is not decided before the others",
    rule: "group.own_last",
    negative: true,
    requires: ["group_commit"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.fill(0, { thread: lab.task() });
      lab.openTxn(1, UNKNOWN);
      await lab.callMask(0, COMMIT_GROUP, [0, 1], WITH_OWN);
      expect(lab.txns.state(0) !== GHOST_TXN_COMPLETE, "the own record saw the failure");
    },
  },
  {
    name: "group commit: the own record is POISONED if an earlier one failed",
    rule: "group.own_poisoned",
    negative: true,
    requires: ["group_commit"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      lab.fill(0, { thread });
      lab.openTxn(1, UNKNOWN);
      await lab.callMask(0, COMMIT_GROUP, [0, 1], WITH_OWN);
      expectEqual(
        states(lab, [0, 1]),
        [GHOST_TXN_POISONED, GHOST_TXN_TARGET_NOT_FOUND],
        "states",
      );
      await host.sleep(100_000);
      expect(!lab.isOnCpu(thread), "the task does not run");
    },
  },
];

/** A sync group of CPUs 1, 2 and 3, asked for by CPU 0; the second member is as given. */
async function syncGroup(
  host: ContractHost,
  second?: TxnFields,
): Promise<{ lab: Lab; result: number; tasks: ContractThread[] }> {
  const lab = await Lab.open(host);
  const tasks = [lab.task(), lab.task(), lab.task()];
  tasks.forEach((thread, index) => {
    expect(lab.txns.takeOwnership(index + 1, OWNER), "the record was free");
    lab.openTxn(index + 1, index === 1 && second !== undefined ? second : { thread });
  });
  const result = await lab.callMask(0, COMMIT_SYNC, [1, 2, 3]);
  return { lab, result, tasks };
}

const SYNC_CASES: readonly ContractCase[] = [
  {
    name: "sync group: all members commit and run",
    requires: ["sync_group"],
    abi_versions: [69, 84, 90, 91],
    cpu_count: 4,
    run: async (host) => {
      const { lab, result, tasks } = await syncGroup(host);
      expectEqual(result, 1, "result");
      const complete = [GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE];
      expectEqual(states(lab, [1, 2, 3]), complete, "states");
      await lab.untilAllRun([1, 2, 3], tasks);
    },
  },
  {
    name: "sync group: no member runs if one is bad, and one at least shows why",
    rule: "sync.all_or_none",
    negative: true,
    requires: ["sync_group"],
    abi_versions: [69, 84, 90, 91],
    cpu_count: 4,
    run: async (host) => {
      const { lab, result, tasks } = await syncGroup(host, UNKNOWN);
      expectEqual(result, 0, "result");
      expectEqual(lab.txns.state(2), GHOST_TXN_TARGET_NOT_FOUND, "state of the bad one");
      await host.sleep(100_000);
      expect(!tasks.some((thread) => lab.isOnCpu(thread)), "no task runs");
    },
  },
  {
    name: "sync group: a member after the bad one is POISONED",
    rule: "sync.poison",
    negative: true,
    requires: ["sync_group"],
    cpu_count: 4,
    run: async (host) => {
      const { lab } = await syncGroup(host, UNKNOWN);
      expectEqual(lab.txns.state(3), GHOST_TXN_POISONED, "state of the last one");
    },
  },
  {
    name: "sync group: before ABI 73 no member of a failed group looks successful",
    rule: "sync.fails_whole",
    negative: true,
    requires: ["sync_group"],
    abi_versions: [69],
    cpu_count: 4,
    run: async (host) => {
      const { lab } = await syncGroup(host, UNKNOWN);
      expect(!states(lab, [1, 2, 3]).includes(GHOST_TXN_COMPLETE), "no member is COMPLETE");
    },
  },
  {
    name: "sync group: success does not leave the records owned",
    rule: "sync.release",
    negative: true,
    requires: ["sync_group"],
    cpu_count: 4,
    run: async (host) => {
      const { lab, result } = await syncGroup(host);
      expectEqual(result, 1, "result");
      expectEqual([1, 2, 3].map((cpu) => lab.txns.owner(cpu)), [-1, -1, -1], "owners");
    },
  },
  {
    name: "sync group: after a failure the caller still owns the records",
    requires: ["sync_group"],
    cpu_count: 4,
    run: async (host) => {
      const { lab, result } = await syncGroup(host, UNKNOWN);
      expectEqual(result, 0, "result");
      expectEqual([1, 2, 3].map((cpu) => lab.txns.owner(cpu)), [OWNER, OWNER, OWNER], "owners");
    },
  },
  {
    name: "sync group: the own record is not decided before the others",
    rule: "sync.own_last",
    negative: true,
    requires: ["sync_group"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.fill(0, { thread: lab.task() });
      lab.openTxn(1, UNKNOWN);
      expectEqual(await lab.callMask(0, COMMIT_SYNC, [0, 1], WITH_OWN), 0, "result");
      expectEqual(lab.txns.state(0), GHOST_TXN_POISONED, "state of the own record");
    },
  },
  {
    name: "sync group: the own record runs when the agent gives its CPU away",
    requires: ["sync_group"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const [mine, other] = [lab.task(), lab.task()];
      lab.fill(0, { thread: mine });
      lab.openTxn(1, { thread: other });
      await lab.requestMask(0, COMMIT_SYNC, [0, 1], WITH_OWN);
      await lab.untilAllRun([0, 1], [mine, other]);
      expectEqual(await lab.wokenResult(0), 1, "result");
    },
  },
  {
    name: "sync group: idle and ALLOW_TASK_ONCPU are members like others",
    requires: ["sync_group"],
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await lab.runOn(1, thread);
      const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
      lab.openTxn(1, { thread, commit_flags });
      lab.openTxn(2, { gtid: [-2, -1], commit_flags });
      expectEqual(await lab.callMask(0, COMMIT_SYNC, [1, 2]), 1, "result");
      expectEqual(states(lab, [1, 2]), [GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE], "states");
      expect(lab.isOnCpu(thread), "the task still runs");
    },
  },
  {
    name: "sync group: a member that was withdrawn fails the group and stays withdrawn",
    rule: "commit.claim",
    negative: true,
    requires: ["sync_group"],
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host);
      lab.openTxn(1, { thread: lab.task() });
      lab.openTxn(2, { thread: lab.task() });
      expect(lab.txns.abort(2), "withdrawn");
      expectEqual(await lab.callMask(0, COMMIT_SYNC, [1, 2]), 0, "result");
      expectEqual(lab.txns.state(2), GHOST_TXN_ABORTED, "state of the withdrawn one");
    },
  },
  {
    name: "sync group: INC_AGENT_BARRIER_ON_FAILURE holds for the member that failed",
    rule: "commit.failure_barrier_inc",
    negative: true,
    requires: ["sync_group"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const before = lab.agentBarrier(1);
      const commit_flags = COMMIT_AT_TXN_COMMIT | INC_AGENT_BARRIER_ON_FAILURE;
      lab.openTxn(1, { ...UNKNOWN, commit_flags });
      expectEqual(await lab.callMask(0, COMMIT_SYNC, [1]), 0, "result");
      expectEqual(lab.agentBarrier(1) - before, 1, "barrier moved by");
    },
  },
];

/** Commits of several records at once. */
export const COMMIT_GROUP_CASES: readonly ContractCase[] = [...GROUP_CASES, ...SYNC_CASES];
