/**
 * Task rows in a case's shared words, for the small policies of the suite: who is in the enclave,
 * by gtid, with its status word. What a task does is read from the status word when it is needed.
 *
 * @module
 */
import {
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  MSG_CPU_FIRST,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_NEW,
  MSG_TASK_PREEMPT,
  MSG_TASK_YIELD,
} from "../../ffi/abi/constants.ts";
import { CELL_COUNT } from "./case_memory.ts";
import type { ContractAgent } from "./host.ts";

/** Cell: order in which tasks became runnable. */
export const CLOCK_CELL = 6;
/** Cell: tasks found by discovery. */
export const DISCOVERED_CELL = 7;
/** Cell: messages of tasks that had not been introduced by TASK_NEW. */
export const STRAY_CELL = 8;
/** Cell: TASK_NEW of tasks that were known. */
export const TWICE_NEW_CELL = 9;

const TABLE = 64;
const ROW_WORDS = 8;
const ROW_COUNT = (CELL_COUNT - TABLE) / ROW_WORDS;
/** Row word: index of the status word plus one; 0 is a free row. */
export const INDEX = 0;
/** Row word: low word of the gtid. */
export const LO = 1;
/** Row word: high word of the gtid. */
export const HI = 2;
/** Row word: when it was last chosen. */
export const CHOSEN = 3;
/** Row word: CPU of the latest commit plus one, or 0. */
const COMMITTED_CPU = 4;
/** Row word: barrier of the task at that commit. */
const COMMITTED_BARRIER = 5;
/** Row word: barrier of the latest message that said that the task is off its CPU. */
const OFF_BARRIER = 6;

const ON_CPU = GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU;

/** Row of a task, or −1. */
export function rowOf(words: Int32Array, lo: number, hi: number): number {
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (words[at + INDEX] !== 0 && words[at + LO] === lo && words[at + HI] === hi) return at;
  }
  return -1;
}

/** Messages of a task that has lost its CPU. */
const OFF_CPU_MESSAGES: ReadonlySet<number> = new Set([
  MSG_TASK_BLOCKED,
  MSG_TASK_PREEMPT,
  MSG_TASK_YIELD,
]);

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
  words[at + COMMITTED_CPU] = 0;
  words[at + OFF_BARRIER] = 0;
}

/**
 * Notes who entered and left, and who is off its CPU; all else is read from the status words when
 * it is needed.
 */
export function readMessages(agent: ContractAgent): void {
  const { words, abi } = agent;
  for (const ring of agent.rings) {
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      const type = ring.words[at] & 0xffff;
      const [lo, hi] = [ring.words[at + 2], ring.words[at + 3]];
      const known = rowOf(words, lo, hi) >= 0;
      if (type === MSG_TASK_NEW) {
        if (known) words[TWICE_NEW_CELL]++;
        addTask(agent, ring.words[at + 2 + abi.words.new_sw_info + 1], lo, hi);
        words[rowOf(words, lo, hi) + OFF_BARRIER] = ring.words[at + 1];
      } else if (type < MSG_CPU_FIRST && !known) {
        words[STRAY_CELL]++;
      } else if (type === MSG_TASK_DEAD || type === MSG_TASK_DEPARTED) {
        const row = rowOf(words, lo, hi);
        if (row >= 0) {
          const index = words[row + INDEX] - 1;
          words[row + INDEX] = 0;
          agent.port.freeStatusWord(index);
        }
      } else if (OFF_CPU_MESSAGES.has(type)) {
        words[rowOf(words, lo, hi) + OFF_BARRIER] = ring.words[at + 1];
      }
      ring.consume(at);
    }
    ring.release();
  }
}

/** Takes over the tasks that an earlier agent left behind (reference section 3.6). */
export function discover(agent: ContractAgent): void {
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

/** Notes that a task was committed to a CPU, with the barrier of the transaction. */
export function noteCommit(words: Int32Array, row: number, cpu: number, barrier: number): void {
  words[row + COMMITTED_CPU] = cpu + 1;
  words[row + COMMITTED_BARRIER] = barrier;
}

/** CPU on which a task runs, or will as soon as that CPU looks; −1 if there is none. */
export function committedCpu(agent: ContractAgent, row: number): number {
  const { words, status } = agent;
  if (words[row + COMMITTED_CPU] === 0) return -1;
  const index = words[row + INDEX] - 1;
  const is_on_cpu = (status.flags(index) & GHOST_SW_TASK_ONCPU) !== 0;
  const is_latched = status.barrier(index) === words[row + COMMITTED_BARRIER];
  return is_on_cpu || is_latched ? words[row + COMMITTED_CPU] - 1 : -1;
}

/** True if a task can run and is on no CPU. */
function isWaiting(agent: ContractAgent, row: number): boolean {
  const index = agent.words[row + INDEX] - 1;
  const state = agent.status.flags(index) & (GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU);
  return state === GHOST_SW_TASK_RUNNABLE;
}

/**
 * True if a task can run and its status word says that it is on a CPU, though a message has said
 * that it is not. A kernel clears the flag after it has sent the message and woken the agent
 * (prepare_task_switch in its kernel/sched/ghost.c), and nothing tells when.
 */
export function isAnyLeaving(agent: ContractAgent): boolean {
  const { words, status } = agent;
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (words[at + INDEX] === 0) continue;
    const flags = status.flags(words[at + INDEX] - 1);
    const is_running = (flags & ON_CPU) === ON_CPU;
    const committed = words[at + COMMITTED_CPU] === 0 ? 0 : words[at + COMMITTED_BARRIER];
    if (is_running && words[at + OFF_BARRIER] - committed > 0) return true;
  }
  return false;
}

/** The task that has waited longest and passes a test, or −1. */
export function longestWaiting(agent: ContractAgent, may_run: (row: number) => boolean): number {
  const { words } = agent;
  let best = -1;
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (words[at + INDEX] === 0 || !isWaiting(agent, at) || !may_run(at)) continue;
    if (best < 0 || words[at + CHOSEN] < words[best + CHOSEN]) best = at;
  }
  return best;
}

/** Row of the task that runs on a CPU, or will as soon as that CPU looks; −1 if there is none. */
export function committedRow(agent: ContractAgent, cpu: number): number {
  for (let row = 0; row < ROW_COUNT; row++) {
    const at = TABLE + row * ROW_WORDS;
    if (agent.words[at + INDEX] !== 0 && committedCpu(agent, at) === cpu) return at;
  }
  return -1;
}
