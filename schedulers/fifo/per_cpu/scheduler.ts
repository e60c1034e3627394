/**
 * Per-CPU FIFO: every CPU has its own agent, message queue and run queue. A task is given a CPU
 * once, round-robin, when it first becomes runnable, and stays there. Whoever runs goes on until
 * it blocks, yields or is preempted by the default class; a preempted task goes to the front.
 *
 * What it shows: the smallest policy in which agents hand tasks to each other. What it is not: it
 * neither balances load nor takes turns; a task that never blocks keeps its CPU.
 *
 * Source: behaviour of upstream's fifo_per_cpu_agent, reference section 4.1. Two things differ: a
 * refused queue association is tried again with the task's next message (upstream stops), and the
 * waits inside a step are AGAIN verdicts.
 *
 * @module
 */
import * as abi_constants from "../../../ffi/abi/constants.ts";
import { FifoQueue } from "../../../lib/fifo_queue.ts";
import * as queues from "../../../lib/fifo_queue.ts";
import { assertInvariant } from "../../../lib/invariant.ts";
import type { MessageCursor } from "../../../lib/message.ts";
import type { PolicyDefinition, Verdict } from "../../../lib/policy.ts";
import * as verdicts from "../../../lib/policy.ts";
import { Scheduler } from "../../../lib/scheduler.ts";
import * as transactions from "../../../lib/transaction.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { txnCommitted, txnSucceeded } = transactions;
const { COMMIT_AT_TXN_COMMIT, RTLA_ON_IDLE } = abi_constants;
const { FIFO_QUEUE_WORDS } = queues;
const { AGAIN, DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES, RUN_LOCAL } = verdicts;

/** State of a task. RUNNABLE is transitory: it lasts until the task has a CPU and is queued. */
export const BLOCKED = 0;
export const RUNNABLE = 1;
export const QUEUED = 2;
export const ON_CPU = 3;

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  1 << RUNNABLE,
  (1 << QUEUED) | (1 << BLOCKED),
  (1 << ON_CPU) | (1 << RUNNABLE) | (1 << BLOCKED),
  (1 << RUNNABLE) | (1 << BLOCKED),
];

/** One agent's instance of the policy. */
export class FifoPerCpuScheduler extends Scheduler {
  readonly #state = this.agent.state.task("state");
  readonly #cpu_index = this.agent.state.task("cpu_index");
  readonly #preempted = this.agent.state.task("preempted");
  readonly #prio_boost = this.agent.state.task("prio_boost");
  readonly #current = this.ownColumn("current");
  readonly #pending = this.ownColumn("pending");
  readonly #next_cpu = this.agent.state.global("next_cpu");
  readonly #own_index = this.agent.cpuIndex(this.agent.cpu);
  /** The run queue of this CPU. */
  protected readonly run_queue: FifoQueue = new FifoQueue(
    this.ownColumn("run_queue"),
    this.agent.tasks.next,
    this.agent.tasks.prev,
  );

  /** See {@linkcode Scheduler}. */
  step(): Verdict {
    if (!this.settleCommit()) return AGAIN;
    const barrier = this.agentBarrier();
    if (!this.drain()) return AGAIN;
    return this.schedule(barrier);
  }

  /** Reads the result of the commit with which the last step ended. */
  protected settleCommit(): boolean {
    const row = this.#pending[0] - 1;
    if (row < 0) return true;
    const state = this.agent.txns.state(this.agent.cpu);
    if (!txnCommitted(state)) return false;
    this.#pending[0] = 0;
    if (txnSucceeded(state)) this.commitSucceeded(row);
    else this.commitRefused(row);
    return true;
  }

  /** The task has this CPU, or had it. */
  protected commitSucceeded(row: number): void {
    this.commit_count[0]++;
    this.#setState(row, ON_CPU);
    this.#current[0] = row + 1;
    this.#preempted[row] = 0;
    this.#prio_boost[row] = 0;
  }

  /** The kernel did not take the task: it is the next one again. */
  protected commitRefused(row: number): void {
    this.refused_count[0]++;
    this.#setState(row, RUNNABLE);
    this.#prio_boost[row] = 1;
    this.enqueue(row);
  }

  /** Chooses what this CPU does next, by the barrier from before the messages were read. */
  protected schedule(barrier: number): Verdict {
    const boosted = this.agentBoosted();
    const current = this.#current[0] - 1;
    const next = boosted ? -1 : current >= 0 ? current : this.run_queue.front();
    if (next < 0) {
      const has_work = current >= 0 || this.run_queue.length > 0;
      return this.yieldCpu(barrier, boosted && has_work ? RTLA_ON_IDLE : 0);
    }
    // The task may still be leaving the CPU on which it was preempted.
    if (this.isOnCpu(next)) return AGAIN;
    if (current >= 0) this.#requeueCurrent(next);
    this.run_queue.remove(next);
    this.#pending[0] = next + 1;
    this.openTransaction(this.agent.cpu, next, barrier, COMMIT_AT_TXN_COMMIT, 0);
    return RUN_LOCAL;
  }

