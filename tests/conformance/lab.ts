/**
 * An enclave with remote-controlled agents, as most cases need it: threads in it, transactions for
 * it, and the messages that its agents read.
 *
 * @module
 */
import {
  COMMIT_AT_TXN_COMMIT,
  GHOST_SW_CPU_AVAIL,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_READY,
  TXN_AGENT_BARRIER_WORD,
  TXN_CPU_WORD,
  TXN_FLAGS_WORD,
  TXN_GTID_WORD,
  TXN_STATE_WORD,
  TXN_TASK_BARRIER_WORD,
  TXN_VERSION_WORD,
} from "../../ffi/abi/constants.ts";
import type { EnclaveControl, Queue } from "../../kernels/kernel.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { TransactionTable, TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import { COMMIT, LOCAL_COMMIT, NOTHING } from "./agent_commands.ts";
import {
  ARGUMENTS,
  blockOf,
  DONE,
  HELD,
  type LoggedMessage,
  MASK,
  OP,
  REQUEST,
  RESULT,
  STEPS,
  takeLog,
  YIELD_FLAGS,
} from "./case_memory.ts";
import { expectEqual, expectOk } from "./expect.ts";
import type { ContractHost, ContractThread, ThreadAction } from "./host.ts";

/** Slots of a queue unless a case says otherwise. */
const ELEM_COUNT = 256;
/** A task that can run and does not for so long has lost its CPU to a thread of the host. */
const STRANDED_NS = 300_000_000;
/** A thread that uses its CPU longer than any case lasts. */
export const BUSY: readonly ThreadAction[] = [{ op: "run", ns: 1_000_000_000 }];

/** How an enclave is set up. */
export interface LabOptions {
  /** CPUs of the enclave; absent means all of the case. */
  readonly cpus?: readonly number[];
  /** CPUs with an agent; absent means all of the enclave. */
  readonly agents?: readonly number[];
  /**
   * `per_cpu`: a queue per CPU that wakes its agent; `polled`: the same without wake-ups; `one`:
   * one queue that wakes the first agent, which alone reads it: a ring has one reader, and a kernel
   * may wake the others at any edge of their CPUs.
   */
  readonly queues?: "per_cpu" | "polled" | "one";
  /** Slots of each queue. */
  readonly elem_count?: number;
  /** False: agents leave their queues alone. */
  readonly drains?: boolean;
}

/** What a transaction says. */
export interface TxnFields {
  /** Target; absent means gtid 0. */
  readonly thread?: ContractThread;
  /** Target by gtid, low and high word; goes before {@linkcode thread}. */
  readonly gtid?: readonly [number, number];
  /** Absent: the target's present barrier, or 0. */
  readonly task_barrier?: number;
  /** Absent: 0; local commits take the agent's present barrier. */
  readonly agent_barrier?: number;
  /** Absent: COMMIT_AT_TXN_COMMIT. */
  readonly commit_flags?: number;
  /** Absent: 0. */
  readonly run_flags?: number;
  /** Absent: 0. */
  readonly version?: number;
  /** Absent: the CPU of the record. */
  readonly record_cpu?: number;
}

/** An enclave under test. */
export class Lab {
  /** The machine. */
  readonly host: ContractHost;
  /** The enclave. */
  readonly control: EnclaveControl;
  /** Queues in the order of the enclave's CPUs. */
  readonly queues: readonly Queue[];
  /** Status words. */
  readonly status: StatusWordTable;
  /** Transaction records. */
  readonly txns: TransactionTable;
  /** All messages that were read so far. */
  readonly log: LoggedMessage[] = [];
  readonly #words: Int32Array;
  readonly #readers: readonly number[];
  /** By thread id, how a task is put back on the CPU that it was run on. */
  readonly #placed = new Map<number, () => Promise<number>>();

  private constructor(
    host: ContractHost,
    control: EnclaveControl,
    queues: readonly Queue[],
    readers: readonly number[],
  ) {
    this.host = host;
    this.control = control;
    this.queues = queues;
    this.#readers = readers;
    const { memory } = host.kernel;
    this.status = new StatusWordTable(memory, control.status_words);
    this.txns = new TransactionTable(memory, control.cpu_data);
    this.#words = host.words;
  }

