/**
 * Fault points that act on threads, calls and reads: what a real machine may do between any two
 * instructions of a policy. Callers ask {@linkcode FaultInjector.enabled} first: without faults the
 * hooks are not called, and compiled code does not carry them.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import * as transactions from "../../lib/transaction.ts";
import { run, type Script, sleep } from "./actions.ts";
import type { SimAgent } from "./agent.ts";
import type { FaultName, FaultTable } from "./faults.ts";
import type { SimMachine } from "./machine.ts";
import { interruptWithSwitchto } from "./script_runner.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { TXN_GTID_WORD } = abi_constants;
const { TXN_STRIDE_WORDS } = transactions;
const { DEAD, MODE_GHOST, READY, SLEEPING } = states;

/** Injects faults into a machine. */
export class FaultInjector {
  declare private readonly machine: SimMachine;
  declare private readonly faults: FaultTable;
  /** False if no fault point is on; no hook needs to be called then. */
  declare readonly enabled: boolean;

  /**
   * Makes the injector of one machine.
   *
   * @param machine The machine to disturb.
   */
  constructor(machine: SimMachine) {
    this.machine = machine;
    this.faults = machine.options.faults;
    this.enabled = this.faults.any;
  }

  /** Before an agent's step. */
  beforeStep(agent: SimAgent): void {
    const faults = this.faults;
    if (agent.driver !== null && faults.roll("agent_replaced")) agent.driver.replace();
    if (faults.roll("timer_message")) this.machine.messages.timerExpired(agent, 77, 99);
    if (faults.roll("unknown_message")) this.machine.messages.unknown(agent);
  }

  /** Between an agent's decision and its local commit. */
  beforeCommit(agent: SimAgent): void {
    const base = agent.cpu * TXN_STRIDE_WORDS;
    const { cpu_data } = agent.enclave;
    const target = agent.enclave.find(
      cpu_data[base + TXN_GTID_WORD],
      cpu_data[base + TXN_GTID_WORD + 1],
    );
    if (target !== undefined && this.faults.roll("txn_target_stale")) {
      this.machine.messages.taskAffinityChanged(target);
    }
    if (this.faults.roll("txn_cpu_unavail")) this.#compete(agent.cpu, 20_000);
  }

  /** During a call from an agent's step. */
  duringCall(): void {
    let ns = this.machine.options.costs.syscall_ns;
    if (this.enabled && this.faults.roll("call_interleave")) ns += this.faults.below(50_000);
    this.machine.advance(ns);
  }

  /** Before a policy reads a kernel word. */
  beforeRead(): void {
    const faults = this.faults;
    if (faults.roll("read_interleave")) this.machine.advance(faults.below(20_000));
    if (faults.chance("read_task_preempt")) this.#preemptSomeone();
  }