  /** The agent came back before its task was seen to leave: it is committed again. */
  #requeueCurrent(row: number): void {
    this.#current[0] = 0;
    this.#setState(row, RUNNABLE);
    this.#prio_boost[row] = 1;
    this.enqueue(row);
  }

  /** Queues a task on this CPU: a boosted one first. */
  protected enqueue(row: number): void {
    this.#setState(row, QUEUED);
    if (this.#prio_boost[row] !== 0) this.run_queue.pushFront(row);
    else this.run_queue.pushBack(row);
  }

  /** Gives a runnable task a CPU, if it has none yet, and queues it there. */
  #place(row: number, barrier: number): void {
    if (this.#cpu_index[row] === 0) {
      const count = this.agent.cpus.length;
      const target = (this.agent.memory.add(this.#next_cpu, 0, 1) >>> 0) % count;
      this.#cpu_index[row] = target + 1;
      if (target !== this.#own_index) {
        if (this.handOver(row, target, barrier)) return;
        // The task's next message is on its way; it stays here until it wakes up again.
        this.#cpu_index[row] = 0;
      }
    }
    this.enqueue(row);
  }

  /** The one place where a task's state changes. */
  #setState(row: number, next: number): void {
    const legal = ((NEXT_STATES[this.#state[row]] >> next) & 1) !== 0;
    assertInvariant(legal, "fifo per-CPU: task state may not change so");
    this.#state[row] = next;
  }

  /** Takes a task off whatever it is on: the CPU, or the run queue. */
  #takeOff(row: number): void {
    if (this.#state[row] === QUEUED) this.run_queue.remove(row);
    else if (this.#current[0] === row + 1) this.#current[0] = 0;
  }

  #makeRunnable(row: number): void {
    this.#takeOff(row);
    this.#setState(row, RUNNABLE);
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    this.#takeOff(row);
    if (this.#state[row] !== BLOCKED) this.#setState(row, BLOCKED);
  }

  #pingSwitchto(message: MessageCursor): void {
    if (message.fromSwitchto()) this.agent.port.ping(message.cpu());
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    if (!message.runnable()) return;
    this.#setState(row, RUNNABLE);
    this.#place(row, message.seqnum);
  }

  /** See {@linkcode Scheduler}. */
  protected taskReceived(row: number): void {
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    assertInvariant(this.#state[row] === BLOCKED, "fifo per-CPU: woken task was not blocked");
    this.#prio_boost[row] = message.deferrable() ? 0 : 1;
    this.#setState(row, RUNNABLE);
    this.#place(row, message.seqnum);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskBlocked(row: number, message: MessageCursor): void {
    this.taskOff(row);
    this.#pingSwitchto(message);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, message: MessageCursor): void {
    this.#preempted[row] = 1;
    this.#prio_boost[row] = 1;
    this.#makeRunnable(row);
    this.#pingSwitchto(message);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, message: MessageCursor): void {
    this.#makeRunnable(row);
    this.#pingSwitchto(message);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    if (this.#state[row] !== ON_CPU) return;
    this.#prio_boost[row] = 1;
    this.#makeRunnable(row);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskDeparted(row: number, message: MessageCursor): void {
    this.taskOff(row);
    this.#pingSwitchto(message);
  }

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.#state[row] === ON_CPU) return;
    if (this.#state[row] !== BLOCKED) this.taskOff(row);
    // On a CPU without our doing: by switchto. The message of its leaving will come.
    if (!runnable || on_cpu) return;
    this.#setState(row, RUNNABLE);
    this.#place(row, this.agent.tasks.seqnum[row]);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return this.run_queue.length === 0 && this.#pending[0] === 0;
  }

  /** Text as upstream's dump, reference section 4.1. */
  dump(flags: number): string {
    const { tasks, cpu, cpus, owner_id } = this.agent;
    let text = "";
    if ((flags & DUMP_ALL_TASKS) !== 0) {
      text += "task        state   cpu\n";
      for (let row = 0; row < tasks.usedCount(); row++) {
        if (tasks.owner[row] !== owner_id) continue;
        const name = this.taskName(row).padEnd(12);
        const state = String(this.#state[row]).padEnd(8);
        const placed = String(cpus[this.#cpu_index[row] - 1] ?? -1).padEnd(8);
        const preempted = this.#preempted[row] !== 0 ? "P" : "-";
        const boost = this.#prio_boost[row] !== 0 ? "B" : "-";
        text += `${name}${state}${placed}${preempted}${boost}\n`;
      }
    }
    const current = this.#current[0] - 1;
    const empty = current < 0 && this.run_queue.length === 0;
    if (empty && (flags & DUMP_EMPTY_RUNQUEUES) === 0) return text;
    const name = current < 0 ? "none" : this.taskName(current);
    return `${text}SchedState[${cpu}]: ${name} rq_l=${this.run_queue.length}\n`;
  }
}

/** The policy, for every kernel. */
export const FIFO_PER_CPU: PolicyDefinition = {
  policyApi: 1,
  name: "fifo_per_cpu",
  requires: [],
  queues: "per_cpu",
  layout: () => ({
    task: { state: "i32", cpu_index: "i32", preempted: "i32", prio_boost: "i32" },
    cpu: { current: "i32", pending: "i32", run_queue: FIFO_QUEUE_WORDS },
    global: { next_cpu: "i32" },
    kept: { task: ["prio_boost"], global: ["next_cpu"] },
  }),
  create: (agent) => new FifoPerCpuScheduler(agent),
};
