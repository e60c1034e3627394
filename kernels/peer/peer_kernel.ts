/**
 * The native peer behind the {@linkcode Kernel} contract, as far as agents' threads need it: one
 * enclave, whose "CPUs" and "tasks" are made up by C threads. A test partner, never chosen by
 * `--kernel=auto`, and no kernel: it schedules no thread of this host.
 *
 * @module
 */
import { type Abi, abiOf } from "../../ffi/abi/abi.ts";
import { CPU_DATA_BYTES } from "../../ffi/abi/constants.ts";
import { check } from "../../ffi/errors.ts";
import { HARDWARE_MEMORY, type Memory } from "../../ffi/memory.ts";
import { loadPeer, type PeerLibrary } from "../../ffi/peer.ts";
import { SATELLITE_PEER, startSatellite } from "../../ffi/satellite.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import type {
  AgentSpec,
  MappedEnclave,
  MemoryRegion,
  PortOpener,
  Satellite,
} from "../agent_spec.ts";
import {
  type Capability,
  type CpuRaw,
  EBUSY,
  EINVAL,
  ENODEV,
  ENOENT,
  ESRCH,
  type Kernel,
  type Queue,
} from "../kernel.ts";
import { endHurry } from "../hurry.ts";
import { PeerAgentPort } from "./peer_port.ts";
import { PEER_REPORT_LENGTH, type PeerReport, peerReport } from "./peer_report.ts";

/** What a peer plays. */
export interface PeerOptions {
  /** CPUs, up to 64; they are threads and need no CPU of this host each. */
  readonly cpu_count: number;
  /** ABI version. */
  readonly abi_version?: number;
  /** Which of its CPUs share what; each is a core of its own if left out. */
  readonly cpu_rows?: readonly CpuRaw[];
  /** Tasks that come, run and exit. */
  readonly task_count?: number;
  /** Status words. */
  readonly status_word_capacity?: number;
  /** Threads that wake, change and move tasks, up to 16. */
  readonly producer_count?: number;
  /** Runs of a task until it exits. */
  readonly round_count?: number;
  /** Longest run in ns. */
  readonly run_ns_max?: number;
  /** Transactions refused for no reason, in 1/10000. */
  readonly refuse_per_10000?: number;
  /** Nothing happens but what {@linkcode PeerKernel.happen} says. */
  readonly is_manual?: boolean;
  /** Seed of what is random; real threads are never repeatable, though. */
  readonly seed?: number;
}

const STATUS_WORDS = 0;
const CPU_DATA = 1;
const QUEUE_BYTES = 0;
const QUEUE_ADDRESS = 1;

/** A queue of the peer, with its address for agents' threads. */
export interface PeerQueue extends Queue {
  /** Where it is mapped. */
  readonly region: MemoryRegion;
}

function view(region: MemoryRegion): Int32Array {
  return new Int32Array(bufferAt(region.address, region.size_bytes));
}

/** The one enclave of a peer. */
export class PeerEnclave implements MappedEnclave {
  /** See {@linkcode EnclaveControl.id}. */
  readonly id = 1;
  /** See {@linkcode EnclaveControl.cpu_data}. */
  readonly cpu_data: Int32Array;
  /** See {@linkcode EnclaveControl.status_words}. */
  readonly status_words: Int32Array;
  /** Where the transaction records are mapped. */
  readonly cpu_data_region: MemoryRegion;
  /** Where the status words are mapped. */
  readonly status_region: MemoryRegion;
  /** Handle for the native functions. */
  readonly handle: number;
  /** See {@linkcode MappedEnclave.port_handles}. */
  readonly port_handles: Readonly<Record<string, number>>;
  readonly #native: PeerLibrary;
  readonly #cpus: readonly number[];
  readonly #queues = new Map<number, PeerQueue>();
  #is_online = false;
  #is_destroyed = false;