  #preemptSomeone(): void {
    const { cpus } = this.machine;
    const first = this.faults.below(cpus.length);
    for (let count = 0; count < cpus.length; count++) {
      const cpu = cpus[(first + count) % cpus.length];
      if (cpu.mode !== MODE_GHOST) continue;
      this.faults.hit("read_task_preempt");
      return this.#compete(cpu.id, 5_000);
    }
  }

  /** How long a RUN action really is, in ns. */
  runNs(ns: number): number {
    return this.faults.roll("task_long_run") ? ns * 10 : ns;
  }

  /** How long a SLEEP action really is, in ns. */
  sleepNs(ns: number): number {
    return this.faults.roll("task_sleep_short") ? 1 : ns;
  }

  /** A thread of the default class that wants one CPU for a while. */
  #compete(cpu_id: number, ns: number): void {
    const machine = this.machine;
    const thread = machine.spawn(() => competitor(ns), "competitor");
    if (thread.cpu === cpu_id) return;
    // It was placed by load; it insists on its CPU.
    thread.affinity = oneCpu(cpu_id);
    if (thread.state !== READY) return;
    machine.cpus[thread.cpu].waiting.remove(thread);
    machine.updateAvailability(machine.cpus[thread.cpu]);
    thread.cpu = cpu_id;
    machine.cpus[cpu_id].waiting.push(thread);
    machine.updateAvailability(machine.cpus[cpu_id]);
    machine.resched(machine.cpus[cpu_id]);
  }

  /** A thread got a CPU: plan what will happen to it. */
  threadStarted(cpu: SimCpu, thread: SimThread): void {
    if (thread.enclave === null) return;
    const faults = this.faults;
    const machine = this.machine;
    const soon_ns = machine.now_ns + 1 + faults.below(200_000);
    if (faults.roll("task_preempt_early")) {
      machine.at(soon_ns, () => this.#compete(cpu.id, 50_000));
    }
    if (faults.roll("task_preempt_burst")) {
      for (let count = 0; count < 3; count++) {
        machine.at(soon_ns + count, () => this.#compete(cpu.id, 200_000));
      }
    }
    if (faults.chance("agent_spurious_wake")) {
      machine.at(soon_ns, () => this.#wakeAgent(faults.below(machine.cpus.length)));
    }
    if (faults.chance("agent_runnability")) {
      machine.at(soon_ns, () => this.#blockAgent(faults.below(machine.cpus.length)));
    }
    if (faults.chance("task_forks")) machine.at(soon_ns, () => this.#fork(thread));
    this.#planChange(thread, soon_ns);
    this.#planEnd(thread, soon_ns);
  }

  #wakeAgent(cpu_id: number): void {
    const { agent } = this.machine.cpus[cpu_id];
    if (agent === null || agent.wantsCpu()) return;
    this.faults.hit("agent_spurious_wake");
    agent.wake();
  }

  /** An agent's thread blocks for a while, as in a page fault. */
  #blockAgent(cpu_id: number): void {
    const { agent } = this.machine.cpus[cpu_id];
    if (agent === null || agent.inStep()) return;
    this.faults.hit("agent_runnability");
    agent.sleepFor(1 + this.faults.below(500_000));
  }

  #planChange(thread: SimThread, soon_ns: number): void {
    const faults = this.faults;
    const machine = this.machine;
    if (faults.chance("task_affinity_flip")) {
      machine.at(soon_ns, () => this.#flipAffinity(thread));
    }
    if (faults.chance("task_nice_change")) machine.at(soon_ns, () => this.#changeNice(thread));
    if (faults.chance("task_switchto")) machine.at(soon_ns, () => this.#switchto(thread));
  }

  #flipAffinity(thread: SimThread): void {
    if (thread.enclave === null || thread.state === DEAD) return;
    this.faults.hit("task_affinity_flip");
    this.machine.messages.taskAffinityChanged(thread);
    this.machine.at(this.machine.now_ns + 1, () => {
      if (thread.state !== DEAD) this.machine.messages.taskAffinityChanged(thread);
    });
  }

  #changeNice(thread: SimThread): void {
    if (thread.enclave === null || thread.state === DEAD) return;
    this.faults.hit("task_nice_change");
    thread.nice = this.faults.below(40) - 20;
    this.machine.messages.taskPriorityChanged(thread);
  }

  /** A running thread gives its CPU to a sleeping one of the enclave, and sleeps for a while. */
  #switchto(thread: SimThread): void {
    const cpu = this.machine.cpus[thread.cpu];
    if (cpu.current !== thread || cpu.mode !== MODE_GHOST) return;
    const target = sleeperBeside(thread);
    if (target === null) return;
    this.faults.hit("task_switchto");
    interruptWithSwitchto(this.machine, cpu, thread, target, 1 + this.faults.below(100_000));
  }

  #planEnd(thread: SimThread, soon_ns: number): void {
    const faults = this.faults;
    const machine = this.machine;
    if (faults.chance("task_departs")) {
      machine.at(soon_ns, () => this.#depart(thread, "task_departs"));
    }
    if (faults.chance("task_departs_queued")) {
      machine.at(soon_ns, () => this.#depart(waitingBeside(thread), "task_departs_queued"));
    }
    if (faults.chance("task_dies_queued")) {
      machine.at(soon_ns, () => this.#kill(waitingBeside(thread), "task_dies_queued"));
    }
    if (faults.chance("task_dies_blocked")) {
      machine.at(soon_ns, () => this.#kill(sleeperBeside(thread), "task_dies_blocked"));
    }
  }

  #kill(victim: SimThread | null, fault: FaultName): void {
    if (victim === null) return;
    this.faults.hit(fault);
    this.machine.exit(victim);
  }

  #depart(thread: SimThread | null, fault: FaultName): void {
    if (thread === null || thread.enclave === null || thread.state === DEAD) return;
    const { enclave } = thread;
    this.faults.hit(fault);
    enclave.depart(thread);
    const again = this.faults.roll("task_rejoins") ? 1 : 1_000_000;
    this.machine.at(this.machine.now_ns + again, () => {
      if (thread.state !== DEAD && !enclave.isDestroyed()) enclave.join(thread.tid);
    });
  }

  #fork(parent: SimThread): void {
    if (parent.enclave === null || parent.state === DEAD) return;
    this.faults.hit("task_forks");
    this.machine.spawn(() => shortLife(), "child", parent);
  }
}

/** The thread of the same enclave that waits longest for a CPU, or null. */
function waitingBeside(thread: SimThread): SimThread | null {
  return thread.enclave?.ready.first ?? null;
}

/** A sleeping thread of the same enclave, or null. */
function sleeperBeside(thread: SimThread): SimThread | null {
  for (const other of thread.enclave?.tasks.values() ?? []) {
    if (other.state === SLEEPING && other !== thread) return other;
  }
  return null;
}

function* competitor(ns: number): Script {
  yield run(ns);
}

function* shortLife(): Script {
  yield run(30_000);
  yield sleep(10_000);
  yield run(30_000);
}

function oneCpu(cpu: number): Int32Array {
  const mask = new Int32Array(16);
  mask[cpu >> 5] = 1 << (cpu & 31);
  return mask;
}
