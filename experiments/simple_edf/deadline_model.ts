/**
 * Jobs with deadlines on the simulated machine: some are due soon, most much later. How many are
 * late depends on who goes first.
 *
 * @module
 */
import { block, run, type Script } from "../../kernels/sim/actions.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { type SimThread, SLEEPING } from "../../kernels/sim/thread.ts";
import { Prng } from "../../lib/prng.ts";
import { edf } from "../../schedulers/edf/scheduler.ts";
import { fifoCentralized } from "../../schedulers/fifo/centralized/scheduler.ts";
import { SCHED_ITEM_RUNNABLE, SchedItem, WORK_CLASS_ONESHOT } from "../../shared/prio_table.ts";
import { SimHints } from "../shinjuku/sim_hints.ts";

/** What schedules the jobs. */
export const DEADLINE_SYSTEMS = ["edf", "fifo"] as const;
/** See {@linkcode DEADLINE_SYSTEMS}. */
export type DeadlineSystem = typeof DEADLINE_SYSTEMS[number];

const MS = 1_000_000;
/** CPUs for the jobs; the agent has one more. */
export const JOB_CPU_COUNT = 8;
/** Threads: more than jobs at a time, but for an overload. */
const THREAD_COUNT = 400;
/** CPU time of a job: exponentially distributed with this mean. */
export const MEAN_NS = MS;
/** One job in five is due soon after it has come. */
export const SOON_PER_100 = 20;
/** When these are due, and all others. */
export const SOON_NS = 5 * MS;
/** See {@linkcode SOON_NS}. */
export const LATER_NS = 200 * MS;
/** How long a thread without a job spins before it looks again. */
const SPIN_NS = 2_000;
const WARM_UP_NS = 100 * MS;

/** Result of one load. */
export interface DeadlinePoint {
  readonly system: DeadlineSystem;
  /** Work that comes, as a share of what the CPUs can do. */
  readonly load: number;
  /** Jobs that came in the measured time. */
  readonly job_count: number;
  /** Share of them that was late, of those that were due soon and of all others. */
  readonly soon_late: number;
  readonly later_late: number;
}

interface Job {
  readonly arrival_ns: number;
  readonly work_ns: number;
  readonly deadline_ns: number;
  readonly is_soon: boolean;
}

/** Jobs of one kind, and how many of them were late. */
class Tally {
  count = 0;
  late_count = 0;

  share(): number {
    return this.count === 0 ? NaN : this.late_count / this.count;
  }
}

class Bench {
  readonly #kernel = this.#makeKernel();
  readonly #hints: SimHints;
  readonly #host: SimPolicyHost;
  readonly #enclave: SimEnclave;
  readonly #system: DeadlineSystem;
  readonly #prng: Prng;
  readonly #end_ns: number;
  readonly #threads: SimThread[] = [];
  readonly #jobs: (Job | null)[] = [];
  readonly #idle: number[] = [];
  readonly #waiting: Job[] = [];
  readonly #item = new SchedItem();
  readonly soon = new Tally();
  readonly later = new Tally();

  constructor(system: DeadlineSystem, seed: number, measured_ns: number) {
    this.#system = system;
    this.#prng = new Prng(seed);
    this.#end_ns = WARM_UP_NS + measured_ns;
    const work_class = { flags: WORK_CLASS_ONESHOT, qos: 1, exectime_ns: MEAN_NS };
    this.#hints = new SimHints(this.#kernel.memory, THREAD_COUNT, [work_class]);
    const cpus = Array.from({ length: JOB_CPU_COUNT + 1 }, (_, cpu) => cpu);
    const enclave = this.#kernel.createEnclave(cpus, 91);
    if (typeof enclave === "number") throw new Error(`no enclave: errno ${-enclave}`);
    this.#enclave = enclave;
    const policy = system === "edf"
      ? edf({ global_cpu: 0, ticks: false, hints: this.#hints })
      : fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: Infinity });
    const sizes = { task_capacity: 1024, queue_elem_count: 16_384 };
    this.#host = new SimPolicyHost(this.#kernel, enclave, policy, sizes);
    for (let sid = 0; sid < THREAD_COUNT; sid++) this.#startThread(sid);
  }