  /** Makes an enclave with queues and agents. */
  static async open(host: ContractHost, options: LabOptions = {}): Promise<Lab> {
    const control = createEnclave(host, options.cpus ?? host.cpus);
    return await Lab.on(host, control, options);
  }

  /** Gives queues and agents to an enclave that is there. */
  static async on(
    host: ContractHost,
    control: EnclaveControl,
    options: LabOptions = {},
  ): Promise<Lab> {
    const cpus = control.cpus();
    const kind = options.queues ?? "per_cpu";
    const elems = options.elem_count ?? ELEM_COUNT;
    const one = kind === "one" ? createQueue(control, elems, [cpus[0]]) : undefined;
    const queues = cpus.map((cpu) =>
      one ?? createQueue(control, elems, kind === "per_cpu" ? [cpu] : [])
    );
    expectOk(control.setDefaultQueue(queues[0].id), "set the default queue");
    const lab = new Lab(host, control, queues, kind === "one" ? cpus.slice(0, 1) : cpus);
    const agents = options.agents ?? cpus;
    const before = agents.map((cpu) => lab.steps(cpu));
    for (const cpu of agents) lab.attach(cpu, options.drains ?? true);
    for (const [index, cpu] of agents.entries()) {
      await lab.until(() => lab.steps(cpu) > before[index], `a step on CPU ${cpu}`);
    }
    await lab.idle(...agents);
    return lab;
  }

  /** Destroys the enclave and ends all threads of the case. */
  close(): void {
    this.host.killAll();
    this.control.destroy();
  }

  /** Starts the agent of a CPU; the index of its status word. */
  attach(cpu: number, drains = true): number {
    const queue = this.queueOf(cpu);
    const { host, control } = this;
    const is_reader = this.#readers.includes(cpu);
    const queues = drains && is_reader ? [queue] : [];
    const index = host.attachAgent(control, cpu, { queues, queue_id: queue.id });
    return expectOk(index, `become the agent of CPU ${cpu}`);
  }

  /** Queue of a CPU. */
  queueOf(cpu: number): Queue {
    return this.queues[this.control.cpus().indexOf(cpu)];
  }

  /** See {@linkcode ContractHost.until}. */
  until(condition: () => boolean, what: string, timeout_ns?: number): Promise<void> {
    return this.host.until(condition, what, timeout_ns);
  }

