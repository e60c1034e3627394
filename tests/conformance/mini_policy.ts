/**
 * The smallest policy that keeps threads running: one agent schedules all CPUs of its enclave, in
 * the order in which threads became runnable. For cases that need a load and not a policy. Its
 * state is in the case's shared words, so that agents can follow one another.
 *
 * @module
 */
import {
  COMMIT_AT_TXN_COMMIT,
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_NEW,
  TXN_GTID_WORD,
  TXN_TASK_BARRIER_WORD,
} from "../../ffi/abi/constants.ts";
import { type Verdict, YIELD } from "../../lib/policy.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import { commandStep } from "./agent_commands.ts";
import { CELL_COUNT } from "./case_memory.ts";
import type { ContractAgent } from "./host.ts";

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
/** Cell: order in which tasks became runnable. */
const CLOCK_CELL = 6;
/** Cell: tasks found by discovery. */
export const DISCOVERED_CELL = 7;

const TABLE = 64;
const ROW_WORDS = 4;
const ROW_COUNT = (CELL_COUNT - TABLE) / ROW_WORDS;
// Words of a row: status index + 1 (0 is free), gtid words, when it was last chosen.
const [INDEX, LO, HI, CHOSEN] = [0, 1, 2, 3];

function rowOf(words: Int32Array, lo: number, hi: number): number {
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (words[at + INDEX] !== 0 && words[at + LO] === lo && words[at + HI] === hi) return at;
  }
  return -1;
}

function addTask(agent: ContractAgent, index: number, lo: number, hi: number): void {
  const { words } = agent;
  let at = rowOf(words, lo, hi);
  for (let row = 0; at < 0 && row < ROW_COUNT; row++) {
    if (words[TABLE + row * ROW_WORDS] === 0) at = TABLE + row * ROW_WORDS;
  }
  words[at + INDEX] = index + 1;
  words[at + LO] = lo;
  words[at + HI] = hi;
  words[at + CHOSEN] = words[CLOCK_CELL]++;
}

/** Notes who entered and left; all else is read from the status words when it is needed. */
function readMessages(agent: ContractAgent): void {
  const { words, abi } = agent;
  for (const ring of agent.rings) {
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      const type = ring.words[at] & 0xffff;
      const [lo, hi] = [ring.words[at + 2], ring.words[at + 3]];
      if (type === MSG_TASK_NEW) {
        addTask(agent, ring.words[at + 2 + abi.words.new_sw_info + 1], lo, hi);
      } else if (type === MSG_TASK_DEAD || type === MSG_TASK_DEPARTED) {
        const row = rowOf(words, lo, hi);
        if (row >= 0) {
          const index = words[row + INDEX] - 1;
          words[row + INDEX] = 0;
          agent.port.freeStatusWord(index);
        }
      }
      ring.consume(at);
    }
    ring.release();
  }
}

/** Takes over the tasks that an earlier agent left behind (reference section 3.6). */
function discover(agent: ContractAgent): void {
  const { status, port, words, queue_ids } = agent;
  for (let index = 0; index < status.capacity; index++) {
    if (!status.isTask(index)) continue;
    const [lo, hi] = [status.gtidLo(index), status.gtidHi(index)];
    const result = port.associate(queue_ids[0], lo, hi, status.barrier(index));
    if (result < 0) {
      if ((status.flags(index) & GHOST_SW_F_CANFREE) !== 0) port.freeStatusWord(index);
    } else if ((result & GHOST_ASSOC_SF_BRAND_NEW) === 0) {
      words[DISCOVERED_CELL]++;
      addTask(agent, index, lo, hi);
    }
  }
}

/** True if a task runs on a CPU, or will as soon as that CPU looks. */
function isCommitted(agent: ContractAgent, row: number, cpu: number): boolean {
  const { words, txns, status } = agent;
  const base = cpu * TXN_STRIDE_WORDS;
  const is_target = txns.words[base + TXN_GTID_WORD] === words[row + LO] &&
    txns.words[base + TXN_GTID_WORD + 1] === words[row + HI];
  if (!is_target || txns.state(cpu) !== GHOST_TXN_COMPLETE) return false;
  const index = words[row + INDEX] - 1;
  const is_on_cpu = (status.flags(index) & GHOST_SW_TASK_ONCPU) !== 0;
  return is_on_cpu || status.barrier(index) === txns.words[base + TXN_TASK_BARRIER_WORD];
}

function forEachCpu(words: Int32Array, visit: (cpu: number) => boolean): boolean {
  const first = words[FIRST_CPU_CELL];
  for (let cpu = first; cpu < first + words[CPU_COUNT_CELL]; cpu++) if (visit(cpu)) return true;
  return false;
}

/** The runnable task that has waited longest, or −1. */
function nextTask(agent: ContractAgent): number {
  const { words, status } = agent;
  let best = -1;
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (words[at + INDEX] === 0) continue;
    const state = status.flags(words[at + INDEX] - 1) &
      (GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU);
    if (state !== GHOST_SW_TASK_RUNNABLE) continue;
    if (forEachCpu(words, (cpu) => isCommitted(agent, at, cpu))) continue;
    if (best < 0 || words[at + CHOSEN] < words[best + CHOSEN]) best = at;
  }
  return best;
}

/** True if a CPU has nothing of ours to run. */
function isFree(agent: ContractAgent, cpu: number): boolean {
  const { words, txns } = agent;
  const base = cpu * TXN_STRIDE_WORDS + TXN_GTID_WORD;
  const row = rowOf(words, txns.words[base], txns.words[base + 1]);
  return txns.state(cpu) < 0 && (row < 0 || !isCommitted(agent, row, cpu));
}

function schedule(agent: ContractAgent): void {
  const { words, txns, status, port } = agent;
  forEachCpu(words, (cpu) => {
    if (cpu === agent.cpu || !isFree(agent, cpu)) return false;
    const row = nextTask(agent);
    if (row < 0) return true;
    words[row + CHOSEN] = words[CLOCK_CELL]++;
    const barrier = status.barrier(words[row + INDEX] - 1);
    txns.open(cpu, words[row + LO], words[row + HI], barrier, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(cpu);
    words[txns.state(cpu) === GHOST_TXN_COMPLETE ? COMPLETE_CELL : REFUSED_CELL]++;
    return false;
  });
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
  schedule(agent);
  return YIELD;
}
