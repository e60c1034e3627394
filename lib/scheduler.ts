/**
 * The base of every policy: drains the mailbox and the message queue, finds the task's row, calls
 * one handler per message, and keeps the rules that all policies share (who may write a row, when
 * a sequence number moves, when a status word is freed).
 * Source: reference sections 3.6 and 9; upstream's fatal cases that happen in normal operation
 * (TASK_LATCH_FAILURE, a message for an unknown task, queue overflow) are handled here.
 *
 * @module
 */
import * as abi_constants from "../ffi/abi/constants.ts";
import { storeU64 } from "../ffi/memory.ts";
import type { AgentContext } from "./agent_context.ts";
import { discoverTasks, takeBack } from "./discovery.ts";
import { gtidName } from "./gtid.ts";
import { MessageCursor } from "./message.ts";
import type { Policy, Verdict } from "./policy.ts";
import * as verdicts from "./policy.ts";
import { assertInvariant } from "./invariant.ts";
import { type KeptColumns, restoreSnapshot, type Snapshot, takeSnapshot } from "./snapshot.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const {
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_BOOST_PRIO,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AGENT_WAKEUP,
  MSG_CPU_AVAILABLE,
  MSG_CPU_BUSY,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_HEADER_BYTES,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_NEW,
  MSG_TASK_ON_CPU,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
} = abi_constants;
const { YIELD } = verdicts;

// In `rescan_wanted`.
const NOTHING_WANTED = 0;
/** What the status words say is to be believed. */
const RESCAN_WANTED = 1;
/** There may be a task that nobody tells of. */
const SEARCH_WANTED = 2;
const SEARCH_PERIOD_NS = 1e6;

const NOTHING_KEPT: KeptColumns = { task: [], global: [] };

/** Tries per row; each failure means that the kernel wrote a message meanwhile. */
const RESYNC_TRIES_MAX = 8;

/** What a policy's fields are made from: it is there before them (see lib/agent_loop.ts). */
export class AgentHolder {
  /** The agent this instance decides for. */
  declare protected readonly agent: AgentContext;

  /**
   * Takes what the fields of the derived class are made from.
   *
   * @param agent What the agent lends to the policy.
   */
  constructor(agent: AgentContext) {
    this.agent = agent;
  }

  /** A column of the agent's CPU. */
  protected ownColumn(name: string): Int32Array {
    return this.agent.state.cpu(name, this.agent.cpu);
  }

  /** A column of the CPU whose agent is the first one with the agent's queue. */
  protected queueColumn(name: string): Int32Array {
    return this.agent.state.cpu(name, this.agent.cpus[this.agent.owner_id - 1]);
  }
}

/** Base class of policies; one instance per agent. */
export abstract class Scheduler extends AgentHolder implements Policy {
  /** See {@linkcode Policy.yield_barrier}. */
  yield_barrier = 0;
  /** See {@linkcode Policy.yield_flags}. */
  yield_flags = 0;
  /** Counter of this CPU: messages taken from the queue. */
  protected readonly message_count: Int32Array = this.ownColumn("message_count");
  /** Counter of this CPU: transactions of this agent that were committed. */
  protected readonly commit_count: Int32Array = this.ownColumn("commit_count");
  /** Counter of this CPU: transactions of this agent that the kernel refused. */
  protected readonly refused_count: Int32Array = this.ownColumn("refused_count");
  readonly #message = new MessageCursor(this.agent.abi);
  readonly #unknown_count = this.ownColumn("unknown_count");
  readonly #missed_departure_count = this.ownColumn("missed_departure_count");
  // These belong to the queue, which several agents may read in turn.
  readonly #overflow_count = this.queueColumn("overflow_count");
  readonly #rescan_wanted = this.queueColumn("rescan_wanted");
  readonly #rescan_count = this.queueColumn("rescan_count");
  readonly #default_rescan_wanted = this.agent.state.cpu("rescan_wanted", this.agent.cpus[0]);
  readonly #synthetic = new Int32Array(64);
  #search_ns = 0;
  readonly #mailbox = this.agent.mailboxes[this.agent.cpuIndex(this.agent.cpu)];