  /** Steps that the agent of a CPU has made. */
  steps(cpu: number): number {
    return this.host.kernel.memory.acquire(this.#words, blockOf(cpu) + STEPS);
  }

  /** Makes an agent carry out a command and waits for its result. */
  async call(cpu: number, op: number, ...args: readonly number[]): Promise<number> {
    this.request(cpu, op, ...args);
    const block = blockOf(cpu);
    const { memory } = this.host.kernel;
    const wanted = this.#words[block + REQUEST];
    const done = (): boolean => memory.acquire(this.#words, block + DONE) === wanted;
    await this.until(done, `command ${op} on CPU ${cpu}`);
    return this.#words[block + RESULT];
  }

  /** Gives an agent a command and goes on. */
  request(cpu: number, op: number, ...args: readonly number[]): void {
    const block = blockOf(cpu);
    const words = this.#words;
    words[block + OP] = op;
    args.forEach((value, index) => words[block + ARGUMENTS + index] = value);
    this.host.kernel.memory.publish(words, block + REQUEST, words[block + DONE] + 1);
    this.host.nudge(this.control, cpu);
  }

  #setMask(cpu: number, cpus: readonly number[]): void {
    const at = blockOf(cpu) + MASK;
    this.#words.fill(0, at, at + 16);
    for (const id of cpus) this.#words[at + (id >> 5)] |= 1 << (id & 31);
  }

  /** {@linkcode call} with a set of CPUs. */
  callMask(
    cpu: number,
    op: number,
    cpus: readonly number[],
    ...args: readonly number[]
  ): Promise<number> {
    this.#setMask(cpu, cpus);
    return this.call(cpu, op, ...args);
  }

  /**
   * {@linkcode callMask} for records of which one is the agent's own: a real kernel runs that
   * task within the call, which ends when the agent is woken.
   */
  async requestMask(
    cpu: number,
    op: number,
    cpus: readonly number[],
    ...args: readonly number[]
  ): Promise<void> {
    await this.#settle(cpu);
    this.#setMask(cpu, cpus);
    this.request(cpu, op, ...args);
  }

  /** Wakes an agent that is in a call; the call's result. */
  async wokenResult(cpu: number): Promise<number> {
    this.host.nudge(this.control, cpu);
    const block = blockOf(cpu);
    const { memory } = this.host.kernel;
    const done = (): boolean => memory.acquire(this.#words, block + DONE) === this.#words[block];
    await this.until(done, `the call on CPU ${cpu} returns`);
    return this.#words[block + RESULT];
  }

  /** Makes an agent keep its CPU. */
  async hold(cpu: number): Promise<void> {
    this.#words[blockOf(cpu) + HELD] = 1;
    await this.call(cpu, NOTHING);
  }

  /** Lets a held agent yield again. */
  async release(cpu: number): Promise<void> {
    this.#words[blockOf(cpu) + HELD] = 0;
    await this.call(cpu, NOTHING);
    await this.idle(cpu);
  }

  /** Waits until some agents have given their CPUs away. */
  async idle(...cpus: readonly number[]): Promise<void> {
    const steps = (): string => cpus.map((cpu) => this.steps(cpu)).join();
    for (let before = ""; before !== steps();) {
      before = steps();
      await this.host.sleep(5_000);
    }
  }

  /**
   * Waits for an agent that is about to sleep, unless it is held: one that is awake by chance
   * would obey a command, and then be woken for it once more, off the task that it chose.
   */
  async #settle(cpu: number): Promise<void> {
    if (this.#words[blockOf(cpu) + HELD] === 0) await this.idle(cpu);
  }

  /** Sets the flags of an agent's yields. */
  setYieldFlags(cpu: number, flags: number): void {
    this.#words[blockOf(cpu) + YIELD_FLAGS] = flags;
  }

  /** Starts a thread and moves it into the enclave, asleep. */
  sleeper(script: readonly ThreadAction[] = BUSY): ContractThread {
    const thread = this.host.spawn(script);
    expectOk(this.control.join(thread.tid), "join");
    return thread;
  }

  /** Starts a thread in the enclave that can run. */
  task(script: readonly ThreadAction[] = BUSY): ContractThread {
    const thread = this.sleeper(script);
    this.host.wake(thread);
    return thread;
  }

  /** Index of a task's status word. */
  indexOf(thread: ContractThread): number {
    const index = this.control.taskStatusIndex(thread.gtid_lo, thread.gtid_hi);
    return expectOk(index, `status word of thread ${thread.tid}`);
  }

  /** Barrier of a task. */
  taskBarrier(thread: ContractThread): number {
    return this.status.barrier(this.indexOf(thread));
  }

  /** Flags of a task's status word. */
  taskFlags(thread: ContractThread): number {
    return this.status.flags(this.indexOf(thread));
  }

  /** Barrier of the agent of a CPU. */
  agentBarrier(cpu: number): number {
    return this.status.barrier(this.agentIndex(cpu));
  }

  /** Flags of the status word of the agent of a CPU. */
  agentFlags(cpu: number): number {
    return this.status.flags(this.agentIndex(cpu));
  }

  /** Index of the status word of the agent of a CPU. */
  agentIndex(cpu: number): number {
    return expectOk(this.control.agentStatusIndex(cpu), `status word of the agent of CPU ${cpu}`);
  }

  /** Fills a record in without opening it. */
  fill(cpu: number, fields: TxnFields): void {
    const { words } = this.txns;
    const base = cpu * TXN_STRIDE_WORDS;
    const [lo, hi] = fields.gtid ?? [fields.thread?.gtid_lo ?? 0, fields.thread?.gtid_hi ?? 0];
    const present = fields.thread === undefined ? 0 : this.#presentBarrier(fields.thread);
    const run_flags = fields.run_flags ?? 0;
    const commit_flags = fields.commit_flags ?? COMMIT_AT_TXN_COMMIT;
    words[base + TXN_VERSION_WORD] = fields.version ?? 0;
    words[base + TXN_CPU_WORD] = fields.record_cpu ?? cpu;
    words[base + TXN_AGENT_BARRIER_WORD] = fields.agent_barrier ?? 0;
    words[base + TXN_TASK_BARRIER_WORD] = fields.task_barrier ?? present;
    words[base + TXN_FLAGS_WORD] = run_flags | (commit_flags << 16);
    words[base + TXN_GTID_WORD] = lo;
    words[base + TXN_GTID_WORD + 1] = hi;
  }

  #presentBarrier(thread: ContractThread): number {
    const index = this.control.taskStatusIndex(thread.gtid_lo, thread.gtid_hi);
    return index < 0 ? 0 : this.status.barrier(index);
  }

  /** Fills a record in and opens it. */
  openTxn(cpu: number, fields: TxnFields): void {
    this.fill(cpu, fields);
    const at = cpu * TXN_STRIDE_WORDS + TXN_STATE_WORD;
    this.host.kernel.memory.publish(this.txns.words, at, GHOST_TXN_READY);
  }

  /** Opens the record of a CPU, commits it from another CPU's agent, and tells its state. */
  async commit(agent_cpu: number, cpu: number, fields: TxnFields): Promise<number> {
    this.openTxn(cpu, fields);
    await this.call(agent_cpu, COMMIT, cpu);
    return await this.decided(cpu);
  }

  /**
   * Commits a CPU's record from its own agent and tells the state.
   *
   * @param difference What to add to the agent's present barrier.
   */
  async commitLocal(cpu: number, fields: TxnFields, difference = 0): Promise<number> {
    await this.#settle(cpu);
    this.fill(cpu, fields);
    await this.call(cpu, LOCAL_COMMIT, difference);
    return await this.decided(cpu);
  }

  /** State of a record once it is decided. */
  async decided(cpu: number): Promise<number> {
    await this.until(() => this.txns.state(cpu) < 0, `transaction of CPU ${cpu} decided`);
    return this.txns.state(cpu);
  }

  /** True while a task is on a CPU. */
  isOnCpu(thread: ContractThread): boolean {
    return (this.taskFlags(thread) & GHOST_SW_TASK_ONCPU) !== 0;
  }

  /**
   * Waits until those tasks run whose commits were in these CPUs' records: all at once; on a host
   * whose other threads take CPUs, too, each at some time since its commit.
   */
  async untilAllRun(cpus: readonly number[], threads: readonly ContractThread[]): Promise<void> {
    const { words } = this.txns;
    const committedAt = (nth: number): number =>
      words[cpus[nth] * TXN_STRIDE_WORDS + TXN_TASK_BARRIER_WORD];
    const runs = (thread: ContractThread, nth: number): boolean =>
      this.host.patience === 1 ? this.isOnCpu(thread) : this.#hasRun(thread, committedAt(nth));
    await this.until(() => threads.every(runs), "all tasks run");
  }

  /** Puts a runnable task on the CPU of an agent, by that agent. */
  async runOn(cpu: number, thread: ContractThread, run_flags = 0): Promise<void> {
    const before = this.taskBarrier(thread);
    const state = await this.commitLocal(cpu, { thread, run_flags });
    expectEqual(state, GHOST_TXN_COMPLETE, `run thread ${thread.tid} on CPU ${cpu}`);
    await this.until(() => this.#hasRun(thread, before), `thread ${thread.tid} on CPU ${cpu}`);
    this.#placed.set(thread.tid, () => this.commitLocal(cpu, { thread, run_flags }));
  }

  /** Tells when a task will have been able to run, and not on a CPU, for too long. */
  #strandedAt(thread: ContractThread | undefined): () => number {
    let since_ns = NaN;
    return () => {
      const index = thread === undefined
        ? -1
        : this.control.taskStatusIndex(thread.gtid_lo, thread.gtid_hi);
      const waits = GHOST_SW_TASK_RUNNABLE;
      const mask = waits | GHOST_SW_TASK_ONCPU;
      if (index < 0 || (this.status.flags(index) & mask) !== waits) since_ns = NaN;
      else if (Number.isNaN(since_ns)) since_ns = this.host.nowNs();
      return since_ns + STRANDED_NS;
    };
  }

  /** True if a task is on a CPU, or has been since its barrier was read. */
  #hasRun({ gtid_lo, gtid_hi }: ContractThread, barrier: number): boolean {
    const index = this.control.taskStatusIndex(gtid_lo, gtid_hi);
    if (index < 0 || this.status.barrier(index) !== barrier) return true;
    return (this.status.flags(index) & GHOST_SW_TASK_ONCPU) !== 0;
  }

