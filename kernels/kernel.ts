/**
 * The contract between a policy's runtime and a kernel: what the ghOSt kernel offers through
 * ghostfs and ioctls, stated once, so that the ghOSt kernel, sched_ext and the simulator can each
 * stand under the same code. Every call returns a value ≥ 0, or −errno; nothing here throws.
 *
 * @module
 */
import type { Abi } from "../ffi/abi/abi.ts";
import type { Memory } from "../ffi/memory.ts";

/** The kernels that implement this contract. `peer` is the native in-memory peer of the tests. */
export type KernelKind = "ghost" | "scx" | "sim" | "peer";

/** What a kernel may or may not be able to do; a policy lists those it cannot do without. */
export type Capability =
  | "group_commit"
  | "sync_group"
  | "greedy_commit"
  | "ticks"
  | "timers"
  | "switchto"
  | "priority_changed"
  | "latch_failure"
  | "on_cpu_message"
  | "cpu_not_idle"
  | "cpu_availability"
  | "agent_runnability"
  | "upgrade"
  | "runnable_timeout";

/** One CPU as the host describes it. */
export interface CpuRaw {
  /** CPU number. */
  readonly cpu: number;
  /** Number of the physical core: its lowest sibling. */
  readonly core: number;
  /** Position among the siblings. */
  readonly smt_idx: number;
  /** Hardware threads of the same core, ascending, this CPU included. */
  readonly siblings: readonly number[];
  /** CPUs that share the last-level cache; empty if the host does not say. */
  readonly l3_siblings: readonly number[];
  /** NUMA node. */
  readonly numa_node: number;
}

// errno values that the contract names.

/** Not permitted. */
export const EPERM = 1;
/** No such thing. */
export const ENOENT = 2;
/** No such task. */
export const ESRCH = 3;
/** Interrupted. */
export const EINTR = 4;
/** No such CPU or unit. */
export const ENXIO = 6;
/** No such queue. */
export const EBADF = 9;
/** Try again. */
export const EAGAIN = 11;
/** No memory. */
export const ENOMEM = 12;
/** Opened without the right to write. */
export const EACCES = 13;
/** In use. */
export const EBUSY = 16;
/** Exists already. */
export const EEXIST = 17;
/** Belongs to another enclave. */
export const EXDEV = 18;
/** The enclave is going or gone. */
export const ENODEV = 19;
/** Invalid argument. */
export const EINVAL = 22;
/** No room left. */
export const ENOSPC = 28;
/** Too large. */
export const EOVERFLOW = 75;
/** The barrier moved on. */
export const ESTALE = 116;

/** A message queue as its owner sees it. */
export interface Queue {
  /** Handle of the queue (a file descriptor on real kernels), unique in the enclave. */
  readonly id: number;
  /** The mapping: `ghost_queue_header`, then `ghost_ring`. */
  readonly words: Int32Array;
  /** Capacity in 8-byte slots; a power of two. */
  readonly elem_count: number;
}

/** Calls that do not need to be made by an agent, yet are on the scheduling path. */
export interface EnclaveCalls {
  /**
   * Sends a task's messages to another queue from now on (ASSOC_QUEUE).
   *
   * @param queue_id Queue to associate.
   * @param gtid_lo Low word of the task's gtid.
   * @param gtid_hi High word of the task's gtid.
   * @param barrier The task barrier that the caller has seen.
   * @returns GHOST_ASSOC_SF_* bits, or −EBADF, −ENOENT, −ESTALE.
   */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number;
  /** Frees a status word (SW_FREE): 0, −ENOENT for a bad index, −EINVAL if not CANFREE. */
  freeStatusWord(index: number): number;
}

/** Calls an agent makes while it has its CPU. */
export interface AgentPort extends EnclaveCalls {
  /** CPU of the agent. */
  readonly cpu: number;
  /** Index of the agent's status word in region 0. */
  readonly status_index: number;
  /** Time in ns, absolute CLOCK_MONOTONIC (virtual on sim). */
  nowNs(): number;
  /** Commits the open transaction of another CPU; the result is in the record. */
  commit(cpu: number): void;
  /**
   * Commits the open transactions of several other CPUs in one call.
   *
   * @param mask 512-bit CPU mask as 16 words.
   */
  commitGroup(mask: Int32Array): void;
  /**
   * Commits all or none (SYNC_GROUP_TXN).
   *
   * @param mask 512-bit CPU mask as 16 words.
   * @returns 1 all committed and ownership released, 0 failed.
   */
  commitSyncGroup(mask: Int32Array): number;
  /** Wakes the agent of a CPU: 0, −EINVAL (no agent or no such CPU). */
  ping(cpu: number): number;
  /** Runtime of a task in ns, or −ESRCH. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number;
  /**
   * Arms a timer whose expiry arrives as MSG_CPU_TIMER_EXPIRED in this agent's queue.
   *
   * @param deadline_ns Absolute time; 0 disarms.
   * @param type Returned in the message (low word).
   * @param cookie Returned in the message (low word).
   */
  armTimer(deadline_ns: number, type: number, cookie: number): number;
  /**
   * Commits the transaction of the own CPU and gives the CPU away. On a real kernel this returns
   * when the agent runs again; the result is read at the start of the next step.
   */
  localCommit(): number;
  /**
   * Gives the CPU away until a wake-up (RUN with gtid 0).
   *
   * @param agent_barrier Barrier read before the queue was drained.
   * @param run_flags 0 or RTLA_ON_IDLE.
   * @returns 0, −ESTALE if something happened since the barrier, −ENODEV if the enclave is gone.
   */
  localYield(agent_barrier: number, run_flags: number): number;
  /** Leaves the agent class; the agent's status word becomes free-able. */
  leave(): number;
}

