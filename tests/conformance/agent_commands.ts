/**
 * The remote-controlled agent: its step logs what it reads, carries out one command of the control
 * side, and yields, or keeps its CPU while it is told to. All it knows is in the shared words.
 *
 * @module
 */
import {
  GHOST_TXN_READY,
  TXN_AGENT_BARRIER_WORD,
  TXN_STATE_WORD,
} from "../../ffi/abi/constants.ts";
import { AGAIN, RUN_LOCAL, type Verdict, YIELD } from "../../lib/policy.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import {
  ARGUMENTS,
  BLOCK_WORDS,
  blockOf,
  DONE,
  HELD,
  logMessage,
  MASK,
  OP,
  REQUEST,
  RESULT,
  STEPS,
  YIELD_FLAGS,
} from "./case_memory.ts";
import type { ContractAgent } from "./host.ts";

// Commands; arguments in brackets.

/** Commits the record of a CPU (cpu). */
export const COMMIT = 1;
/** Commits the records of the block's mask (not 0: the own record is filled in, open it). */
export const COMMIT_GROUP = 2;
/** Commits the records of the block's mask, all or none (as {@linkcode COMMIT_GROUP}). */
export const COMMIT_SYNC = 3;
/** Wakes another agent (cpu). */
export const PING = 4;
/** Associates a task with a queue (queue, gtid low, gtid high, barrier). */
export const ASSOCIATE = 5;
/** Frees a status word (index). */
export const FREE_STATUS_WORD = 6;
/** Runtime of a task in ns (gtid low, gtid high). */
export const CPU_TIME = 7;
/** Arms the timer (ns from now, 0 disarms; type, cookie). */
export const ARM_TIMER = 8;
/** Commits the own record, whose other fields are filled in, and gives the CPU away (0, or what
 * to add to the agent barrier). */
export const LOCAL_COMMIT = 9;
/** Yields at once (what to add to the agent barrier, flags). */
export const YIELD_NOW = 10;
/** Leaves the agent class. */
export const LEAVE = 11;
/** The agent's barrier. */
export const BARRIER = 12;
/** Sleeps (ns). */
export const SLEEP = 13;
/** Does nothing. */
export const NOTHING = 14;
/** Destroys the enclave and yields in what is left of it. */
export const DESTROY_AND_YIELD = 15;

/** Commands after which the step has nothing left to decide. */
const GAVE_CPU_AWAY: readonly number[] = [YIELD_NOW, LEAVE, SLEEP, DESTROY_AND_YIELD];

/** Reads all that waits in the agent's queues into the log. */
export function drainToLog(agent: ContractAgent): void {
  agent.rings.forEach((ring, index) => {
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      logMessage(agent.memory, agent.words, agent.cpu, agent.queue_ids[index], ring.words, at);
      ring.consume(at);
    }
    ring.release();
  });
}

/** Opens the own record; its agent barrier is the present one plus a difference. */
function openOwn(agent: ContractAgent, difference: number): void {
  const base = agent.cpu * TXN_STRIDE_WORDS;
  const { words } = agent.txns;
  words[base + TXN_AGENT_BARRIER_WORD] = agent.status.barrier(agent.port.status_index) + difference;
  agent.memory.publish(words, base + TXN_STATE_WORD, GHOST_TXN_READY);
}

/** Carries out a command; its result. */
function execute(agent: ContractAgent, op: number, block: number): number {
  const { port, words } = agent;
  const argument = (index: number): number => words[block + ARGUMENTS + index];
  const mask = words.subarray(block + MASK, block + BLOCK_WORDS).subarray(0, 16);
  switch (op) {
    case COMMIT:
      port.commit(argument(0));
      return 0;
    case COMMIT_GROUP:
      if (argument(0) !== 0) openOwn(agent, 0);
      port.commitGroup(mask);
      return 0;
    case COMMIT_SYNC:
      if (argument(0) !== 0) openOwn(agent, 0);
      return port.commitSyncGroup(mask);
    case PING:
      return port.ping(argument(0));
    case ASSOCIATE:
      return port.associate(argument(0), argument(1), argument(2), argument(3));
    case FREE_STATUS_WORD:
      return port.freeStatusWord(argument(0));
    case CPU_TIME:
      return port.cpuTimeNs(argument(0), argument(1));
    case ARM_TIMER: {
      const deadline_ns = argument(0) === 0 ? 0 : port.nowNs() + argument(0);
      return port.armTimer(deadline_ns, argument(1), argument(2));
    }
    case LOCAL_COMMIT:
      openOwn(agent, argument(0));
      return 0;
    case YIELD_NOW:
      return port.localYield(
        agent.status.barrier(port.status_index) + argument(0),
        argument(1),
      );
    case LEAVE:
      return port.leave();
    case BARRIER:
      return agent.status.barrier(port.status_index);
    case DESTROY_AND_YIELD: {
      const barrier = agent.status.barrier(port.status_index);
      agent.destroyEnclave();
      return port.localYield(barrier, 0);
    }
    case SLEEP:
      agent.sleep(argument(0));
      return 0;
    default:
      return 0;
  }
}

/** The step of the remote-controlled agent. */
export function commandStep(agent: ContractAgent): Verdict {
  const { memory, words } = agent;
  const block = blockOf(agent.cpu);
  agent.yield_barrier = agent.status.barrier(agent.port.status_index);
  agent.yield_flags = words[block + YIELD_FLAGS];
  memory.add(words, block + STEPS, 1);
  drainToLog(agent);
  const request = memory.acquire(words, block + REQUEST);
  if (request !== words[block + DONE]) {
    const op = words[block + OP];
    words[block + RESULT] = execute(agent, op, block);
    memory.publish(words, block + DONE, request);
    if (op === LOCAL_COMMIT) return RUN_LOCAL;
    if (GAVE_CPU_AWAY.includes(op)) return AGAIN;
  }
  return memory.acquire(words, block + HELD) !== 0 ? AGAIN : YIELD;
}
