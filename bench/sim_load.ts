/**
 * Loads of the simulator's benchmarks. Run as a program it makes the 512-CPU machine and prints
 * what it took, so that a benchmark can read the memory of a process that did nothing else.
 *
 * @module
 */
import { run, sleep, yieldCpu } from "../kernels/sim/actions.ts";
import type { Script } from "../kernels/sim/actions.ts";
import type { SimEnclave } from "../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../kernels/sim/host.ts";
import { checkAll } from "../kernels/sim/invariants.ts";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";

/** What a run took. */
export interface SimRun {
  readonly event_count: number;
  readonly virtual_ns: number;
  readonly real_ms: number;
  readonly overflow_count: number;
  readonly live_count: number;
}

/** A kernel with one enclave, over all its CPUs unless told otherwise, under per-CPU FIFO. */
export function fifoMachine(cpu_count: number, seed: number, enclave_cpus?: readonly number[]): {
  kernel: SimKernel;
  enclave: SimEnclave;
  host: SimPolicyHost;
} {
  const kernel = new SimKernel({ cpus: cpu_count, seed });
  const cpus = enclave_cpus ?? Array.from({ length: cpu_count }, (_, cpu) => cpu);
  const enclave = kernel.createEnclave(cpus, kernel.abi.version);
  if (typeof enclave === "number") throw new Error(`Cannot create an enclave: errno ${-enclave}`);
  return { kernel, enclave, host: new SimPolicyHost(kernel, enclave, FIFO_PER_CPU) };
}

/** Runs until every thread has exited; invariants are checked at every event. */
export function runToEnd(kernel: SimKernel, host: SimPolicyHost): SimRun {
  const { machine } = kernel;
  const start = performance.now();
  while (machine.live_count > 0 && host.failure === null && machine.runOne());
  const real_ms = performance.now() - start;
  checkAll(machine);
  if (host.failure !== null) throw host.failure.error;
  const overflow_count = host.enclave.queues.reduce((sum, queue) => sum + queue.words[18], 0);
  return {
    event_count: machine.events.taken_count,
    virtual_ns: machine.now_ns,
    real_ms,
    overflow_count,
    live_count: machine.live_count,
  };
}

function* busy(index: number, rounds: number): Script {
  for (let round = 0; round < rounds; round++) {
    yield run(50_000 + (index % 97) * 100);
    if (round % 3 === 0) yield sleep(20_000);
    else yield yieldCpu();
  }
}

/** 16 CPUs, 200 threads that run, sleep and yield. */
export function busyRun(rounds: number): SimRun {
  const { kernel, enclave, host } = fifoMachine(16, 1);
  for (let index = 0; index < 200; index++) {
    const thread = kernel.machine.spawn(() => busy(index, rounds), `busy ${index}`);
    enclave.join(thread.tid);
  }
  return runToEnd(kernel, host);
}

function* shortLife(index: number): Script {
  yield run(20_000 + (index % 13) * 1000);
  yield sleep(1_000_000 + (index % 1009) * 50_000);
  yield run(20_000);
}

const THREAD_COUNT = 100_000;
const GHOST_COUNT = 60_000;
const JOIN_GAP_NS = 4_000;

/** 512 CPUs and 100,000 threads alive at once, 60,000 of them in the enclave. */
export function hugeRun(): SimRun & { peak_live_count: number; peak_task_count: number } {
  const { kernel, enclave, host } = fifoMachine(512, 1);
  const { machine } = kernel;
  let open = THREAD_COUNT;
  function* held(index: number): Script {
    // Everybody sleeps until the last one is there, so that all are alive at once.
    while (open > 0) yield sleep(100_000_000);
    yield* shortLife(index);
  }
  let peak_live_count = 0;
  let peak_task_count = 0;
  for (let index = 0; index < THREAD_COUNT; index++) {
    machine.at(index * JOIN_GAP_NS, () => {
      const thread = machine.spawn(() => held(index), "");
      if (index < GHOST_COUNT) enclave.join(thread.tid);
      open--;
      peak_live_count = Math.max(peak_live_count, machine.live_count);
      peak_task_count = Math.max(peak_task_count, enclave.tasks.size);
    });
  }
  machine.runUntil(THREAD_COUNT * JOIN_GAP_NS);
  return { ...runToEnd(kernel, host), peak_live_count, peak_task_count };
}

/** Peak resident memory of this process, in MiB. */
export function peakRssMib(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) / 1024;
}

if (import.meta.main) {
  const result = hugeRun();
  console.log(JSON.stringify({ ...result, rss_mib: peakRssMib() }));
}
