/**
 * What the kernel checks of a transaction before it commits it, in its order: the first check that
 * is not passed decides the state. Source: reference section 1.5.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import type { RuleName } from "./rules.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const {
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
  TXN_CPU_WORD,
  TXN_FLAGS_WORD,
  TXN_TASK_BARRIER_WORD,
  TXN_VERSION_WORD,
} = abi_constants;
const { DEAD, LATCHED, MODE_AGENT, MODE_DEFAULT, MODE_GHOST, READY, RUNNING } = states;

const BOTH_BARRIER_FLAGS = ELIDE_AGENT_BARRIER_INC | INC_AGENT_BARRIER_ON_FAILURE;

/** One check. */
interface Check {
  /** Without this rule the check is not made. */
  readonly rule: RuleName;
  /** State of a transaction that does not pass. */
  readonly state: number;
}

// The checks by number: the bit that says that a transaction does not pass.
const VERSION = 0;
const CPU_MATCH = 1;
const RUN_FLAGS_KNOWN = 2;
const ON_IDLE = 3;
const NOT_IDLE = 4;
const AGENT_RUN_FLAGS = 5;
const COMMIT_FLAGS_KNOWN = 6;
const ONE_COMMIT_POINT = 7;
const ONE_BARRIER_FLAG = 8;
const CPU_ONLINE = 9;
const TARGET_AGENT = 10;
const TARGET_UNKNOWN = 11;
const TARGET_DEPARTED = 12;
const TARGET_GATED = 13;
const TARGET_NOT_GHOST = 14;
const TARGET_DEAD = 15;
const TASK_BARRIER = 16;
const RUNNABLE = 17;
const ON_CPU = 18;
const TARGET_RESERVED = 19;
const NO_AGENT = 20;
const PERMITTED = 21;
const DO_NOT_PREEMPT_CHECK = 22;
const CPU_AVAILABLE = 23;
const AGENT_BARRIER = 24;

/** The checks in the kernel's order: of the record, of the target, of the CPU and the caller. */
const CHECKS: readonly Check[] = [
  { rule: "commit.version", state: GHOST_TXN_UNSUPPORTED_VERSION },
  { rule: "commit.cpu_match", state: GHOST_TXN_INVALID_CPU },
  { rule: "commit.run_flags_known", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.rtla_on_idle", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.need_cpu_not_idle", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.agent_run_flags", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.commit_flags_known", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.one_commit_point", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.one_barrier_flag", state: GHOST_TXN_INVALID_FLAGS },
  { rule: "commit.cpu_online", state: GHOST_TXN_CPU_OFFLINE },
  { rule: "commit.target_agent", state: GHOST_TXN_INVALID_TARGET },
  { rule: "commit.target_unknown", state: GHOST_TXN_TARGET_NOT_FOUND },
  { rule: "commit.target_departed", state: GHOST_TXN_TARGET_STALE },
  { rule: "commit.target_gated", state: GHOST_TXN_TARGET_STALE },
  { rule: "commit.target_not_ghost", state: GHOST_TXN_INVALID_TARGET },
  { rule: "commit.target_dead", state: GHOST_TXN_TARGET_STALE },
  { rule: "commit.task_barrier", state: GHOST_TXN_TARGET_STALE },
  { rule: "commit.runnable", state: GHOST_TXN_TARGET_NOT_RUNNABLE },
  { rule: "commit.oncpu", state: GHOST_TXN_TARGET_ONCPU },
  { rule: "commit.target_reserved", state: GHOST_TXN_INVALID_TARGET },
  { rule: "commit.no_agent", state: GHOST_TXN_NO_AGENT },
  { rule: "commit.not_permitted", state: GHOST_TXN_NOT_PERMITTED },
  { rule: "commit.do_not_preempt", state: GHOST_TXN_AGENT_STALE },
  { rule: "commit.cpu_avail", state: GHOST_TXN_CPU_UNAVAIL },
  { rule: "commit.agent_barrier", state: GHOST_TXN_AGENT_STALE },
];

/** Checks of the record itself that it does not pass; `special` as in {@linkcode specialGtid}. */
export function recordFaults(
  words: Int32Array,
  base: number,
  cpu: SimCpu,
  special: number,
): number {
  const flags = words[base + TXN_FLAGS_WORD];
  const run_flags = flags & 0xffff;
  const commit_flags = (flags >> 16) & 0xff;
  let faults = 0;
  if (words[base + TXN_VERSION_WORD] !== 0) faults |= 1 << VERSION;
  if (words[base + TXN_CPU_WORD] !== cpu.id) faults |= 1 << CPU_MATCH;
  if (run_flags !== 0) {
    if ((run_flags & ~RUN_FLAGS_ALL) !== 0) faults |= 1 << RUN_FLAGS_KNOWN;
    if ((run_flags & RTLA_ON_IDLE) !== 0 && special < 0) faults |= 1 << ON_IDLE;
    const not_idle = (run_flags & NEED_CPU_NOT_IDLE) !== 0;
    if (not_idle && special !== GHOST_IDLE_GTID) faults |= 1 << NOT_IDLE;
    if (special === GHOST_AGENT_GTID) faults |= 1 << AGENT_RUN_FLAGS;
  }
  if ((commit_flags & ~COMMIT_FLAGS_ALL) !== 0) faults |= 1 << COMMIT_FLAGS_KNOWN;
  if ((commit_flags & COMMIT_AT_FLAGS) === COMMIT_AT_FLAGS) faults |= 1 << ONE_COMMIT_POINT;
  if ((commit_flags & BOTH_BARRIER_FLAGS) === BOTH_BARRIER_FLAGS) faults |= 1 << ONE_BARRIER_FLAG;
  if (!cpu.online) faults |= 1 << CPU_ONLINE;
  return faults;
}

