/**
 * The ioctls on an enclave's `ctl` file. Their codes and structs are the same in every ABI version
 * (reference sections 1.2 and 1.3). Each struct is made once, with what never changes filled in,
 * so that a call on the scheduling path writes a few words and allocates nothing.
 *
 * @module
 */
import {
  GHOST_AGENT,
  GHOST_IOC_ASSOC_QUEUE,
  GHOST_IOC_COMMIT_TXN,
  GHOST_IOC_CONFIG_QUEUE_WAKEUP,
  GHOST_IOC_CREATE_QUEUE,
  GHOST_IOC_GET_CPU_TIME,
  GHOST_IOC_NULL,
  GHOST_IOC_RUN,
  GHOST_IOC_SET_DEFAULT_QUEUE,
  GHOST_IOC_SW_FREE,
  GHOST_IOC_SW_GET_INFO,
  GHOST_IOC_SYNC_GROUP_TXN,
  GHOST_IOC_TIMERFD_SETTIME,
  GHOST_MAX_WINFO,
  GHOST_TASK,
  TIMERFD_GHOST_ENABLED,
} from "../../ffi/abi/constants.ts";
import { CPU_MASK_BYTES, FIOCLEX, TFD_TIMER_ABSTIME } from "../../ffi/linux.ts";
import { EINVAL } from "../kernel.ts";
import type { GhostHost } from "./ghost_host.ts";

/** The one status word region that agents use. */
export const SW_REGION_ID = 0;

/** Longest struct of an ioctl, and of what one points to, in words. */
const STRUCT_WORDS = 16;
const TWO_TO_32 = 2 ** 32;
const NS_PER_S = 1e9;

// Words of the structs, by field; a test holds them against the ABI tables.

/** Words of `ghost_ioc_sw_get_info`. */
const INFO = { type: 0, arg: 2, index: 5 } as const;
/** Words of `ghost_sw_info`. */
const FREE = { id: 0, index: 1 } as const;
/** Words of `ghost_ioc_create_queue`. */
const CREATE = { elems: 0, node: 1, flags: 2, mapsize: 4 } as const;
/** Words of `ghost_ioc_assoc_queue`. */
const ASSOC = { fd: 0, type: 2, arg: 4, barrier: 6 } as const;
/** Words of `ghost_ioc_config_queue_wakeup`. */
const WAKEUP = { qfd: 0, w: 2, ninfo: 4, flags: 5 } as const;
/** Words of `ghost_ioc_get_cpu_time`. */
const TIME = { gtid: 0, runtime: 2 } as const;
/** Words of `ghost_ioc_commit_txn`. */
const COMMIT = { mask_ptr: 0, mask_len: 2 } as const;
/** Words of `ghost_ioc_timerfd_settime`, the `timerfd_ghost` in it included. */
const TIMER = {
  timerfd: 0,
  flags: 1,
  in_tmr: 2,
  cpu: 6,
  ghost_flags: 7,
  type: 8,
  cookie: 10,
} as const;
/** Words of `ghost_ioc_run`. */
const RUN = { gtid: 0, agent_barrier: 2, run_cpu: 4, run_flags: 5 } as const;
/** Words of `itimerspec`. */
const SPEC = { value_s: 4, value_ns: 6 } as const;

/** The words above under their structs' names, for the test. */
export const STRUCT_WORDS_BY_NAME: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ghost_ioc_sw_get_info: INFO,
  ghost_sw_info: FREE,
  ghost_ioc_create_queue: CREATE,
  ghost_ioc_assoc_queue: ASSOC,
  ghost_ioc_config_queue_wakeup: WAKEUP,
  ghost_ioc_get_cpu_time: TIME,
  ghost_ioc_commit_txn: COMMIT,
  ghost_ioc_timerfd_settime: TIMER,
  ghost_ioc_run: RUN,
};

/** A new queue as the ioctl returns it. */
export interface QueueFile {
  /** Descriptor of the queue. */
  readonly fd: number;
  /** Bytes to map. */
  readonly size_bytes: number;
}

/** Memory of a struct, where the kernel finds it. */
class Struct {
  readonly words = new Int32Array(new ArrayBuffer(STRUCT_WORDS * 4));
  declare readonly address: number;

  constructor(host: GhostHost) {
    this.address = host.bufferAddress(this.words);
  }

  /** Sets a 64-bit pointer. */
  setPointer(word: number, address: number): void {
    this.words[word] = address % TWO_TO_32;
    this.words[word + 1] = Math.floor(address / TWO_TO_32);
  }
}

