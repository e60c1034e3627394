/**
 * What the kernel checks of a transaction before it commits it, in its order: the first check that
 * is not passed decides the state. Source: reference section 1.5.
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_FLAGS,
  COMMIT_FLAGS_ALL,
  DO_NOT_PREEMPT,
  ELIDE_AGENT_BARRIER_INC,
  GHOST_AGENT_GTID,
  GHOST_IDLE_GTID,
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
  RUN_FLAGS_ALL,
} from "../../ffi/abi/constants.ts";
import type { RuleName } from "./rules.ts";
import {
  DEAD,
  LATCHED,
  MODE_DEFAULT,
  MODE_GHOST,
  READY,
  RUNNING,
  type SimCpu,
  type SimThread,
} from "./thread.ts";

const BOTH_BARRIER_FLAGS = ELIDE_AGENT_BARRIER_INC | INC_AGENT_BARRIER_ON_FAILURE;

/** A claimed transaction and what it is about; one object serves all commits of an enclave. */
export interface Candidate {
  /** `ghost_txn.version`. */
  version: number;
  /** `ghost_txn.cpu`. */
  record_cpu: number;
  /** `ghost_txn.run_flags`. */
  run_flags: number;
  /** `ghost_txn.commit_flags`. */
  commit_flags: number;
  /** The gtid if it is 0 or negative and names no thread, else 1. */
  special: number;
  /** The target, dead ones included while their status word is not freed. */
  thread: SimThread | undefined;
  /** The target's gtid is that of an agent. */
  is_agent: boolean;
  /** The target is in the enclave. */
  is_ours: boolean;
  /** `ghost_txn.task_barrier` is not that of the target. */
  is_task_stale: boolean;
  /** CPU of the record. */
  cpu: SimCpu;
  /** The CPU has an agent of the enclave. */
  has_agent: boolean;
  /** The kernel itself commits, or an agent does. */
  is_permitted: boolean;
  /** A local commit whose agent barrier moved on. */
  is_agent_stale: boolean;
}

/** One check. */
interface Check {
  /** Without this rule the check is not made. */
  readonly rule: RuleName;
  /** State of a transaction that does not pass. */
  readonly state: number;
  /** True if the transaction does not pass. */
  readonly fails: (candidate: Candidate) => boolean;
}

function isOnOtherCpu(c: Candidate): boolean {
  return c.thread?.state === RUNNING &&
    ((c.commit_flags & ALLOW_TASK_ONCPU) === 0 || c.thread.cpu !== c.cpu.id);
}

/** Checks of the record itself. */
const RECORD_CHECKS: readonly Check[] = [
  {
    rule: "commit.version",
    state: GHOST_TXN_UNSUPPORTED_VERSION,
    fails: (c) => c.version !== 0,
  },
  {
    rule: "commit.cpu_match",
    state: GHOST_TXN_INVALID_CPU,
    fails: (c) => c.record_cpu !== c.cpu.id,
  },
  {
    rule: "commit.run_flags_known",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.run_flags & ~RUN_FLAGS_ALL) !== 0,
  },
  {
    rule: "commit.rtla_on_idle",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.run_flags & RTLA_ON_IDLE) !== 0 && c.special < 0,
  },
  {
    rule: "commit.need_cpu_not_idle",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.run_flags & NEED_CPU_NOT_IDLE) !== 0 && c.special !== GHOST_IDLE_GTID,
  },
  {
    rule: "commit.agent_run_flags",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => c.special === GHOST_AGENT_GTID && c.run_flags !== 0,
  },
  {
    rule: "commit.commit_flags_known",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.commit_flags & ~COMMIT_FLAGS_ALL) !== 0,
  },
  {
    rule: "commit.one_commit_point",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.commit_flags & COMMIT_AT_FLAGS) === COMMIT_AT_FLAGS,
  },
  {
    rule: "commit.one_barrier_flag",
    state: GHOST_TXN_INVALID_FLAGS,
    fails: (c) => (c.commit_flags & BOTH_BARRIER_FLAGS) === BOTH_BARRIER_FLAGS,
  },
  { rule: "commit.cpu_online", state: GHOST_TXN_CPU_OFFLINE, fails: (c) => !c.cpu.online },
];

