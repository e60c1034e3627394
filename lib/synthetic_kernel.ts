/**
 * A small kernel on private memory, in the policy's own thread: it makes up tasks
 * and what happens to them, as messages in the ABI's layout, and decides the policy's
 * transactions. It is there to run a policy's own step through everything that can happen, to warm
 * it up before its agent goes online and to watch it for garbage. Nothing is allocated per message.
 *
 * @module
 */
import { type Abi, PAYLOAD } from "../ffi/abi/abi.ts";
import {
  CPU_DATA_BYTES,
  GHOST_SW_BOOST_PRIO,
  GHOST_SW_CPU_AVAIL,
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_POISONED,
  GHOST_TXN_READY,
  GHOST_TXN_TARGET_STALE,
  MSG_CPU_AGENT_WAKEUP,
  MSG_CPU_TICK,
  MSG_HEADER_BYTES,
  MSG_NOP,
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
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
  STATUS_WORD_BYTES,
  SW_BARRIER_WORD,
  SW_FLAGS_WORD,
  SW_GTID_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
  SYNC_GROUP_NOT_OWNED,
  TXN_CPU_WORD,
  TXN_GTID_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} from "../ffi/abi/constants.ts";
import { type AgentPort, ESTALE } from "../kernels/kernel.ts";
import { TXN_STRIDE_WORDS } from "./transaction.ts";

/**
 * A port whose calls have no effect. It is of the class that the agent will use, since code that
 * was made hot with another class is thrown away when the first call of this one comes.
 */
export interface DryRunPort extends AgentPort {
  /** What {@linkcode AgentPort.associate} returns. */
  associate_result: number;
  /** Called by `commit` and `commitGroup`: decides what is open; null for nobody. */
  on_commit: (() => void) | null;
}

/** Sizes of a {@linkcode SyntheticKernel}. */
export interface SyntheticKernelOptions {
  /** ABI of the messages. */
  readonly abi: Abi;
  /** CPUs of the enclave, ascending. */
  readonly cpus: readonly number[];
  /** The agent's CPU. */
  readonly cpu: number;
  /** Tasks at a time. */
  readonly task_count: number;
  /** Seed of what happens. */
  readonly seed?: number;
  /** In one of how many batches messages are lost; 0 for never. */
  readonly overflow_interval?: number;
}

const RING_WORD = 16;
const ELEM_COUNT = 1024;
const MSGS_WORD = RING_WORD + RING_MSGS_WORD;
const SW_START_WORD = 16;
const SW_STRIDE_WORDS = STATUS_WORD_BYTES / 4;
/** Status word of the agent. */
const AGENT_INDEX = 0;
const UNKNOWN_CPU_MESSAGE = 190;
const BATCH_MAX = 6;
/** Batches of a busy or of a calm time: in a calm time queues run empty. */
const PHASE_BATCHES = 64;

// States of a task.
const OUT = 0;
const BLOCKED = 1;
const READY = 2;
const RUNNING = 3;

const OFF_CPU_TYPES = Int32Array.of(
  MSG_TASK_BLOCKED,
  MSG_TASK_BLOCKED,
  MSG_TASK_YIELD,
  MSG_TASK_YIELD,
  MSG_TASK_PREEMPT,
  MSG_TASK_SWITCHTO,
  MSG_TASK_DEPARTED,
  MSG_TASK_DEAD,
  MSG_TASK_LATCH_FAILURE,
);

/** The kernel's side of one agent. */
export class SyntheticKernel {
  /** The agent's queue. */
  readonly queue_words: Int32Array = new Int32Array(
    new SharedArrayBuffer((MSGS_WORD + 2 * ELEM_COUNT) * 4),
  );
  /** Status word region 0. */
  readonly status_words: Int32Array;
  /** Transaction records. */
  readonly cpu_data: Int32Array;
  /** Index of the agent's status word. */
  readonly status_index: number = AGENT_INDEX;
  /** Messages sent so far. */
  message_count = 0;
  /** Transactions decided so far. */
  commit_count = 0;
  /** Messages sent so far, by type. */
  readonly type_counts = new Float64Array(256);
  /** Outcomes of transactions so far, by state − GHOST_TXN_COMPLETE. */
  readonly outcome_counts = new Float64Array(16);
  readonly #options: SyntheticKernelOptions;
  readonly #lengths = new Int32Array(256);
  readonly #message = new Int32Array(32);
  readonly #state: Int32Array;
  readonly #index: Int32Array;
  /** Words of tasks that have left, to be taken away when their last message has been read. */
  readonly #left: Int32Array;
  #left_count = 0;
  /** Task on each CPU by position, or −1. */
  readonly #running: Int32Array;
  #lingering = -1;
  /** CPU that task messages name. */
  #cpu = 0;
  #claimed = -1;
  #is_in_commit = false;
  #random: number;
  #batch_count = 0;

