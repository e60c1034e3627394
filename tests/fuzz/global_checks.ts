/**
 * What must hold of the shared memory of policies with a global agent between two events.
 *
 * @module
 */
import { DEAD, LATCHED, READY, RUNNING, SLEEPING } from "../../kernels/sim/thread.ts";
import { FIFO_QUEUE_WORDS } from "../../lib/fifo_queue.ts";
import { type HostView, THREAD_STATE_NAMES } from "./host_view.ts";

/** States that all these policies have, by the same numbers. */
const BLOCKED = 0;
const QUEUED = 1;
const ON_CPU = 2;

/**
 * Makes the check of a policy.
 *
 * @param queue Column with its run queues, or "heap_size".
 * @returns The check: what is wrong, or null.
 */
export function checkGlobal(queue: string): (view: HostView, cpu: number) => string | null {
  return (view, cpu) => {
    // There is one agent that acts: its rows are looked at in one turn of all CPUs.
    if (view.cpuIndex(cpu) !== 0) return null;
    return checkCpus(view) ?? checkQueues(view, queue) ?? checkRows(view, cpu);
  };
}

/** A task is on the CPU that its row says, and nowhere else. */
function checkCpus(view: HostView): string | null {
  const { tasks } = view;
  const state = view.task("state");
  const index_of = view.task("cpu_index");
  const current = view.global("current");
  for (let index = 0; index < current.length; index++) {
    const row = current[index] - 1;
    if (row < 0) continue;
    if (state[row] !== ON_CPU) return `row ${row} is current at ${index}, in state ${state[row]}`;
    if (index_of[row] !== index + 1) return `row ${row} is current at ${index} and elsewhere`;
  }
  for (let row = 0; row < tasks.usedCount(); row++) {
    if (tasks.owner[row] === 0 || state[row] !== ON_CPU) continue;
    if (current[index_of[row] - 1] !== row + 1) return `row ${row} is on a CPU that has another`;
  }
  return null;
}

/** As many rows are queued as the queues are long. */
function checkQueues(view: HostView, queue: string): string | null {
  const { tasks } = view;
  const state = view.task("state");
  const words = view.global(queue);
  let length = 0;
  if (queue === "heap_size") length = words[0];
  else for (let at = 0; at < words.length; at += FIFO_QUEUE_WORDS) length += words[at + 2];
  let count = 0;
  for (let row = 0; row < tasks.usedCount(); row++) {
    if (tasks.owner[row] !== 0 && state[row] === QUEUED) count++;
  }
  return count === length ? null : `${count} rows are queued, the queues hold ${length}`;
}

/** Rows whose messages are all read say what the machine says. */
function checkRows(view: HostView, cpu: number): string | null {
  if (!view.isCaughtUp(cpu)) return null;
  const { tasks, enclave: { status } } = view;
  const states = view.task("state");
  for (let row = 0; row < tasks.usedCount(); row++) {
    const thread = tasks.owner[row] === 0 ? undefined : view.threadOf(row);
    if (thread === undefined || thread.status_index !== tasks.status_index[row]) continue;
    if (status.barrier(thread.status_index) !== tasks.seqnum[row]) continue;
    const state = states[row];
    const is_right = thread.state === SLEEPING
      ? state === BLOCKED
      : thread.state === READY
      ? state !== BLOCKED && state !== ON_CPU
      : thread.state === LATCHED
      ? state !== BLOCKED
      : thread.state === RUNNING
      ? (state !== BLOCKED || thread.in_switchto)
      : thread.state !== DEAD;
    if (is_right) continue;
    return `thread ${thread.tid} is ${THREAD_STATE_NAMES[thread.state]}, its row in state ${state}`;
  }
  return null;
}