/** Checks of the target. */
const TARGET_CHECKS: readonly Check[] = [
  {
    rule: "commit.target_agent",
    state: GHOST_TXN_INVALID_TARGET,
    fails: (c) => c.special === GHOST_AGENT_GTID || c.is_agent,
  },
  {
    rule: "commit.target_unknown",
    state: GHOST_TXN_TARGET_NOT_FOUND,
    fails: (c) => c.special > 0 && c.thread === undefined && !c.is_agent,
  },
  {
    rule: "commit.target_departed",
    state: GHOST_TXN_TARGET_STALE,
    fails: (c) =>
      c.thread !== undefined && c.thread.state !== DEAD && !c.is_ours &&
      c.thread.departed_index >= 0,
  },
  {
    rule: "commit.target_gated",
    state: GHOST_TXN_TARGET_STALE,
    fails: (c) => c.thread !== undefined && (c.thread.gated || c.thread.new_pending),
  },
  {
    rule: "commit.target_not_ghost",
    state: GHOST_TXN_INVALID_TARGET,
    fails: (c) => c.thread !== undefined && c.thread.state !== DEAD && !c.is_ours,
  },
  {
    rule: "commit.target_dead",
    state: GHOST_TXN_TARGET_STALE,
    fails: (c) => c.thread?.state === DEAD,
  },
  { rule: "commit.task_barrier", state: GHOST_TXN_TARGET_STALE, fails: (c) => c.is_task_stale },
  {
    rule: "commit.runnable",
    state: GHOST_TXN_TARGET_NOT_RUNNABLE,
    fails: (c) =>
      c.is_ours && c.thread?.state !== READY && c.thread?.state !== LATCHED &&
      c.thread?.state !== RUNNING,
  },
  {
    rule: "commit.oncpu",
    state: GHOST_TXN_TARGET_ONCPU,
    fails: (c) => c.is_ours && isOnOtherCpu(c),
  },
  {
    rule: "commit.target_reserved",
    state: GHOST_TXN_INVALID_TARGET,
    fails: (c) => c.special < GHOST_IDLE_GTID,
  },
];

/** Checks of the CPU and of the caller. */
const CPU_CHECKS: readonly Check[] = [
  { rule: "commit.no_agent", state: GHOST_TXN_NO_AGENT, fails: (c) => !c.has_agent },
  { rule: "commit.not_permitted", state: GHOST_TXN_NOT_PERMITTED, fails: (c) => !c.is_permitted },
  {
    rule: "commit.do_not_preempt",
    state: GHOST_TXN_AGENT_STALE,
    fails: (c) => (c.run_flags & DO_NOT_PREEMPT) !== 0 && c.cpu.mode === MODE_GHOST,
  },
  {
    rule: "commit.cpu_avail",
    state: GHOST_TXN_CPU_UNAVAIL,
    fails: (c) => c.cpu.mode === MODE_DEFAULT || c.cpu.waiting.length > 0,
  },
  { rule: "commit.agent_barrier", state: GHOST_TXN_AGENT_STALE, fails: (c) => c.is_agent_stale },
];

const CHECKS: readonly Check[] = [...RECORD_CHECKS, ...TARGET_CHECKS, ...CPU_CHECKS];
const REVERSED_CHECKS: readonly Check[] = CHECKS.toReversed();

/**
 * Holds a transaction against the checks.
 *
 * @param candidate The transaction.
 * @param has_rule Whether the kernel has a rule.
 * @returns GHOST_TXN_COMPLETE, or the state of the first check that it does not pass.
 */
export function checkCommit(
  candidate: Candidate,
  has_rule: (name: RuleName) => boolean,
): number {
  const checks = has_rule("commit.order") ? CHECKS : REVERSED_CHECKS;
  for (const check of checks) {
    if (check.fails(candidate) && has_rule(check.rule)) return check.state;
  }
  return GHOST_TXN_COMPLETE;
}