  #makeKernel(): SimKernel {
    return new SimKernel({ cpus: JOB_CPU_COUNT + 1, seed: 1 });
  }

  #startThread(sid: number): void {
    const thread = this.#kernel.machine.spawn(() => this.#serve(sid), `job ${sid}`);
    this.#threads.push(thread);
    this.#jobs.push(null);
    this.#idle.push(sid);
    this.#hints.addThread(sid, thread);
    this.#enclave.join(thread.tid);
  }

  *#serve(sid: number): Script {
    // With hints a thread spins: the agent takes its CPU while it has no job.
    const waits = this.#system === "edf" ? run(SPIN_NS) : block();
    for (;;) {
      const job = this.#jobs[sid];
      if (job === null) {
        yield waits;
        continue;
      }
      yield run(job.work_ns);
      this.#note(job, this.#kernel.machine.now_ns);
      this.#jobs[sid] = null;
      this.#hints.setRunnable(sid, false);
      this.#idle.push(sid);
      this.#assign();
    }
  }

  /** Counts a job that has ended, or whose deadline is over. */
  #note(job: Job, end_ns: number): void {
    if (job.arrival_ns < WARM_UP_NS || job.deadline_ns > this.#end_ns) return;
    const tally = job.is_soon ? this.soon : this.later;
    tally.count++;
    if (end_ns > job.deadline_ns) tally.late_count++;
  }

  #assign(): void {
    const { machine } = this.#kernel;
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const sid = this.#idle.pop() as number;
      const job = this.#waiting.shift() as Job;
      this.#jobs[sid] = job;
      const thread = this.#threads[sid];
      this.#item.sid = sid;
      this.#item.gtid_lo = thread.gtid_lo;
      this.#item.gtid_hi = thread.gtid_hi;
      this.#item.deadline_ns = job.deadline_ns;
      this.#item.flags = SCHED_ITEM_RUNNABLE;
      this.#hints.client.setSchedItem(sid, this.#item);
      if (thread.state === SLEEPING) machine.wake(thread, 0);
    }
  }

  #arrive(mean_gap_ns: number): void {
    const { machine } = this.#kernel;
    const is_soon = this.#prng.chance(SOON_PER_100, 100);
    const arrival_ns = machine.now_ns;
    const work_ns = Math.max(1, this.#prng.exponential(MEAN_NS));
    const deadline_ns = arrival_ns + (is_soon ? SOON_NS : LATER_NS);
    this.#waiting.push({ arrival_ns, work_ns, deadline_ns, is_soon });
    this.#assign();
    const gap_ns = Math.max(1, this.#prng.exponential(mean_gap_ns));
    machine.at(machine.now_ns + gap_ns, () => this.#arrive(mean_gap_ns));
  }

  run(load: number): void {
    const { machine } = this.#kernel;
    const mean_gap_ns = MEAN_NS / JOB_CPU_COUNT / load;
    machine.at(machine.now_ns + MS, () => this.#arrive(mean_gap_ns));
    machine.runUntil(this.#end_ns);
    if (this.#host.failure !== null) throw this.#host.failure.error;
    // Jobs that have not ended by now are late if they should have.
    for (const job of [...this.#jobs, ...this.#waiting]) {
      if (job !== null) this.#note(job, Infinity);
    }
  }
}

/**
 * Simulates one load.
 *
 * @param system What schedules.
 * @param load Work that comes, as a share of what the CPUs can do.
 * @param seed Seed of arrivals, work and deadlines.
 * @param measured_ns Virtual time that counts.
 */
export function deadlinePoint(
  system: DeadlineSystem,
  load: number,
  seed: number,
  measured_ns: number,
): DeadlinePoint {
  const bench = new Bench(system, seed, measured_ns);
  bench.run(load);
  const { soon, later } = bench;
  return {
    system,
    load,
    job_count: soon.count + later.count,
    soon_late: soon.share(),
    later_late: later.share(),
  };
}