  abstract step(): Verdict;
  abstract drained(): boolean;
  abstract dump(flags: number): string;

  /** A task entered; `message` is TASK_NEW, sent by the kernel or made by discovery. */
  protected abstract taskNew(row: number, message: MessageCursor): void;
  /** A task woke up. */
  protected abstract taskRunnable(row: number, message: MessageCursor): void;
  /** A task was taken off its CPU though it could run on. */
  protected abstract taskPreempted(row: number, message: MessageCursor): void;
  /** A task gave its CPU up. */
  protected abstract taskYield(row: number, message: MessageCursor): void;
  /** A task cannot run any more: take it off the CPU or the queue that it is on, if any. */
  protected abstract taskOff(row: number): void;
  /** A committed task could not be run after all; it still wants to run. */
  protected abstract taskLatchFailure(row: number, message: MessageCursor): void;
  /** Another agent handed a row over; it is ours now. */
  protected abstract taskReceived(row: number): void;
  /** After an overflow: what the status word says of a task of ours. */
  protected abstract taskResync(row: number, runnable: boolean, on_cpu: boolean): void;

  /** A task blocked. */
  protected taskBlocked(row: number, _message: MessageCursor): void {
    this.taskOff(row);
  }
  /** A task entered a switchto chain. */
  protected taskSwitchto(row: number, _message: MessageCursor): void {
    this.taskOff(row);
  }
  /** A task left ghOSt; its row is freed after this. */
  protected taskDeparted(row: number, _message: MessageCursor): void {
    this.taskOff(row);
  }
  /** A task exited; its row is freed after this. */
  protected taskDead(row: number, _message: MessageCursor): void {
    this.taskOff(row);
  }
  /** The row is about to be dropped because its departure was missed. */
  protected taskLost(row: number): void {
    this.taskOff(row);
  }
  /** The set of CPUs a task may run on changed. */
  protected taskAffinityChanged(_row: number, _message: MessageCursor): void {}
  /** A task's nice value changed. */
  protected taskPriorityChanged(_row: number, _message: MessageCursor): void {}
  /** A committed task is on its CPU (latched, in ABI 69). */
  protected taskOnCpu(_row: number, _message: MessageCursor): void {}
  /** A scheduler tick. */
  protected cpuTick(_message: MessageCursor): void {}
  /** A CPU committed to idle with NEED_CPU_NOT_IDLE is busy again. */
  protected cpuNotIdle(_message: MessageCursor): void {}
  /** A timer armed by this agent expired. */
  protected cpuTimerExpired(_message: MessageCursor): void {}
  /** A CPU can run ghOSt tasks again. */
  protected cpuAvailable(_message: MessageCursor): void {}
  /** A CPU was taken by a higher scheduling class. */
  protected cpuBusy(_message: MessageCursor): void {}
  /** An agent blocked. */
  protected agentBlocked(_message: MessageCursor): void {}
  /** An agent woke up. */
  protected agentWakeup(_message: MessageCursor): void {}

  /** Barrier of the agent; read it before draining. */
  protected agentBarrier(): number {
    return this.agent.status.barrier(this.agent.port.status_index);
  }

  /** GHOST_SW_* flags of the agent's status word. */
  protected agentFlags(): number {
    return this.agent.status.flags(this.agent.port.status_index);
  }

  /** True if the default class wants this CPU: the agent should give it up soon. */
  protected agentBoosted(): boolean {
    return (this.agentFlags() & GHOST_SW_BOOST_PRIO) !== 0;
  }

  /** What to call a task in a dump. */
  protected taskName(row: number): string {
    const { tasks } = this.agent;
    return gtidName(tasks.gtid_lo[row], tasks.gtid_hi[row]);
  }

