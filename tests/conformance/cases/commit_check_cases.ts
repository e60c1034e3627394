/**
 * What the kernel checks before it commits, and in which order (reference section 1.5). Each
 * violation is shown alone, and together with each that the kernel looks at later.
 *
 * @module
 */
import {
  COMMIT_AT_SCHEDULE,
  COMMIT_AT_TXN_COMMIT,
  DO_NOT_PREEMPT,
  ELIDE_AGENT_BARRIER_INC,
  ELIDE_PREEMPT,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_AGENT_STALE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_CPU_OFFLINE,
  GHOST_TXN_CPU_UNAVAIL,
  GHOST_TXN_INVALID_CPU,
  GHOST_TXN_INVALID_FLAGS,
  GHOST_TXN_INVALID_TARGET,
  GHOST_TXN_NO_AGENT,
  GHOST_TXN_NOT_PERMITTED,
  GHOST_TXN_TARGET_NOT_FOUND,
  GHOST_TXN_TARGET_NOT_RUNNABLE,
  GHOST_TXN_TARGET_ONCPU,
  GHOST_TXN_TARGET_STALE,
  GHOST_TXN_UNSUPPORTED_VERSION,
  INC_AGENT_BARRIER_ON_FAILURE,
  NEED_CPU_NOT_IDLE,
  RTLA_ON_IDLE,
} from "../../../ffi/abi/constants.ts";
import type { RuleName } from "../../../kernels/sim/rules.ts";
import type { ContractCase } from "../contract.ts";
import { expectEqual } from "../expect.ts";
import type { ContractHost, ContractThread } from "../host.ts";
import { BUSY, Lab, type TxnFields } from "../lab.ts";

/** CPU of the committing agent, CPU of the record, CPU for a second thread, CPU without agent. */
const [COMMITTER, TARGET, OTHER, AGENTLESS] = [0, 1, 2, 3];

