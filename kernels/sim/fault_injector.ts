/**
 * Fault points that act on threads, calls and reads: what a real machine may do between any two
 * instructions of a policy. Without faults every hook is one comparison.
 *
 * @module
 */
import { GHOST_SW_F_INUSE } from "../../ffi/abi/constants.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import { TXN_GTID_WORD } from "../../ffi/abi/constants.ts";
import { run, type Script, sleep } from "./actions.ts";
import type { SimAgent } from "./agent.ts";
import type { FaultTable } from "./faults.ts";
import type { SimMachine } from "./machine.ts";
import { DEAD, READY, type SimCpu, type SimThread, SLEEPING } from "./thread.ts";

/** Injects faults into a machine. */
export class FaultInjector {
  readonly #machine: SimMachine;
  readonly #faults: FaultTable;
  readonly #enabled: boolean;

  /**
   * Makes the injector of one machine.
   *
   * @param machine The machine to disturb.
   */
  constructor(machine: SimMachine) {
    this.#machine = machine;
    this.#faults = machine.options.faults;
    this.#enabled = this.#faults.any;
  }

  /** Before an agent's step. */
  beforeStep(agent: SimAgent): void {
    if (!this.#enabled) return;
    const faults = this.#faults;
    if (agent.driver !== null && faults.roll("agent_replaced")) agent.driver.replace();
    if (faults.roll("timer_message")) this.#machine.messages.timerExpired(agent, 77, 99);
    if (faults.roll("unknown_message")) this.#machine.messages.unknown(agent);
  }

  /** Between an agent's decision and its local commit. */
  beforeCommit(agent: SimAgent): void {
    if (!this.#enabled) return;
    const base = agent.cpu * TXN_STRIDE_WORDS;
    const { cpu_data } = agent.enclave;
    const target = agent.enclave.find(
      cpu_data[base + TXN_GTID_WORD],
      cpu_data[base + TXN_GTID_WORD + 1],
    );
    if (target !== undefined && this.#faults.roll("txn_target_stale")) {
      this.#machine.messages.taskAffinityChanged(target);
    }
    if (this.#faults.roll("txn_cpu_unavail")) this.#compete(agent.cpu, 20_000);
  }

  /** During a call from an agent's step. */
  duringCall(): void {
    let ns = this.#machine.options.costs.syscall_ns;
    if (this.#enabled && this.#faults.roll("call_interleave")) ns += this.#faults.below(50_000);
    this.#machine.advance(ns);
  }

  /** Before a policy reads a kernel word. */
  beforeRead(): void {
    const faults = this.#faults;
    if (faults.roll("read_interleave")) this.#machine.advance(faults.below(20_000));
    if (faults.roll("read_task_yield")) this.#preemptSomeone();
  }

  #preemptSomeone(): void {
    const { cpus } = this.#machine;
    const cpu = cpus[this.#faults.below(cpus.length)];
    if (cpu.agent !== null) this.#compete(cpu.id, 5_000);
  }

  /** How long a RUN action really is, in ns. */
  runNs(ns: number): number {
    return this.#enabled && this.#faults.roll("task_long_run") ? ns * 10 : ns;
  }

  /** How long a SLEEP action really is, in ns. */
  sleepNs(ns: number): number {
    return this.#enabled && this.#faults.roll("task_sleep_short") ? 1 : ns;
  }

  /** A thread of the default class that wants one CPU for a while. */
  #compete(cpu_id: number, ns: number): void {
    const machine = this.#machine;
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
    if (!this.#enabled || thread.enclave === null) return;
    const faults = this.#faults;
    const machine = this.#machine;
    const soon_ns = machine.now_ns + 1 + faults.below(200_000);
    if (faults.roll("task_preempt_early")) {
      machine.at(soon_ns, () => this.#compete(cpu.id, 50_000));
    }
    if (faults.roll("task_preempt_burst")) {
      for (let count = 0; count < 3; count++) {
        machine.at(soon_ns + count, () => this.#compete(cpu.id, 200_000));
      }
    }
    if (faults.roll("agent_spurious_wake")) {
      const agent = machine.cpus[faults.below(machine.cpus.length)].agent;
      machine.at(soon_ns, () => agent?.wake());
    }
    if (faults.roll("task_forks")) machine.at(soon_ns, () => this.#fork(thread));
    this.#planChange(thread, soon_ns);
    this.#planEnd(thread, soon_ns);
  }

  #planChange(thread: SimThread, soon_ns: number): void {
    const faults = this.#faults;
    const machine = this.#machine;
    if (faults.roll("task_affinity_flip")) {
      machine.at(soon_ns, () => machine.messages.taskAffinityChanged(thread));
      machine.at(soon_ns + 1, () => machine.messages.taskAffinityChanged(thread));
    }
    if (faults.roll("task_nice_change")) {
      machine.at(soon_ns, () => {
        thread.nice = faults.below(40) - 20;
        machine.messages.taskPriorityChanged(thread);
      });
    }
    if (faults.roll("task_switchto")) machine.at(soon_ns, () => this.#wakeSleeper(thread));
  }

  /** Wakes some sleeping thread of the enclave from this thread's CPU. */
  #wakeSleeper(waker: SimThread): void {
    for (const thread of waker.enclave?.tasks.values() ?? []) {
      if (thread.state === SLEEPING && thread !== waker) {
        return this.#machine.wake(thread, waker.cpu);
      }
    }
  }

  #planEnd(thread: SimThread, soon_ns: number): void {
    const faults = this.#faults;
    const machine = this.#machine;
    if (faults.roll("task_departs")) machine.at(soon_ns, () => this.#depart(thread));
    if (faults.roll("task_departs_queued")) {
      machine.at(soon_ns, () => this.#depart(this.#waiting(thread)));
    }
    if (faults.roll("task_dies_queued")) {
      machine.at(soon_ns, () => {
        const victim = this.#waiting(thread);
        if (victim.state !== DEAD) machine.exit(victim);
      });
    }
    if (faults.roll("task_dies_blocked")) {
      machine.at(soon_ns, () => {
        for (const sleeper of thread.enclave?.tasks.values() ?? []) {
          if (sleeper.state === SLEEPING) return machine.exit(sleeper);
        }
      });
    }
  }

  /** The thread of the same enclave that waits longest, or the thread itself. */
  #waiting(thread: SimThread): SimThread {
    return thread.enclave?.ready.first ?? thread;
  }

  #depart(thread: SimThread): void {
    const { enclave } = thread;
    if (enclave === null || thread.state === DEAD) return;
    enclave.depart(thread);
    const again = this.#faults.roll("task_rejoins") ? 1 : 1_000_000;
    this.#machine.at(this.#machine.now_ns + again, () => {
      if (thread.state !== DEAD && !enclave.isDestroyed()) enclave.join(thread.tid);
    });
  }

  #fork(parent: SimThread): void {
    const { enclave } = parent;
    if (enclave === null || enclave.isDestroyed()) return;
    if ((enclave.status.flags(parent.status_index) & GHOST_SW_F_INUSE) === 0) return;
    const child = this.#machine.spawn(() => shortLife(), "child");
    enclave.join(child.tid);
  }
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
