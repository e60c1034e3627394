/**
 * Priority for threads that put agents in the place of others: until these run nobody schedules,
 * and whatever else the host does waits rather than they.
 *
 * @module
 */
import { SCHED_FIFO, SCHED_OTHER, SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";

/** Above every thread of the default class, below every other real-time thread. */
const PRIORITY = 1;
const HURRIED = SCHED_FIFO | SCHED_RESET_ON_FORK;

/**
 * Puts the calling thread, but none that it starts, before those of the default class. A thread
 * that somebody gave a class of its own keeps it; without the right to priority (CAP_SYS_NICE)
 * nothing happens, and a take-over takes longer.
 */
export function hurry(): void {
  const { schedGetscheduler, schedSetscheduler } = loadShim();
  if (schedGetscheduler(0) === SCHED_OTHER) schedSetscheduler(0, SCHED_FIFO, PRIORITY, 1);
}

/** Takes back what {@linkcode hurry} has done. */
export function endHurry(): void {
  const { schedGetscheduler, schedSetscheduler } = loadShim();
  if (schedGetscheduler(0) === HURRIED) schedSetscheduler(0, SCHED_OTHER, 0, 0);
}