/** The ioctls of one thread on one enclave; every call returns −errno if it is refused. */
export class GhostIoctls {
  declare private readonly ioctl: GhostHost["ioctl"];
  declare private readonly fd: number;
  readonly #info: Struct;
  readonly #free: Struct;
  readonly #create: Struct;
  readonly #assoc: Struct;
  readonly #default: Struct;
  readonly #wakeup: Struct;
  readonly #wakeup_list: Struct;
  readonly #time: Struct;
  readonly #commit: Struct;
  readonly #timer: Struct;
  readonly #spec: Struct;
  readonly #yield: Struct;
  readonly #ping: Struct;
  readonly #mask = new Int32Array(new ArrayBuffer(CPU_MASK_BYTES));
  // Codes of the calls on the scheduling path; a dry run has one that does nothing.
  readonly #free_code: number;
  readonly #assoc_code: number;
  readonly #time_code: number;
  declare private readonly commit_code: number;
  readonly #sync_code: number;
  readonly #timer_code: number;
  declare private readonly run_code: number;

  /**
   * Prepares the structs.
   *
   * @param host The host.
   * @param ctl_fd The enclave's `ctl`, open for writing; −1 makes a dry run: calls of the
   * scheduling path reach the kernel, succeed and have no effect.
   */
  constructor(host: GhostHost, ctl_fd: number) {
    const is_dry = ctl_fd < 0;
    this.ioctl = host.ioctl;
    this.fd = is_dry ? host.dryFd() : ctl_fd;
    this.#info = new Struct(host);
    this.#free = new Struct(host);
    this.#create = new Struct(host);
    this.#assoc = new Struct(host);
    this.#default = new Struct(host);
    this.#wakeup = new Struct(host);
    this.#wakeup_list = new Struct(host);
    this.#time = new Struct(host);
    this.#commit = new Struct(host);
    this.#timer = new Struct(host);
    this.#spec = new Struct(host);
    this.#yield = new Struct(host);
    this.#ping = new Struct(host);
    this.#free_code = is_dry ? FIOCLEX : GHOST_IOC_SW_FREE;
    this.#assoc_code = is_dry ? FIOCLEX : GHOST_IOC_ASSOC_QUEUE;
    this.#time_code = is_dry ? FIOCLEX : GHOST_IOC_GET_CPU_TIME;
    this.commit_code = is_dry ? FIOCLEX : GHOST_IOC_COMMIT_TXN;
    this.#sync_code = is_dry ? FIOCLEX : GHOST_IOC_SYNC_GROUP_TXN;
    this.#timer_code = is_dry ? FIOCLEX : GHOST_IOC_TIMERFD_SETTIME;
    this.run_code = is_dry ? FIOCLEX : GHOST_IOC_RUN;
    this.#free.words[FREE.id] = SW_REGION_ID;
    this.#assoc.words[ASSOC.type] = GHOST_TASK;
    this.#wakeup.setPointer(WAKEUP.w, this.#wakeup_list.address);
    this.#commit.setPointer(COMMIT.mask_ptr, host.bufferAddress(this.#mask));
    this.#commit.words[COMMIT.mask_len] = CPU_MASK_BYTES;
    this.#timer.setPointer(TIMER.in_tmr, this.#spec.address);
    this.#timer.words[TIMER.flags] = TFD_TIMER_ABSTIME;
    this.#ping.words[RUN.gtid] = -1;
    this.#ping.words[RUN.gtid + 1] = -1;
  }

  // ---- the control path ----

  /** True while the enclave is there; an enclave that was destroyed answers −ENODEV. */
  isAlive(): boolean {
    return this.ioctl(this.fd, GHOST_IOC_NULL, 0) >= 0;
  }

  /** Index of an agent's status word: −EINVAL if the CPU has no agent. */
  agentStatusIndex(cpu: number): number {
    return this.#statusIndex(GHOST_AGENT, cpu, 0);
  }

  /** Index of a task's status word: −ENOENT if there is no such task. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number {
    return this.#statusIndex(GHOST_TASK, gtid_lo, gtid_hi);
  }

  #statusIndex(type: number, arg_lo: number, arg_hi: number): number {
    const { words, address } = this.#info;
    words[INFO.type] = type;
    words[INFO.arg] = arg_lo;
    words[INFO.arg + 1] = arg_hi;
    const result = this.ioctl(this.fd, GHOST_IOC_SW_GET_INFO, address);
    return result < 0 ? result : words[INFO.index];
  }

  /** Creates a queue. */
  createQueue(elem_count: number, numa_node: number, flags: number): QueueFile | number {
    const { words, address } = this.#create;
    words[CREATE.elems] = elem_count;
    words[CREATE.node] = numa_node;
    words[CREATE.flags] = flags;
    const fd = this.ioctl(this.fd, GHOST_IOC_CREATE_QUEUE, address);
    return fd < 0 ? fd : { fd, size_bytes: words[CREATE.mapsize] };
  }

