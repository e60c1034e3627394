/**
 * One fuzz run: builds the machine of a plan, lets it run under load and faults, ends the load, and
 * checks that every thread came to its end and that nothing is left behind.
 *
 * @module
 */
import { EVENT_AGENT_STEP } from "../../kernels/sim/event_kinds.ts";
import { DEFAULT_COSTS, type SimCosts } from "../../kernels/sim/costs.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { checkAll } from "../../kernels/sim/invariants.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { DEAD, type SimThread } from "../../kernels/sim/thread.ts";
import type { SimTrace } from "../../kernels/sim/trace.ts";
import { assertInvariant, InvariantError } from "../../lib/invariant.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import { HostView, THREAD_STATE_NAMES } from "./host_view.ts";
import { FuzzLoad } from "./load.ts";
import { FuzzObserver } from "./observer.ts";
import type { Disturbance, FuzzPlan } from "./plan.ts";
import { POLICIES } from "./policies.ts";

/** Events after which a run counts as a livelock. */
const EVENT_COUNT_MAX = 200_000;
/** Time for the agents to read the last messages, in ns. */
const SETTLE_NS = 20_000_000;
/** Time that the end of the load may take beyond the work that is left, in ns. */
const CLOSING_NS = 200_000_000;

/** A thread that is ready for so much longer than there is work was forgotten, in ns. */
const FORGOTTEN_NS = 100_000_000;

/** How a run ended. */
export interface FuzzResult {
  /** What broke, or null. */
  readonly failure: string | null;
  /** State of all agents when it broke; empty if nothing did. */
  readonly dump: string;
  /** Virtual time at the end, in ns. */
  readonly time_ns: number;
  /** Events handled. */
  readonly event_count: number;
  /** Hits by position in FAULT_NAMES. */
  readonly hits: Float64Array;
  /** Messages sent. */
  readonly message_count: number;
  /** Messages that were lost because a queue was full. */
  readonly lost_count: number;
  /** Transactions decided. */
  readonly commit_count: number;
}

/** The agents were killed on purpose. */
class CrashError extends Error {}

/** What a run may be given beside its plan. */
export interface RunOptions {
  /** A variant of the plan's policy. */
  readonly variant?: (policy: PolicyDefinition) => PolicyDefinition;
  /** Observes messages and decisions; made from the kernel of the run. */
  readonly trace?: (kernel: SimKernel) => SimTrace;
}

/** The default costs, but for the periods of ticks and slices. */
function scaledCosts(percent: number): SimCosts {
  const { default_slice_ns, tick_ns } = DEFAULT_COSTS;
  const scaled = Object.entries(DEFAULT_COSTS).map(([name, ns]) => [
    name,
    Math.ceil(ns * percent / 100),
  ]);
  return { ...Object.fromEntries(scaled), default_slice_ns, tick_ns };
}

/** A run under way. */
class FuzzRun {
  readonly kernel: SimKernel;
  readonly enclave: SimEnclave;
  readonly observer: FuzzObserver;
  readonly #plan: FuzzPlan;
  readonly #policy: PolicyDefinition;
  readonly #load: FuzzLoad;
  readonly #disturbances: Disturbance[];
  #view: HostView;
  #destroyed = "";
  #first_queue_id = 0;
  #check_count = 0;

  constructor(plan: FuzzPlan, options: RunOptions) {
    this.#plan = plan;
    const entry = POLICIES[plan.policy];
    const policy = entry.define(plan.enclave_cpus);
    this.#policy = options.variant?.(policy) ?? policy;
    this.kernel = new SimKernel({
      cpus: plan.cpu_rows,
      seed: plan.seed,
      abi_version: plan.abi,
      costs: scaledCosts(plan.cost_percent),
      faults: plan.fault_rates,
      status_word_capacity: plan.status_word_capacity,
    });
    const { machine, faults } = this.kernel;
    this.observer = new FuzzObserver(faults, options.trace?.(this.kernel) ?? null);
    machine.trace = this.observer;
    const enclave = this.kernel.createEnclave(plan.enclave_cpus, plan.abi);
    assertInvariant(typeof enclave !== "number", "no enclave");
    this.enclave = enclave;
    enclave.on_destroyed = (reason) => this.#destroyed = reason;
    this.#view = this.#attach();
    for (const name of plan.tunables) enclave.writeTunable(name, 1);
    this.#load = new FuzzLoad(machine, enclave, plan, this.kernel.prng.fork("load"));
    this.#load.start();
    this.#disturbances = [...plan.disturbances];
  }

