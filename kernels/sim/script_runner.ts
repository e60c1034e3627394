/**
 * Carries out what a running thread's script asks for.
 *
 * @module
 */
import { InvariantError } from "../../lib/invariant.ts";
import * as actions from "./actions.ts";
import * as events from "./event_kinds.ts";
import type { SimMachine } from "./machine.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { actionArgument, actionOp, SCRIPT_END } = actions;
const { OP_BLOCK, OP_RUN, OP_SLEEP, OP_SWITCHTO, OP_YIELD } = actions;
const { EVENT_WAKE } = events;
const { DEAD, MODE_AGENT, MODE_GHOST, NO_ACTION, READY, RUNNING, SLEEPING } = states;

/** Actions without a pause after which a script counts as stuck. */
const INSTANT_ACTIONS_MAX = 10_000;

/** Takes the next actions of a thread that is on a CPU and has used up its last RUN. */
export function continueScript(machine: SimMachine, cpu: SimCpu, thread: SimThread): void {
  const { injector } = machine;
  for (let count = 0; count < INSTANT_ACTIONS_MAX; count++) {
    const action = nextAction(thread);
    // The script itself may have taken the thread off the CPU: it changed class, or was killed.
    // What it asked for is done when it runs again.
    if (thread.state !== RUNNING || cpu.current !== thread) {
      thread.pending_action = action;
      return;
    }
    if (action < 0) return machine.exit(thread);
    const argument = actionArgument(action);
    switch (actionOp(action)) {
      case OP_RUN: {
        const ns = injector.enabled ? injector.runNs(argument) : argument;
        thread.demand_ns += ns;
        thread.remaining_ns = ns;
        if (ns === 0) continue;
        return machine.scheduleSegmentEnd(thread);
      }
      case OP_SLEEP:
        return fallAsleep(
          machine,
          cpu,
          thread,
          injector.enabled ? injector.sleepNs(argument) : argument,
        );
      case OP_BLOCK:
        return fallAsleep(machine, cpu, thread, -1);
      case OP_YIELD:
        return yieldThread(machine, cpu, thread);
      case OP_SWITCHTO:
        return switchTo(machine, cpu, thread, argument);
      default:
        throw new InvariantError(`thread ${thread.tid}: script yields ${action}`);
    }
  }
  throw new InvariantError(`thread ${thread.tid}: script never uses time`);
}

/** The next action, or −1 if the script is over. */
function nextAction(thread: SimThread): number {
  const pending = thread.pending_action;
  if (pending !== NO_ACTION) {
    thread.pending_action = NO_ACTION;
    return pending;
  }
  const { script, source } = thread;
  if (source !== null) {
    const action = source.nextAction();
    if (action !== SCRIPT_END) return action;
  } else {
    if (script === undefined) return SCRIPT_END;
    const result = script.next();
    if (result.done !== true) return result.value;
  }
  thread.listener?.end();
  return SCRIPT_END;
}

function fallAsleep(machine: SimMachine, cpu: SimCpu, thread: SimThread, ns: number): void {
  machine.offCpu(cpu, thread, SLEEPING);
  machine.messages.taskBlocked(cpu, thread);
  if (ns >= 0) {
    machine.events.push(machine.now_ns + ns, EVENT_WAKE, thread.tid, ++thread.event_generation);
  }
  // Its message may have given the CPU to the agent; nobody has a better claim then.
  if (cpu.mode !== MODE_AGENT) machine.resched(cpu);
}

function yieldThread(machine: SimMachine, cpu: SimCpu, thread: SimThread): void {
  machine.offCpu(cpu, thread, READY);
  machine.messages.taskYielded(cpu, thread);
  if (cpu.mode !== MODE_AGENT) machine.resched(cpu);
}

/** A script's switchto; where it is not possible, the thread yields by a very short sleep. */
function switchTo(machine: SimMachine, cpu: SimCpu, thread: SimThread, tid: number): void {
  const target = machine.thread(tid);
  const enclave = thread.enclave;
  const possible = enclave !== null && target !== undefined &&
    target.enclave === enclave && target.state === SLEEPING && !target.gated &&
    (enclave.tunable("switchto_disabled") === 0 || !machine.options.has_rule("switchto.disabled"));
  if (possible) giveCpu(machine, cpu, thread, target);
  else fallAsleep(machine, cpu, thread, 1);
}

/**
 * A switchto in the middle of a RUN action, the rest of which follows after a sleep (fault).
 *
 * @param thread The thread that runs on `cpu` as a ghOSt thread.
 * @param target A sleeping thread of the same enclave.
 * @param sleep_ns How long `thread` sleeps.
 */
export function interruptWithSwitchto(
  machine: SimMachine,
  cpu: SimCpu,
  thread: SimThread,
  target: SimThread,
  sleep_ns: number,
): void {
  giveCpu(machine, cpu, thread, target);
  if (thread.state !== SLEEPING) return;
  const wake_ns = machine.now_ns + sleep_ns;
  machine.events.push(wake_ns, EVENT_WAKE, thread.tid, ++thread.event_generation);
}

/** Gives the CPU straight to a sleeping thread of the same enclave. */
function giveCpu(machine: SimMachine, cpu: SimCpu, thread: SimThread, target: SimThread): void {
  machine.offCpu(cpu, thread, SLEEPING);
  if (thread.in_switchto) machine.messages.taskBlocked(cpu, thread);
  else machine.messages.taskSwitchto(cpu, thread);
  target.event_generation++;
  target.in_switchto = true;
  target.setState(READY);
  target.enclave?.ready.push(target);
  machine.start(cpu, target, MODE_GHOST, machine.options.costs.default_switch_ns);
  machine.resched(cpu);
}

/** What remains to do when a thread has left its CPU for good. */
export function finishExit(machine: SimMachine, thread: SimThread): void {
  thread.setState(DEAD);
  thread.script = undefined;
  thread.source = null;
  thread.listener = null;
  machine.live_count--;
  const { enclave } = thread;
  if (enclave === null) return;
  machine.messages.taskDead(thread);
  enclave.forget(thread);
}