  /**
   * Makes a kernel with no task in it.
   *
   * @param options Its sizes.
   */
  constructor(options: SyntheticKernelOptions) {
    this.#options = options;
    this.#random = (options.seed ?? 1) | 1;
    const word_count = 2 * options.task_count + 1;
    const sw_words = SW_START_WORD + word_count * SW_STRIDE_WORDS;
    this.status_words = new Int32Array(new SharedArrayBuffer(sw_words * 4));
    this.status_words[SW_REGION_START_WORD] = SW_START_WORD * 4;
    this.status_words[SW_REGION_CAPACITY_WORD] = word_count;
    const cpu_count = options.cpus[options.cpus.length - 1] + 1;
    this.cpu_data = new Int32Array(new SharedArrayBuffer(cpu_count * CPU_DATA_BYTES));
    this.queue_words[QUEUE_START_WORD] = RING_WORD * 4;
    this.queue_words[QUEUE_NELEMS_WORD] = ELEM_COUNT;
    for (const cpu of options.cpus) {
      this.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_CPU_WORD] = cpu;
      this.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
      this.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
    }
    for (const { type, payload } of options.abi.messages.values()) {
      if (type !== MSG_NOP) this.#lengths[type] = MSG_HEADER_BYTES + (payload?.size ?? 0);
    }
    this.#lengths[UNKNOWN_CPU_MESSAGE] = MSG_HEADER_BYTES + 8;
    this.#state = new Int32Array(options.task_count);
    this.#index = new Int32Array(options.task_count);
    this.#left = new Int32Array(word_count);
    this.#running = new Int32Array(options.cpus.length).fill(-1);
    this.#setFlags(AGENT_INDEX, GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED | GHOST_SW_TASK_IS_AGENT);
  }

  /** A number below `bound`. */
  #below(bound: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 1) % bound;
  }

  /** Lets things happen: sends the messages of one batch. */
  produce(): void {
    this.#batch_count++;
    this.#reap();
    this.#toggleBoost();
    if (this.#lingering >= 0) this.#arrive();
    const { cpus, cpu, overflow_interval = 0 } = this.#options;
    for (let n = 0; n < cpus.length; n++) {
      // The agent has its CPU back: whatever ran there has left.
      if (this.#running[n] >= 0 && (cpus[n] === cpu || this.#below(2) === 0)) this.#leaveCpu(n);
    }
    if (overflow_interval > 0 && this.#batch_count % overflow_interval === 0) this.#overflow();
    for (let count = this.#below(BATCH_MAX); count > 0; count--) this.#happen();
  }

  /** True if the agent has read everything. */
  #isRead(): boolean {
    const words = this.queue_words;
    return words[RING_WORD + RING_HEAD_WORD] === words[RING_WORD + RING_TAIL_WORD];
  }

  /** Takes away the status words of tasks that the agent knows to be gone. */
  #reap(): void {
    if (!this.#isRead()) return;
    for (let n = 0; n < this.#left_count; n++) this.#setFlags(this.#left[n], 0);
    this.#left_count = 0;
  }

  /** The default class wants the CPU, or does so no more. */
  #toggleBoost(): void {
    const boosted = this.#below(64) === 0 ? GHOST_SW_BOOST_PRIO : GHOST_SW_CPU_AVAIL;
    this.#setFlags(
      AGENT_INDEX,
      GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED | GHOST_SW_TASK_IS_AGENT | boosted,
    );
  }

  /** Messages are lost: what they told is in the status words alone. */
  #overflow(): void {
    const task = this.#below(this.#state.length);
    if (this.#state[task] === BLOCKED) {
      this.#state[task] = READY;
      this.#bump(this.#index[task]);
      this.#setTaskFlags(task, GHOST_SW_TASK_RUNNABLE);
    }
    this.queue_words[RING_WORD + RING_OVERFLOW_WORD]++;
  }

  /** The task that ran leaves its CPU. */
  #leaveCpu(position: number): void {
    const task = this.#running[position];
    this.#running[position] = -1;
    this.#cpu = this.#options.cpus[position];
    if (this.#below(16) === 0) this.#sendTask(task, MSG_TASK_ON_CPU, PAYLOAD.on_cpu_cpu, 0);
    let type = this.#isCalm() ? MSG_TASK_BLOCKED : OFF_CPU_TYPES[this.#below(OFF_CPU_TYPES.length)];
    if (this.#lengths[type] === 0) type = MSG_TASK_PREEMPT;
    const flags = this.#below(4) === 0 ? 1 : this.#below(4) === 0 ? 256 : 0;
    switch (type) {
      case MSG_TASK_BLOCKED:
        this.#block(task, type, PAYLOAD.blocked_cpu, flags & 1);
        return;
      case MSG_TASK_SWITCHTO:
        this.#block(task, type, PAYLOAD.switchto_cpu, 0);
        return;
      case MSG_TASK_DEPARTED:
        this.#leave(task, type, PAYLOAD.departed_cpu, flags);
        return;
      case MSG_TASK_DEAD:
        this.#leave(task, type, this.#options.abi.words.dead_cpu, 0);
        return;
      default:
        this.#state[task] = READY;
        // The hardware may be behind: off its CPU for the scheduler, still on it for the moment.
        if (this.#below(16) === 0) this.#lingering = task;
        else this.#setTaskFlags(task, GHOST_SW_TASK_RUNNABLE);
        this.#sendTask(task, type, PAYLOAD.preempt_cpu, type === MSG_TASK_PREEMPT ? flags : 0);
    }
  }

  #arrive(): void {
    const task = this.#lingering;
    this.#lingering = -1;
    if (this.#state[task] === READY) this.#setTaskFlags(task, GHOST_SW_TASK_RUNNABLE);
  }

  #block(task: number, type: number, cpu_word: number, flags: number): void {
    this.#state[task] = BLOCKED;
    this.#setTaskFlags(task, 0);
    this.#sendTask(task, type, cpu_word, flags);
  }

  #leave(task: number, type: number, cpu_word: number, flags: number): void {
    const index = this.#index[task];
    this.#state[task] = OUT;
    this.#setTaskFlags(task, GHOST_SW_F_CANFREE);
    this.#left[this.#left_count++] = index;
    this.#sendTask(task, type, cpu_word, flags);
  }

  /** Something happens to a task that is not on the CPU, or to the CPU. */
  #happen(): void {
    const task = this.#below(this.#state.length);
    switch (this.#state[task]) {
      case OUT:
        return this.#enter(task);
      case BLOCKED:
        return this.#happenToSleeper(task);
      case READY:
        return this.#happenToReady(task);
    }
    this.#happenToCpu();
  }

  #happenToSleeper(task: number): void {
    const dice = this.#below(32);
    if (dice === 0) return this.#leave(task, MSG_TASK_DEPARTED, PAYLOAD.departed_cpu, 0);
    if (dice === 1) return this.#leave(task, MSG_TASK_DEAD, -1, 0);
    if (dice === 2) return this.#comeAgain(task);
    if (dice === 3) return this.#sendTask(task, MSG_TASK_AFFINITY_CHANGED, -1, 0);
    if (this.#isCalm() && dice > 4) return this.#happenToCpu();
    this.#state[task] = READY;
    this.#setTaskFlags(task, GHOST_SW_TASK_RUNNABLE);
    const message = this.#begin(MSG_TASK_WAKEUP);
    message[2 + PAYLOAD.wakeup_deferrable] = this.#below(2);
    this.#finishTask(task);
  }

  #isCalm(): boolean {
    return Math.floor(this.#batch_count / PHASE_BATCHES) % 2 === 1;
  }

  #happenToReady(task: number): void {
    const dice = this.#below(64);
    if (task === this.#lingering) return;
    if (dice === 0) return this.#leave(task, MSG_TASK_DEPARTED, PAYLOAD.departed_cpu, 0);
    if (dice === 1) return this.#leave(task, MSG_TASK_DEAD, -1, 0);
    if (dice < 6) return this.#sendTask(task, MSG_TASK_AFFINITY_CHANGED, -1, 0);
    if (dice < 10) return this.#sendTask(task, MSG_TASK_PRIORITY_CHANGED, -1, 0);
    if (dice < 12) return this.#sendUnknownTask();
    this.#happenToCpu();
  }

  #happenToCpu(): void {
    const dice = this.#below(MSG_CPU_AGENT_WAKEUP - MSG_CPU_TICK + 2);
    const type = MSG_CPU_TICK + dice;
    this.#bump(AGENT_INDEX);
    const sent = type > MSG_CPU_AGENT_WAKEUP ? UNKNOWN_CPU_MESSAGE : type;
    if (this.#lengths[sent] === 0) return;
    const message = this.#begin(sent);
    message[1] = this.#barrier(AGENT_INDEX);
    message[2] = this.#options.cpu;
    this.#append();
  }

  /** TASK_NEW for a task that has no status word. */
  #enter(task: number): void {
    // Its last stay must be read of first, as the kernel has it.
    if (this.#left_count > 0) return;
    // Word 2 × task + 1 or the next one: a task that comes again has another word than before.
    const index = 1 + 2 * task + (this.#index[task] & 1);
    const runnable = this.#isCalm() ? this.#below(16) === 0 : this.#below(4) !== 0;
    this.#index[task] = index;
    this.#state[task] = runnable ? READY : BLOCKED;
    const at = SW_START_WORD + index * SW_STRIDE_WORDS;
    this.status_words[at + SW_GTID_WORD] = 1;
    this.status_words[at + SW_GTID_WORD + 1] = (1000 + task) << 9;
    this.#setTaskFlags(task, runnable ? GHOST_SW_TASK_RUNNABLE : 0);
    const message = this.#begin(MSG_TASK_NEW);
    const { words } = this.#options.abi;
    message[2 + words.new_runnable] = runnable ? 1 : 0;
    message[2 + words.new_sw_info + 1] = index;
    this.#finishTask(task);
  }

  /** A task is back, and nobody has told that it was gone. */
  #comeAgain(task: number): void {
    if (this.#left_count > 0) return;
    this.#setTaskFlags(task, GHOST_SW_F_CANFREE);
    this.#left[this.#left_count++] = this.#index[task];
    const left_count = this.#left_count;
    this.#left_count = 0;
    this.#enter(task);
    this.#left_count = left_count;
  }

  #sendUnknownTask(): void {
    const message = this.#begin(MSG_TASK_YIELD);
    message[1] = 1;
    message[2] = 1;
    message[3] = 999 << 9;
    this.#append();
  }

  #sendTask(task: number, type: number, cpu_word: number, flags: number): void {
    if (this.#lengths[type] === 0) return;
    const message = this.#begin(type);
    if (cpu_word >= 0) {
      message[2 + cpu_word] = this.#cpu;
      message[3 + cpu_word] = flags;
    }
    this.#finishTask(task);
  }

  #begin(type: number): Int32Array {
    const message = this.#message;
    for (let word = 0; word < message.length; word++) message[word] = 0;
    message[0] = type | (this.#lengths[type] << 16);
    return message;
  }

  #finishTask(task: number): void {
    const message = this.#message;
    const index = this.#index[task];
    const at = SW_START_WORD + index * SW_STRIDE_WORDS + SW_GTID_WORD;
    message[1] = this.#bump(index);
    message[2] = this.status_words[at];
    message[3] = this.status_words[at + 1];
    this.#append();
    this.#bump(AGENT_INDEX);
  }

  /** Appends the message in the scratch words; a filler goes before one that would wrap. */
  #append(): void {
    const words = this.queue_words;
    const message = this.#message;
    const length_bytes = message[0] >>> 16;
    const slots = (length_bytes + 7) >>> 3;
    let head = words[RING_WORD + RING_HEAD_WORD];
    const till_end = ELEM_COUNT - (head & (ELEM_COUNT - 1));
    if (till_end < slots) {
      words[MSGS_WORD + ((head & (ELEM_COUNT - 1)) << 1)] = MSG_NOP | ((till_end * 8) << 16);
      head = (head + till_end) | 0;
    }
    const at = MSGS_WORD + ((head & (ELEM_COUNT - 1)) << 1);
    for (let word = 0; word < slots * 2; word++) words[at + word] = message[word];
    words[RING_WORD + RING_HEAD_WORD] = (head + slots) | 0;
    this.message_count++;
    this.type_counts[message[0] & 0xff]++;
  }

  #barrier(index: number): number {
    return this.status_words[SW_START_WORD + index * SW_STRIDE_WORDS + SW_BARRIER_WORD];
  }

  #bump(index: number): number {
    const at = SW_START_WORD + index * SW_STRIDE_WORDS + SW_BARRIER_WORD;
    const barrier = (this.status_words[at] + 1) | 0;
    this.status_words[at] = barrier;
    return barrier;
  }

  #setFlags(index: number, flags: number): void {
    this.status_words[SW_START_WORD + index * SW_STRIDE_WORDS + SW_FLAGS_WORD] = flags;
  }

  #setTaskFlags(task: number, flags: number): void {
    this.#setFlags(this.#index[task], GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED | flags);
  }

  /**
   * Decides the open transactions, after the step that opened them. Most succeed; the others are
   * refused in every way there is, stay claimed for a while, or find that their task has left.
   *
   * @param is_in_commit Inside the agent's commit: none stays claimed.
   */
  decide(is_in_commit = false): void {
    this.#is_in_commit = is_in_commit;
    const { cpus } = this.#options;
    for (let n = 0; n < cpus.length; n++) {
      const state = this.cpu_data[cpus[n] * TXN_STRIDE_WORDS + TXN_STATE_WORD];
      if (state === GHOST_TXN_READY || this.#claimed === cpus[n]) this.#decideOne(n);
    }
  }

  #decideOne(position: number): void {
    const cpu = this.#options.cpus[position];
    const at = cpu * TXN_STRIDE_WORDS;
    const dice = this.#below(64);
    if ((this.cpu_data[at + TXN_GTID_WORD] | this.cpu_data[at + TXN_GTID_WORD + 1]) === 0) {
      // "No task": whoever runs there leaves.
      if (this.#running[position] >= 0) this.#leaveCpu(position);
      this.cpu_data[at + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
      return;
    }
    if (dice === 0 && this.#claimed < 0 && !this.#is_in_commit) {
      this.#claimed = cpu;
      this.cpu_data[at + TXN_STATE_WORD] = cpu;
      return;
    }
    if (this.#claimed === cpu) this.#claimed = -1;
    const task = (this.cpu_data[at + TXN_GTID_WORD + 1] >>> 9) - 1000;
    let state = GHOST_TXN_COMPLETE;
    if (this.#state[task] !== READY) state = GHOST_TXN_TARGET_STALE;
    else if (dice < 8) state = GHOST_TXN_COMPLETE + 1 + this.#below(15);
    if (state === GHOST_TXN_TARGET_STALE && this.#state[task] === READY && dice === 1) {
      this.#leave(task, MSG_TASK_DEPARTED, PAYLOAD.departed_cpu, 0);
    }
    if (state === GHOST_TXN_COMPLETE) {
      this.#bump(AGENT_INDEX);
      if (this.#running[position] >= 0) this.#leaveCpu(position);
      this.#run(task, position);
    }
    this.commit_count++;
    this.outcome_counts[state - GHOST_TXN_COMPLETE]++;
    this.cpu_data[at + TXN_STATE_WORD] = state;
  }

  #run(task: number, position: number): void {
    this.#state[task] = RUNNING;
    this.#running[position] = task;
    this.#setTaskFlags(task, GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE);
  }

  /** What the next queue association returns: mostly success. */
  associateResult(): number {
    return this.#below(8) === 0 ? -ESTALE : 0;
  }

  /** True once every message type of the ABI and every outcome of a transaction has been seen. */
  hasShownAll(): boolean {
    for (let type = 1; type < this.#lengths.length; type++) {
      if (this.#lengths[type] > 0 && this.type_counts[type] === 0) return false;
    }
    for (let n = 0; n <= GHOST_TXN_POISONED - GHOST_TXN_COMPLETE; n++) {
      if (this.outcome_counts[n] === 0) return false;
    }
    return true;
  }
}
