/**
 * Centralized FIFO: one spinning agent with one run queue for all CPUs. A task runs until it
 * blocks, yields, is preempted, or, with a time slice, until its slice is over and another waits.
 *
 * It shows a global agent, group commit and hand-off, and knows neither priorities nor caches.
 * Source: behaviour of upstream's fifo_centralized_agent, reference section 4.2. Difference: a task
 * whose slice is over goes back into the queue only after its successor is committed.
 *
 * @module
 */
import type { AgentContext } from "../../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../../lib/fifo_queue.ts";
import {
  BLOCKED,
  GLOBAL_COLUMNS,
  globalPolicy,
  GlobalScheduler,
  ON_CPU,
  QUEUED,
  YIELDING,
} from "../../../lib/global_scheduler.ts";
import type { MessageCursor } from "../../../lib/message.ts";
import type { PolicyDefinition } from "../../../lib/policy.ts";
import type { GlobalRole } from "../../../lib/role_candidates.ts";

const STATE_NAMES = ["Blocked", "Queued", "OnCpu", "Yielding"];

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  1 << QUEUED,
  (1 << BLOCKED) | (1 << ON_CPU) | (1 << YIELDING) | (1 << QUEUED),
  (1 << BLOCKED) | (1 << QUEUED) | (1 << YIELDING),
  (1 << BLOCKED) | (1 << QUEUED),
];

/** Parameters of the policy. */
export interface FifoCentralizedConfig extends GlobalRole {
  /** A task that has run this long makes room for one that waits; Infinity for never. */
  readonly preemption_time_slice_ns: number;
}

/** One agent's instance of the policy. */
export class FifoCentralizedScheduler extends GlobalScheduler {
  protected readonly next_states: readonly number[] = NEXT_STATES;
  protected readonly state_names: readonly string[] = STATE_NAMES;
  readonly #preempted = this.agent.state.task("preempted");
  readonly #last_commit_ns = this.agent.state.globalF64("last_commit_ns");
  readonly #run_queue = new FifoQueue(
    this.agent.state.global("run_queue"),
    this.agent.tasks.next,
    this.agent.tasks.prev,
  );

  /** @param agent What the agent lends to the policy. */
  constructor(agent: AgentContext, config: FifoCentralizedConfig) {
    super(agent, config, config.preemption_time_slice_ns);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    this.beginPass();
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (!this.#wantsTask(index)) continue;
      const row = this.nextTask(this.current[index] - 1);
      if (row < 0) break;
      this.choose(index, row);
      count++;
    }
    if (count > 0) this.commitChosen();
    this.requeueYielding();
  }

  /** True if a CPU can run ghOSt tasks and its task, if any, has used its slice. */
  #wantsTask(index: number): boolean {
    if (this.current[index] !== 0 && !this.isSliceOver(this.#last_commit_ns, index)) return false;
    return this.isAvailable(index);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override takeFirst(_current: number): number {
    return this.#run_queue.popFront();
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override taskCommitted(row: number, index: number): void {
    this.#last_commit_ns[index] = this.pass_ns[0];
    this.#preempted[row] = 0;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override taskRefused(row: number, _index: number): void {
    this.prio_boost[row] = 1;
    this.enqueue(row);
  }

  /** See {@linkcode GlobalScheduler}: boosted and preempted ones first. */
  protected enqueue(row: number): void {
    this.setState(row, QUEUED);
    if ((this.prio_boost[row] | this.#preempted[row]) !== 0) this.#run_queue.pushFront(row);
    else this.#run_queue.pushBack(row);
  }

  /** Takes a task off whatever it is on. */
  protected taskOff(row: number): void {
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
    this.prio_boost[row] = message.deferrable() ? 0 : 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, _message: MessageCursor): void {
    // Preempted by its successor, which this agent committed: it has queued already, at the back.
    if (this.state[row] === QUEUED) return;
    this.#preempted[row] = 1;
    this.taskOff(row);
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number): void {
    this.taskOff(row);
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    if (this.state[row] !== ON_CPU) return;
    this.prio_boost[row] = 1;
    this.taskOff(row);
    this.enqueue(row);
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
}

/** The policy, for every kernel. */
export function fifoCentralized(config: FifoCentralizedConfig): PolicyDefinition {
  return {
    ...globalPolicy(config),
    name: "fifo_centralized",
    requires: ["group_commit"],
    options: { ...config },
    layout: (cpu_count) => ({
      task: { state: "i32", prio_boost: "i32", preempted: "i32", cpu_index: "i32" },
      cpu: {},
      global: {
        ...GLOBAL_COLUMNS,
        run_queue: FIFO_QUEUE_WORDS,
        yielding: FIFO_QUEUE_WORDS,
        current: cpu_count,
        last_commit_ns: 2 * cpu_count,
      },
    }),
    create: (agent) => new FifoCentralizedScheduler(agent, config),
  };
}
