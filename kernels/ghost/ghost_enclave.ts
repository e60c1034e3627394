/**
 * One enclave of the ghOSt kernel: files, mappings, queues and agents (reference sections 2.3 and
 * 2.4).
 *
 * @module
 */
import {
  type Abi,
  becomeAgentCommand,
  createSwRegionCommand,
  DESTROY_COMMAND,
  DISCOVER_TASKS_COMMAND,
} from "../../ffi/abi/abi.ts";
import {
  CPU_DATA_BYTES,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_IS_AGENT,
  QUEUE_NELEMS_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_ID_WORD,
  SW_REGION_START_WORD,
  SW_REGION_VERSION_WORD,
} from "../../ffi/abi/constants.ts";
import {
  AT_FDCWD,
  LOCK_EX,
  LOCK_NB,
  LOCK_UN,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import type { MappedEnclave, MemoryRegion, Satellite } from "../agent_spec.ts";
import {
  EAGAIN,
  EBADF,
  EBUSY,
  EEXIST,
  EINVAL,
  ENODEV,
  ENOENT,
  ESRCH,
  type Queue,
} from "../kernel.ts";
import { EnclaveFiles, enclavePath } from "./enclave_files.ts";
import type { GhostHost } from "./ghost_host.ts";
import { GhostIoctls, SW_REGION_ID } from "./ghost_ioctls.ts";
import { GhostMapping } from "./ghost_mapping.ts";
import { becomeGhostAgent, type GhostAgentPort } from "./ghost_port.ts";

/** How long the kernel may take to give an agent's word back after its thread has ended. */
const AGENT_WORD_MS = 200;
const AGENT_WORD_POLL_MS = 1;
const NO_FD = -1;

/** Which enclave, and how it is opened. */
export interface GhostEnclaveOptions {
  /** The host. */
  readonly host: GhostHost;
  /** Where ghostfs is mounted. */
  readonly root: string;
  /** Number of the enclave. */
  readonly id: number;
  /** ABI that it must have. */
  readonly abi: Abi;
  /** NUMA node of the status words, if they have to be made. */
  readonly numa_node: number;
}

interface OpenQueue {
  readonly queue: Queue;
  readonly mapping: GhostMapping;
}

/** An enclave of the ghOSt kernel. */
export class GhostEnclave implements MappedEnclave {
  /** See {@linkcode EnclaveControl.id}. */
  readonly id: number;
  readonly #host: GhostHost;
  readonly #abi: Abi;
  readonly #dir_fd: number;
  readonly #ctl_fd: number;
  readonly #files: EnclaveFiles;
  readonly #ioctls: GhostIoctls;
  readonly #cpu_data: GhostMapping;
  readonly #status: GhostMapping;
  readonly #status_table: StatusWordTable;
  readonly #queues = new Map<number, OpenQueue>();
  readonly #closed_queues: GhostMapping[] = [];
  #cpus: readonly number[];
  #online_fd = NO_FD;
  #lock_fd = NO_FD;
  #is_destroyed = false;
  #is_released = false;

  private constructor(options: GhostEnclaveOptions, opened: OpenedFiles, maps: Mappings) {
    this.id = options.id;
    this.#host = options.host;
    this.#abi = options.abi;
    this.#dir_fd = opened.dir_fd;
    this.#ctl_fd = opened.ctl_fd;
    this.#files = opened.files;
    this.#ioctls = new GhostIoctls(options.host, opened.ctl_fd);
    this.#cpu_data = maps.cpu_data;
    this.#status = maps.status;
    this.#status_table = new StatusWordTable(HARDWARE_MEMORY, maps.status.words);
    this.#cpus = maps.cpus;
  }

  /**
   * Opens an enclave that is there, in upstream's order.
   *
   * @param options Which one.
   * @returns The enclave; or −ENOENT if there is none, −ESRCH if it has another ABI, −ENODEV if it
   * dies meanwhile, −EACCES without the right to its files, −EINVAL if its memory is not as it
   * should be, −ENOMEM. Nothing stays open then.
   */
  static open(options: GhostEnclaveOptions): GhostEnclave | number {
    const opened = openFiles(options);
    if (typeof opened === "number") return opened;
    const maps = mapEnclave(options, opened);
    if (typeof maps !== "number") return new GhostEnclave(options, opened, maps);
    options.host.close(opened.ctl_fd);
    options.host.close(opened.dir_fd);
    return maps;
  }

  /** See {@linkcode EnclaveControl.cpu_data}. */
  get cpu_data(): Int32Array {
    return this.#cpu_data.words;
  }

  /** See {@linkcode EnclaveControl.status_words}. */
  get status_words(): Int32Array {
    return this.#status.words;
  }

  /** See {@linkcode MappedEnclave.cpu_data_region}. */
  get cpu_data_region(): MemoryRegion {
    return this.#cpu_data.region;
  }

  /** See {@linkcode MappedEnclave.status_region}. */
  get status_region(): MemoryRegion {
    return this.#status.region;
  }

  /** See {@linkcode MappedEnclave.port_handles}. */
  get port_handles(): Readonly<Record<string, number>> {
    return { ctl_fd: this.#ctl_fd };
  }

  /** See {@linkcode EnclaveControl.cpus}. */
  cpus(): readonly number[] {
    return this.#cpus;
  }

  /** See {@linkcode EnclaveControl.setCpus}. */
  setCpus(cpus: readonly number[]): number {
    // The kernel takes a mask with CPUs that the host does not have, and leaves them out.
    const possible_count = this.#cpu_data.region.size_bytes / CPU_DATA_BYTES;
    const is_missing = (cpu: number): boolean => cpu >= possible_count && cpu < MAX_CPU_COUNT;
    if (cpus.some(is_missing)) return -ENODEV;
    const result = this.#files.setCpus(cpus);
    if (result >= 0) this.#cpus = [...new Set(cpus)].sort((a, b) => a - b);
    return result;
  }

  // ---- queues ----

  /** See {@linkcode EnclaveControl.createQueue}. */
  createQueue(elem_count: number, numa_node: number, flags: number): Queue | number {
    const file = this.#ioctls.createQueue(elem_count, numa_node, flags);
    if (typeof file === "number") return file;
    const mapping = GhostMapping.map(this.#host, file.fd, file.size_bytes, PROT_READ | PROT_WRITE);
    if (typeof mapping === "number") {
      this.#host.close(file.fd);
      return mapping;
    }
    const { words } = mapping;
    const queue: Queue = { id: file.fd, words, elem_count: words[QUEUE_NELEMS_WORD] };
    this.#queues.set(file.fd, { queue, mapping });
    return queue;
  }

  /** See {@linkcode MappedEnclave.queueRegion}. */
  queueRegion(queue_id: number): MemoryRegion {
    const open = this.#queues.get(queue_id);
    assertInvariant(open !== undefined, `no queue ${queue_id}`);
    return open.mapping.region;
  }

  /** See {@linkcode EnclaveControl.closeQueue}. */
  closeQueue(queue_id: number): number {
    const open = this.#queues.get(queue_id);
    if (open === undefined) return -EBADF;
    this.#queues.delete(queue_id);
    // A mapping keeps the queue as much as its descriptor does.
    open.mapping.detach(true);
    this.#closed_queues.push(open.mapping);
    const result = this.#host.close(queue_id);
    if (this.#queues.size === 0) this.#unclaim();
    return result;
  }

  /**
   * See {@linkcode EnclaveControl.setDefaultQueue}. Whoever sets it takes the enclave: −EBUSY if
   * another process has taken it, though it may not be online yet.
   */
  setDefaultQueue(queue_id: number): number {
    const claimed = this.#claim();
    return claimed < 0 ? claimed : this.#ioctls.setDefaultQueue(queue_id);
  }

  /** See {@linkcode EnclaveControl.configQueueWakeup}. */
  configQueueWakeup(queue_id: number, cpus: readonly number[], flags: number): number {
    return this.#ioctls.configQueueWakeup(queue_id, cpus, flags);
  }

  /** See {@linkcode EnclaveCalls.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    return this.#ioctls.associate(queue_id, gtid_lo, gtid_hi, barrier);
  }

  /** See {@linkcode EnclaveControl.associateAgent}. */
  associateAgent(queue_id: number, cpu: number, barrier: number): number {
    return this.#ioctls.associateAgent(queue_id, cpu, barrier);
  }

  // ---- agents and status words ----

  /** See {@linkcode EnclaveControl.becomeAgent}. */
  becomeAgent(cpu: number, queue_id: number): GhostAgentPort | number {
    const access = { ctl_fd: this.#ctl_fd, abi: this.#abi, cpu, queue_fd: queue_id };
    return becomeGhostAgent(this.#host, access);
  }

  /** See {@linkcode MappedEnclave.wakeAgent}. */
  wakeAgent(cpu: number): number {
    return this.#ioctls.ping(cpu);
  }

  /** See {@linkcode MappedEnclave.agentDied}. */
  agentDied(cpu: number): void {
    this.#ioctls.ping(cpu);
  }

  /** See {@linkcode MappedEnclave.startSatellite}. */
  startSatellite(cpu: number, queue_id: number): Satellite | number {
    const command = becomeAgentCommand(this.#abi, cpu, queue_id);
    const words_address = this.#status.region.address +
      this.#status.words[SW_REGION_START_WORD];
    const plan = { cpu, ctl_fd: this.#ctl_fd, command, words_address };
    return this.#host.startSatellite?.(plan) ?? -ENODEV;
  }

  /** See {@linkcode EnclaveControl.agentStatusIndex}. */
  agentStatusIndex(cpu: number): number {
    return this.#ioctls.agentStatusIndex(cpu);
  }

  /** See {@linkcode EnclaveControl.taskStatusIndex}. */
  taskStatusIndex(gtid_lo: number, gtid_hi: number): number {
    return this.#ioctls.taskStatusIndex(gtid_lo, gtid_hi);
  }

  /**
   * See {@linkcode EnclaveCalls.freeStatusWord}. The kernel gives an agent's word back a moment
   * after the agent's thread has ended; this waits for it.
   */
  freeStatusWord(index: number): number {
    const timeout_ms = this.#isAgentWord(index) ? AGENT_WORD_MS : 0;
    const end_ns = this.#host.nowNs() + timeout_ms * 1e6;
    let result = this.#ioctls.freeStatusWord(index);
    while (result === -EINVAL && this.#host.nowNs() < end_ns) {
      this.#host.sleepMs(AGENT_WORD_POLL_MS);
      result = this.#ioctls.freeStatusWord(index);
    }
    return result;
  }

  #isAgentWord(index: number): boolean {
    if (this.isDestroyed()) return false;
    if (index < 0 || index >= this.#status_table.capacity) return false;
    return (this.#status_table.flags(index) & GHOST_SW_TASK_IS_AGENT) !== 0;
  }

  /** An agent process that was killed could not free the words of its agents. */
  #freeOldAgentWords(): void {
    const left_over = GHOST_SW_TASK_IS_AGENT | GHOST_SW_F_CANFREE;
    const { capacity } = this.#status_table;
    for (let index = 0; index < capacity; index++) {
      if ((this.#status_table.flags(index) & left_over) !== left_over) continue;
      this.#ioctls.freeStatusWord(index);
    }
  }

  // ---- who has the enclave ----

  /**
   * Two processes that both find the enclave offline would each get some of its CPUs and wait for
   * the others' for ever. The kernel has no lock for it, so agents of this project agree on one.
   */
  #claim(): number {
    if (this.#lock_fd >= 0) return 0;
    const fd = this.#files.open("ctl", O_RDONLY);
    if (fd < 0) return fd;
    const result = this.#host.lock(fd, LOCK_EX | LOCK_NB);
    if (result >= 0) {
      this.#lock_fd = fd;
      return 0;
    }
    this.#host.close(fd);
    return result === -EAGAIN ? -EBUSY : result;
  }

  #unclaim(): void {
    if (this.#lock_fd < 0) return;
    this.#host.lock(this.#lock_fd, LOCK_UN);
    this.#host.close(this.#lock_fd);
    this.#lock_fd = NO_FD;
  }

  /** See {@linkcode EnclaveControl.setOnline}. */
  setOnline(online: boolean): number {
    if (online === this.#online_fd >= 0) return online ? -EBUSY : 0;
    if (online) {
      if (this.isDestroyed()) return -ENODEV;
      const fd = this.#files.open("agent_online", O_RDWR);
      if (fd < 0) return fd;
      this.#online_fd = fd;
      this.#freeOldAgentWords();
      return 0;
    }
    // First the lock: whoever sees the enclave offline may take it.
    this.#unclaim();
    const result = this.#host.close(this.#online_fd);
    this.#online_fd = NO_FD;
    return result;
  }

  /** See {@linkcode EnclaveControl.isOnline}. */
  isOnline(): boolean {
    // The files of an enclave that is destroyed go a moment later.
    return !this.isDestroyed() && this.#files.isOnline() === true;
  }

  // ---- tasks and tunables ----

  /** See {@linkcode EnclaveControl.discoverTasks}. */
  discoverTasks(): number {
    return Math.min(this.#host.writeText(this.#ctl_fd, DISCOVER_TASKS_COMMAND), 0);
  }

  /** See {@linkcode EnclaveControl.join}. */
  join(tid: number): number {
    return this.#files.join(tid);
  }

  /** See {@linkcode EnclaveControl.taskTids}; none once the enclave is gone. */
  taskTids(): readonly number[] {
    const tids = this.#files.taskTids();
    return typeof tids === "number" ? [] : tids;
  }

  /** See {@linkcode EnclaveControl.readTunable}. */
  readTunable(name: string): number {
    if (this.isDestroyed()) return -ENODEV;
    return this.#abi.tunables.includes(name) ? this.#files.readNumber(name) : -ENOENT;
  }

  /** See {@linkcode EnclaveControl.writeTunable}. */
  writeTunable(name: string, value: number): number {
    if (this.isDestroyed()) return -ENODEV;
    if (!this.#abi.tunables.includes(name)) return -ENOENT;
    return this.#files.write(name, String(value), O_RDWR);
  }

  // ---- the end ----

  /** See {@linkcode EnclaveControl.destroy}: kills this process if its agents are attached. */
  destroy(): number {
    if (this.isDestroyed()) return -ENODEV;
    this.#is_destroyed = true;
    this.#detach(true);
    return Math.min(this.#host.writeText(this.#ctl_fd, DESTROY_COMMAND), 0);
  }

  /** See {@linkcode EnclaveControl.isDestroyed}. */
  isDestroyed(): boolean {
    if (!this.#is_destroyed && !this.#is_released && !this.#ioctls.isAlive()) {
      this.#is_destroyed = true;
      this.#detach(false);
    }
    return this.#is_destroyed;
  }

  #detach(keeps_contents: boolean): void {
    this.#cpu_data.detach(keeps_contents);
    this.#status.detach(keeps_contents);
  }

  /** Closes and unmaps everything; the enclave stays, and no view of it may be used any more. */
  release(): void {
    if (this.#is_released) return;
    for (const queue_id of [...this.#queues.keys()]) this.closeQueue(queue_id);
    if (this.#online_fd >= 0) this.setOnline(false);
    this.#unclaim();
    this.#is_released = true;
    for (const mapping of [this.#cpu_data, this.#status, ...this.#closed_queues]) mapping.unmap();
    this.#host.close(this.#ctl_fd);
    this.#host.close(this.#dir_fd);
  }
}

interface OpenedFiles {
  readonly dir_fd: number;
  readonly ctl_fd: number;
  readonly files: EnclaveFiles;
}

interface Mappings {
  readonly cpu_data: GhostMapping;
  readonly status: GhostMapping;
  readonly cpus: readonly number[];
}

/** All by the directory's descriptor, so that no other enclave of the same name gets in between. */
function openFiles({ host, root, id, abi }: GhostEnclaveOptions): OpenedFiles | number {
  const dir_fd = host.openFile(AT_FDCWD, enclavePath(root, id), O_PATH);
  if (dir_fd < 0) return dir_fd;
  const files = new EnclaveFiles(host, dir_fd, "");
  const ctl_fd = files.open("ctl", O_RDWR);
  const version = ctl_fd < 0 ? ctl_fd : files.readNumber("abi_version");
  if (version === abi.version) return { dir_fd, ctl_fd, files };
  if (ctl_fd >= 0) host.close(ctl_fd);
  host.close(dir_fd);
  return version < 0 ? version : -ESRCH;
}

function mapEnclave(options: GhostEnclaveOptions, opened: OpenedFiles): Mappings | number {
  const { host, numa_node } = options;
  const { files, ctl_fd } = opened;
  const read_write = PROT_READ | PROT_WRITE;
  const cpu_data = GhostMapping.take(host, files.open("cpu_data", O_RDWR), read_write);
  if (typeof cpu_data === "number") return cpu_data;
  const status = mapStatusWords(host, ctl_fd, files, numa_node);
  if (typeof status === "number") {
    cpu_data.unmap();
    return status;
  }
  const cpus = files.cpus();
  if (typeof cpus !== "number") return { cpu_data, status, cpus };
  cpu_data.unmap();
  status.unmap();
  return cpus;
}

function mapStatusWords(
  host: GhostHost,
  ctl_fd: number,
  files: EnclaveFiles,
  numa_node: number,
): GhostMapping | number {
  const made = host.writeText(ctl_fd, createSwRegionCommand(SW_REGION_ID, numa_node));
  if (made < 0 && made !== -EEXIST) return made;
  const name = `sw_regions/sw_${SW_REGION_ID}`;
  const mapping = GhostMapping.take(host, files.open(name, O_RDONLY), PROT_READ);
  if (typeof mapping === "number") return mapping;
  const { words } = mapping;
  const is_good = words[SW_REGION_VERSION_WORD] === 0 && words[SW_REGION_CAPACITY_WORD] > 0 &&
    words[SW_REGION_ID_WORD] === SW_REGION_ID;
  if (is_good) return mapping;
  mapping.unmap();
  return -EINVAL;
}
