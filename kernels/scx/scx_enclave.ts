/**
 * An enclave under sched_ext: the control plane of kernels/kernel.ts on the scx program's maps and
 * its control program. What that program does not check is checked here.
 *
 * @module
 */
import {
  CPU_DATA_BYTES,
  GHOST_MAX_QUEUE_ELEMS,
  GHOST_MAX_WINFO,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
  RING_MSGS_WORD,
  RING_SLOT_BYTES,
} from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { SATELLITE_SCX, startSatellite } from "../../ffi/satellite.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { tidOf } from "../../lib/gtid.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import type { MappedEnclave, MemoryRegion, Satellite } from "../agent_spec.ts";
import { EBADF, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EXDEV, type Queue } from "../kernel.ts";
import { joinThread, leaveExt } from "./membership.ts";
import {
  maskOfCpus,
  QUEUE_STRIDE_BYTES,
  SCX_CPU_COUNT,
  SCX_OP,
  SCX_TUNABLES,
  SW_REGION_BYTES,
  TURN_BYTES,
} from "./scx_layout.ts";
import { placeNumbers, ScxAgentPort } from "./scx_port.ts";
import type { ScxProgram } from "./scx_program.ts";

const PAGE_BYTES = 4096;
const QUEUE_HEADER_WORDS = 16;
const RUNNABLE_TIMEOUT = "runnable_timeout";
const TUNABLES: readonly string[] = [...SCX_TUNABLES, RUNNABLE_TIMEOUT];
/** Of no process: a thread that is not there has none, either, as its files are read. */
const NO_PID = -1;
/** A thread that forks while the enclave ends may leave another one behind: look again. */
const LEAVE_ROUNDS = 100;

/** What the enclaves of one kernel share. */
export interface ScxShared {
  /** The program. */
  readonly program: ScxProgram;
  /** Time in ns that an agent looks for work before it sleeps. */
  readonly spin_ns: number;
  /** Threads of this process and its tree may join, which stalls agents that wait for them. */
  readonly allows_relatives: boolean;
  /** CPUs of the host that are online. */
  readonly online_cpus: ReadonlySet<number>;
  /** NUMA nodes of the host. */
  readonly nodes: ReadonlySet<number>;
  /** Enclaves by index. */
  readonly enclaves: Map<number, ScxEnclave>;
}

function view(region: MemoryRegion): Int32Array {
  return new Int32Array(bufferAt(region.address, region.size_bytes));
}