/** The control plane of one enclave. */
export interface EnclaveControl extends EnclaveCalls {
  /** Number in the name `enclave_<id>`. */
  readonly id: number;
  /** `cpu_data`: the record of CPU c starts at word c × 1024. */
  readonly cpu_data: Int32Array;
  /** Status word region 0, header included. */
  readonly status_words: Int32Array;
  /** CPUs of the enclave, ascending. */
  cpus(): readonly number[];
  /** Replaces the CPU set: 0, −EBUSY, −EEXIST, −ENODEV, −EINVAL. */
  setCpus(cpus: readonly number[]): number;
  /** Creates a queue, or −EINVAL. */
  createQueue(elem_count: number, numa_node: number, flags: number): Queue | number;
  /** Closes a queue; closing the default queue leaves none. */
  closeQueue(queue_id: number): number;
  /** The queue that new tasks and agents get: 0, −EBADF, −EINVAL. */
  setDefaultQueue(queue_id: number): number;
  /** CPUs whose agent is woken by a message (at most 2; none means polled). */
  configQueueWakeup(queue_id: number, cpus: readonly number[], flags: number): number;
  /** Makes the caller the agent of a CPU; queue −1 is the default queue. */
  becomeAgent(cpu: number, queue_id: number): AgentPort | number;
  /** Sends the messages of the agent of a CPU to a queue (ASSOC_QUEUE for an agent). */
  associateAgent(queue_id: number, cpu: number, barrier: number): number;
  /** Index of the status word of an agent (by CPU), or −errno. */
  agentStatusIndex(cpu: number): number;
  /** Index of the status word of a task, or −ENOENT. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number;
  /** Opens (true) or closes (false) `agent_online`: 0 or −EBUSY. */
  setOnline(online: boolean): number;
  /** True while some process holds `agent_online`. */
  isOnline(): boolean;
  /** Asks for TASK_NEW of every task (`discover tasks`). */
  discoverTasks(): number;
  /** Moves a thread into the enclave (`tasks`): 0, −ESRCH, −EPERM, −ENXIO, −ENOMEM, −EXDEV. */
  join(tid: number): number;
  /** Threads in the enclave, agents excluded. */
  taskTids(): readonly number[];
  /** Reads a tunable: its value, or −ENOENT. */
  readTunable(name: string): number;
  /** Writes a tunable: 0, −ENOENT, −EINVAL. */
  writeTunable(name: string, value: number): number;
  /** Destroys the enclave: agents still attached are killed, tasks fall back. */
  destroy(): number;
  /** True once the enclave is gone, whoever destroyed it. */
  isDestroyed(): boolean;
}

/** A kernel that can hold enclaves. */
export interface Kernel {
  /** Which kernel this is. */
  readonly kind: KernelKind;
  /** The ABI in use. */
  readonly abi: Abi;
  /** What this kernel can do. */
  readonly capabilities: ReadonlySet<Capability>;
  /** How shared words are read and written. */
  readonly memory: Memory;
  /** ABI versions the kernel offers. */
  abiVersions(): readonly number[];
  /** The host's CPUs. */
  cpuRows(): readonly CpuRaw[];
  /** Time in ns, absolute CLOCK_MONOTONIC (virtual on sim). */
  nowNs(): number;
  /** Creates an enclave: −EBUSY if a CPU is taken, −ENODEV offline, −ESRCH ABI unknown. */
  createEnclave(cpus: readonly number[], abi_version: number): EnclaveControl | number;
  /** Opens an existing enclave, or −ENOENT. */
  attachEnclave(id: number): EnclaveControl | number;
  /** Ids of the enclaves there are. */
  enclaveIds(): readonly number[];
}
