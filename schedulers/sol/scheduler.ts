/**
 * Sol ("speed of light"): a global agent that never waits for a commit. It opens transactions,
 * submits them in one call, goes on, and learns in a later pass what became of them. Tasks run
 * first in, first out, where they ran before if that CPU is free.
 *
 * It shows asynchronous (greedy) commits. It knows neither priorities nor NUMA nodes.
 *
 * Source: behaviour of upstream's agent_sol, reference section 4.3. Differences: a CPU that the
 * kernel would not give is not tried, the role can move at any step, and whatever a message says
 * of a task with an open transaction is handled, not fatal.
 *
 * @module
 */
import type { AgentContext } from "../../lib/agent_context.ts";
import type { PolicyEnclave } from "../../lib/enclave.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../lib/fifo_queue.ts";
import {
  BLOCKED,
  GLOBAL_COLUMNS,
  globalPolicy,
  GlobalScheduler,
  ON_CPU,
  QUEUED,
  YIELDING,
} from "../../lib/global_scheduler.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { DUMP_ALL_TASKS, type PolicyDefinition } from "../../lib/policy.ts";
import type { GlobalRole } from "../../lib/role_candidates.ts";
import { txnCommitted, txnSucceeded } from "../../lib/transaction.ts";

/**
 * States of a task beside those that all have. PENDING: its transaction is open. LEAVING: its
 * successor was committed, and the message that it left its CPU is on the way.
 */
export const PENDING = 4;
/** See {@linkcode PENDING}. */
export const LEAVING = 5;
const STATE_NAMES = ["Blocked", "Queued", "OnCpu", "Yielding", "Pending", "PreemptedByAgent"];

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  1 << QUEUED,
  (1 << BLOCKED) | (1 << YIELDING) | (1 << PENDING),
  (1 << BLOCKED) | (1 << LEAVING),
  (1 << BLOCKED) | (1 << QUEUED),
  (1 << BLOCKED) | (1 << ON_CPU),
  1 << BLOCKED,
];

/** In `next`: the transaction is claimed, and its task has changed since. */
export const VOID = -1;

/** What is counted in `stats`, as doubles. */
const ITERATIONS = 0;
const DISPATCH_NS = 1;
const TOTAL_NS = 2;
const STAT_COUNT = 3;

/** Parameters of the policy. */
export interface SolConfig extends GlobalRole {
  /** A task that has run this long makes room for one that waits; Infinity for never. */
  readonly preemption_time_slice_ns: number;
}

