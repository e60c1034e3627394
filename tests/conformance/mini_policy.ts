/**
 * The smallest policy that keeps threads running: one agent schedules all CPUs of its enclave, in
 * the order in which threads became runnable. For cases that need a load and not a policy. Its
 * state is in the case's shared words, so that agents can follow one another.
 *
 * @module
 */
import { COMMIT_AT_TXN_COMMIT, GHOST_TXN_COMPLETE } from "../../ffi/abi/constants.ts";
import { AGAIN, type Verdict, YIELD } from "../../lib/policy.ts";
import { commandStep } from "./agent_commands.ts";
import type { ContractAgent } from "./host.ts";
import type { Lab } from "./lab.ts";
import {
  CHOSEN,
  CLOCK_CELL,
  committedCpu,
  committedRow,
  discover,
  HI,
  INDEX,
  isAnyLeaving,
  LO,
  longestWaiting,
  noteCommit,
  readMessages,
} from "./task_rows.ts";

/** Cell: CPU of the agent that schedules, plus one; 0 stops it. */
export const GLOBAL_CPU_CELL = 0;
/** Cell: first CPU that gets tasks. */
export const FIRST_CPU_CELL = 1;
/** Cell: number of CPUs that get tasks. */
export const CPU_COUNT_CELL = 2;
/** Cell: not 0 if the policy has yet to look for tasks in the status words. */
export const DISCOVER_CELL = 3;
/** Cell: transactions that were COMPLETE. */
export const COMPLETE_CELL = 4;
/** Cell: transactions that were refused. */
export const REFUSED_CELL = 5;

function forEachCpu(words: Int32Array, visit: (cpu: number) => boolean): boolean {
  const first = words[FIRST_CPU_CELL];
  for (let cpu = first; cpu < first + words[CPU_COUNT_CELL]; cpu++) if (visit(cpu)) return true;
  return false;
}

/** The task to run next, or −1. */
function nextTask(agent: ContractAgent): number {
  return longestWaiting(agent, (row) => committedCpu(agent, row) < 0);
}

/** True if a CPU has nothing of ours to run. */
function isFree(agent: ContractAgent, cpu: number): boolean {
  return agent.txns.state(cpu) < 0 && committedRow(agent, cpu) < 0;
}

/** Gives free CPUs tasks; true if one was refused: nothing may tell when it would not be. */
function schedule(agent: ContractAgent): boolean {
  const { words, txns, status, port } = agent;
  const refused_count = words[REFUSED_CELL];
  forEachCpu(words, (cpu) => {
    if (cpu === agent.cpu || !isFree(agent, cpu)) return false;
    const row = nextTask(agent);
    if (row < 0) return true;
    words[row + CHOSEN] = words[CLOCK_CELL]++;
    const barrier = status.barrier(words[row + INDEX] - 1);
    txns.open(cpu, words[row + LO], words[row + HI], barrier, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(cpu);
    const is_complete = txns.state(cpu) === GHOST_TXN_COMPLETE;
    if (is_complete) noteCommit(words, row, cpu, barrier);
    words[is_complete ? COMPLETE_CELL : REFUSED_CELL]++;
    return false;
  });
  return words[REFUSED_CELL] !== refused_count;
}

/** Lets the agent of the first CPU schedule all others. */
export function startPolicy(lab: Lab): void {
  const { words } = lab.host;
  const cpus = lab.control.cpus();
  words[FIRST_CPU_CELL] = cpus[1];
  words[CPU_COUNT_CELL] = cpus.length - 1;
  lab.host.kernel.memory.publish(words, GLOBAL_CPU_CELL, cpus[0] + 1);
  lab.host.nudge(lab.control, cpus[0]);
}

/** The policy's step; agents that do not schedule obey commands (agent_commands.ts). */
export function miniPolicyStep(agent: ContractAgent): Verdict {
  const { words, memory } = agent;
  if (memory.acquire(words, GLOBAL_CPU_CELL) !== agent.cpu + 1) return commandStep(agent);
  agent.yield_barrier = agent.status.barrier(agent.port.status_index);
  agent.yield_flags = 0;
  if (words[DISCOVER_CELL] !== 0) {
    words[DISCOVER_CELL] = 0;
    discover(agent);
  }
  readMessages(agent);
  const is_any_leaving = isAnyLeaving(agent); // before the look that finds it still there
  return schedule(agent) || is_any_leaving ? AGAIN : YIELD;
}
