/**
 * What must hold of the per-CPU FIFO policy's shared memory between two events.
 *
 * @module
 */
import { DEAD, LATCHED, READY, RUNNING, SLEEPING } from "../../kernels/sim/thread.ts";
import { BLOCKED, ON_CPU, QUEUED, RUNNABLE } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { type HostView, THREAD_STATE_NAMES } from "./host_view.ts";

const ROW_NAMES: readonly string[] = ["blocked", "runnable", "queued", "on a CPU"];

/**
 * Checks the rows and the run queue of one agent.
 *
 * @returns What is wrong, or null.
 */
export function checkFifoPerCpu(view: HostView, cpu: number): string | null {
  return checkQueue(view, cpu) ?? checkRows(view, cpu);
}

/** The run queue is a proper list of queued rows of this agent. */
function checkQueue(view: HostView, cpu: number): string | null {
  const { tasks } = view;
  const [first, last, length] = view.cpu("run_queue", cpu);
  const state = view.task("state");
  const owner_id = view.ownerId(cpu);
  let count = 0;
  let before = 0;
  for (let link = first; link !== 0; link = tasks.next[link - 1]) {
    const row = link - 1;
    if (++count > length) return `run queue of CPU ${cpu} is longer than its length ${length}`;
    if (tasks.owner[row] !== owner_id) return `row ${row} is in the queue of CPU ${cpu}, not its`;
    if (state[row] !== QUEUED) return `row ${row} is in a run queue and ${ROW_NAMES[state[row]]}`;
    if (tasks.prev[row] !== before) return `run queue of CPU ${cpu} is not linked backwards`;
    before = link;
  }
  if (count !== length || last !== before) return `run queue of CPU ${cpu} has lost its end`;
  return null;
}

/** Every row of the agent is where its state says, and says what the machine says. */
function checkRows(view: HostView, cpu: number): string | null {
  const { tasks } = view;
  const state = view.task("state");
  const owner_id = view.ownerId(cpu);
  const pending = view.cpu("pending", cpu)[0] - 1;
  const current = view.cpu("current", cpu)[0] - 1;
  const caught_up = view.isCaughtUp(cpu);
  for (const row of [pending, current]) {
    if (row >= 0 && tasks.owner[row] !== owner_id) return `CPU ${cpu} has row ${row}, not its`;
  }
  let queued_count = 0;
  for (let row = 0; row < tasks.usedCount(); row++) {
    if (tasks.owner[row] !== owner_id || row === pending) continue;
    if (state[row] === QUEUED) queued_count++;
    if (state[row] === RUNNABLE) return `row ${row} is runnable and nowhere`;
    if ((state[row] === ON_CPU) !== (current === row)) {
      return `row ${row} is ${ROW_NAMES[state[row]]}, current of CPU ${cpu} is row ${current}`;
    }
    const fault = caught_up ? checkRow(view, row) : null;
    if (fault !== null) return fault;
  }
  if (queued_count !== view.cpu("run_queue", cpu)[2]) {
    return `CPU ${cpu}: ${queued_count} queued rows, ${view.cpu("run_queue", cpu)[2]} in the queue`;
  }
  return null;
}

/** A row whose agent has read all messages is in the state of its thread. */
function checkRow(view: HostView, row: number): string | null {
  const thread = view.threadOf(row);
  if (thread === undefined) return `row ${row} is about a thread that is gone`;
  const { status } = view.enclave;
  // The thread may be in its next stay already, or its transaction in flight.
  if (thread.status_index !== view.tasks.status_index[row]) return null;
  if (status.barrier(thread.status_index) !== view.tasks.seqnum[row]) return null;
  const state = view.task("state")[row];
  const expected = thread.state === SLEEPING
    ? state === BLOCKED
    : thread.state === READY
    ? state === QUEUED
    : thread.state === LATCHED
    ? state === ON_CPU
    : thread.state === RUNNING
    ? state === (thread.in_switchto ? BLOCKED : ON_CPU)
    : thread.state !== DEAD;
  if (expected) return null;
  return `thread ${thread.tid} is ${THREAD_STATE_NAMES[thread.state]}, its row ${ROW_NAMES[state]}`;
}
