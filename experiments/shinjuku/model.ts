/**
 * The load of SOSP'21 section 4.2 on the simulated machine: one stream of requests, most of them
 * short and a few very long, served by more worker threads than CPUs. Nothing here is fitted to a
 * result: the load is the paper's, the costs are its Table 3.
 *
 * @module
 */
import { block, run, type Script } from "../../kernels/sim/actions.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { type SimThread, SLEEPING } from "../../kernels/sim/thread.ts";
import { Prng } from "../../lib/prng.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import { fifoCentralized } from "../../schedulers/fifo/centralized/scheduler.ts";
import { shinjuku } from "../../schedulers/shinjuku/scheduler.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_ONESHOT } from "../../shared/prio_table.ts";
import { SimHints } from "./sim_hints.ts";

/** The load and the machine. */
export interface LoadModel {
  /** CPUs that serve requests; the global agent has one more. */
  readonly worker_cpu_count: number;
  /** Worker threads. */
  readonly worker_count: number;
  /** Service time of a short request. */
  readonly short_ns: number;
  /** Service time of a long request. */
  readonly long_ns: number;
  /** Long requests per 1000. */
  readonly long_per_1000: number;
  /** Time slice of the preemptive policy. */
  readonly slice_ns: number;
  /** Threads of a lower QoS that always have work, as a batch application has. */
  readonly batch_count: number;
}

/** SOSP'21 section 4.2: 20 worker CPUs, 200 workers, 99.5 % 4 us, 0.5 % 10 ms, slice 30 us. */
export const PAPER_LOAD: LoadModel = {
  worker_cpu_count: 20,
  worker_count: 200,
  short_ns: 4_000,
  long_ns: 10_000_000,
  long_per_1000: 5,
  slice_ns: 30_000,
  batch_count: 0,
};

/** What schedules the workers. */
export const SYSTEMS = ["fifo", "shinjuku", "default"] as const;
/** See {@linkcode SYSTEMS}. */
export type System = (typeof SYSTEMS)[number];

/** Result of one load point. */
export interface LoadPoint {
  readonly system: System;
  /** Requests per second that arrived. */
  readonly offered_rps: number;
  /** Requests per second that were served in the measured time. */
  readonly served_rps: number;
  /** Latency of the requests that arrived in the measured time, in ns. */
  readonly p50_ns: number;
  readonly p99_ns: number;
  /** Requests still waiting at the end, per second of measured time. */
  readonly backlog_rps: number;
  /** Share of the worker CPUs' time that batch threads got, 0 to 1. */
  readonly batch_share: number;
}

/** Mean service time in ns. */
export function meanServiceNs(model: LoadModel): number {
  const long = model.long_per_1000 / 1000;
  return (1 - long) * model.short_ns + long * model.long_ns;
}

/** How long a point is simulated. */
export interface PointTime {
  readonly warmup_ns: number;
  readonly measured_ns: number;
  readonly seed: number;
}

interface Request {
  readonly arrival_ns: number;
  readonly service_ns: number;
}

class Bench {
  readonly kernel: SimKernel;
  readonly #system: System;
  readonly #model: LoadModel;
  readonly #time: PointTime;
  readonly #arrivals: Prng;
  readonly #services: Prng;
  readonly #hints: SimHints;
  readonly #enclave: SimEnclave;
  readonly #host: SimPolicyHost | null = null;
  readonly #workers: SimThread[] = [];
  readonly #batch: SimThread[] = [];
  readonly #work: (Request | null)[] = [];
  readonly #idle: number[] = [];
  readonly #waiting: Request[] = [];
  #waiting_first = 0;
  readonly #latencies: number[] = [];
  #served_count = 0;
  #arrived_count = 0;