  #attach(predecessor?: SimPolicyHost): HostView {
    const { task_capacity, queue_elem_count } = this.#plan;
    const has_snapshot = predecessor !== undefined && this.kernel.prng.chance(1, 2);
    const host = new SimPolicyHost(this.kernel, this.enclave, this.#policy, {
      task_capacity,
      queue_elem_count,
      ...(has_snapshot ? { snapshot: predecessor.snapshot() } : {}),
    });
    return new HostView(this.kernel.machine, this.enclave, host);
  }

  /** State of all agents. */
  dump(): string {
    const { host } = this.#view;
    return host.failure?.dump ?? host.dump(3);
  }

  /** Runs to the end; throws at what breaks. */
  run(): void {
    const { machine, faults } = this.kernel;
    const { loaded_ns } = this.#plan;
    this.#advance(loaded_ns);
    faults.silence();
    for (const name of this.#plan.tunables) this.enclave.writeTunable(name, 0);
    this.#load.close();
    const work_ns = machine.threads.reduce((sum, thread) => sum + thread.remaining_ns, 0);
    const end_ns = machine.now_ns + 2 * work_ns + CLOSING_NS;
    machine.forgotten_after_ns = loaded_ns + 2 * work_ns + FORGOTTEN_NS;
    this.#advance(end_ns);
    const left = machine.threads.find((thread) => thread.state !== DEAD);
    if (left !== undefined) throw new InvariantError(this.#threadText(left));
    machine.runUntil(machine.now_ns + SETTLE_NS);
    checkAll(machine);
    this.#checkFailure();
    if (this.#destroyed === "") this.#checkEnd();
  }

  /** Handles events up to a time or the end of the last thread. */
  #advance(until_ns: number): void {
    const { machine } = this.kernel;
    const { events } = machine;
    while (machine.live_count > 0 || !this.#load.closing) {
      const next_ns = events.nextTimeNs();
      const disturbance = this.#disturbances[0];
      if (disturbance !== undefined && disturbance.time_ns <= Math.min(next_ns, until_ns)) {
        this.#disturbances.shift();
        this.#disturb(disturbance);
        continue;
      }
      if (next_ns > until_ns) break;
      const kind = events.nextKind();
      machine.runOne();
      if (kind === EVENT_AGENT_STEP) this.#checkPolicy();
      this.#checkFailure();
      if (events.taken_count > EVENT_COUNT_MAX) {
        throw new InvariantError(`livelock: ${EVENT_COUNT_MAX} events and no end`);
      }
    }
    if (machine.now_ns < until_ns && machine.live_count > 0) machine.runUntil(until_ns);
  }

  /** After a step: looks at one agent after the other, so that the cost does not grow. */
  #checkPolicy(): void {
    const { check } = POLICIES[this.#plan.policy];
    if (check === null || this.#destroyed !== "") return;
    const { enclave_cpus } = this.#plan;
    const fault = check(this.#view, enclave_cpus[this.#check_count++ % enclave_cpus.length]);
    if (fault !== null) throw new InvariantError(fault);
  }

  #checkFailure(): void {
    const { failure } = this.#view.host;
    if (failure !== null && !(failure.error instanceof CrashError)) throw failure.error;
  }

  #disturb(disturbance: Disturbance): void {
    if (this.#destroyed !== "") return;
    const { faults, machine } = this.kernel;
    faults.hit(disturbance.fault);
    switch (disturbance.fault) {
      case "destroy_outside":
        this.enclave.destroy();
        return;
      case "agent_crash": {
        const cpu = this.#plan.enclave_cpus[0];
        this.enclave.agents.get(cpu)?.driver?.failed(new CrashError("killed"));
        return;
      }
      case "agent_upgrade": {
        this.#checkCounters();
        const { host } = this.#view;
        this.observer.forget();
        host.leave();
        machine.runUntil(machine.now_ns + this.kernel.prng.below(300_000));
        if (!this.enclave.isDestroyed()) this.#view = this.#attach(host);
        this.#first_queue_id = this.#view.host.enclave.queues[0].id;
      }
    }
  }

  /** Messages sent, read and waiting add up. */
  #checkCounters(): void {
    const view = this.#view;
    let sent = 0;
    for (const queue of new Set(view.host.enclave.queues)) {
      sent += this.observer.sent_count.get(queue.id) ?? 0;
    }
    const read = view.sum("message_count");
    const unread = view.unreadCount();
    if (sent !== read + unread) {
      throw new InvariantError(`${sent} messages sent, ${read} read, ${unread} waiting`);
    }
  }

  /** Nothing is left of the threads. */
  #checkEnd(): void {
    this.#checkCounters();
    const rows = this.#view.tasks.liveCount();
    if (rows !== 0) throw new InvariantError(`${rows} rows of threads that are gone`);
    const words = this.#view.taskWordCount();
    if (words !== 0) throw new InvariantError(`${words} status words of threads that are gone`);
    const decided = this.#view.sum("commit_count") + this.#view.sum("refused_count");
    const is_local = this.#plan.policy === "fifo_per_cpu" && this.#first_queue_id === 0;
    if (is_local && decided !== this.observer.commit_count) {
      throw new InvariantError(`${this.observer.commit_count} decisions, policy knows ${decided}`);
    }
  }

  #threadText(thread: SimThread): string {
    const where = thread.enclave === null ? "the default class" : "ghOSt";
    return `thread ${thread.tid} (${thread.name}) never ends: ${
      THREAD_STATE_NAMES[thread.state]
    } in ${where}` +
      ` since ${thread.ready_since_ns} ns`;
  }
}

/**
 * Runs a plan.
 *
 * @param plan The plan.
 * @param options Variant of the policy, observer.
 */
export function runPlan(plan: FuzzPlan, options: RunOptions = {}): FuzzResult {
  let run: FuzzRun | null = null;
  let failure: string | null = null;
  let dump = "";
  try {
    run = new FuzzRun(plan, options);
    run.run();
  } catch (error) {
    failure = error instanceof InvariantError
      ? error.message
      : error instanceof Error
      ? error.stack ?? error.message
      : String(error);
    dump = run?.dump() ?? "";
  }
  const machine = run?.kernel.machine;
  return {
    failure,
    dump,
    time_ns: machine?.now_ns ?? 0,
    event_count: machine?.events.taken_count ?? 0,
    hits: run?.kernel.faults.hits ?? new Float64Array(0),
    message_count: machine?.counters.message_count ?? 0,
    lost_count: run?.observer.lost_count ?? 0,
    commit_count: run?.observer.commit_count ?? 0,
  };
}
