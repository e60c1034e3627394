/**
 * Finds the tasks of an enclave in its status words: at start, when an earlier agent left tasks
 * behind, and after a queue overflow. Source: reference section 3.6 (DiscoverTasks); upstream
 * retries an ESTALE once and leaves fields of the made-up TASK_NEW uninitialised, we do neither.
 *
 * @module
 */
import {
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
} from "../ffi/abi/constants.ts";
import { ENOENT, ESTALE } from "../kernels/kernel.ts";
import type { AgentContext } from "./agent_context.ts";

/** Tries per status word; each ESTALE means that the kernel wrote a message meanwhile. */
const TRIES_MAX = 8;

/**
 * Visits every task that no agent knows.
 *
 * @param agent The agent whose queue is the default queue.
 * @param found Called with the status word's index and the barrier at which it was associated.
 */
export function discoverTasks(
  agent: AgentContext,
  found: (index: number, barrier: number) => void,
): void {
  const { status } = agent;
  for (let index = 0; index < status.capacity; index++) {
    const flags = status.flags(index);
    if ((flags & GHOST_SW_F_INUSE) === 0 || (flags & GHOST_SW_TASK_IS_AGENT) !== 0) continue;
    if (agent.tasks.find(status.gtidLo(index), status.gtidHi(index)) >= 0) continue;
    discoverOne(agent, index, found);
  }
}

function discoverOne(
  agent: AgentContext,
  index: number,
  found: (index: number, barrier: number) => void,
): void {
  const { status, port } = agent;
  const queue_id = agent.queue_ids[agent.cpuIndex(agent.cpu)];
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const barrier = status.barrier(index);
    const result = port.associate(
      queue_id,
      status.gtidLo(index),
      status.gtidHi(index),
      barrier,
    );
    if (result === -ESTALE) {
      if ((status.flags(index) & GHOST_SW_F_CANFREE) === 0) continue;
      port.freeStatusWord(index);
      return;
    }
    if (result === -ENOENT) {
      port.freeStatusWord(index);
      return;
    }
    // BRAND_NEW: the kernel has yet to send TASK_NEW, which will introduce the task.
    if (result >= 0 && (result & GHOST_ASSOC_SF_BRAND_NEW) === 0) found(index, barrier);
    return;
  }
}
