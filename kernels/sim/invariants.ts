/**
 * What must hold after every event of the simulated machine. Each check looks at what the event
 * touched, so that it costs the same on any machine size.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import { InvariantError } from "../../lib/invariant.ts";
import * as events from "./event_kinds.ts";
import type { SimMachine } from "./machine.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { GHOST_SW_TASK_ONCPU } = abi_constants;
const {
  EVENT_AGENT_WAKE,
  EVENT_GREEDY,
  EVENT_RESCHED,
  EVENT_SLICE_END,
  EVENT_TICK,
  EVENT_TIMER,
  EVENT_WAKE,
} = events;
const { DEAD, LATCHED, MODE_AGENT, MODE_DEFAULT, MODE_GHOST, MODE_IDLE, READY, RUNNING } = states;

function broken(machine: SimMachine, text: string): never {
  throw new InvariantError(`at ${machine.now_ns} ns: ${text}`);
}

/**
 * Checks the thread and the CPU that an event was about, and every CPU that it touched. An event
 * inside another one's call finds what the outer one has touched so far, and checks that too.
 */
export function checkEvent(machine: SimMachine, kind: number, a: number): void {
  switch (kind) {
    case EVENT_WAKE:
      return checkWoken(machine, machine.threads[a - machine.first_tid]);
    case EVENT_AGENT_WAKE:
    case EVENT_RESCHED:
    case EVENT_SLICE_END:
    case EVENT_TICK:
    case EVENT_GREEDY:
    case EVENT_TIMER:
      return checkCpuEvent(machine, machine.cpus[a]);
    default:
      // A call or a timeout is about no CPU in particular: what it touched is in the list.
      checkTouched(machine);
  }
}

function checkWoken(machine: SimMachine, thread: SimThread): void {
  checkThreadEvent(machine, thread, machine.cpus[thread.cpu]);
}

/**
 * {@linkcode checkEvent} for an event that was about a thread.
 *
 * @param cpu The thread's CPU when the event began; it may have been moved since.
 */
export function checkThreadEvent(machine: SimMachine, thread: SimThread, cpu: SimCpu): void {
  if (thread.cpu === cpu.id) {
    checkThreadOn(machine, thread, cpu);
  } else {
    checkThread(machine, thread);
    checkCpu(machine, machine.cpus[thread.cpu]);
  }
  checkCpuEvent(machine, cpu);
}

/** {@linkcode checkEvent} for an event that was about a CPU. */
export function checkCpuEvent(machine: SimMachine, cpu: SimCpu): void {
  cpu.is_touched = false;
  checkCpu(machine, cpu);
  if (machine.touched_count > 0) checkTouched(machine);
}

function checkTouched(machine: SimMachine): void {
  while (machine.touched_count > 0) {
    const cpu = machine.cpus[machine.touched[--machine.touched_count]];
    cpu.is_touched = false;
    checkCpu(machine, cpu);
  }
}

/** No thread on two CPUs, and a thread's time adds up. */
export function checkThread(machine: SimMachine, thread: SimThread): void {
  checkThreadOn(machine, thread, machine.cpus[thread.cpu]);
}

function checkThreadOn(machine: SimMachine, thread: SimThread, cpu: SimCpu): void {
  if (thread.state === RUNNING && cpu.current !== thread) {
    broken(machine, `thread ${thread.tid} runs on CPU ${cpu.id}, which runs another`);
  }
  if (thread.state !== RUNNING && cpu.current === thread) {
    broken(machine, `CPU ${cpu.id} runs thread ${thread.tid}, which does not run`);
  }
  if (thread.runtime_ns + thread.remaining_ns !== thread.demand_ns && thread.state !== DEAD) {
    broken(machine, `thread ${thread.tid} ran ${thread.runtime_ns} ns of ${thread.demand_ns} ns`);
  }
}

/** Whoever has a CPU may have it, nobody with a claim waits, and the CPU's time adds up. */
export function checkCpu(machine: SimMachine, cpu: SimCpu): void {
  if (cpu.picking) return;
  const { current } = cpu;
  switch (cpu.mode) {
    case MODE_AGENT:
      if (cpu.agent === null || !cpu.agent.wantsCpu()) {
        broken(machine, `CPU ${cpu.id} is held by an agent that is not there`);
      }
      break;
    case MODE_DEFAULT:
      if (current === null || current.enclave !== null || current.state !== RUNNING) {
        broken(machine, `CPU ${cpu.id} runs no default-class thread in that mode`);
      }
      break;
    case MODE_GHOST:
      checkGhost(machine, cpu, current);
      break;
    case MODE_IDLE:
      checkIdle(machine, cpu);
  }
  if (current !== null && current.cpu !== cpu.id) {
    broken(machine, `thread ${current.tid} is on two CPUs: ${cpu.id} and ${current.cpu}`);
  }
  if (cpu.latched !== null && cpu.latched.state !== LATCHED) {
    broken(machine, `CPU ${cpu.id}: latched thread ${cpu.latched.tid} is not latched`);
  }
  const times = cpu.mode_ns;
  const accounted_ns = times[0] + times[1] + times[2] + times[3];
  if (accounted_ns !== cpu.since_ns) broken(machine, `CPU ${cpu.id}: time does not add up`);
  checkForgotten(machine, cpu);
}

function checkGhost(machine: SimMachine, cpu: SimCpu, thread: SimThread | null): void {
  if (thread === null || thread.enclave === null || thread.state !== RUNNING) {
    broken(machine, `CPU ${cpu.id} runs no ghOSt thread in that mode`);
  }
  if ((thread.enclave.status.flags(thread.status_index) & GHOST_SW_TASK_ONCPU) === 0) {
    broken(machine, `thread ${thread.tid} runs, its status word says no`);
  }
}

function checkIdle(machine: SimMachine, cpu: SimCpu): void {
  if (cpu.waiting.length > 0 || cpu.agent?.wantsCpu() === true) {
    broken(machine, `CPU ${cpu.id} idles though something of a higher class waits`);
  }
}

/** No runnable thread waits longer than the run allows. */
function checkForgotten(machine: SimMachine, cpu: SimCpu): void {
  const { enclave } = cpu;
  if (enclave === null) return;
  const oldest = enclave.ready.first;
  if (oldest === null) return;
  if (oldest.state !== READY && oldest.state !== LATCHED) {
    broken(machine, `thread ${oldest.tid} is in the ready list and not ready`);
  }
  if (machine.now_ns - oldest.ready_since_ns > machine.forgotten_after_ns) {
    broken(machine, `runnable thread ${oldest.tid} was forgotten`);
  }
}

/** Everything, once: at the end of a run. */
export function checkAll(machine: SimMachine): void {
  for (const cpu of machine.cpus) checkCpu(machine, cpu);
  for (const thread of machine.threads) checkThread(machine, thread);
}