/** What a commit is made of; a violation changes it. */
interface Attempt {
  readonly lab: Lab;
  readonly host: ContractHost;
  readonly task: ContractThread;
  /** CPU of the record. */
  cpu: number;
  /** Who commits: another CPU's agent, the own agent, or a thread that is no agent. */
  caller: "remote" | "local" | "outside";
  /** Added to the agent barrier of a local commit. */
  agent_barrier_difference: number;
  fields: Mutable<TxnFields>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One way to be refused. Two violations that use the same part cannot be combined. */
interface Violation {
  readonly name: string;
  readonly rule: RuleName;
  readonly state: number;
  /** Place in the kernel's order; violations of the same place exclude each other. */
  readonly place: number;
  readonly parts:
    readonly ("cpu" | "target" | "barrier" | "caller" | "run_flags" | "commit_flags")[];
  readonly needs_offline_cpu?: boolean;
  readonly apply: (attempt: Attempt) => void | Promise<void>;
}

function addRunFlags(attempt: Attempt, flags: number): void {
  attempt.fields.run_flags = (attempt.fields.run_flags ?? 0) | flags;
}

function target(lo: number, hi: number): (attempt: Attempt) => void {
  return ({ fields }) => {
    fields.gtid = [lo, hi];
  };
}

/** Makes the present task one that is not what it was; keeps the barrier it has afterwards. */
async function goToSleep({ lab, task, fields }: Attempt): Promise<void> {
  await lab.runOn(OTHER, task);
  const asleep = (): boolean => (lab.taskFlags(task) & GHOST_SW_TASK_RUNNABLE) === 0;
  await lab.until(asleep, "the task blocks");
  fields.task_barrier ??= lab.taskBarrier(task);
}

async function depart({ lab, host, task, fields }: Attempt): Promise<void> {
  host.leaveGhost(task);
  fields.task_barrier = 0;
  await lab.idle(COMMITTER);
}

const RECORD_VIOLATIONS: readonly Violation[] = [
  {
    name: "commit: a record of another version is UNSUPPORTED_VERSION",
    rule: "commit.version",
    state: GHOST_TXN_UNSUPPORTED_VERSION,
    place: 1,
    parts: [],
    apply: ({ fields }) => {
      fields.version = 1;
    },
  },
  {
    name: "commit: a record that names another CPU is INVALID_CPU",
    rule: "commit.cpu_match",
    state: GHOST_TXN_INVALID_CPU,
    place: 2,
    parts: [],
    apply: ({ fields }) => {
      fields.record_cpu = OTHER;
    },
  },
  {
    name: "commit: unknown run flags are INVALID_FLAGS",
    rule: "commit.run_flags_known",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 3,
    parts: [],
    apply: (attempt) => addRunFlags(attempt, 8),
  },
  {
    name: "commit: RTLA_ON_IDLE with the idle gtid is INVALID_FLAGS",
    rule: "commit.rtla_on_idle",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 3,
    parts: ["target"],
    apply: (attempt) => {
      attempt.fields.gtid = [-2, -1];
      addRunFlags(attempt, RTLA_ON_IDLE);
    },
  },
  {
    name: "commit: NEED_CPU_NOT_IDLE with a task is INVALID_FLAGS",
    rule: "commit.need_cpu_not_idle",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 3,
    parts: [],
    apply: (attempt) => addRunFlags(attempt, NEED_CPU_NOT_IDLE),
  },
  {
    name: "commit: run flags with the agent gtid are INVALID_FLAGS",
    rule: "commit.agent_run_flags",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 3,
    parts: ["target"],
    apply: (attempt) => {
      attempt.fields.gtid = [-1, -1];
      addRunFlags(attempt, ELIDE_PREEMPT);
    },
  },
  {
    name: "commit: unknown commit flags are INVALID_FLAGS",
    rule: "commit.commit_flags_known",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 4,
    parts: ["commit_flags"],
    apply: ({ fields }) => {
      fields.commit_flags = COMMIT_AT_TXN_COMMIT | 32;
    },
  },
  {
    name: "commit: two commit points are INVALID_FLAGS",
    rule: "commit.one_commit_point",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 4,
    parts: ["commit_flags"],
    apply: ({ fields }) => {
      fields.commit_flags = COMMIT_AT_TXN_COMMIT | COMMIT_AT_SCHEDULE;
    },
  },
  {
    name: "commit: eliding and forcing the barrier's increment is INVALID_FLAGS",
    rule: "commit.one_barrier_flag",
    state: GHOST_TXN_INVALID_FLAGS,
    place: 4,
    parts: ["commit_flags"],
    apply: ({ fields }) => {
      fields.commit_flags = COMMIT_AT_TXN_COMMIT | ELIDE_AGENT_BARRIER_INC |
        INC_AGENT_BARRIER_ON_FAILURE;
    },
  },
  {
    name: "commit: a CPU that is off is CPU_OFFLINE",
    rule: "commit.cpu_online",
    state: GHOST_TXN_CPU_OFFLINE,
    place: 5,
    parts: ["cpu"],
    needs_offline_cpu: true,
    apply: (attempt) => {
      attempt.cpu = attempt.host.offline_cpu;
    },
  },
];

const TARGET_VIOLATIONS: readonly Violation[] = [
  {
    name: "commit: the gtid that stands for agents is INVALID_TARGET",
    rule: "commit.target_agent",
    state: GHOST_TXN_INVALID_TARGET,
    place: 6,
    parts: ["target", "run_flags"],
    apply: target(-1, -1),
  },
  {
    name: "commit: the gtid of an agent is INVALID_TARGET",
    rule: "commit.target_agent",
    state: GHOST_TXN_INVALID_TARGET,
    place: 6,
    parts: ["target"],
    apply: ({ lab, fields }) => {
      const index = lab.agentIndex(OTHER);
      fields.gtid = [lab.status.gtidLo(index), lab.status.gtidHi(index)];
    },
  },
  {
    name: "commit: a gtid that nobody has is TARGET_NOT_FOUND",
    rule: "commit.target_unknown",
    state: GHOST_TXN_TARGET_NOT_FOUND,
    place: 6,
    parts: ["target"],
    apply: target(1, 0x3ffffe00),
  },
  {
    name: "commit: a task that left, its status word not freed, is TARGET_STALE",
    rule: "commit.target_departed",
    state: GHOST_TXN_TARGET_STALE,
    place: 7,
    parts: ["target", "barrier"],
    apply: depart,
  },
  {
    name: "commit: a task that is back before its old status word is freed is TARGET_STALE",
    rule: "commit.target_gated",
    state: GHOST_TXN_TARGET_STALE,
    place: 7,
    parts: ["target", "barrier"],
    apply: async (attempt) => {
      await depart(attempt);
      expectEqual(attempt.lab.control.join(attempt.task.tid), 0, "join again");
      attempt.fields.task_barrier = attempt.lab.taskBarrier(attempt.task);
    },
  },
  {
    name: "commit: a thread that was never in ghOSt is INVALID_TARGET",
    rule: "commit.target_not_ghost",
    state: GHOST_TXN_INVALID_TARGET,
    place: 8,
    parts: ["target"],
    apply: ({ host, fields }) => {
      const { gtid_lo, gtid_hi } = host.spawn(BUSY);
      fields.gtid = [gtid_lo, gtid_hi];
    },
  },
  {
    name: "commit: a dead task is TARGET_STALE",
    rule: "commit.target_dead",
    state: GHOST_TXN_TARGET_STALE,
    place: 9,
    parts: ["target", "barrier"],
    apply: async ({ lab, host, task, fields }) => {
      fields.task_barrier = lab.taskBarrier(task);
      host.kill(task);
      await lab.until(() => host.hasExited(task), "the task is dead");
    },
  },
  {
    name: "commit: a task barrier that moved on is TARGET_STALE",
    rule: "commit.task_barrier",
    state: GHOST_TXN_TARGET_STALE,
    place: 9,
    parts: ["barrier"],
    apply: ({ lab, task, fields }) => {
      fields.task_barrier = lab.taskBarrier(task) - 1;
    },
  },
  {
    name: "commit: a task that sleeps is TARGET_NOT_RUNNABLE",
    rule: "commit.runnable",
    state: GHOST_TXN_TARGET_NOT_RUNNABLE,
    place: 10,
    parts: ["target"],
    apply: goToSleep,
  },
  {
    name: "commit: a task that runs on another CPU is TARGET_ONCPU",
    rule: "commit.oncpu",
    state: GHOST_TXN_TARGET_ONCPU,
    place: 11,
    parts: ["target"],
    apply: async ({ lab, fields }) => {
      const busy = lab.task(BUSY);
      await lab.runOn(OTHER, busy);
      fields.thread = busy;
      fields.task_barrier ??= lab.taskBarrier(busy);
    },
  },
  {
    name: "commit: a gtid below that of idle is INVALID_TARGET",
    rule: "commit.target_reserved",
    state: GHOST_TXN_INVALID_TARGET,
    place: 12,
    parts: ["target", "barrier"],
    apply: target(-5, -1),
  },
];

const CPU_VIOLATIONS: readonly Violation[] = [
  {
    name: "commit: a CPU of the enclave without an agent is NO_AGENT",
    rule: "commit.no_agent",
    state: GHOST_TXN_NO_AGENT,
    place: 13,
    parts: ["cpu"],
    apply: (attempt) => {
      attempt.cpu = AGENTLESS;
    },
  },
  {
    name: "commit: a CPU outside the enclave is NO_AGENT",
    rule: "commit.no_agent",
    state: GHOST_TXN_NO_AGENT,
    place: 13,
    parts: ["cpu"],
    apply: (attempt) => {
      attempt.cpu = attempt.host.outside_cpu;
    },
  },
  {
    name: "commit: a thread that is no agent is NOT_PERMITTED",
    rule: "commit.not_permitted",
    state: GHOST_TXN_NOT_PERMITTED,
    place: 14,
    parts: ["caller"],
    apply: (attempt) => {
      attempt.caller = "outside";
    },
  },
  {
    name: "commit: DO_NOT_PREEMPT on a CPU that runs a task is AGENT_STALE",
    rule: "commit.do_not_preempt",
    state: GHOST_TXN_AGENT_STALE,
    place: 15,
    parts: ["cpu", "caller", "run_flags"],
    apply: async (attempt) => {
      await attempt.lab.runOn(TARGET, attempt.lab.task(BUSY));
      addRunFlags(attempt, DO_NOT_PREEMPT);
    },
  },
  {
    name: "commit: a CPU that runs a thread of a higher class is CPU_UNAVAIL",
    rule: "commit.cpu_avail",
    state: GHOST_TXN_CPU_UNAVAIL,
    place: 16,
    parts: ["cpu", "caller"],
    apply: async ({ lab }) => {
      await lab.occupy(TARGET);
    },
  },
  {
    name: "commit: a local commit with an agent barrier that moved on is AGENT_STALE",
    rule: "commit.agent_barrier",
    state: GHOST_TXN_AGENT_STALE,
    place: 17,
    parts: ["barrier"],
    apply: (attempt) => {
      attempt.cpu = COMMITTER;
      attempt.caller = "local";
      attempt.agent_barrier_difference = -1;
    },
  },
];

const VIOLATIONS: readonly Violation[] = [
  ...RECORD_VIOLATIONS,
  ...TARGET_VIOLATIONS,
  ...CPU_VIOLATIONS,
];

/** True if two violations can be shown in one commit. */
function combinable(first: Violation, second: Violation): boolean {
  if (first.parts.some((part) => second.parts.includes(part))) return false;
  // A stale agent barrier is one of a local commit, which the agent of another CPU cannot make.
  const local = second.rule === "commit.agent_barrier";
  const bound = first.parts.includes("cpu");
  return !(local && (bound || first.parts.includes("caller")));
}

/** Makes one commit with some violations; the state of the transaction. */
async function attempt(host: ContractHost, violations: readonly Violation[]): Promise<number> {
  const lab = await Lab.open(host, { agents: [COMMITTER, TARGET, OTHER] });
  const task = lab.task([{ op: "run", ns: 10_000 }, { op: "block" }]);
  await lab.idle(COMMITTER);
  const made: Attempt = {
    lab,
    host,
    task,
    cpu: TARGET,
    caller: "remote",
    agent_barrier_difference: 0,
    fields: { thread: task },
  };
  for (const violation of violations) await violation.apply(made);
  const state = await commitMade(made);
  lab.close();
  return state;
}

async function commitMade(made: Attempt): Promise<number> {
  const { lab, host, cpu, fields } = made;
  if (made.caller === "local") {
    return await lab.commitLocal(cpu, fields, made.agent_barrier_difference);
  }
  if (made.caller === "remote") return await lab.commit(COMMITTER, cpu, fields);
  lab.openTxn(cpu, fields);
  host.commitFromOutside(lab.control, cpu);
  return await lab.decided(cpu);
}

const ALONE: readonly ContractCase[] = VIOLATIONS.map((violation) => ({
  name: violation.name,
  rule: violation.rule,
  negative: true,
  needs: violation.needs_offline_cpu === true ? ["offline_cpu"] : [],
  cpu_count: 4,
  run: async (host) => {
    expectEqual(await attempt(host, [violation]), violation.state, "state");
  },
}));

/** Those that the kernel looks at later, whose state is another, and that can be shown with it. */
function laterThan(first: Violation): Violation[] {
  return VIOLATIONS.filter((second) =>
    second.place > first.place && second.state !== first.state && combinable(first, second)
  );
}

const IN_ORDER: readonly ContractCase[] = VIOLATIONS
  .filter((first) => laterThan(first).length > 0)
  .map((first) => ({
    name: `${first.name}, whatever else is wrong that is checked later`,
    rule: "commit.order",
    negative: true,
    needs: ["offline_cpu"],
    cpu_count: 4,
    run: async (host) => {
      for (const second of laterThan(first)) {
        // What changes the target or the machine goes first, the rest overrides it.
        const made = [second, first].toSorted((a, b) => a.parts.length - b.parts.length);
        expectEqual(await attempt(host, made), first.state, `with "${second.name}"`);
      }
    },
  }));

/** Every check of a commit, alone and in order. */
export const COMMIT_CHECK_CASES: readonly ContractCase[] = [
  {
    name: "commit: a transaction without fault is COMPLETE, from another CPU and locally",
    cpu_count: 4,
    run: async (host) => {
      expectEqual(await attempt(host, []), GHOST_TXN_COMPLETE, "state of a remote commit");
      const lab = await Lab.open(host, { agents: [COMMITTER] });
      await lab.runOn(COMMITTER, lab.task());
    },
  },
  ...ALONE,
  ...IN_ORDER,
];
