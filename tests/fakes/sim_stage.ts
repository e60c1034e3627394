/**
 * A simulated machine with one policy on it, for tests of what a policy does to threads.
 *
 * @module
 */
import { type Script, sleep } from "../../kernels/sim/actions.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import type { SimMachine } from "../../kernels/sim/machine.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { DEAD, type SimThread } from "../../kernels/sim/thread.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";

/** Sizes that fit every test. */
const SIZES = { task_capacity: 4096, queue_elem_count: 8192 };

/** The machine; all its CPUs are the enclave's. */
export class SimStage {
  readonly kernel: SimKernel;
  readonly machine: SimMachine;
  readonly enclave: SimEnclave;
  readonly host: SimPolicyHost;
  /** Which thread was given a CPU: name and CPU, in order. */
  readonly runs: [name: string, cpu: number][] = [];

  /**
   * @param cpu_count CPUs.
   * @param define Makes the policy; gets the kernel, for hints in its memory.
   */
  constructor(cpu_count: number, define: (kernel: SimKernel) => PolicyDefinition) {
    this.kernel = new SimKernel({ cpus: cpu_count, seed: 1, status_word_capacity: 8192 });
    this.machine = this.kernel.machine;
    const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    this.enclave = this.kernel.createEnclave(cpus, 91) as SimEnclave;
    this.host = new SimPolicyHost(this.kernel, this.enclave, define(this.kernel), SIZES);
    this.machine.trace = {
      span: (cpu, _mode, tid) => {
        const name = this.machine.thread(tid)?.name;
        if (name !== undefined) this.runs.push([name, cpu]);
      },
      message: () => {},
      commit: () => {},
    };
  }

  /** A ghOSt thread. */
  ghost(name: string, script: (thread: SimThread) => Script): SimThread {
    const thread = this.machine.spawn(script, name);
    this.enclave.join(thread.tid);
    return thread;
  }

  /** A thread of the default class, on one CPU. */
  competitor(cpu: number, script: (thread: SimThread) => Script): SimThread {
    // Where it may run counts from its next wake-up on.
    const thread = this.machine.spawn(function* (self) {
      yield sleep(1);
      yield* script(self);
    }, "competitor");
    thread.affinity = new Int32Array(16);
    thread.affinity[cpu >> 5] = 1 << (cpu & 31);
    return thread;
  }

  /** Lets time pass. */
  pass(duration_ns: number): void {
    this.machine.runUntil(this.machine.now_ns + duration_ns);
    if (this.host.failure !== null) throw this.host.failure.error;
  }

  /** Something outside the machine happens, as an event that a spinning agent notices. */
  happen(what: () => void): void {
    this.machine.at(this.machine.now_ns + 1, what);
  }

  /** True once all threads have ended. */
  isOver(): boolean {
    return this.machine.threads.every((thread) => thread.state === DEAD);
  }

  /** Names of threads in the order in which they got a CPU for the first time. */
  order(): string[] {
    return [...new Set(this.runs.map(([name]) => name))];
  }

  /** CPU of the global agent: the one whose instance has a dump. */
  globalCpu(): number {
    const cpus = this.enclave.cpus();
    return cpus[this.host.policies().findIndex((policy) => policy.dump(0) !== "")];
  }
}
