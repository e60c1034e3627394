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
import { COMMIT_AT_TXN_COMMIT } from "../../../ffi/abi/constants.ts";
import type { AgentContext } from "../../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../../lib/fifo_queue.ts";
import { GLOBAL_COLUMNS, globalPolicy, GlobalScheduler } from "../../../lib/global_scheduler.ts";
import { assertInvariant } from "../../../lib/invariant.ts";
import type { MessageCursor } from "../../../lib/message.ts";
import { DUMP_ALL_TASKS, type PolicyDefinition } from "../../../lib/policy.ts";
import type { GlobalRole } from "../../../lib/role_candidates.ts";
import { txnSucceeded } from "../../../lib/transaction.ts";

/** State of a task. YIELDING waits for the end of one round. */
const BLOCKED = 0;
const QUEUED = 1;
const ON_CPU = 2;
const YIELDING = 3;
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
  readonly #state: Int32Array;
  readonly #prio_boost: Int32Array;
  readonly #preempted: Int32Array;
  readonly #task_index: Int32Array;
  readonly #current: Int32Array;
  readonly #chosen: Int32Array;
  readonly #last_commit_ns: Float64Array;
  readonly #run_queue: FifoQueue;
  readonly #yielding: FifoQueue;

  /** @param agent What the agent lends to the policy. */
  constructor(agent: AgentContext, config: FifoCentralizedConfig) {
    super(agent, config, config.preemption_time_slice_ns);
    const { state, tasks } = agent;
    this.#state = state.task("state");
    this.#prio_boost = state.task("prio_boost");
    this.#preempted = state.task("preempted");
    this.#task_index = state.task("cpu_index");
    this.#current = state.global("current");
    this.#chosen = new Int32Array(agent.cpus.length);
    this.#last_commit_ns = state.globalF64("last_commit_ns");
    this.#run_queue = new FifoQueue(state.global("run_queue"), tasks.next, tasks.prev);
    this.#yielding = new FifoQueue(state.global("yielding"), tasks.next, tasks.prev);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    this.beginPass();
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (!this.#wantsTask(index)) continue;
      const row = this.#nextTask();
      if (row < 0) break;
      this.#task_index[row] = index + 1;
      this.#chosen[count++] = row;
      this.openTransaction(this.agent.cpus[index], row, 0, COMMIT_AT_TXN_COMMIT, 0);
      this.addToGroup(this.agent.cpus[index]);
    }
    if (count > 0) this.#commit(count);
    while (this.#yielding.length > 0) this.#enqueue(this.#yielding.front());
  }

  /** True if a CPU can run ghOSt tasks and its task, if any, has used its slice. */
  #wantsTask(index: number): boolean {
    if (this.#current[index] !== 0 && !this.isSliceOver(this.#last_commit_ns, index)) return false;
    return this.isAvailable(index);
  }

  /** The first task in the queue that can be committed now, taken out of the queue; or −1. */
  #nextTask(): number {
    const { status, tasks } = this.agent;
    for (let row = this.#run_queue.popFront(); row >= 0; row = this.#run_queue.popFront()) {
      const unread = status.barrier(tasks.status_index[row]) !== tasks.seqnum[row];
      if (!unread && !this.isOnCpu(row)) return row;
      // Its next message is on the way: look again in the next round.
      this.#setState(row, YIELDING);
      this.#yielding.pushBack(row);
    }
    return -1;
  }

  /** Submits the group and settles every member. */
  #commit(count: number): void {
    const { txns, cpus } = this.agent;
    this.commitGroup();
    for (let position = 0; position < count; position++) {
      const row = this.#chosen[position];
      const index = this.#task_index[row] - 1;
      if (txnSucceeded(txns.state(cpus[index]))) {
        this.commit_count[0]++;
        const previous = this.#current[index] - 1;
        this.#current[index] = row + 1;
        this.#last_commit_ns[index] = this.pass_ns[0];
        this.#setState(row, ON_CPU);
        this.#preempted[row] = 0;
        this.#prio_boost[row] = 0;
        if (previous >= 0) this.#enqueue(previous);
      } else {
        this.refused_count[0]++;
        this.#prio_boost[row] = 1;
        this.#enqueue(row);
      }
    }
  }

  #setState(row: number, next: number): void {
    const is_legal = ((NEXT_STATES[this.#state[row]] >> next) & 1) !== 0;
    assertInvariant(is_legal, "fifo centralized: task state may not change so");
    this.#state[row] = next;
  }

  /** Puts a task into the run queue, from wherever it is: boosted and preempted ones first. */
  #enqueue(row: number): void {
    if (this.#state[row] === YIELDING) this.#yielding.remove(row);
    this.#setState(row, QUEUED);
    if ((this.#prio_boost[row] | this.#preempted[row]) !== 0) this.#run_queue.pushFront(row);
    else this.#run_queue.pushBack(row);
  }

  /** Takes a task off whatever it is on. */
  protected taskOff(row: number): void {
    const state = this.#state[row];
    if (state === QUEUED) this.#run_queue.remove(row);
    else if (state === YIELDING) this.#yielding.remove(row);
    else if (state === ON_CPU) {
      const index = this.#task_index[row] - 1;
      if (this.#current[index] === row + 1) this.#current[index] = 0;
    }
    if (state !== BLOCKED) this.#setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    if (message.runnable()) this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.#prio_boost[row] = message.deferrable() ? 0 : 1;
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, _message: MessageCursor): void {
    // Preempted by its successor, which this agent committed: it has queued already, at the back.
    if (this.#state[row] === QUEUED) return;
    this.#preempted[row] = 1;
    this.taskOff(row);
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number): void {
    this.taskOff(row);
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    if (this.#state[row] !== ON_CPU) return;
    this.#prio_boost[row] = 1;
    this.taskOff(row);
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.#state[row] === ON_CPU) return;
    this.taskOff(row);
    if (runnable) this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return this.globalCpu() !== this.agent.cpu || this.agent.tasks.liveCount() === 0;
  }

  /** Text as upstream's dump, reference section 4.2; only the global agent has one. */
  dump(flags: number): string {
    const { tasks, cpus } = this.agent;
    if (this.globalCpu() !== this.agent.cpu) return "";
    let text = "";
    if ((flags & DUMP_ALL_TASKS) !== 0) {
      text = "task        state       rq_pos  P\n";
      for (let row = 0; row < tasks.usedCount(); row++) {
        if (tasks.owner[row] === 0) continue;
        const cpu = this.#state[row] === ON_CPU ? cpus[this.#task_index[row] - 1] : -1;
        const state = STATE_NAMES[this.#state[row]].padEnd(12);
        text += `${this.taskName(row).padEnd(12)}${state}${cpu}\n`;
      }
    }
    const running = cpus.map((cpu, index) => {
      const row = this.#current[index] - 1;
      return `${cpu}:${row < 0 ? "none" : this.taskName(row)} `;
    });
    return `${text}SchedState: ${running.join("")} rq_l=${this.#run_queue.length}\n`;
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