  /** True if a task is on a CPU at this moment, perhaps on its way off. */
  protected isOnCpu(row: number): boolean {
    const { status, tasks } = this.agent;
    return (status.flags(tasks.status_index[row]) & GHOST_SW_TASK_ONCPU) !== 0;
  }

  /**
   * Opens the transaction "run this task on that CPU".
   *
   * @param agent_barrier Barrier of the own agent; the kernel checks it on local commits.
   * @param commit_flags COMMIT_AT_* and friends.
   * @param run_flags RTLA_* and friends.
   */
  protected openTransaction(
    cpu: number,
    row: number,
    agent_barrier: number,
    commit_flags: number,
    run_flags: number,
  ): void {
    const { tasks, txns } = this.agent;
    const lo = tasks.gtid_lo[row];
    const hi = tasks.gtid_hi[row];
    txns.open(cpu, lo, hi, tasks.seqnum[row], agent_barrier, commit_flags, run_flags);
  }

  /** The verdict YIELD with what the kernel needs for it. */
  protected yieldCpu(agent_barrier: number, run_flags: number): Verdict {
    this.yield_barrier = agent_barrier;
    this.yield_flags = run_flags;
    return YIELD;
  }

  /**
   * Handles everything that waits: first the mailbox, then the queue.
   *
   * @returns False if the next message is for a task whose hand-over is still under way; the step
   * must then end with AGAIN.
   */
  protected drain(): boolean {
    const { ring, tasks, owner_id } = this.agent;
    const mailbox = this.#mailbox;
    for (let row = mailbox.receive(); row >= 0; row = mailbox.receive()) {
      tasks.owner[row] = owner_id;
      this.taskReceived(row);
    }
    let complete = true;
    for (let at = ring.peek(); at >= 0 && !this.#hasLost(); at = ring.peek()) {
      this.#message.set(ring.words, at);
      if (!this.#dispatch()) {
        complete = false;
        break;
      }
      ring.consume(at);
      this.message_count[0]++;
    }
    ring.release();
    if (this.#hasLost()) return this.rescan();
    if (!this.#wantsRescan()) return complete;
    if (this.#rescan_wanted[0] !== SEARCH_WANTED) return this.rescan();
    this.#searchAgain();
    return complete;
  }

  /** True if the ring was full since the last {@linkcode rescan}. */
  #hasLost(): boolean {
    // The count has 32 bits without a sign, its column has one.
    return (this.agent.ring.overflow_count | 0) !== this.#overflow_count[0];
  }

  /** True if a task found no row, and there may be one now. */
  #wantsRescan(): boolean {
    const { tasks } = this.agent;
    return this.#rescan_wanted[0] !== 0 && tasks.liveCount() < tasks.capacity;
  }

  #dispatch(): boolean {
    const message = this.#message;
    if (!message.isTaskMessage()) {
      this.#dispatchCpu(message);
      return true;
    }
    const { tasks, owner_id } = this.agent;
    const lo = message.gtidLo();
    const hi = message.gtidHi();
    const row = tasks.find(lo, hi);
    if (row >= 0) {
      // Only we write our own id there: no order is needed to see it.
      const { memory } = this.agent;
      const is_ours = memory.poll(tasks.owner, row) === owner_id ||
        memory.acquire(tasks.owner, row) === owner_id;
      if (this.#isOldNews(row, is_ours)) return true;
      if (!is_ours) return false;
    }
    if (message.type === MSG_TASK_NEW) {
      this.#dispatchNew(row, lo, hi);
    } else if (row < 0) {
      this.#unknown_count[0]++;
    } else if (message.type === MSG_TASK_DEAD) {
      this.taskDead(row, message);
      this.#free(row);
    } else if (message.type === MSG_TASK_DEPARTED) {
      this.taskDeparted(row, message);
      this.#free(row);
    } else {
      const seqnum = message.seqnum;
      assertInvariant(((seqnum - tasks.seqnum[row]) | 0) > 0, "task messages out of order");
      // The handler sees the old number; it moves on only when the handler is done.
      this.#dispatchTask(row, message);
      // A row that was handed over is no longer ours to write.
      if (tasks.owner[row] === owner_id) tasks.seqnum[row] = seqnum;
    }
    return true;
  }

  /**
   * True if a status word, read in a rescan, has told of this message's event already. Messages of
   * a row on its way to us are newer than the row.
   */
  #isOldNews(row: number, is_ours: boolean): boolean {
    if (is_ours && this.#rescan_count[0] === 0) return false;
    return ((this.#message.seqnum - this.agent.tasks.seqnum[row]) | 0) <= 0;
  }

  /** NEW for a gtid that is still live means that its departure was missed. */
  #dispatchNew(live_row: number, lo: number, hi: number): void {
    const { tasks, owner_id } = this.agent;
    if (live_row >= 0) {
      this.#missed_departure_count[0]++;
      this.taskLost(live_row);
      const old_index = tasks.status_index[live_row];
      tasks.free(live_row);
      if (old_index !== this.#message.statusIndex()) this.agent.port.freeStatusWord(old_index);
    }
    const row = tasks.allocate(lo, hi, owner_id);
    // A full table is an overflow like any other: the status words are scanned when there is room.
    if (row < 0) {
      this.#unknown_count[0]++;
      this.#rescan_wanted[0] = RESCAN_WANTED;
      return;
    }
    tasks.seqnum[row] = this.#message.seqnum;
    tasks.status_index[row] = this.#message.statusIndex();
    this.taskNew(row, this.#message);
  }

  #dispatchTask(row: number, message: MessageCursor): void {
    switch (message.type) {
      case MSG_TASK_WAKEUP:
        return this.taskRunnable(row, message);
      case MSG_TASK_BLOCKED:
        return this.taskBlocked(row, message);
      case MSG_TASK_PREEMPT:
        return this.taskPreempted(row, message);
      case MSG_TASK_YIELD:
        return this.taskYield(row, message);
      case MSG_TASK_SWITCHTO:
        return this.taskSwitchto(row, message);
      case MSG_TASK_AFFINITY_CHANGED:
        return this.taskAffinityChanged(row, message);
      case MSG_TASK_PRIORITY_CHANGED:
        return this.taskPriorityChanged(row, message);
      case MSG_TASK_ON_CPU:
        return this.taskOnCpu(row, message);
      case MSG_TASK_LATCH_FAILURE:
        return this.taskLatchFailure(row, message);
      default:
        this.#unknown_count[0]++;
    }
  }

  #dispatchCpu(message: MessageCursor): void {
    switch (message.type) {
      case MSG_CPU_TICK:
        return this.cpuTick(message);
      case MSG_CPU_NOT_IDLE:
        return this.cpuNotIdle(message);
      case MSG_CPU_TIMER_EXPIRED:
        return this.cpuTimerExpired(message);
      case MSG_CPU_AVAILABLE:
        return this.cpuAvailable(message);
      case MSG_CPU_BUSY:
        return this.cpuBusy(message);
      case MSG_CPU_AGENT_BLOCKED:
        return this.agentBlocked(message);
      case MSG_CPU_AGENT_WAKEUP:
        return this.agentWakeup(message);
      default:
        this.#unknown_count[0]++;
    }
  }

  /** Clears a row, then frees its status word: the other order would let a reader see neither. */
  #free(row: number): void {
    const index = this.agent.tasks.status_index[row];
    const { tasks, port, memory, cpus } = this.agent;
    tasks.free(row);
    port.freeStatusWord(index);
    // The agent of the default queue may have a task that waits for this row.
    if (memory.acquire(this.#default_rescan_wanted, 0) !== 0) port.ping(cpus[0]);
  }

  /**
   * Hands a task over to the agent of another CPU: its messages first, then the row.
   *
   * @param target_index Position of the other CPU in the enclave's list.
   * @param barrier Sequence number of the message being handled.
   * @returns False if the kernel refused because something happened to the task meanwhile; the
   * task stays ours and its next message is on the way.
   */
  protected handOver(row: number, target_index: number, barrier: number): boolean {
    const { tasks, port, queue_ids, mailboxes, cpus, owner_id } = this.agent;
    // The new owner reads this number, and may do so as soon as the row is sent. A negative owner
    // tells it that the row is on its way; it must know that before the first message comes.
    const before = tasks.seqnum[row];
    tasks.seqnum[row] = barrier;
    this.agent.memory.publish(tasks.owner, row, -this.agent.ownerIdAt(target_index));
    const queue_id = queue_ids[target_index];
    const result = port.associate(queue_id, tasks.gtid_lo[row], tasks.gtid_hi[row], barrier);
    // BRAND_NEW: the task has left and come back; the barrier fits its next stay by accident.
    const is_next_stay = result >= 0 && (result & GHOST_ASSOC_SF_BRAND_NEW) !== 0;
    if (is_next_stay) takeBack(this.agent, tasks.gtid_lo[row], tasks.gtid_hi[row]);
    if (result < 0 || is_next_stay) {
      tasks.seqnum[row] = before;
      tasks.owner[row] = owner_id;
      return false;
    }
    mailboxes[target_index].send(row);
    port.ping(cpus[target_index]);
    return true;
  }

  /** See {@linkcode Policy.discover}. */
  discover(): void {
    if (this.#rescan_wanted[0] === SEARCH_WANTED) this.#rescan_wanted[0] = NOTHING_WANTED;
    let wanted = NOTHING_WANTED;
    const complete = discoverTasks(this.agent, {
      found: (index, barrier, flags) => this.#synthesise(index, barrier, flags),
      half_made: () => wanted = SEARCH_WANTED,
      skip_already: true,
    });
    this.#want(complete ? wanted : RESCAN_WANTED);
  }

  /** Wants something; a table that ran full meanwhile wants a rescan already, which stays. */
  #want(what: number): void {
    if (this.#rescan_wanted[0] !== RESCAN_WANTED) this.#rescan_wanted[0] = what;
  }

  /**
   * Some words were taken and not filled in: nobody will tell this agent of their tasks. Their
   * parents may need a CPU before these can be found.
   */
  #searchAgain(): void {
    const { port } = this.agent;
    const now_ns = port.nowNs();
    if (now_ns < this.#search_ns) return;
    this.discover();
    if (this.#rescan_wanted[0] === NOTHING_WANTED) return;
    this.#search_ns = now_ns + SEARCH_PERIOD_NS;
    // An agent that sleeps is woken by it; one that spins is here in time anyway.
    port.armTimer(this.#search_ns, 0, 0);
  }

  /** See {@linkcode Policy.snapshot}. */
  snapshot(): Snapshot {
    const { state } = this.agent;
    return takeSnapshot(this.agent, state.shape.policy, state.shape.layout.kept ?? NOTHING_KEPT);
  }

  /** See {@linkcode Policy.restore}. */
  restore(snapshot: Snapshot): void {
    restoreSnapshot(this.agent, snapshot, this.agent.state.shape.layout.kept ?? NOTHING_KEPT);
  }

  /** Makes a TASK_NEW from a status word, as if the kernel had sent it. */
  #synthesise(index: number, barrier: number, flags: number): void {
    const { status, abi, tasks } = this.agent;
    const words = this.#synthetic.fill(0);
    const layout = abi.words;
    const payload_bytes = abi.messages.get(MSG_TASK_NEW)?.payload?.size ?? 0;
    words[0] = MSG_TASK_NEW | ((payload_bytes + MSG_HEADER_BYTES) << 16);
    words[1] = barrier;
    words[2] = status.gtidLo(index);
    words[3] = status.gtidHi(index);
    storeU64(words, 2 + layout.new_runtime, status.runtimeNs(index));
    // A task on a CPU is there by switchto; the message of its leaving will come.
    const waits =
      (flags & (GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU)) === GHOST_SW_TASK_RUNNABLE;
    words[2 + layout.new_runnable] = waits ? 1 : 0;
    words[2 + layout.new_sw_info + 1] = index;
    this.#message.set(words, 0);
    this.#dispatchNew(tasks.find(words[2], words[3]), words[2], words[3]);
  }

  /**
   * After lost messages: throws away what waits in the ring, for it may follow on what was lost,
   * and believes the status words. New tasks come to the default queue only, so only its agent
   * looks for unknown ones.
   *
   * @returns False if it has to be done again; the step must then end with AGAIN.
   */
  protected rescan(): boolean {
    const { ring, tasks, owner_id, memory } = this.agent;
    this.#rescan_count[0]++;
    this.#rescan_wanted[0] = NOTHING_WANTED;
    let wanted = NOTHING_WANTED;
    ring.peek();
    const overflow_count = ring.overflow_count;
    let complete = this.#skim(0, overflow_count);
    for (let row = 0; complete && row < tasks.usedCount(); row++) {
      const owner = memory.acquire(tasks.owner, row);
      // A row on its way to us: its messages may be among those that were lost.
      if (owner === -owner_id) complete = false;
      else if (owner === owner_id) complete = this.#resync(row, overflow_count);
    }
    if (complete && owner_id === 1) {
      complete = discoverTasks(this.agent, {
        found: (index, barrier, flags) => this.#synthesise(index, barrier, flags),
        half_made: () => wanted = SEARCH_WANTED,
        before: () => this.#skim(Infinity, overflow_count),
      });
    }
    if (complete) this.#overflow_count[0] = overflow_count;
    this.#want(complete ? wanted : RESCAN_WANTED);
    return complete;
  }

  /**
   * Empties the ring during a rescan: tasks that the scan has passed get their messages, those to
   * come are about to be read from their status words.
   *
   * @param first_row The first row that the scan has not passed.
   * @param overflow_count Overflows that this scan repairs.
   * @returns False if more messages were lost or a row is on its way to us.
   */
  #skim(first_row: number, overflow_count: number): boolean {
    const { ring, tasks } = this.agent;
    const message = this.#message;
    let complete = true;
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      complete = ring.overflow_count === overflow_count;
      if (!complete) break;
      message.set(ring.words, at);
      const to_come = message.isTaskMessage() && first_row < Infinity &&
        tasks.find(message.gtidLo(), message.gtidHi()) >= first_row;
      if (!to_come && !this.#dispatch()) {
        complete = false;
        break;
      }
      ring.consume(at);
      this.message_count[0]++;
    }
    ring.release();
    return complete && ring.overflow_count === overflow_count;
  }

  /** Makes a row of ours what its status word says; false if the rescan must start again. */
  #resync(row: number, overflow_count: number): boolean {
    const { ring, status, tasks } = this.agent;
    const index = tasks.status_index[row];
    for (let tries = 0; tries < RESYNC_TRIES_MAX; tries++) {
      if (!this.#skim(row, overflow_count)) return false;
      const barrier = status.barrier(index);
      const flags = status.flags(index);
      // Only with an empty ring is the word the whole truth.
      if (ring.peek() >= 0 || status.barrier(index) !== barrier) continue;
      if ((flags & GHOST_SW_F_CANFREE) !== 0) {
        this.taskLost(row);
        this.#free(row);
      } else if (((barrier - tasks.seqnum[row]) | 0) > 0) {
        tasks.seqnum[row] = barrier;
        this.taskResync(
          row,
          (flags & GHOST_SW_TASK_RUNNABLE) !== 0,
          (flags & GHOST_SW_TASK_ONCPU) !== 0,
        );
      }
      return true;
    }
    return false;
  }
}