/** One agent's instance of the policy. */
export class SolScheduler extends GlobalScheduler {
  protected readonly next_states: readonly number[] = NEXT_STATES;
  protected readonly state_names: readonly string[] = STATE_NAMES;
  readonly #preempted = this.agent.state.task("preempted");
  /** By CPU: row + 1 of the task whose transaction is open, 0 or {@linkcode VOID}. */
  readonly #next = this.agent.state.global("next");
  readonly #last_commit_ns = this.agent.state.globalF64("last_commit_ns");
  readonly #stats = this.agent.state.globalF64("stats");
  readonly #run_queue = new FifoQueue(
    this.agent.state.global("run_queue"),
    this.agent.tasks.next,
    this.agent.tasks.prev,
  );
  /** Position of another CPU of the same core, or −1. */
  readonly #sibling = Int32Array.from(siblings(this.agent));
  // Scratch of one step: whether a CPU wants a task, and when the step began.
  readonly #wants = new Int32Array(this.agent.cpus.length);
  readonly #scratch_ns = new Float64Array(1);

  /** @param agent What the agent lends to the policy. */
  constructor(agent: AgentContext, config: SolConfig) {
    super(agent, config, config.preemption_time_slice_ns);
  }

  /** Counts what reading the queue takes. */
  protected override drain(): boolean {
    this.#scratch_ns[0] = this.agent.port.nowNs();
    const complete = super.drain();
    this.#stats[DISPATCH_NS] += this.agent.port.nowNs() - this.#scratch_ns[0];
    return complete;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    for (let index = 0; index < this.#next.length; index++) this.#settle(index);
    this.beginPass();
    if (this.#run_queue.length > 0 && this.#openAll() > 0) this.commitGroup();
    this.requeueYielding();
    this.#stats[TOTAL_NS] += this.agent.port.nowNs() - this.#scratch_ns[0];
    this.#stats[ITERATIONS]++;
  }

  /** Opens a transaction for each CPU that gets a task; returns how many. */
  #openAll(): number {
    let free_count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      const wants = this.#wantsTask(index);
      this.#wants[index] = wants ? 1 : 0;
      if (wants) free_count++;
    }
    let count = 0;
    let first = 0;
    for (; count < free_count; count++) {
      const row = this.nextTask(-1);
      if (row < 0) break;
      let index = this.#cpuNear(this.task_index[row] - 1);
      if (index < 0) {
        while (this.#wants[this.near_first[first]] === 0) first++;
        index = this.near_first[first];
      }
      this.#wants[index] = 0;
      this.#open(row, index);
    }
    return count;
  }

  /** True if a CPU has no transaction under way, and its task, if any, has used its slice. */
  #wantsTask(index: number): boolean {
    if (this.#next[index] !== 0) return false;
    if (!this.isAvailable(index)) return false;
    if (this.current[index] === 0) return true;
    return this.isSliceOver(this.#last_commit_ns, index);
  }

  /** The CPU where a task ran before, or one of the same core, if it is free; or −1. */
  #cpuNear(before: number): number {
    if (before < 0) return -1;
    if (this.#wants[before] !== 0) return before;
    const sibling = this.#sibling[before];
    return sibling >= 0 && this.#wants[sibling] !== 0 ? sibling : -1;
  }

  #open(row: number, index: number): void {
    const cpu = this.agent.cpus[index];
    this.setState(row, PENDING);
    this.task_index[row] = index + 1;
    this.#next[index] = row + 1;
    this.#last_commit_ns[index] = this.pass_ns[0];
    if (this.#preempted[row] !== 0) {
      this.#preempted[row] = 0;
      this.prio_boost[row] = 1;
    }
    this.openTransaction(cpu, row, 0, 0, 0);
    this.addToGroup(cpu);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override takeFirst(_current: number): number {
    return this.#run_queue.popFront();
  }

  /** Takes note of what became of the transaction of a CPU, if that is known. */
  #settle(index: number): void {
    if (this.#next[index] === 0) return;
    const state = this.agent.txns.state(this.agent.cpus[index]);
    if (!txnCommitted(state)) return;
    const row = this.#next[index] - 1;
    this.#next[index] = 0;
    if (row < 0) return;
    const previous = this.current[index] - 1;
    if (txnSucceeded(state)) {
      this.commit_count[0]++;
      this.setState(row, ON_CPU);
      this.prio_boost[row] = 0;
      this.current[index] = row + 1;
      if (previous >= 0) this.setState(previous, LEAVING);
    } else {
      this.refused_count[0]++;
      this.setState(row, BLOCKED);
      this.enqueue(row);
    }
  }

  /** See {@linkcode GlobalScheduler}: what is still open is withdrawn. */
  protected override settleCpu(index: number): boolean {
    this.agent.txns.abort(this.agent.cpus[index]);
    this.#settle(index);
    return this.#next[index] === 0;
  }

  /** See {@linkcode GlobalScheduler}: boosted and preempted ones first. */
  protected enqueue(row: number): void {
    this.setState(row, QUEUED);
    if ((this.prio_boost[row] | this.#preempted[row]) !== 0) this.#run_queue.pushFront(row);
    else this.#run_queue.pushBack(row);
  }

  /** Takes a task off whatever it is on. */
  protected taskOff(row: number): void {
    const index = this.task_index[row] - 1;
    if (this.state[row] === PENDING) {
      // A message of a task that has run says that its transaction is decided.
      this.#settle(index);
      if (this.state[row] === PENDING) {
        this.#next[index] = this.agent.txns.abort(this.agent.cpus[index]) ? 0 : VOID;
      }
    }
    const state = this.state[row];
    if (state === QUEUED) this.#run_queue.remove(row);
    else if (state === YIELDING) this.yielding.remove(row);
    else if (state === ON_CPU) this.leaveCpu(row);
    if (state !== BLOCKED) this.setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    if (message.runnable()) this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.taskOff(row);
    this.prio_boost[row] = message.deferrable() ? 0 : 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, _message: MessageCursor): void {
    // Its successor may have been decided since the last pass.
    if (this.state[row] === ON_CPU) this.#settle(this.task_index[row] - 1);
    const by_agent = this.state[row] === LEAVING;
    this.taskOff(row);
    // Preempted by its successor, it goes to the back.
    this.#preempted[row] = by_agent ? 0 : 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, _message: MessageCursor): void {
    this.taskOff(row);
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    this.taskOff(row);
    this.prio_boost[row] = 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (this.state[row] === PENDING) this.#settle(this.task_index[row] - 1);
    super.taskResync(row, runnable, on_cpu);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return this.globalCpu() !== this.agent.cpu || this.agent.tasks.liveCount() === 0;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected waitingCount(): number {
    return this.#run_queue.length;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected taskColumns(row: number): string {
    return String(this.state[row] === ON_CPU ? this.agent.cpus[this.task_index[row] - 1] : -1);
  }

  /** With upstream's figures, if all is asked for. */
  override dump(flags: number): string {
    const text = super.dump(flags);
    return text === "" || (flags & DUMP_ALL_TASKS) === 0 ? text : text + this.#statsText();
  }

  /** Upstream's figures: how the time of the global agent divides, and what it could take. */
  #statsText(): string {
    const [iterations, dispatch_ns, total_ns] = this.#stats;
    const { state, cpus } = this.agent;
    const message_count = cpus.reduce((sum, cpu) => sum + state.cpu("message_count", cpu)[0], 0);
    const per_iteration = message_count / iterations;
    const t_d = dispatch_ns / iterations / 1000;
    const t_t = total_ns / iterations / 1000;
    const t_a = t_t - t_d;
    const a = per_iteration / t_t;
    const s = a * t_t / t_d;
    const figure = (value: number): string => value.toFixed(4);
    return `${"-".repeat(40)}\n` +
      `global iterations: ${iterations}, nr_msgs ${message_count}, ` +
      `msg/iter ${figure(per_iteration)}, total msg rate (A) ${figure(a)}\n` +
      `T_d: ${figure(t_d)}, T_a: ${figure(t_a)}, T_t: ${figure(t_t)}\n` +
      `A/S = T_d/T_t: ${figure(t_d / t_t)}, Computed S: ${figure(s)}, L: ${figure(t_a * a)}\n`;
  }
}

/** By CPU: position of another one of the same core, or −1. */
function siblings({ cpus, cpu_rows }: AgentContext): number[] {
  const of_cpu = new Map(cpu_rows.map((row) => [row.cpu, row.siblings]));
  return cpus.map((cpu) => {
    const other = of_cpu.get(cpu)?.find((id) => id !== cpu && cpus.includes(id));
    return other === undefined ? -1 : cpus.indexOf(other);
  });
}

/**
 * Mean time of an iteration of the global agent, upstream's RPC 2.
 *
 * @param enclave The enclave with the policy on it.
 * @returns Nanoseconds; 0 before the first iteration.
 */
export function schedOverheadNs(enclave: PolicyEnclave): number {
  const stats = enclave.state.globalF64("stats");
  return stats[ITERATIONS] === 0 ? 0 : Math.round(stats[TOTAL_NS] / stats[ITERATIONS]);
}

/** The policy, for every kernel. */
export function sol(config: SolConfig): PolicyDefinition {
  return {
    ...globalPolicy(config),
    name: "sol",
    requires: ["group_commit", "greedy_commit"],
    options: { ...config },
    layout: (cpu_count) => ({
      task: { state: "i32", prio_boost: "i32", preempted: "i32", cpu_index: "i32" },
      cpu: {},
      global: {
        ...GLOBAL_COLUMNS,
        run_queue: FIFO_QUEUE_WORDS,
        yielding: FIFO_QUEUE_WORDS,
        current: cpu_count,
        next: cpu_count,
        last_commit_ns: 2 * cpu_count,
        stats: 2 * STAT_COUNT,
      },
    }),
    create: (agent) => new SolScheduler(agent, config),
  };
}
