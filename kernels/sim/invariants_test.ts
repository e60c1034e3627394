import { assert, assertEquals, assertThrows } from "@std/assert";
import { GHOST_SW_TASK_ONCPU } from "../../ffi/abi/constants.ts";
import { InvariantError } from "../../lib/invariant.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { run, type Script, sleep } from "./actions.ts";
import type { SimEnclave } from "./enclave.ts";
import { SimPolicyHost } from "./host.ts";
import { checkAll, checkCpu, checkThread } from "./invariants.ts";
import type { SimMachine } from "./machine.ts";
import { SimKernel } from "./sim_kernel.ts";
import {
  LATCHED,
  MODE_AGENT,
  MODE_DEFAULT,
  MODE_GHOST,
  MODE_IDLE,
  READY,
  RUNNING,
  type SimCpu,
  type SimThread,
  SLEEPING,
} from "./thread.ts";

const MS = 1_000_000;

function* busy(ns: number): Script {
  yield run(ns);
}

/** CPU 1 runs a ghOSt thread and one more waits; the default class has CPU 0. */
interface Stage {
  readonly machine: SimMachine;
  readonly enclave: SimEnclave;
  readonly ghost_cpu: SimCpu;
  readonly default_cpu: SimCpu;
  readonly idle_cpu: SimCpu;
  readonly running: SimThread;
  readonly waiting: SimThread;
}

function stage(): Stage {
  const kernel = new SimKernel({ cpus: 4, seed: 1 });
  const { machine } = kernel;
  const enclave = kernel.createEnclave([1], kernel.abi.version) as SimEnclave;
  const host = new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  const other = machine.spawn(() => busy(100 * MS), "other");
  const threads = [0, 1].map(() => {
    const thread = machine.spawn(() => busy(50 * MS), "t");
    assertEquals(enclave.join(thread.tid), 0);
    return thread;
  });
  machine.runUntil(5 * MS);
  assertEquals(host.failure, null);
  const running = threads.find((thread) => thread.state === RUNNING) as SimThread;
  const waiting = threads.find((thread) => thread.state === READY) as SimThread;
  const idle_cpu = machine.cpus.find((cpu) => cpu.mode === MODE_IDLE) as SimCpu;
  const ghost_cpu = machine.cpus[1];
  const default_cpu = machine.cpus[other.cpu];
  assertEquals([ghost_cpu.mode, default_cpu.mode], [MODE_GHOST, MODE_DEFAULT]);
  checkAll(machine);
  return { machine, enclave, ghost_cpu, default_cpu, idle_cpu, running, waiting };
}

/** One thing that is broken by hand, and what the check says of it. */
interface Breakage {
  readonly what: string;
  readonly says: string;
  breaks(on: Stage): void;
  check(on: Stage): void;
}

const ghostCpu = (on: Stage): void => checkCpu(on.machine, on.ghost_cpu);
const defaultCpu = (on: Stage): void => checkCpu(on.machine, on.default_cpu);
const idleCpu = (on: Stage): void => checkCpu(on.machine, on.idle_cpu);
const runningThread = (on: Stage): void => checkThread(on.machine, on.running);