  /** Made by {@linkcode PeerKernel}. */
  constructor(handle: number, cpu_count: number) {
    const native = loadPeer();
    this.#native = native;
    this.handle = handle;
    this.port_handles = { handle };
    this.#cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    this.cpu_data_region = {
      address: native.address(handle, CPU_DATA),
      size_bytes: cpu_count * CPU_DATA_BYTES,
    };
    this.status_region = {
      address: native.address(handle, STATUS_WORDS),
      size_bytes: native.statusBytes(handle),
    };
    this.cpu_data = view(this.cpu_data_region);
    this.status_words = view(this.status_region);
  }

  /** See {@linkcode EnclaveControl.cpus}. */
  cpus(): readonly number[] {
    return this.#cpus;
  }

  /** See {@linkcode EnclaveControl.setCpus}; a peer's CPUs are fixed. */
  setCpus(cpus: readonly number[]): number {
    return cpus.join() === this.#cpus.join() ? 0 : -EINVAL;
  }

  /** See {@linkcode EnclaveControl.createQueue}. */
  createQueue(elem_count: number, numa_node: number, flags: number): PeerQueue | number {
    const id = this.#native.createQueue(this.handle, elem_count, numa_node, flags);
    if (id < 0) return id;
    const region = {
      address: this.#native.queueInfo(this.handle, id, QUEUE_ADDRESS),
      size_bytes: this.#native.queueInfo(this.handle, id, QUEUE_BYTES),
    };
    const queue = { id, words: view(region), elem_count, region };
    this.#queues.set(id, queue);
    return queue;
  }

  /** The region of a queue. */
  queueRegion(queue_id: number): MemoryRegion {
    const queue = this.#queues.get(queue_id);
    assertInvariant(queue !== undefined, `no queue ${queue_id}`);
    return queue.region;
  }

  /** See {@linkcode EnclaveControl.closeQueue}. */
  closeQueue(queue_id: number): number {
    this.#queues.delete(queue_id);
    return this.#native.closeQueue(this.handle, queue_id);
  }

  /** See {@linkcode EnclaveControl.setDefaultQueue}. */
  setDefaultQueue(queue_id: number): number {
    return this.#native.setDefaultQueue(this.handle, queue_id);
  }

  /** See {@linkcode EnclaveControl.configQueueWakeup}. */
  configQueueWakeup(queue_id: number, cpus: readonly number[], flags: number): number {
    if (flags !== 0) return -EINVAL;
    const [cpu_a = 0, cpu_b = 0] = cpus;
    return this.#native.configWakeup(this.handle, queue_id, cpus.length, cpu_a, cpu_b);
  }

  /** See {@linkcode EnclaveControl.becomeAgent}. */
  becomeAgent(cpu: number, queue_id: number): PeerAgentPort | number {
    const status_index = this.#native.becomeAgent(this.handle, cpu, queue_id);
    return status_index < 0 ? status_index : new PeerAgentPort(this.handle, cpu, status_index);
  }

  /** See {@linkcode EnclaveControl.associateAgent}; the peer has no such call. */
  associateAgent(_queue_id: number, _cpu: number, _barrier: number): number {
    return -EINVAL;
  }

  /** See {@linkcode EnclaveControl.agentStatusIndex}. */
  agentStatusIndex(cpu: number): number {
    return this.#native.agentWord(this.handle, cpu);
  }

  /** See {@linkcode EnclaveControl.taskStatusIndex}. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number {
    return this.#native.taskWord(this.handle, gtid_lo, gtid_hi);
  }

  /** See {@linkcode EnclaveCalls.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    return this.#native.associate(this.handle, queue_id, gtid_lo, gtid_hi, barrier);
  }

  /** See {@linkcode EnclaveCalls.freeStatusWord}. */
  freeStatusWord(index: number): number {
    return this.#native.freeWord(this.handle, index);
  }

  /** See {@linkcode MappedEnclave.wakeAgent}. */
  wakeAgent(cpu: number): number {
    return this.#native.ping(this.handle, cpu);
  }

  /** See {@linkcode MappedEnclave.agentDied}. */
  agentDied(cpu: number): void {
    this.#native.leave(this.handle, cpu);
  }

  /** See {@linkcode MappedEnclave.startSatellite}. */
  startSatellite(cpu: number, queue_id: number): Satellite | number {
    const where = [this.handle, queue_id];
    return startSatellite(loadShim(), { kind: SATELLITE_PEER, cpu, pin_cpu: -1, where });
  }

  /** See {@linkcode EnclaveControl.setOnline}. */
  setOnline(online: boolean): number {
    const result = this.#native.setOnline(this.handle, online ? 1 : 0);
    if (result >= 0) this.#is_online = online;
    return result;
  }

  /** See {@linkcode EnclaveControl.isOnline}. */
  isOnline(): boolean {
    return this.#is_online;
  }

  /** See {@linkcode EnclaveControl.discoverTasks}; a peer's tasks come when agents are there. */
  discoverTasks(): number {
    return 0;
  }

  /** See {@linkcode EnclaveControl.join}; no thread of this host can. */
  join(_tid: number): number {
    return -ESRCH;
  }

  /** See {@linkcode EnclaveControl.taskTids}. */
  taskTids(): readonly number[] {
    return [];
  }

  /** See {@linkcode EnclaveControl.readTunable}; a peer has none. */
  readTunable(_name: string): number {
    return -ENOENT;
  }

  /** See {@linkcode EnclaveControl.writeTunable}; a peer has none. */
  writeTunable(_name: string, _value: number): number {
    return -ENOENT;
  }

  /** See {@linkcode EnclaveControl.destroy}: the peer's threads end, its memory stays. */
  destroy(): number {
    if (this.#is_destroyed) return -ENODEV;
    this.#is_destroyed = true;
    this.#is_online = false;
    return this.#native.stop(this.handle);
  }

  /** See {@linkcode EnclaveControl.isDestroyed}. */
  isDestroyed(): boolean {
    return this.#is_destroyed;
  }
}