function queueBytes(elem_count: number): number {
  const bytes = (QUEUE_HEADER_WORDS + RING_MSGS_WORD) * 4 + elem_count * RING_SLOT_BYTES;
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** A queue with its place. */
interface ScxQueue extends Queue {
  readonly region: MemoryRegion;
}

/** One enclave. */
export class ScxEnclave implements MappedEnclave {
  /** See {@linkcode EnclaveControl.id}. */
  readonly id: number;
  /** See {@linkcode EnclaveControl.cpu_data}. */
  readonly cpu_data: Int32Array;
  /** See {@linkcode EnclaveControl.status_words}. */
  readonly status_words: Int32Array;
  /** See {@linkcode MappedEnclave.status_region}. */
  readonly status_region: MemoryRegion;
  /** See {@linkcode MappedEnclave.cpu_data_region}. */
  readonly cpu_data_region: MemoryRegion;
  /** See {@linkcode MappedEnclave.port_handles}. */
  readonly port_handles: Readonly<Record<string, number>>;
  readonly #index: number;
  readonly #shared: ScxShared;
  readonly #status: StatusWordTable;
  readonly #queues = new Map<number, ScxQueue>();
  readonly #tunables = new Map<string, number>();
  #cpus: readonly number[] = [];
  #default_queue = -1;
  #is_online = false;
  #is_destroyed = false;

  /** Made by ScxKernel, once the program has made it. */
  constructor(shared: ScxShared, index: number) {
    const { program } = shared;
    this.#shared = shared;
    this.#index = index;
    this.id = index + 1;
    const data_bytes = SCX_CPU_COUNT * CPU_DATA_BYTES;
    this.cpu_data_region = program.region("cpu_data", index * data_bytes, data_bytes);
    this.status_region = program.region("status_words", index * SW_REGION_BYTES, SW_REGION_BYTES);
    this.cpu_data = view(this.cpu_data_region);
    this.status_words = view(this.status_region);
    this.#status = new StatusWordTable(HARDWARE_MEMORY, this.status_words);
    this.port_handles = {
      commit_fd: program.fd("ghost_commit"),
      control_fd: program.fd("ghost_control"),
      doorbells_fd: program.fd("doorbells"),
      turns: program.region("turns", 0, SCX_CPU_COUNT * TURN_BYTES).address,
      enclave: index,
      spin_ns: shared.spin_ns,
    };
  }

  #call(op: number, a = 0, b = 0, lo = 0, hi = 0): number {
    return this.#shared.program.call(op, this.#index, a, b, lo, hi);
  }

  /** −ENODEV once the enclave is gone. */
  #gone(): number {
    return this.isDestroyed() ? -ENODEV : 0;
  }

  /** See {@linkcode EnclaveControl.cpus}. */
  cpus(): readonly number[] {
    return this.#cpus;
  }

  /** See {@linkcode EnclaveControl.setCpus}. */
  setCpus(cpus: readonly number[]): number {
    if (this.isDestroyed()) return -EXDEV;
    const { online_cpus, enclaves } = this.#shared;
    const others = [...enclaves.values()].filter((enclave) => enclave !== this);
    for (const cpu of cpus) {
      if (!online_cpus.has(cpu) || cpu >= SCX_CPU_COUNT) return -ENODEV;
      if (others.some((enclave) => enclave.#cpus.includes(cpu))) return -EBUSY;
    }
    const removed = this.#cpus.filter((cpu) => !cpus.includes(cpu));
    if (removed.some((cpu) => this.#call(SCX_OP.agent_word, cpu) >= 0)) return -EEXIST;
    const result = this.#call(SCX_OP.enclave_cpus, 0, 0, ...maskOfCpus(cpus));
    if (result === 0) this.#cpus = [...new Set(cpus)].sort((a, b) => a - b);
    return result;
  }

  /** See {@linkcode EnclaveControl.createQueue}. */
  createQueue(elem_count: number, numa_node: number, flags: number): Queue | number {
    if (this.#gone() < 0) return -ENODEV;
    const is_power = elem_count > 0 && (elem_count & (elem_count - 1)) === 0;
    if (!is_power || elem_count > GHOST_MAX_QUEUE_ELEMS) return -EINVAL;
    if (flags !== 0 || !this.#shared.nodes.has(numa_node)) return -EINVAL;
    const id = this.#call(SCX_OP.queue_create, elem_count);
    if (id < 0) return id;
    const bytes = queueBytes(elem_count);
    const region = this.#shared.program.region("queues", id * QUEUE_STRIDE_BYTES, bytes);
    const queue = { id, words: view(region), elem_count, region };
    this.#queues.set(id, queue);
    return queue;
  }

  /** See {@linkcode MappedEnclave.queueRegion}. */
  queueRegion(queue_id: number): MemoryRegion {
    const queue = this.#queues.get(queue_id);
    assertInvariant(queue !== undefined, `no queue ${queue_id}`);
    return queue.region;
  }

  /** See {@linkcode EnclaveControl.closeQueue}; the mapping stays, views of it may be about. */
  closeQueue(queue_id: number): number {
    if (!this.#queues.delete(queue_id)) return -EBADF;
    if (this.#default_queue === queue_id) this.#default_queue = -1;
    return this.isDestroyed() ? 0 : this.#call(SCX_OP.queue_close, queue_id);
  }

  /** See {@linkcode EnclaveControl.setDefaultQueue}. */
  setDefaultQueue(queue_id: number): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.#queues.has(queue_id)) {
      const others = [...this.#shared.enclaves.values()];
      return others.some((enclave) => enclave.#queues.has(queue_id)) ? -EINVAL : -EBADF;
    }
    const result = this.#call(SCX_OP.queue_default, queue_id);
    if (result === 0) this.#default_queue = queue_id;
    return result;
  }

  /** See {@linkcode EnclaveControl.configQueueWakeup}. */
  configQueueWakeup(queue_id: number, cpus: readonly number[], flags: number): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!this.#queues.has(queue_id)) return -EBADF;
    if (flags !== 0 || cpus.length > GHOST_MAX_WINFO) return -EINVAL;
    if (!cpus.every((cpu) => this.#cpus.includes(cpu))) return -EINVAL;
    return this.#call(SCX_OP.queue_wakeup, queue_id, cpus.length, cpus[0] ?? 0, cpus[1] ?? 0);
  }

  /** See {@linkcode EnclaveControl.becomeAgent}; makes the calling thread SCHED_FIFO. */
  becomeAgent(cpu: number, queue_id: number): ScxAgentPort | number {
    if (this.#gone() < 0) return -ENODEV;
    return ScxAgentPort.become({
      handles: this.port_handles,
      cpu,
      queue_id,
      status_address: this.status_region.address,
      cpu_data_address: this.cpu_data_region.address,
    });
  }

  /** See {@linkcode MappedEnclave.startSatellite}. */
  startSatellite(cpu: number, queue_id: number): Satellite | number {
    if (this.#gone() < 0) return -ENODEV;
    const { control_fd, enclave } = this.port_handles;
    const words_address = this.status_region.address;
    const place = placeNumbers({
      handles: this.port_handles,
      cpu,
      queue_id,
      status_address: words_address,
      cpu_data_address: this.cpu_data_region.address,
    });
    const where = [control_fd, enclave, words_address, ...place];
    return startSatellite(loadShim(), { kind: SATELLITE_SCX, cpu, pin_cpu: cpu, where });
  }

  /** See {@linkcode EnclaveControl.associateAgent}. */
  associateAgent(queue_id: number, cpu: number, barrier: number): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#call(SCX_OP.agent_associate, cpu, queue_id, barrier);
  }

  /** See {@linkcode EnclaveControl.agentStatusIndex}. */
  agentStatusIndex(cpu: number): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#call(SCX_OP.agent_word, cpu);
  }

  /** See {@linkcode EnclaveControl.taskStatusIndex}. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#call(SCX_OP.task_word, 0, 0, gtid_lo, gtid_hi);
  }

  /** See {@linkcode EnclaveCalls.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#call(SCX_OP.task_associate, queue_id, barrier, gtid_lo, gtid_hi);
  }

  /** See {@linkcode EnclaveCalls.freeStatusWord}. */
  freeStatusWord(index: number): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#call(SCX_OP.word_free, index);
  }

  /** See {@linkcode MappedEnclave.wakeAgent}. */
  wakeAgent(cpu: number): number {
    return this.#call(SCX_OP.agent_wake, cpu, 1);
  }

  /** See {@linkcode MappedEnclave.agentDied}. */
  agentDied(cpu: number): void {
    this.#call(SCX_OP.agent_leave, cpu);
  }

  /** See {@linkcode EnclaveControl.setOnline}. */
  setOnline(online: boolean): number {
    if (online && this.#gone() < 0) return -ENODEV;
    if (online && this.#is_online) return -EBUSY;
    this.#is_online = online;
    return this.isDestroyed() ? 0 : this.#call(SCX_OP.online, online ? 1 : 0);
  }

  /** See {@linkcode EnclaveControl.isOnline}. */
  isOnline(): boolean {
    return this.#is_online && !this.isDestroyed();
  }

  /** See {@linkcode EnclaveControl.discoverTasks}. */
  discoverTasks(): number {
    if (this.#gone() < 0) return -ENODEV;
    for (const index of this.#taskIndices()) this.#call(SCX_OP.discover, index);
    return 0;
  }

  #taskIndices(): number[] {
    const indices: number[] = [];
    const wanted = GHOST_SW_F_INUSE;
    const mask = GHOST_SW_F_INUSE | GHOST_SW_F_CANFREE | GHOST_SW_TASK_IS_AGENT;
    for (let index = 0; index < this.#status.capacity; index++) {
      if ((this.#status.flags(index) & mask) === wanted) indices.push(index);
    }
    return indices;
  }

  /** See {@linkcode EnclaveControl.join}; −EPERM also for threads of this process and its tree. */
  join(tid: number): number {
    if (this.isDestroyed()) return -EXDEV;
    const call = this.#shared.program.call.bind(this.#shared.program);
    const owner_pid = this.#shared.allows_relatives ? NO_PID : Deno.pid;
    return joinThread(call, this.#index, tid, owner_pid);
  }

  /** See {@linkcode EnclaveControl.taskTids}. */
  taskTids(): readonly number[] {
    if (this.isDestroyed()) return [];
    return this.#taskIndices().map((index) => tidOf(this.#status.gtidHi(index)));
  }

  /** See {@linkcode EnclaveControl.readTunable}. */
  readTunable(name: string): number {
    if (this.#gone() < 0) return -ENODEV;
    return this.#tunables.get(name) ?? (TUNABLES.includes(name) ? 0 : -ENOENT);
  }

  /** See {@linkcode EnclaveControl.writeTunable}. */
  writeTunable(name: string, value: number): number {
    if (this.#gone() < 0) return -ENODEV;
    if (!TUNABLES.includes(name)) return -ENOENT;
    const is_time = name === RUNNABLE_TIMEOUT;
    if ((value | 0) !== value || (is_time && value < 0)) return -EINVAL;
    const stored = is_time ? value : Number(value !== 0);
    this.#tunables.set(name, stored);
    if (is_time) return this.#call(SCX_OP.wait_limit, stored);
    return this.#call(SCX_OP.tunable, SCX_TUNABLES.indexOf(name), stored);
  }

  /** See {@linkcode EnclaveControl.destroy}: its threads go back to the default scheduler. */
  destroy(): number {
    if (this.#is_destroyed) return -ENODEV;
    const is_loaded = !this.isDestroyed();
    const tids = this.#taskIndices().map((index) => tidOf(this.#status.gtidHi(index)));
    this.#is_destroyed = true;
    this.#is_online = false;
    this.#cpus = [];
    this.#shared.enclaves.delete(this.#index);
    this.#call(SCX_OP.enclave_destroy);
    let left = tids;
    for (let round = 0; left.length > 0 && round < LEAVE_ROUNDS; round++) {
      for (const tid of left) leaveExt(tid);
      left = is_loaded ? this.#taskIndices().map((index) => tidOf(this.#status.gtidHi(index))) : [];
    }
    this.#call(SCX_OP.enclave_destroy);
    return 0;
  }

  /** See {@linkcode EnclaveControl.isDestroyed}: also when the kernel has unloaded the program. */
  isDestroyed(): boolean {
    return this.#is_destroyed || !this.#shared.program.isLoaded();
  }
}