  constructor(system: System, model: LoadModel, time: PointTime) {
    this.#system = system;
    this.#model = model;
    this.#time = time;
    const prng = new Prng(time.seed);
    this.#arrivals = prng.fork("arrivals");
    this.#services = prng.fork("services");
    const cpu_count = model.worker_cpu_count + 1;
    this.kernel = new SimKernel({ cpus: plainCpus(cpu_count), seed: time.seed });
    this.#hints = new SimHints(
      this.kernel.memory,
      model.worker_count + model.batch_count,
      QOS_CLASSES,
    );
    const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    const enclave = this.kernel.createEnclave(system === "default" ? [] : cpus, 91);
    if (typeof enclave === "number") throw new Error(`no enclave: errno ${-enclave}`);
    this.#enclave = enclave;
    if (system !== "default") {
      const sizes = { task_capacity: 1024, queue_elem_count: 16_384 };
      this.#host = new SimPolicyHost(this.kernel, enclave, this.#policy(), sizes);
    }
    for (let index = 0; index < model.worker_count; index++) this.#startWorker(index);
    for (let index = 0; index < model.batch_count; index++) this.#startBatch(index);
  }

  #policy(): PolicyDefinition {
    if (this.#system === "fifo") {
      return fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: Infinity });
    }
    const preemption_time_slice_ns = this.#model.slice_ns;
    return shinjuku({ global_cpu: 0, preemption_time_slice_ns, hints: this.#hints });
  }

  #startWorker(index: number): void {
    const { machine } = this.kernel;
    this.#work.push(null);
    const thread = machine.spawn(() => this.#worker(index), `worker ${index}`);
    // CPU 0 belongs to the agent, or, for the default class, to the load generator.
    thread.affinity = allBut0();
    this.#workers.push(thread);
    this.#hints.addThread(index, thread);
    if (this.#system !== "default") this.#enclave.join(thread.tid);
    this.#idle.push(index);
  }

  #startBatch(index: number): void {
    const thread = this.kernel.machine.spawn(batchScript, `batch ${index}`);
    thread.affinity = allBut0();
    this.#batch.push(thread);
    const fields = { wcid: 1, flags: SCHED_ITEM_RUNNABLE };
    this.#hints.addThread(this.#model.worker_count + index, thread, fields);
    if (this.#system !== "default") this.#enclave.join(thread.tid);
  }

  /** CPU time of all batch threads so far. */
  #batchNs(): number {
    let sum_ns = 0;
    for (const thread of this.#batch) {
      this.kernel.machine.account(thread);
      sum_ns += thread.runtime_ns;
    }
    return sum_ns;
  }

  *#worker(index: number): Script {
    const { machine } = this.kernel;
    const waits = this.#system === "shinjuku" ? run(SPIN_NS) : block();
    for (;;) {
      const request = this.#work[index];
      if (request === null) {
        yield waits;
        continue;
      }
      yield run(request.service_ns);
      this.#work[index] = null;
      this.#finish(request, machine.now_ns);
      this.#hints.setRunnable(index, false);
      this.#idle.push(index);
      this.#assign();
    }
  }

  #finish(request: Request, now_ns: number): void {
    const { warmup_ns, measured_ns } = this.#time;
    if (now_ns >= warmup_ns && now_ns < warmup_ns + measured_ns) this.#served_count++;
    if (request.arrival_ns >= warmup_ns && request.arrival_ns < warmup_ns + measured_ns) {
      this.#latencies.push(now_ns - request.arrival_ns);
    }
  }

  /** Gives waiting requests to idle workers, first come, first served. */
  #assign(): void {
    while (this.#waiting_first < this.#waiting.length && this.#idle.length > 0) {
      const index = this.#idle.pop() as number;
      this.#work[index] = this.#waiting[this.#waiting_first++];
      const worker = this.#workers[index];
      this.#hints.setRunnable(index, true);
      if (worker.state === SLEEPING) this.kernel.machine.wake(worker, 0);
    }
  }

  #arrive(mean_gap_ns: number): void {
    const { machine } = this.kernel;
    const { long_per_1000, long_ns, short_ns } = this.#model;
    const service_ns = this.#services.chance(long_per_1000, 1000) ? long_ns : short_ns;
    this.#waiting.push({ arrival_ns: machine.now_ns, service_ns });
    this.#arrived_count++;
    this.#assign();
    const gap_ns = Math.max(1, Math.round(this.#arrivals.exponential(mean_gap_ns)));
    machine.at(machine.now_ns + gap_ns, () => this.#arrive(mean_gap_ns));
  }

  run(offered_rps: number): LoadPoint {
    const { machine } = this.kernel;
    const { warmup_ns, measured_ns } = this.#time;
    const mean_gap_ns = 1_000_000_000 / offered_rps;
    machine.at(machine.now_ns + 1_000_000, () => this.#arrive(mean_gap_ns));
    machine.runUntil(warmup_ns);
    const batch_begin_ns = this.#batchNs();
    machine.runUntil(warmup_ns + measured_ns);
    const batch_ns = this.#batchNs() - batch_begin_ns;
    if (this.#host?.failure) throw this.#host.failure.error;
    // Requests that never ended count with the time they have waited so far.
    const unfinished = [...this.#work, ...this.#waiting.slice(this.#waiting_first)];
    for (const request of unfinished) {
      if (request !== null && request.arrival_ns >= warmup_ns) {
        this.#latencies.push(machine.now_ns - request.arrival_ns);
      }
    }
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? NaN;
    const seconds = measured_ns / 1_000_000_000;
    return {
      system: this.#system,
      offered_rps,
      served_rps: this.#served_count / seconds,
      p50_ns: at(0.5),
      p99_ns: at(0.99),
      backlog_rps: (this.#waiting.length - this.#waiting_first) / seconds,
      batch_share: batch_ns / (measured_ns * this.#model.worker_cpu_count),
    };
  }
}

/** The requests' threads, and batch threads, which run when no request waits. */
const QOS_CLASSES = [
  { flags: WORK_CLASS_ONESHOT, qos: 2 },
  { flags: WORK_CLASS_ONESHOT, qos: 1 },
];

/** Never done. */
function* batchScript(): Script {
  for (;;) yield run(1_000_000);
}

/** How long an idle worker spins before it looks for work again, in ns. */
const SPIN_NS = 200;

function allBut0(): Int32Array {
  const mask = new Int32Array(16).fill(-1);
  mask[0] = ~1;
  return mask;
}

/** CPUs without hyperthreads, as in the paper: one per physical core. */
function plainCpus(cpu_count: number): {
  cpu: number;
  core: number;
  smt_idx: number;
  siblings: number[];
  l3_siblings: number[];
  numa_node: number;
}[] {
  const all = Array.from({ length: cpu_count }, (_, cpu) => cpu);
  return all.map((cpu) => ({
    cpu,
    core: cpu,
    smt_idx: 0,
    siblings: [cpu],
    l3_siblings: all,
    numa_node: 0,
  }));
}

/** Simulates one system under one load. */
export function runPoint(
  system: System,
  offered_rps: number,
  model: LoadModel,
  time: PointTime,
): LoadPoint {
  return new Bench(system, model, time).run(offered_rps);
}
