/**
 * Fault points: places where the simulated machine may do what a real one does rarely. Each has a
 * rate and a hit counter; a fuzz run switches a random subset on.
 *
 * @module
 */
import type { Prng } from "../../lib/prng.ts";

/** Every fault point: name → what happens. */
export const FAULTS = {
  message_wake_late: "the agent is woken late by a message",
  agent_pause_short: "an agent pauses up to 100 us before its step (interrupt)",
  agent_pause_long: "an agent pauses 1 to 10 ms before its step (garbage collection)",
  agent_spurious_wake: "an agent is woken for no reason",
  agent_replaced: "an agent's policy instance is replaced by a new one",
  read_interleave: "the kernel moves on before a policy reads a kernel word",
  call_interleave: "the kernel moves on during a call",
  read_task_preempt: "a running task loses its CPU right before a policy reads",
  ipi_late: "a remote commit's interrupt arrives late",
  greedy_late: "a greedy transaction waits long for its commit point",
  txn_target_stale: "something happens to a task between decision and commit",
  txn_cpu_unavail: "a default-class thread takes the CPU right before a commit",
  task_preempt_early: "a task is preempted by a short default-class thread",
  task_preempt_burst: "several default-class threads want the same CPU",
  task_affinity_flip: "a task's affinity changes and changes back",
  task_nice_change: "a task's nice value changes",
  task_departs: "a task leaves ghOSt while it runs",
  task_departs_queued: "a task leaves ghOSt while it waits",
  task_rejoins: "a departed task joins again before its old status word is freed",
  task_dies_blocked: "a task is killed while it sleeps",
  task_dies_queued: "a task is killed while it waits for a CPU",
  task_wake_deferrable: "a wake-up is marked deferrable",
  task_wake_other_cpu: "a wake-up happens on another CPU than the task's last one",
  task_sleep_short: "a sleep ends after 1 ns",
  task_long_run: "a run takes ten times as long",
  task_forks: "a task forks a short-lived child",
  task_switchto: "a task hands its CPU to a sleeping one",
  seqnum_skip: "an event moves a task's barrier without a message",
  ring_wrap: "a queue starts right before the wrap of its indexes",
  ring_small: "a queue is so small that it overflows",
  latch_failure: "a latched task cannot be run (LATCH_FAILURE)",
  tick_delivered: "ticks are delivered to the policy",
  cpu_availability: "CPU availability is delivered to the policy",
  agent_runnability: "an agent's thread blocks for a while, which the policy may be told",
  timer_message: "a timer of another type expires in the agent's queue",
  unknown_message: "a message type that no ABI has is delivered",
  status_word_reuse: "a freed status word is given to the next task at once",
  agent_upgrade: "all agents leave and new ones attach and discover",
  agent_crash: "the agents die; the enclave is destroyed and tasks fall back",
  destroy_outside: "an operator destroys the enclave under load",
} as const;

/** Name of a fault point. */
export type FaultName = keyof typeof FAULTS;

/** Names of all fault points. */
export const FAULT_NAMES: readonly FaultName[] = Object.keys(FAULTS) as FaultName[];

const RATE_ONE = 10_000;

/** Which fault points are on, how often they fire, and how often they did. */
export class FaultTable {
  /** Hits per fault point, in the order of {@linkcode FAULT_NAMES}. */
  readonly hits: Float64Array = new Float64Array(FAULT_NAMES.length);
  readonly #rates: Float64Array = new Float64Array(FAULT_NAMES.length);
  readonly #index = new Map<FaultName, number>(FAULT_NAMES.map((name, index) => [name, index]));
  declare private readonly prng: Prng;
  // Asked at every opportunity, millions of times a second: one look when nothing is on.
  #active = false;

  /**
   * Makes a table; each fault point counts its hits from zero.
   *
   * @param prng Source of chance.
   * @param rates Chance of each fault point per opportunity, in 1/10000; absent means never.
   */
  constructor(prng: Prng, rates: Readonly<Partial<Record<FaultName, number>>>) {
    this.prng = prng;
    for (const [name, rate] of Object.entries(rates)) {
      this.#rates[this.index(name as FaultName)] = rate;
      if (rate > 0) this.#active = true;
    }
  }

  /** True if any fault point is on. */
  get any(): boolean {
    return this.#active;
  }

  /** Position of a fault point, to be looked up once. */
  index(name: FaultName): number {
    return this.#index.get(name) as number;
  }

  /** True if a fault point is on. */
  enabled(name: FaultName): boolean {
    return this.#rates[this.index(name)] > 0;
  }

  /** Rolls for a fault point; counts a hit. */
  roll(name: FaultName): boolean {
    if (!this.chance(name)) return false;
    this.hit(name);
    return true;
  }

  /** Rolls for a fault point that may find no opportunity; {@linkcode hit} counts if it does. */
  chance(name: FaultName): boolean {
    if (!this.#active) return false;
    const rate = this.#rates[this.#index.get(name) as number];
    return rate !== 0 && this.prng.below(RATE_ONE) < rate;
  }

  /** Counts a hit of a fault point that somebody else decided on. */
  hit(name: FaultName): void {
    this.hits[this.#index.get(name) as number]++;
  }

  /** Switches every fault point off for the rest of the run. */
  silence(): void {
    this.#rates.fill(0);
    this.#active = false;
  }

  /** A random number of the faults' own generator. */
  below(bound: number): number {
    return this.prng.below(bound);
  }
}