/** Checks of a target that is no thread. */
export function gtidFaults(special: number, is_agent: boolean): number {
  let faults = 0;
  if (special === GHOST_AGENT_GTID || is_agent) faults |= 1 << TARGET_AGENT;
  if (special > 0 && !is_agent) faults |= 1 << TARGET_UNKNOWN;
  if (special < GHOST_IDLE_GTID) faults |= 1 << TARGET_RESERVED;
  return faults;
}

/**
 * Checks of a target that is a thread of the enclave.
 *
 * @param barrier Barrier of its status word.
 */
export function taskFaults(
  words: Int32Array,
  base: number,
  cpu: SimCpu,
  thread: SimThread,
  barrier: number,
): number {
  const { state } = thread;
  let faults = 0;
  if (thread.gated || thread.new_pending) faults |= 1 << TARGET_GATED;
  if (words[base + TXN_TASK_BARRIER_WORD] !== barrier) faults |= 1 << TASK_BARRIER;
  if (state === READY) return faults;
  if (state === RUNNING) {
    const stays = ((words[base + TXN_FLAGS_WORD] >> 16) & ALLOW_TASK_ONCPU) !== 0;
    if (!stays || thread.cpu !== cpu.id) faults |= 1 << ON_CPU;
  } else if (state !== LATCHED) {
    faults |= 1 << RUNNABLE;
    if (state === DEAD) faults |= 1 << TARGET_DEAD;
  }
  return faults;
}

/** Checks of a target that has left the enclave or was never in it. */
export function strangerFaults(thread: SimThread): number {
  let faults = 0;
  if (thread.gated || thread.new_pending) faults |= 1 << TARGET_GATED;
  if (thread.state === DEAD) return faults | (1 << TARGET_DEAD);
  if (thread.departed_index >= 0) faults |= 1 << TARGET_DEPARTED;
  return faults | (1 << TARGET_NOT_GHOST);
}

/**
 * Checks of the CPU and of the caller.
 *
 * @param has_agent The CPU has an agent of the enclave.
 * @param is_permitted The kernel itself commits, or an agent does.
 * @param is_agent_stale It is a local commit, and the agent's barrier has moved on.
 */
export function cpuFaults(
  cpu: SimCpu,
  run_flags: number,
  has_agent: boolean,
  is_permitted: boolean,
  is_agent_stale: boolean,
): number {
  let faults = 0;
  if (!has_agent) faults |= 1 << NO_AGENT;
  if (!is_permitted) faults |= 1 << PERMITTED;
  const keeps_task = (run_flags & DO_NOT_PREEMPT) !== 0;
  if (keeps_task && cpu.mode === MODE_GHOST) faults |= 1 << DO_NOT_PREEMPT_CHECK;
  // A thread that waits behind a running agent refuses nothing: it gets the CPU before the task.
  const is_behind = cpu.waiting.length > 0 && cpu.mode !== MODE_AGENT;
  if (cpu.mode === MODE_DEFAULT || is_behind) faults |= 1 << CPU_AVAILABLE;
  if (is_agent_stale) faults |= 1 << AGENT_BARRIER;
  return faults;
}

/**
 * The state that checks which a transaction did not pass make: that of the first whose rule is in
 * force.
 *
 * @param faults The checks as a set of bits.
 * @param has_rule Whether the kernel has a rule.
 * @returns GHOST_TXN_COMPLETE if the kernel lacks all these rules.
 */
export function refusal(faults: number, has_rule: (name: RuleName) => boolean): number {
  const broken = CHECKS.filter(({ rule }, bit) => ((faults >> bit) & 1) !== 0 && has_rule(rule));
  const decisive = has_rule("commit.order") ? broken[0] : broken.at(-1);
  return decisive === undefined ? GHOST_TXN_COMPLETE : decisive.state;
}

/** A gtid if it is 0 or negative (−3 for all below −2), else 1. */
export function specialGtid(lo: number, hi: number): number {
  if (lo === 0 && hi === 0) return 0;
  if (hi >= 0) return 1;
  return hi === -1 && lo < 0 && lo > -3 ? lo : -3;
}