  /** Sets the queue of new tasks. */
  setDefaultQueue(queue_fd: number): number {
    this.#default.words[0] = queue_fd;
    return this.ioctl(this.fd, GHOST_IOC_SET_DEFAULT_QUEUE, this.#default.address);
  }

  /** Sets whose agents a message wakes; none: the queue is polled. */
  configQueueWakeup(queue_fd: number, cpus: readonly number[], flags: number): number {
    if (cpus.length > GHOST_MAX_WINFO) return -EINVAL;
    const { words, address } = this.#wakeup;
    for (const [n, cpu] of cpus.entries()) this.#wakeup_list.words[2 * n] = cpu;
    words[WAKEUP.qfd] = queue_fd;
    words[WAKEUP.ninfo] = cpus.length;
    words[WAKEUP.flags] = flags;
    return this.ioctl(this.fd, GHOST_IOC_CONFIG_QUEUE_WAKEUP, address);
  }

  /** Associates an agent's messages with a queue; kernels refuse it with −EINVAL so far. */
  associateAgent(queue_fd: number, cpu: number, barrier: number): number {
    const { words } = this.#assoc;
    words[ASSOC.type] = GHOST_AGENT;
    const result = this.associate(queue_fd, cpu, 0, barrier);
    words[ASSOC.type] = GHOST_TASK;
    return result;
  }

  // ---- the scheduling path: nothing is allocated ----

  /** See `AgentPort.associate`. */
  associate(queue_fd: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    const { words, address } = this.#assoc;
    words[ASSOC.fd] = queue_fd;
    words[ASSOC.arg] = gtid_lo;
    words[ASSOC.arg + 1] = gtid_hi;
    words[ASSOC.barrier] = barrier;
    return this.ioctl(this.fd, this.#assoc_code, address);
  }

  /** See `AgentPort.freeStatusWord`. */
  freeStatusWord(index: number): number {
    const { words, address } = this.#free;
    words[FREE.index] = index;
    return this.ioctl(this.fd, this.#free_code, address);
  }

  /** Commits the open transaction of one CPU. */
  commit(cpu: number): number {
    const mask = this.#mask;
    mask[cpu >> 5] = 1 << (cpu & 31);
    const result = this.ioctl(this.fd, this.commit_code, this.#commit.address);
    mask[cpu >> 5] = 0;
    return result;
  }

  /** Commits the open transactions of the CPUs in a mask. */
  commitGroup(cpu_mask: Int32Array): number {
    return this.#commitMask(this.commit_code, cpu_mask);
  }

  /** Commits all or none: 1 or 0. */
  commitSyncGroup(cpu_mask: Int32Array): number {
    return this.#commitMask(this.#sync_code, cpu_mask);
  }

  #commitMask(code: number, cpu_mask: Int32Array): number {
    const mask = this.#mask;
    for (let word = 0; word < cpu_mask.length; word++) mask[word] = cpu_mask[word];
    const result = this.ioctl(this.fd, code, this.#commit.address);
    for (let word = 0; word < cpu_mask.length; word++) mask[word] = 0;
    return result;
  }

  /** Runtime of a task in ns. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number {
    const { words, address } = this.#time;
    words[TIME.gtid] = gtid_lo;
    words[TIME.gtid + 1] = gtid_hi;
    const result = this.ioctl(this.fd, this.#time_code, address);
    if (result < 0) return result;
    return (words[TIME.runtime] >>> 0) + (words[TIME.runtime + 1] >>> 0) * TWO_TO_32;
  }

  /** See `AgentPort.armTimer`; the expiry is told to the agent of `cpu`. */
  armTimer(
    timer_fd: number,
    cpu: number,
    deadline_ns: number,
    type: number,
    cookie: number,
  ): number {
    const { words, address } = this.#timer;
    const spec = this.#spec.words;
    const is_armed = deadline_ns > 0;
    const whole_ns = Math.ceil(deadline_ns);
    const second = is_armed ? Math.floor(whole_ns / NS_PER_S) : 0;
    spec[SPEC.value_s] = second;
    spec[SPEC.value_ns] = is_armed ? whole_ns - second * NS_PER_S : 0;
    words[TIMER.timerfd] = timer_fd;
    words[TIMER.cpu] = is_armed ? cpu : -1;
    words[TIMER.ghost_flags] = is_armed ? TIMERFD_GHOST_ENABLED : 0;
    words[TIMER.type] = type;
    words[TIMER.cookie] = cookie;
    return this.ioctl(this.fd, this.#timer_code, address);
  }

  /** Gives the CPU of the calling agent away until it is woken. */
  localYield(cpu: number, agent_barrier: number, run_flags: number): number {
    const { words, address } = this.#yield;
    words[RUN.agent_barrier] = agent_barrier;
    words[RUN.run_cpu] = cpu;
    words[RUN.run_flags] = run_flags;
    return this.ioctl(this.fd, this.run_code, address);
  }

  /** Wakes an agent of the calling process. */
  ping(cpu: number): number {
    const { words, address } = this.#ping;
    words[RUN.run_cpu] = cpu;
    return this.ioctl(this.fd, this.run_code, address);
  }
}