/** How a thread becomes an agent of a peer. */
export const PEER_OPENER: PortOpener = {
  open: ({ port_handles: { handle }, cpu, cpus, queue_ids }: AgentSpec) => {
    const status_index = loadPeer().becomeAgent(handle, cpu, queue_ids[cpus.indexOf(cpu)]);
    if (status_index < 0) return status_index;
    endHurry(); // agents of a kernel have a class of their own from here on
    return new PeerAgentPort(handle, cpu, status_index);
  },
  dry: (cpu, status_index) => PeerAgentPort.dry(cpu, status_index),
};

/** A native peer. */
export class PeerKernel implements Kernel {
  /** See {@linkcode Kernel.kind}. */
  readonly kind = "peer";
  /** See {@linkcode Kernel.abi}. */
  readonly abi: Abi;
  /** See {@linkcode Kernel.capabilities}. */
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>([
    "group_commit",
    "sync_group",
    "timers",
    "switchto",
    "on_cpu_message",
    "greedy_commit",
  ]);
  /** See {@linkcode Kernel.memory}. */
  readonly memory: Memory = HARDWARE_MEMORY;
  readonly #native: PeerLibrary;
  readonly #cpu_count: number;
  readonly #handle: number;
  readonly #cpu_rows: readonly CpuRaw[] | undefined;
  #enclave: PeerEnclave | undefined;

  /**
   * Makes a peer; nothing happens in it before {@linkcode start}.
   *
   * @param options What it plays.
   * @throws {SystemError} If there is no memory for it, or a number is out of range.
   */
  constructor(options: PeerOptions) {
    const abi = abiOf(options.abi_version ?? 91);
    assertInvariant(abi !== undefined, `no table for ABI ${options.abi_version}`);
    this.abi = abi;
    this.#cpu_count = options.cpu_count;
    this.#cpu_rows = options.cpu_rows;
    loadShim();
    this.#native = loadPeer();
    const config = Float64Array.of(
      abi.version,
      options.cpu_count,
      options.task_count ?? 0,
      options.status_word_capacity ?? 1024,
      options.producer_count ?? 0,
      options.round_count ?? 1,
      options.run_ns_max ?? 20_000,
      options.refuse_per_10000 ?? 0,
      options.is_manual ? 1 : 0,
      options.seed ?? 1,
    );
    this.#handle = check("peer_create", this.#native.create(config));
  }

  /** See {@linkcode Kernel.abiVersions}. */
  abiVersions(): readonly number[] {
    return [this.abi.version];
  }

  /** See {@linkcode Kernel.cpuRows}. */
  cpuRows(): readonly CpuRaw[] {
    return this.#cpu_rows ?? Array.from({ length: this.#cpu_count }, (_, cpu) => ({
      cpu,
      core: cpu,
      smt_idx: 0,
      siblings: [cpu],
      l3_siblings: [],
      numa_node: 0,
    }));
  }

  /** See {@linkcode Kernel.nowNs}. */
  nowNs(): number {
    return loadShim().clockMonotonicNs();
  }

  /** See {@linkcode Kernel.createEnclave}; there is one, of all CPUs. */
  createEnclave(cpus: readonly number[], abi_version: number): PeerEnclave | number {
    if (abi_version !== this.abi.version) return -ESRCH;
    if (this.#enclave !== undefined) return -EBUSY;
    const enclave = new PeerEnclave(this.#handle, this.#cpu_count);
    const result = enclave.setCpus(cpus);
    if (result < 0) return result;
    return this.#enclave = enclave;
  }

  /** See {@linkcode Kernel.attachEnclave}. */
  attachEnclave(id: number): PeerEnclave | number {
    return this.#enclave?.id === id ? this.#enclave : -ENOENT;
  }

  /** See {@linkcode Kernel.enclaveIds}. */
  enclaveIds(): readonly number[] {
    return this.#enclave === undefined || this.#enclave.isDestroyed() ? [] : [this.#enclave.id];
  }

  /** Lets things happen: starts the threads of the CPUs and the producers. */
  start(): void {
    check("peer_start", this.#native.start(this.#handle));
  }

  /**
   * Lets one thing happen to a task of a manual peer.
   *
   * @param slot Number of the task, from 0.
   * @param message_type The message that tells of it.
   * @returns 0, −ENOENT, or −EINVAL if it cannot happen now.
   */
  happen(slot: number, message_type: number): number {
    return this.#native.happen(this.#handle, slot, message_type);
  }

  /** State of a task: 0 out, 1 blocked, 2 ready, 3 latched, 4 running, 5 gone. */
  taskState(slot: number): number {
    return this.#native.taskState(this.#handle, slot);
  }

  /** State of the agent of a CPU: 0 none, 1 blocked, 2 ready, 3 running. */
  agentState(cpu: number): number {
    return this.#native.agentState(this.#handle, cpu);
  }

  /** What has been counted so far. */
  report(): PeerReport {
    const values = new Float64Array(PEER_REPORT_LENGTH);
    this.#native.report(this.#handle, values);
    return peerReport(values);
  }

  /** Ends the threads and gives the memory back; no view of it may be used any more. */
  close(): void {
    if (this.#enclave === undefined || !this.#enclave.isDestroyed()) {
      this.#native.stop(this.#handle);
    }
    this.#native.free(this.#handle);
  }
}
