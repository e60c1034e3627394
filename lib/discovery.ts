/**
 * Finds the tasks of an enclave in its status words: at start, when an earlier agent left tasks
 * behind, and after a queue overflow. Source: reference section 3.6 (DiscoverTasks); upstream
 * retries an ESTALE once and leaves fields of the made-up TASK_NEW uninitialised, we do neither.
 *
 * @module
 */
import {
  GHOST_ASSOC_SF_ALREADY,
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
} from "../ffi/abi/constants.ts";
import { EINVAL, ENOENT, ESTALE } from "../kernels/kernel.ts";
import type { AgentContext } from "./agent_context.ts";

/** Tries per status word; each ESTALE means that the kernel wrote a message meanwhile. */
const TRIES_MAX = 8;

/** What to do on the way. */
export interface DiscoveryOptions {
  /** Called with the status word's index, and its barrier and flags when it was associated. */
  readonly found: (index: number, barrier: number, flags: number) => void;
  /** Called before each unknown task is looked at; false ends the search. */
  readonly before?: () => boolean;
  /**
   * Called for each status word that is taken and not filled in: its task is being forked, and the
   * TASK_NEW goes to the queue that was the default one when that began.
   */
  readonly half_made?: () => void;
  /** Leaves out tasks whose messages come to this agent's queue anyway: none was lost. */
  readonly skip_already?: boolean;
}

/**
 * Visits every task that no agent knows, and frees the status words of tasks that are gone.
 *
 * @param agent The agent whose queue is the default queue.
 * @param options What to do on the way.
 * @returns False if a task was left out and the search must be repeated.
 */
export function discoverTasks(agent: AgentContext, options: DiscoveryOptions): boolean {
  const { status } = agent;
  let complete = true;
  for (let index = 0; index < status.capacity; index++) {
    if (!isUnknown(agent, index)) {
      if (isHalfMade(agent, index)) options.half_made?.();
      continue;
    }
    if (options.before !== undefined) {
      if (!options.before()) return false;
      // What came before may have introduced the task.
      if (!isUnknown(agent, index)) continue;
    }
    complete = discoverOne(agent, index, options) && complete;
  }
  return complete;
}

function isUnknown(agent: AgentContext, index: number): boolean {
  const { status, tasks } = agent;
  const flags = status.flags(index);
  if ((flags & GHOST_SW_F_INUSE) === 0 || (flags & GHOST_SW_TASK_IS_AGENT) !== 0) return false;
  return tasks.find(status.gtidLo(index), status.gtidHi(index)) < 0;
}

function isHalfMade({ status }: AgentContext, index: number): boolean {
  const flags = status.flags(index);
  return (flags & (GHOST_SW_F_ALLOCATED | GHOST_SW_F_INUSE)) === GHOST_SW_F_ALLOCATED;
}

/** True if the task needs no further look. */
function discoverOne(agent: AgentContext, index: number, options: DiscoveryOptions): boolean {
  const { status, port } = agent;
  const queue_id = agent.queue_ids[agent.cpuIndex(agent.cpu)];
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const barrier = status.barrier(index);
    // Read before the association, which fails unless they still belong to the barrier.
    const flags = status.flags(index);
    // Looked at first: the same task may have come back and have a second word by now.
    if ((flags & GHOST_SW_F_CANFREE) !== 0) {
      port.freeStatusWord(index);
      return true;
    }
    const result = port.associate(queue_id, status.gtidLo(index), status.gtidHi(index), barrier);
    if (result === -ESTALE) continue;
    if (result === -ENOENT) {
      if (port.freeStatusWord(index) === -EINVAL) continue;
      return true;
    }
    if (result < 0) return false;
    // BRAND_NEW: the kernel has yet to send TASK_NEW, which will introduce the task. If this word
    // is that of an earlier stay, the kernel waits for it to be freed.
    if ((result & GHOST_ASSOC_SF_BRAND_NEW) !== 0) {
      if ((status.flags(index) & GHOST_SW_F_CANFREE) !== 0) port.freeStatusWord(index);
      return true;
    }
    if (options.skip_already === true && (result & GHOST_ASSOC_SF_ALREADY) !== 0) return true;
    options.found(index, barrier, flags);
    return true;
  }
  return false;
}

/**
 * Sends the messages of a task that has yet to be introduced to the default queue again. The
 * kernel sends none before the status word of its earlier stay is freed, which is up to the caller.
 */
export function takeBack(agent: AgentContext, gtid_lo: number, gtid_hi: number): void {
  const { status, port, queue_ids } = agent;
  for (let index = 0; index < status.capacity; index++) {
    if (status.gtidLo(index) !== gtid_lo || status.gtidHi(index) !== gtid_hi) continue;
    if ((status.flags(index) & GHOST_SW_F_CANFREE) !== 0) continue;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const barrier = status.barrier(index);
      if (port.associate(queue_ids[0], gtid_lo, gtid_hi, barrier) !== -ESTALE) return;
    }
  }
}