  /** Takes a CPU away from ghOSt by a thread of the default class. */
  async occupy(cpu: number): Promise<ContractThread> {
    const thread = this.host.occupy(cpu);
    const taken = (): boolean => (this.agentFlags(cpu) & GHOST_SW_CPU_AVAIL) === 0;
    await this.until(taken, `CPU ${cpu} unavailable`);
    return thread;
  }

  /** Messages that were read since the last call. */
  takeMessages(): LoggedMessage[] {
    const fresh = takeLog(this.host.kernel.memory, this.#words);
    this.log.push(...fresh);
    return fresh;
  }

  /** Lets all agents of the enclave read what waits; all messages so far. */
  async messages(): Promise<LoggedMessage[]> {
    for (const cpu of this.control.cpus()) {
      if (this.control.agentStatusIndex(cpu) >= 0) await this.call(cpu, NOTHING);
    }
    this.takeMessages();
    return this.log;
  }

  /** All messages about a task so far. */
  async messagesOf(thread: ContractThread): Promise<LoggedMessage[]> {
    return (await this.messages()).filter((message) => isAbout(message, thread));
  }

  /** The first message of a type, about a task if one is given; waits for it. */
  async message(type: number, thread?: ContractThread): Promise<LoggedMessage> {
    const find = (): LoggedMessage | undefined => {
      this.takeMessages();
      return this.log.find((message) =>
        message.type === type && (thread === undefined || isAbout(message, thread))
      );
    };
    await this.untilOf(thread, () => find() !== undefined, `message ${type}`);
    return find() as LoggedMessage;
  }

  /**
   * {@linkcode until}, for what a task does: threads of the host may take the CPU from it, and
   * nobody else puts back what {@linkcode runOn} has put there.
   */
  async untilOf(
    thread: ContractThread | undefined,
    condition: () => boolean,
    what: string,
    timeout_ns?: number,
  ): Promise<void> {
    const again = thread === undefined ? undefined : this.#placed.get(thread.tid);
    for (let end = this.#strandedAt(thread); again !== undefined; end = this.#strandedAt(thread)) {
      await this.until(() => condition() || this.host.nowNs() > end(), what, timeout_ns);
      if (condition()) return;
      await again();
    }
    await this.until(condition, what, timeout_ns);
  }
}

/** True if a task message is about a thread. */
export function isAbout(message: LoggedMessage, thread: ContractThread): boolean {
  return message.type < 128 && message.payload[0] === thread.gtid_lo &&
    message.payload[1] === thread.gtid_hi;
}

/** An enclave without queues and agents. */
export function createEnclave(host: ContractHost, cpus: readonly number[]): EnclaveControl {
  const { kernel } = host;
  return expectOk<EnclaveControl>(
    kernel.createEnclave(cpus, kernel.abi.version),
    "create an enclave",
  );
}

/** A queue that wakes the agents of some CPUs. */
export function createQueue(
  control: EnclaveControl,
  elem_count: number,
  wakeup_cpus: readonly number[],
): Queue {
  const queue = expectOk<Queue>(control.createQueue(elem_count, 0, 0), "create a queue");
  if (wakeup_cpus.length > 0) {
    expectOk(control.configQueueWakeup(queue.id, wakeup_cpus, 0), "configure a queue's wake-up");
  }
  return queue;
}
