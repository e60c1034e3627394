/**
 * A policy for fuzzing only: the first agent schedules every other CPU, by remote commits, greedy
 * transactions and sync groups in turn, so that a run meets the kernel paths which no shipped
 * policy takes.
 *
 * @module
 */
import { COMMIT_AT_TXN_COMMIT, RTLA_ON_IDLE } from "../../ffi/abi/constants.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../lib/fifo_queue.ts";
import { CPU_MASK_WORD_COUNT } from "../../lib/limits.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { AGAIN, type PolicyDefinition, type Verdict } from "../../lib/policy.ts";
import { Scheduler } from "../../lib/scheduler.ts";
import { txnCommitted, txnSucceeded } from "../../lib/transaction.ts";

const BLOCKED = 0;
const QUEUED = 1;
/** Its transaction is open; what became of it is not known yet. */
const PENDING = 2;
const ON_CPU = 3;

/** In `pending`: the transaction is open, and its task has changed since. */
const VOID = -1;

class GreedyScheduler extends Scheduler {
  readonly #state: Int32Array;
  readonly #current: Int32Array;
  readonly #pending: Int32Array;
  readonly #turn: Int32Array;
  readonly #run_queue: FifoQueue;
  readonly #mask = new Int32Array(CPU_MASK_WORD_COUNT);

  constructor(agent: AgentContext) {
    super(agent);
    const { state, tasks } = agent;
    this.#state = state.task("state");
    this.#current = state.global("current");
    this.#pending = state.global("pending");
    this.#turn = state.global("turn");
    this.#run_queue = new FifoQueue(state.global("run_queue"), tasks.next, tasks.prev);
  }

  step(): Verdict {
    const barrier = this.agentBarrier();
    if (this.agent.cpuIndex(this.agent.cpu) !== 0) return this.yieldCpu(barrier, 0);
    this.#settle();
    if (!this.drain()) return AGAIN;
    if (this.agentBoosted()) return this.yieldCpu(barrier, RTLA_ON_IDLE);
    return this.#schedule() ? AGAIN : this.yieldCpu(barrier, 0);
  }

  /** Reads what became of greedy transactions. */
  #settle(): void {
    const { txns, cpus } = this.agent;
    for (let index = 1; index < cpus.length; index++) {
      if (this.#pending[index] === 0) continue;
      const state = txns.state(cpus[index]);
      if (!txnCommitted(state)) continue;
      const row = this.#pending[index] - 1;
      this.#pending[index] = 0;
      if (row >= 0) this.#finish(row, index, txnSucceeded(state));
    }
  }

  #finish(row: number, index: number, has_succeeded: boolean): void {
    if (has_succeeded) {
      this.#state[row] = ON_CPU;
      this.#current[index] = row + 1;
    } else {
      this.#enqueue(row);
    }
  }

  /** Commits to idle CPUs; true if this agent must look again soon. */
  #schedule(): boolean {
    const { txns, cpus } = this.agent;
    const kind = this.#turn[0]++ % 3;
    let must_look = false;
    this.#mask.fill(0);
    let group_size = 0;
    for (let index = 1; index < cpus.length; index++) {
      const cpu = cpus[index];
      must_look ||= this.#pending[index] !== 0;
      if (this.#current[index] !== 0 || this.#pending[index] !== 0) continue;
      if (this.#run_queue.length === 0 || !txnCommitted(txns.state(cpu))) continue;
      if (kind === 2 && !txns.takeOwnership(cpu, 0)) continue;
      const row = this.#run_queue.popFront();
      this.#state[row] = PENDING;
      this.#pending[index] = row + 1;
      must_look = true;
      this.openTransaction(cpu, row, 0, kind === 1 ? 0 : COMMIT_AT_TXN_COMMIT, 0);
      this.#mask[cpu >> 5] |= 1 << (cpu & 31);
      group_size++;
      // A remote commit lets time pass, in which other agents run, but none reads our queue.
      if (kind === 0) this.agent.port.commit(cpu);
    }
    if (group_size > 0 && kind === 1) this.agent.port.commitGroup(this.#mask);
    if (group_size > 0 && kind === 2) this.#commitSync();
    return must_look;
  }

  #commitSync(): void {
    const { port, txns, cpus } = this.agent;
    const has_succeeded = port.commitSyncGroup(this.#mask) === 1;
    for (let index = 1; index < cpus.length; index++) {
      const cpu = cpus[index];
      if (((this.#mask[cpu >> 5] >> (cpu & 31)) & 1) === 0) continue;
      const row = this.#pending[index] - 1;
      this.#pending[index] = 0;
      if (!has_succeeded) txns.releaseOwnership(cpu);
      this.#finish(row, index, has_succeeded);
    }
  }

  #enqueue(row: number): void {
    if (this.#state[row] === QUEUED) return;
    this.#state[row] = QUEUED;
    this.#run_queue.pushBack(row);
  }

  protected taskOff(row: number): void {
    if (this.#state[row] === QUEUED) this.#run_queue.remove(row);
    for (let index = 1; index < this.agent.cpus.length; index++) {
      if (this.#current[index] === row + 1) this.#current[index] = 0;
      if (this.#pending[index] === row + 1) this.#pending[index] = VOID;
    }
    this.#state[row] = BLOCKED;
  }

  protected taskNew(row: number, message: MessageCursor): void {
    if (message.runnable()) this.#enqueue(row);
  }

  protected taskRunnable(row: number): void {
    this.taskOff(row);
    this.#enqueue(row);
  }

  protected taskPreempted(row: number): void {
    this.taskOff(row);
    this.#enqueue(row);
  }

  protected taskYield(row: number): void {
    this.taskOff(row);
    this.#enqueue(row);
  }

  protected taskLatchFailure(row: number): void {
    this.taskOff(row);
    this.#enqueue(row);
  }

  protected taskReceived(row: number): void {
    this.#enqueue(row);
  }

  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.#state[row] === ON_CPU) return;
    this.taskOff(row);
    if (runnable && !on_cpu) this.#enqueue(row);
  }

  drained(): boolean {
    return this.#run_queue.length === 0 && this.#pending.every((row) => row === 0);
  }

  dump(): string {
    if (this.agent.cpuIndex(this.agent.cpu) !== 0) return "";
    return `greedy: rq_l=${this.#run_queue.length} current=${this.#current} ` +
      `pending=${this.#pending}\n`;
  }
}

/** The policy. */
export const GREEDY: PolicyDefinition = {
  policyApi: 1,
  name: "greedy",
  requires: ["group_commit", "sync_group", "greedy_commit"],
  queues: "per_cpu",
  layout: (cpu_count) => ({
    task: { state: "i32" },
    cpu: {},
    global: { current: cpu_count, pending: cpu_count, turn: "i32", run_queue: FIFO_QUEUE_WORDS },
  }),
  create: (agent) => new GreedyScheduler(agent),
};
