/**
 * An enclave of the simulated kernel: CPUs, queues, agents, threads and tunables.
 * Source: reference sections 1.2 and 2.2 to 2.4.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import * as abi_constants from "../../ffi/abi/constants.ts";
import * as transactions from "../../lib/transaction.ts";
import type { AgentPort, EnclaveControl, Queue } from "../kernel.ts";
import * as errors from "../kernel.ts";
import { SimAgent } from "./agent.ts";
import * as agents from "./agent.ts";
import { Commits } from "./commit.ts";
import * as events from "./event_kinds.ts";
import type { SimMachine } from "./machine.ts";
import { SimQueue, validElemCount } from "./producer_ring.ts";
import type { RuleName } from "./rules.ts";
import { StatusRegion } from "./status_region.ts";
import { type SimThread, ThreadList } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const {
  CPU_DATA_BYTES,
  GHOST_ASSOC_SF_ALREADY,
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_MAX_WINFO,
  GHOST_SW_TASK_MSG_GATED,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  SYNC_GROUP_NOT_OWNED,
  TXN_CPU_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} = abi_constants;
const { TXN_STRIDE_WORDS } = transactions;
const { EBADF, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM, ENXIO, EPERM, ESRCH, ESTALE, EXDEV } =
  errors;
const { AGENT_GTID_HI } = agents;
const { EVENT_RUNNABLE_TIMEOUT, EVENT_TICK } = events;
const { DEAD, LATCHED, READY, RUNNING, SLEEPING } = states;

const MILLISECOND_NS = 1_000_000;

/** One enclave. */
export class SimEnclave implements EnclaveControl {
  /** See {@linkcode EnclaveControl.id}. */
  declare readonly id: number;
  /** See {@linkcode EnclaveControl.cpu_data}. */
  declare readonly cpu_data: Int32Array;
  /** Status words. */
  declare readonly status: StatusRegion;
  /** Transactions. */
  declare readonly commits: Commits;
  /** Agents by CPU. */
  readonly agents: Map<number, SimAgent> = new Map();
  /** Threads of the enclave by tid. */
  readonly tasks: Map<number, SimThread> = new Map();
  /** Threads that can run, longest first; latched ones included. */
  readonly ready: ThreadList = new ThreadList();
  /** Invalidates pending tick events. */
  tick_generation = 0;
  /** Called once when the enclave is gone, with the reason. */
  on_destroyed: ((reason: string) => void) | null = null;
  declare private readonly machine: SimMachine;
  declare private readonly abi: Abi;
  readonly #queues = new Map<number, SimQueue>();
  readonly #tunables = new Map<string, number>();
  /** Threads by status word. */
  readonly #word_owners: (SimThread | null)[] = [];
  #cpus: number[] = [];
  #default_queue: SimQueue | null = null;
  #online = false;
  #destroyed = false;

