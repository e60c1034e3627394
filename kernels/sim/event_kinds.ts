/**
 * Kinds of the events of the simulated machine.
 *
 * @module
 */

/** A running thread has used up its RUN action. */
export const EVENT_SEGMENT_END = 0;
/** A sleep is over. */
export const EVENT_WAKE = 1;
/** An agent begins a step. */
export const EVENT_AGENT_STEP = 2;
/** A CPU looks what to run (interrupt after a remote commit). */
export const EVENT_RESCHED = 3;
/** A default-class time slice is over. */
export const EVENT_SLICE_END = 4;
/** A scheduler tick. */
export const EVENT_TICK = 5;
/** A greedy transaction reaches its commit point. */
export const EVENT_GREEDY = 6;
/** An agent's timer expires. */
export const EVENT_TIMER = 7;
/** An enclave's runnable_timeout may be over. */
export const EVENT_RUNNABLE_TIMEOUT = 8;
/** A function given to `SimMachine.at`. */
export const EVENT_CALL = 9;
/** A late wake-up of an agent (fault). */
export const EVENT_AGENT_WAKE = 10;
