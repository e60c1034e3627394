/**
 * A policy that schedules all CPUs of an enclave at once by sync groups, as upstream's
 * SyncGroupTest does (reference section 8.1), and checks what each group leaves behind.
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_TXN_COMMIT,
  ELIDE_PREEMPT,
  GHOST_IDLE_GTID,
  GHOST_SW_BOOST_PRIO,
  GHOST_TXN_COMPLETE,
  RTLA_ON_IDLE,
  TXN_TASK_BARRIER_WORD,
} from "../../ffi/abi/constants.ts";
import { AGAIN, type Verdict, YIELD } from "../../lib/policy.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import { commandStep } from "./agent_commands.ts";
import { blockOf, MASK } from "./case_memory.ts";
import type { ContractAgent } from "./host.ts";
import { CPU_COUNT_CELL, GLOBAL_CPU_CELL } from "./mini_policy.ts";
import {
  CHOSEN,
  CLOCK_CELL,
  committedCpu,
  committedRow,
  HI,
  INDEX,
  isAnyLeaving,
  LO,
  longestWaiting,
  noteCommit,
  readMessages,
} from "./task_rows.ts";

/** Cell: groups that were committed. */
export const SUCCESS_CELL = 10;
/** Cell: groups that were refused. */
export const FAILURE_CELL = 11;
/** Cell: groups that left something behind that the contract does not allow. */
export const VIOLATION_CELL = 12;
/** One group in so many has a member with a stale barrier, and must fail. */
const BAD_GROUP_PERIOD = 8;

/** Cell: row of the first CPU's member of the present group, or 0; the others follow. */
const MEMBERS_CELL = 32;

/** Opens the transaction of one CPU: what runs there goes on, or the next task, or idle. */
function openMember(agent: ContractAgent, cpu: number, is_bad: boolean): boolean {
  const { words, txns, status } = agent;
  const taken = (row: number): boolean => words[row + CHOSEN] === words[CLOCK_CELL];
  const running = committedRow(agent, cpu);
  const row = running >= 0
    ? running
    : longestWaiting(agent, (candidate) => !taken(candidate) && committedCpu(agent, candidate) < 0);
  txns.takeOwnership(cpu, agent.cpu);
  const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
  const agent_barrier = cpu === agent.cpu ? agent.yield_barrier : 0;
  words[MEMBERS_CELL + cpu - agent.cpu] = row < 0 ? 0 : row;
  if (row < 0) {
    txns.open(cpu, GHOST_IDLE_GTID, -1, 0, agent_barrier, commit_flags, ELIDE_PREEMPT);
    return false;
  }
  words[row + CHOSEN] = words[CLOCK_CELL];
  const barrier = status.barrier(words[row + INDEX] - 1) - (is_bad ? 1 : 0);
  const [lo, hi] = [words[row + LO], words[row + HI]];
  txns.open(cpu, lo, hi, barrier, agent_barrier, commit_flags, ELIDE_PREEMPT);
  return true;
}

/** What must hold of the records after a group; gives a failed group's records back. */
function isAsAllowed(agent: ContractAgent, result: number): boolean {
  const { words, txns } = agent;
  let complete = 0;
  let owned = 0;
  for (let cpu = agent.cpu; cpu < agent.cpu + words[CPU_COUNT_CELL]; cpu++) {
    const state = txns.state(cpu);
    if (state >= 0) return false;
    if (state === GHOST_TXN_COMPLETE) complete++;
    if (txns.owner(cpu) === agent.cpu) owned++;
    else if (txns.owner(cpu) !== -1) return false;
    if (result === 0) txns.releaseOwnership(cpu);
  }
  const count = words[CPU_COUNT_CELL];
  return result === 1 ? complete === count && owned === 0 : complete < count && owned === count;
}

/** Remembers what a successful group put where. */
function noteGroup(agent: ContractAgent): void {
  const { words, txns } = agent;
  for (let member = 0; member < words[CPU_COUNT_CELL]; member++) {
    const row = words[MEMBERS_CELL + member];
    const cpu = agent.cpu + member;
    const barrier = txns.words[cpu * TXN_STRIDE_WORDS + TXN_TASK_BARRIER_WORD];
    if (row > 0) noteCommit(words, row, cpu, barrier);
  }
}

/** The policy's step: one sync group over all CPUs, the agent's own included. */
export function syncGroupStep(agent: ContractAgent): Verdict {
  const { words, memory, port } = agent;
  if (memory.acquire(words, GLOBAL_CPU_CELL) !== agent.cpu + 1) return commandStep(agent);
  agent.yield_barrier = agent.status.barrier(port.status_index);
  agent.yield_flags = 0;
  readMessages(agent);
  // A thread of the default class waits for this CPU, perhaps one that is bound to it: whatever is
  // committed here is preempted before it runs, until that thread has had the CPU.
  if ((agent.status.flags(port.status_index) & GHOST_SW_BOOST_PRIO) !== 0) {
    agent.yield_flags = RTLA_ON_IDLE;
    return YIELD;
  }
  const is_any_leaving = isAnyLeaving(agent); // before the look that finds it still there
  const round = ++words[CLOCK_CELL];
  const at = blockOf(agent.cpu) + MASK;
  const mask = words.subarray(at, at + 16).fill(0);
  let has_bad = false;
  for (let cpu = agent.cpu; cpu < agent.cpu + words[CPU_COUNT_CELL]; cpu++) {
    const is_bad: boolean = round % BAD_GROUP_PERIOD === 0 && !has_bad;
    if (openMember(agent, cpu, is_bad)) has_bad ||= is_bad;
    mask[cpu >> 5] |= 1 << (cpu & 31);
  }
  const result = port.commitSyncGroup(mask);
  if (!isAsAllowed(agent, result) || (has_bad && result !== 0)) words[VIOLATION_CELL]++;
  words[result === 1 ? SUCCESS_CELL : FAILURE_CELL]++;
  if (result === 0) return AGAIN;
  noteGroup(agent);
  // A real kernel returns when the agent was woken. Its own increment of the barrier may have
  // overwritten that of the message which did it, so the queue is looked at.
  if (agent.rings.some((ring) => ring.peek() >= 0) || is_any_leaving) return AGAIN;
  // The own member's commit has moved the barrier by one; any more is news.
  agent.yield_barrier = (agent.yield_barrier + 1) | 0;
  return YIELD;
}