  /** Made by {@linkcode SimKernel.createEnclave}. */
  constructor(machine: SimMachine, id: number, abi: Abi, status_word_capacity: number) {
    this.machine = machine;
    this.id = id;
    this.abi = abi;
    const { cpus } = machine;
    this.cpu_data = new Int32Array(new SharedArrayBuffer(cpus.length * CPU_DATA_BYTES));
    for (const cpu of cpus) {
      const base = cpu.id * TXN_STRIDE_WORDS;
      this.cpu_data[base + TXN_CPU_WORD] = cpu.id;
      this.cpu_data[base + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
      this.cpu_data[base + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
    }
    this.status = new StatusRegion(status_word_capacity);
    this.commits = new Commits(machine, this);
    for (const name of abi.tunables) this.#tunables.set(name, 0);
  }

  /** See {@linkcode EnclaveControl.status_words}. */
  get status_words(): Int32Array {
    return this.status.words;
  }

  /** What a message shows of an enclave, which is part of a circle of objects. */
  toJSON(): { readonly enclave: number } {
    return { enclave: this.id };
  }

  #rule(name: RuleName): boolean {
    return this.machine.options.has_rule(name);
  }

  /** See {@linkcode EnclaveControl.cpus}. */
  cpus(): readonly number[] {
    return this.#cpus;
  }

  /** See {@linkcode EnclaveControl.setCpus}. */
  setCpus(list: readonly number[]): number {
    if (this.#destroyed && this.#rule("cpus.dying")) return -EXDEV;
    for (const id of list) {
      const cpu = this.machine.cpus[id];
      if (cpu === undefined || !cpu.online) return this.#rule("cpus.offline") ? -ENODEV : 0;
      const taken = cpu.enclave !== null && cpu.enclave !== this;
      if (taken && this.#rule("cpus.taken")) return -EBUSY;
    }
    for (const id of this.#cpus) {
      const removed = !list.includes(id);
      if (removed && this.agents.has(id) && this.#rule("cpus.has_agent")) return -EEXIST;
    }
    for (const id of this.#cpus) this.machine.cpus[id].enclave = null;
    this.#cpus = [...new Set(list)].sort((a, b) => a - b);
    for (const id of this.#cpus) this.machine.cpus[id].enclave = this;
    if (this.tick_generation !== 0) this.#startTicks();
    return 0;
  }

  /** −ENODEV once the enclave is gone: its files are. */
  #gone(): number {
    return this.#destroyed && this.#rule("destroy.calls") ? -ENODEV : 0;
  }

  /** See {@linkcode EnclaveControl.createQueue}. */
  createQueue(elem_count: number, numa_node: number, flags: number): Queue | number {
    if (this.#gone() < 0) return -ENODEV;
    if (!validElemCount(elem_count) && this.#rule("queue.elems")) return -EINVAL;
    const known_node = numa_node >= 0 && numa_node < this.machine.options.node_count;
    if (!known_node && this.#rule("queue.node")) return -EINVAL;
    if (flags !== 0 && this.#rule("queue.flags")) return -EINVAL;
    const { faults } = this.machine.options;
    const small = faults.roll("ring_small") ? 16 << faults.below(3) : elem_count;
    const elems = Math.min(elem_count, small);
    const queue = new SimQueue(this.machine.next_queue_id++, elems, {
      first_slot: faults.roll("ring_wrap") ? -5 - faults.below(40) : 0,
      drop_silently: !this.#rule("queue.overflow"),
    });
    this.#queues.set(queue.id, queue);
    this.machine.queue_owners.set(queue.id, this);
    this.machine.addKernelMemory(queue.words);
    return queue;
  }

  /** See {@linkcode EnclaveControl.closeQueue}. */
  closeQueue(queue_id: number): number {
    const queue = this.#queues.get(queue_id);
    if (queue === undefined) return this.#rule("queue.close_unknown") ? -EBADF : 0;
    queue.open = false;
    this.#queues.delete(queue_id);
    this.machine.queue_owners.delete(queue_id);
    const was_default = this.#default_queue === queue;
    if (was_default && this.#rule("queue.close_default")) this.#default_queue = null;
    return 0;
  }

  /** See {@linkcode EnclaveControl.setDefaultQueue}. */
  setDefaultQueue(queue_id: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const queue = this.#queues.get(queue_id);
    if (queue === undefined && this.machine.queue_owners.has(queue_id)) {
      return this.#rule("queue.default_foreign") ? -EINVAL : 0;
    }
    if (queue === undefined) return this.#rule("queue.default_known") ? -EBADF : 0;
    this.#default_queue = queue;
    return 0;
  }

  /** See {@linkcode EnclaveControl.configQueueWakeup}. */
  configQueueWakeup(queue_id: number, cpus: readonly number[], flags: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const queue = this.#queues.get(queue_id);
    if (queue === undefined) return this.#rule("queue.wakeup_queue") ? -EBADF : 0;
    if (flags !== 0 && this.#rule("queue.wakeup_flags")) return -EINVAL;
    if (cpus.length > GHOST_MAX_WINFO && this.#rule("queue.wakeup_ninfo")) return -EINVAL;
    const known = cpus.every((cpu) => this.#cpus.includes(cpu));
    if (!known && this.#rule("queue.wakeup_cpu")) return -EINVAL;
    if (cpus.length > 0 || this.#rule("queue.wakeup_none")) queue.wakeup_cpus = [...cpus];
    const last = cpus.at(-1);
    if (last !== undefined && this.#rule("queue.wakeup_wakes")) this.agents.get(last)?.wake();
    return 0;
  }

  /** See {@linkcode EnclaveControl.becomeAgent}. */
  becomeAgent(cpu_id: number, queue_id: number): AgentPort | number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.#cpus.includes(cpu_id) && this.#rule("become.cpu_in_enclave")) return -ENODEV;
    const queue = queue_id === -1 ? this.#default_queue : this.#queues.get(queue_id) ?? null;
    if (queue === null) {
      if (queue_id === -1 && this.#rule("become.no_default")) return -ENXIO;
      if (queue_id !== -1 && this.#rule("become.bad_queue")) return -EBADF;
    }
    const cpu = this.machine.cpus[cpu_id];
    if (cpu.agent !== null && this.#rule("become.busy")) return -EBUSY;
    const index = this.status.allocate(cpu_id + 1, AGENT_GTID_HI, 0);
    if (index < 0) return -ENOMEM;
    const agent = new SimAgent(this.machine, this, cpu_id, index, queue);
    this.agents.set(cpu_id, agent);
    cpu.agent = agent;
    this.machine.updateAvailability(cpu);
    this.machine.resched(cpu);
    return agent;
  }

  /** See {@linkcode EnclaveControl.associateAgent}. */
  associateAgent(queue_id: number, cpu: number, barrier: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const queue = this.#queues.get(queue_id);
    if (queue === undefined) return this.#rule("assoc_agent.bad_queue") ? -EBADF : 0;
    const agent = this.agents.get(cpu);
    if (agent === undefined) return this.#rule("assoc_agent.no_agent") ? -ENOENT : 0;
    if (agent.barrier() !== barrier && this.#rule("assoc_agent.stale")) return -ESTALE;
    agent.queue = queue;
    return 0;
  }

  /** See {@linkcode EnclaveControl.agentStatusIndex}. */
  agentStatusIndex(cpu: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const known = Number.isInteger(cpu) && cpu >= 0 && cpu < this.machine.cpus.length;
    if (!known) return this.#rule("sw.info_bad_cpu") ? -this.abi.bad_cpu_errno : 0;
    const index = this.agents.get(cpu)?.status_index;
    if (index === undefined) return this.#rule("sw.info_no_agent") ? -EINVAL : 0;
    return index;
  }

  /** See {@linkcode EnclaveControl.taskStatusIndex}. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const thread = this.find(gtid_lo, gtid_hi);
    if (thread === undefined) return this.#rule("sw.info_unknown_task") ? -ENOENT : 0;
    return thread.status_index;
  }

  /** A thread of this enclave by gtid. */
  find(gtid_lo: number, gtid_hi: number): SimThread | undefined {
    const thread = this.findAny(gtid_lo, gtid_hi);
    return thread?.enclave === this ? thread : undefined;
  }

  /** A thread by gtid, in ghOSt or not; a dead one until its status word here is freed. */
  findAny(gtid_lo: number, gtid_hi: number): SimThread | undefined {
    if (gtid_lo !== 1) return undefined;
    const thread = this.machine.thread(gtid_hi >> 9);
    if (thread === undefined || thread.gtid_hi !== gtid_hi) return undefined;
    const is_known = thread.state !== DEAD ||
      (thread.departed_index >= 0 && thread.departed_from === this);
    return is_known ? thread : undefined;
  }

  /** True if a gtid is that of an agent. */
  isAgentGtid(gtid_lo: number, gtid_hi: number): boolean {
    return gtid_hi === AGENT_GTID_HI && this.agents.has(gtid_lo - 1);
  }

  /** See {@linkcode EnclaveCalls.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    if (this.#gone() < 0) return -ENODEV;
    const queue = this.#queues.get(queue_id);
    if (queue === undefined) return this.#rule("assoc.bad_queue") ? -EBADF : 0;
    const thread = this.find(gtid_lo, gtid_hi);
    if (thread === undefined) return this.#rule("assoc.unknown_task") ? -ENOENT : 0;
    const moved = this.status.barrier(thread.status_index) !== barrier;
    if (moved && this.#rule("assoc.stale")) return -ESTALE;
    const brand_new = (thread.new_pending || thread.gated) && this.#rule("assoc.brand_new");
    let result = brand_new ? GHOST_ASSOC_SF_BRAND_NEW : 0;
    if (thread.queue === queue && this.#rule("assoc.already")) result |= GHOST_ASSOC_SF_ALREADY;
    thread.queue = queue;
    return result;
  }

  /** See {@linkcode EnclaveCalls.freeStatusWord}. */
  freeStatusWord(index: number): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.status.isAllocated(index)) return this.#rule("sw.free_bad_index") ? -ENOENT : 0;
    if (!this.status.canFree(index)) return this.#rule("sw.free_in_use") ? -EINVAL : 0;
    const thread = this.#word_owners[index] ?? null;
    const gated = (this.status.flags(index) & GHOST_SW_TASK_MSG_GATED) !== 0;
    this.#word_owners[index] = null;
    this.status.free(index);
    const is_last_stay = thread?.departed_from === this && thread.departed_index === index;
    if (thread !== null && is_last_stay) {
      thread.departed_index = -1;
      if (gated && thread.gated) {
        thread.gated = false;
        this.machine.messages.taskEntered(thread);
      }
    }
    return 0;
  }

  /** See {@linkcode EnclaveControl.setOnline}. */
  setOnline(online: boolean): number {
    if (online && this.#gone() < 0) return -ENODEV;
    if (online && this.#online && this.#rule("online.single")) return -EBUSY;
    this.#online = online;
    return 0;
  }

  /** See {@linkcode EnclaveControl.isOnline}. */
  isOnline(): boolean {
    return this.#online && !this.#destroyed;
  }

  /** See {@linkcode EnclaveControl.discoverTasks}. */
  discoverTasks(): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.#rule("discover.all")) return 0;
    for (const thread of this.tasks.values()) this.machine.messages.taskEntered(thread);
    return 0;
  }

  /** See {@linkcode EnclaveControl.join}. */
  join(tid: number): number {
    if (this.#destroyed) return this.#rule("join.dying") ? -EXDEV : 0;
    const thread = this.machine.thread(tid);
    if (thread === undefined || thread.state === DEAD) {
      return this.#rule("join.unknown") ? -ESRCH : 0;
    }
    if (thread.enclave !== null) return this.#rule("join.twice") ? -EPERM : 0;
    if (this.#default_queue === null) return this.#rule("join.no_default") ? -ENXIO : 0;
    const reuse = this.machine.options.faults.roll("status_word_reuse");
    const index = this.status.allocate(thread.gtid_lo, thread.gtid_hi, 0, reuse);
    if (index < 0) return this.#rule("join.no_status_word") ? -ENOMEM : 0;
    this.#enter(thread, index);
    return 0;
  }

  #enter(thread: SimThread, index: number): void {
    const machine = this.machine;
    const cpu = machine.cpus[thread.cpu];
    if (thread.state === RUNNING) machine.offCpu(cpu, thread, READY);
    if (thread.state === READY) cpu.waiting.remove(thread);
    this.#adopt(thread, index);
    if (thread.state === READY) {
      this.ready.push(thread);
      this.status.change(index, GHOST_SW_TASK_RUNNABLE, 0);
    }
    if (thread.departed_index >= 0 && thread.departed_from === this) {
      thread.gated = true;
      this.status.change(thread.departed_index, GHOST_SW_TASK_MSG_GATED, 0);
    }
    machine.messages.taskEntered(thread);
    machine.resched(cpu);
  }

  #adopt(thread: SimThread, index: number): void {
    thread.enclave = this;
    thread.status_index = index;
    thread.queue = this.#default_queue;
    thread.new_pending = true;
    this.tasks.set(thread.tid, thread);
    this.#word_owners[index] = thread;
    this.status.setRuntimeNs(index, thread.runtime_ns);
  }

  /**
   * A forked thread begins in its parent's enclave, able to run.
   *
   * @returns False if there is no status word or no queue for it.
   */
  inherit(thread: SimThread): boolean {
    if (this.#default_queue === null) return false;
    const index = this.status.allocate(thread.gtid_lo, thread.gtid_hi, 0);
    if (index < 0) return false;
    this.#adopt(thread, index);
    // Its first message is TASK_NEW, which says that it can run; no wake-up goes before it.
    this.machine.wake(thread, thread.cpu);
    this.machine.messages.taskEntered(thread);
    return true;
  }

  /** A thread leaves ghOSt for the default class (`sched_setscheduler`). */
  depart(thread: SimThread): void {
    const machine = this.machine;
    const cpu = machine.cpus[thread.cpu];
    const was_current = thread.state === RUNNING;
    if (was_current) machine.offCpu(cpu, thread, READY);
    machine.unlist(thread);
    if (thread.state === LATCHED) thread.setState(READY);
    machine.messages.taskDeparted(thread, was_current);
    this.forget(thread);
    if (thread.state === READY) cpu.waiting.push(thread);
    machine.updateAvailability(cpu);
    machine.resched(cpu);
  }

  #drop(thread: SimThread): void {
    thread.enclave = null;
    thread.queue = null;
    thread.status_index = -1;
    thread.new_pending = false;
    thread.gated = false;
    this.tasks.delete(thread.tid);
  }

  /** A thread of the enclave is dead or gone, and its message sent. */
  forget(thread: SimThread): void {
    const index = thread.status_index;
    const is_unheard_of = thread.gated || thread.new_pending;
    this.#drop(thread);
    if (is_unheard_of) {
      // User space never learned of this word and could not free it; an older one still waits.
      this.#word_owners[index] = null;
      this.status.free(index);
    } else {
      thread.departed_index = index;
      thread.departed_from = this;
    }
  }

  /** See {@linkcode EnclaveControl.taskTids}. */
  taskTids(): readonly number[] {
    return [...this.tasks.keys()];
  }

  /** Value of a tunable that exists in some ABI version; 0 where it does not. */
  tunable(name: string): number {
    return this.#tunables.get(name) ?? 0;
  }

  /** See {@linkcode EnclaveControl.readTunable}. */
  readTunable(name: string): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#tunables.get(name) ?? (this.#rule("tunable.unknown") ? -ENOENT : 0);
  }

  /** See {@linkcode EnclaveControl.writeTunable}. */
  writeTunable(name: string, value: number): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.#tunables.has(name)) return this.#rule("tunable.unknown") ? -ENOENT : 0;
    const is_time = name === "runnable_timeout";
    const is_valid = (value | 0) === value && (value >= 0 || !is_time);
    if (!is_valid && this.#rule("tunable.value")) return -EINVAL;
    const stored = is_time || !this.#rule("tunable.boolean") ? value : Number(value !== 0);
    this.#tunables.set(name, stored);
    if (is_time) this.#armTimeout();
    else if (name === "deliver_ticks" || name === "commit_at_tick") this.#startTicks();
    return 0;
  }

  #startTicks(): void {
    this.tick_generation = this.machine.newGeneration();
    const wanted = this.tunable("deliver_ticks") !== 0 || this.tunable("commit_at_tick") !== 0;
    if (!wanted && this.#rule("message.ticks_off")) return;
    const { costs } = this.machine.options;
    for (const id of this.#cpus) {
      const at_ns = this.machine.now_ns + costs.tick_ns;
      this.machine.events.push(at_ns, EVENT_TICK, id, this.tick_generation);
    }
  }

  /** A tick on a CPU of the enclave. */
  tick(cpu: { readonly id: number }): void {
    const machine = this.machine;
    const target = machine.cpus[cpu.id];
    const deliver = this.tunable("deliver_ticks") !== 0 || !this.#rule("message.ticks_off");
    if (deliver) machine.messages.tick(target);
    const commit = this.tunable("commit_at_tick") !== 0 || !this.#rule("commit.tick_off");
    if (commit) this.commits.tickPoint(target);
  }

  #armTimeout(): void {
    const timeout_ms = this.tunable("runnable_timeout");
    if (timeout_ms === 0 || this.#destroyed) return;
    const { events, now_ns } = this.machine;
    const timeout_ns = timeout_ms * MILLISECOND_NS;
    const due_ns = (this.ready.first?.ready_since_ns ?? now_ns) + timeout_ns;
    // Already over only without the rule that destroys: then one timeout later.
    events.push(due_ns > now_ns ? due_ns : now_ns + timeout_ns, EVENT_RUNNABLE_TIMEOUT, this.id, 0);
  }

  /** The oldest waiting thread may have waited too long. */
  checkRunnableTimeout(): void {
    const timeout_ns = this.tunable("runnable_timeout") * MILLISECOND_NS;
    const oldest = this.ready.first;
    const waited_ns = oldest === null ? 0 : this.machine.now_ns - oldest.ready_since_ns;
    if (timeout_ns > 0 && waited_ns >= timeout_ns && this.#rule("timeout.destroy")) {
      const waited_ms = Math.round(waited_ns / MILLISECOND_NS);
      this.#destroy(`runnable_timeout: thread ${oldest?.tid} waited ${waited_ms} ms for a CPU`);
      return;
    }
    this.#armTimeout();
  }

  /** See {@linkcode EnclaveControl.destroy}. */
  destroy(): number {
    if (this.#destroyed) return -ENODEV;
    this.#destroy("destroyed by request");
    return 0;
  }

  /** Destroys the enclave because something broke. */
  abandon(reason: string): void {
    if (!this.#destroyed) this.#destroy(reason);
  }

  #destroy(reason: string): void {
    this.#destroyed = true;
    this.#online = false;
    if (this.#rule("destroy.agents")) {
      for (const agent of [...this.agents.values()]) agent.leave();
    }
    if (this.#rule("destroy.fallback")) {
      for (const thread of [...this.tasks.values()]) this.#fallBack(thread);
    }
    for (const id of this.#cpus) {
      const cpu = this.machine.cpus[id];
      if (this.#rule("destroy.cpus")) cpu.enclave = null;
      this.machine.resched(cpu);
    }
    this.on_destroyed?.(reason);
  }

  /** A thread goes on under the default class. */
  #fallBack(thread: SimThread): void {
    const machine = this.machine;
    const cpu = machine.cpus[thread.cpu];
    if (thread.state === RUNNING) machine.offCpu(cpu, thread, READY);
    machine.unlist(thread);
    if (thread.state === LATCHED) thread.setState(READY);
    this.#drop(thread);
    if (thread.state !== READY) return;
    // Asleep for an instant, so that the default class chooses a CPU for it.
    thread.setState(RUNNING);
    thread.setState(SLEEPING);
    machine.wake(thread, cpu.id);
  }

  /** See {@linkcode EnclaveControl.isDestroyed}. */
  isDestroyed(): boolean {
    return this.#destroyed;
  }
}