const BREAKAGES: readonly Breakage[] = [
  {
    what: "a running thread whose CPU runs another",
    says: "which runs another",
    breaks: (on) => on.ghost_cpu.current = on.waiting,
    check: runningThread,
  },
  {
    what: "a CPU that runs a thread which does not run",
    says: "which does not run",
    breaks: (on) => on.running.state = READY,
    check: runningThread,
  },
  {
    what: "a thread that has lost time",
    says: "ran",
    breaks: (on) => on.running.remaining_ns--,
    check: runningThread,
  },
  {
    what: "an agent's turn without an agent",
    says: "held by an agent that is not there",
    breaks: (on) => on.ghost_cpu.mode = MODE_AGENT,
    check: ghostCpu,
  },
  {
    what: "the default class's turn for a ghOSt thread",
    says: "runs no default-class thread",
    breaks: (on) => on.ghost_cpu.mode = MODE_DEFAULT,
    check: ghostCpu,
  },
  {
    what: "the default class's turn for nobody",
    says: "runs no default-class thread",
    breaks: (on) => on.default_cpu.current = null,
    check: defaultCpu,
  },
  {
    what: "a ghOSt turn for a default-class thread",
    says: "runs no ghOSt thread",
    breaks: (on) => on.default_cpu.mode = MODE_GHOST,
    check: defaultCpu,
  },
  {
    what: "a ghOSt turn for a thread that sleeps",
    says: "runs no ghOSt thread",
    breaks: (on) => on.running.state = SLEEPING,
    check: ghostCpu,
  },
  {
    what: "a running thread whose status word says that it is off",
    says: "its status word says no",
    breaks: (on) => on.enclave.status.change(on.running.status_index, 0, GHOST_SW_TASK_ONCPU),
    check: ghostCpu,
  },
  {
    what: "an idle CPU for which a default-class thread waits",
    says: "idles though",
    breaks: (on) => on.idle_cpu.waiting.push(on.waiting),
    check: idleCpu,
  },
  {
    what: "an idle CPU whose agent wants it",
    says: "idles though",
    breaks: (on) => {
      on.ghost_cpu.picking = true;
      on.ghost_cpu.agent?.wake();
      on.ghost_cpu.picking = false;
      on.ghost_cpu.mode = MODE_IDLE;
    },
    check: ghostCpu,
  },
  {
    what: "a thread on two CPUs",
    says: "is on two CPUs",
    breaks: (on) => on.running.cpu = 3,
    check: ghostCpu,
  },
  {
    what: "a latched thread that is not latched",
    says: "is not latched",
    breaks: (on) => on.ghost_cpu.latched = on.waiting,
    check: ghostCpu,
  },
  {
    what: "a CPU that has lost time",
    says: "time does not add up",
    breaks: (on) => on.default_cpu.mode_ns[MODE_IDLE] += 1,
    check: defaultCpu,
  },
  {
    what: "a thread in the ready list that runs",
    says: "is in the ready list and not ready",
    breaks: (on) => on.waiting.state = RUNNING,
    check: ghostCpu,
  },
  {
    what: "a thread that waits longer than the run allows",
    says: "was forgotten",
    breaks: (on) => on.machine.forgotten_after_ns = MS,
    check: ghostCpu,
  },
];

for (const breakage of BREAKAGES) {
  Deno.test(`the checks find ${breakage.what}`, () => {
    const on = stage();
    breakage.check(on);
    breakage.breaks(on);
    assertThrows(() => breakage.check(on), InvariantError, breakage.says);
    assertThrows(() => checkAll(on.machine), InvariantError);
  });
}

Deno.test("a latched thread is no fault", () => {
  const on = stage();
  on.waiting.state = LATCHED;
  on.ghost_cpu.latched = on.waiting;
  checkCpu(on.machine, on.ghost_cpu);
});

Deno.test("a CPU that is just choosing is left alone", () => {
  const on = stage();
  on.ghost_cpu.mode = MODE_IDLE;
  on.ghost_cpu.latched = on.waiting;
  on.ghost_cpu.picking = true;
  checkCpu(on.machine, on.ghost_cpu);
});

Deno.test("a thread is forgotten by the time since it could run, not since it last ran", () => {
  const kernel = new SimKernel({ cpus: 1, seed: 1 });
  const { machine } = kernel;
  const enclave = kernel.createEnclave([0], kernel.abi.version) as SimEnclave;
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  const sleeper = machine.spawn(function* () {
    yield sleep(10 * MS);
    yield run(MS);
  }, "sleeper");
  enclave.join(sleeper.tid);
  machine.runUntil(MS);
  enclave.join(machine.spawn(() => busy(50 * MS), "busy").tid);
  machine.forgotten_after_ns = 2 * MS;
  machine.runUntil(11 * MS);
  assertEquals(sleeper.state, READY);
  checkAll(machine);
  machine.runUntil(13 * MS);
  assertThrows(() => checkAll(machine), InvariantError, "was forgotten");
});

Deno.test("a broken machine stops at its next event about that CPU, and says when", () => {
  const on = stage();
  on.ghost_cpu.mode_ns[MODE_IDLE] += 1;
  const error = assertThrows(() => on.machine.runUntil(Infinity), InvariantError);
  assert(/^at \d+ ns: CPU 1: time/.test((error as Error).message), (error as Error).message);
});

Deno.test("what a call did to a CPU that it touched is checked when it is over", () => {
  const { machine } = new SimKernel({ cpus: 2 });
  const thread = machine.spawn(function* () {
    yield sleep(1_000_000);
  }, "sleeper");
  machine.at(500_000, () => {
    machine.cpus[1].latched = thread;
    machine.resched(machine.cpus[1]);
    machine.cpus[1].latched = thread;
  });
  assertThrows(() => machine.runUntil(600_000), InvariantError, "CPU 1");
});
