/**
 * A process on a scripted host: its descriptors, memory and threads. Each thread is a
 * {@linkcode GhostHost}, so that kernels/ghost runs on it as it does on the shim.
 *
 * @module
 */
import type { GhostHost } from "../../kernels/ghost/ghost_host.ts";
import { ERRNO } from "./abi_facts.ts";
import { EnclaveFileModel } from "./enclave_file_model.ts";
import type { ModelEnclave, ModelQueue } from "./enclave_model.ts";
import { type ArmedTimer, IoctlModel } from "./ioctl_model.ts";
import type { ScriptedGhostfs } from "./scripted_ghostfs.ts";
import { type MappedFile, UserMemory } from "./user_memory.ts";

const O_WRONLY = 1;
const O_ACCESS = 3;
const O_PATH = 0o10000000;
const SCHED_GHOST_RESET = 18 | 0x40000000;
const ROOT = "/sys/fs/ghost";
const AT_FDCWD = -100;
const LOCK_UN = 8;

/** What a descriptor stands for. */
export type OpenFile =
  | { readonly kind: "directory"; readonly enclave: ModelEnclave }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "top_ctl" }
  | { readonly kind: "enclave"; readonly file: EnclaveFileModel }
  | { readonly kind: "queue"; readonly queue: ModelQueue }
  | { readonly kind: "timer" }
  | { readonly kind: "dry" };

/** A process. */
export class ScriptedProcess {
  readonly ghostfs: ScriptedGhostfs;
  readonly pid: number;
  readonly is_root: boolean;
  readonly memory = new UserMemory();
  readonly timers: ArmedTimer[] = [];
  /** Killed by the kernel, or crashed. */
  is_dead = false;
  readonly #files = new Map<number, OpenFile>();
  readonly #threads: ScriptedThread[] = [];

  constructor(ghostfs: ScriptedGhostfs, pid: number, is_root: boolean) {
    this.ghostfs = ghostfs;
    this.pid = pid;
    this.is_root = is_root;
  }

  /** Starts a thread. */
  thread(): ScriptedThread {
    const thread = new ScriptedThread(this, this.ghostfs.newTid());
    this.#threads.push(thread);
    return thread;
  }

  /** The process ends at once: the kernel closes its files and takes its agents back. */
  crash(): void {
    if (this.is_dead) return;
    this.is_dead = true;
    for (const thread of this.#threads) thread.end();
    for (const fd of [...this.#files.keys()]) this.close(fd);
  }

  /** Number of open descriptors. */
  openCount(): number {
    return this.#files.size;
  }

  /** A new descriptor. */
  add(file: OpenFile): number {
    let fd = 3;
    while (this.#files.has(fd)) fd++;
    this.#files.set(fd, file);
    return fd;
  }

  /** What a descriptor stands for. */
  file(fd: number): OpenFile | undefined {
    return this.#files.get(fd);
  }

  /** Closes a descriptor. */
  close(fd: number): number {
    const file = this.#files.get(fd);
    if (file === undefined) return -ERRNO.EBADF;
    this.#files.delete(fd);
    if (file.kind === "enclave") file.file.release();
    if (file.kind === "queue" && !this.memory.isMapped(file.queue.file)) {
      file.queue.enclave.queueReleased(file.queue);
    }
    return 0;
  }

  /** The text of a file outside ghostfs, or undefined. */
  text(path: string): string | undefined {
    const { ghostfs } = this;
    if (path === "/proc/filesystems") {
      return `nodev\tsysfs\n${ghostfs.has_ghost ? "nodev\tghost\n" : ""}\text4\n`;
    }
    if (path === "/proc/self/status") {
      return `Name:\tagent\nCapEff:\t${this.is_root ? "000001ffffffffff" : "0000000000000000"}\n`;
    }
    if (path === "/sys/devices/system/cpu/online") return `0-${ghostfs.online_cpus.length - 1}\n`;
    return undefined;
  }
}

/** A thread; its host is the process's. */
export class ScriptedThread implements GhostHost {
  readonly process: ScriptedProcess;
  readonly tid: number;
  /** The CPU that it runs on; at first one that nobody asked for. */
  cpu: number;
  /** CPUs that it may run on. */
  affinity: readonly number[];
  policy = 0;
  /** CPU and enclave that it is the agent of. */
  agent_of: { readonly enclave: ModelEnclave; readonly cpu: number } | undefined;
  readonly ioctl: GhostHost["ioctl"];
  readonly nowNs: () => number;
  readonly #ghostfs: ScriptedGhostfs;

  constructor(process: ScriptedProcess, tid: number) {
    this.process = process;
    this.tid = tid;
    this.#ghostfs = process.ghostfs;
    this.affinity = this.#ghostfs.online_cpus;
    this.cpu = this.affinity[this.affinity.length - 1];
    this.ioctl = (fd, code, address) => this.#ioctl(fd, code, address);
    this.nowNs = () => this.#ghostfs.nowNs();
  }

  /** The thread ends; an agent's word becomes free-able a moment later. */
  end(): void {
    const { agent_of } = this;
    this.agent_of = undefined;
    if (agent_of === undefined) return;
    const { enclave, cpu } = agent_of;
    const agent = enclave.agents.get(cpu)!;
    if (this.process.is_dead) {
      enclave.agentDies(cpu);
      return;
    }
    enclave.agents.delete(cpu);
    const free = () => enclave.setFlags(agent.index, enclave.flags(agent.index) | 2);
    this.#ghostfs.after(this.#ghostfs.agent_release_ms, free);
  }

  // ---- files ----

  openFile(dir_fd: number, path: string, flags: number): number {
    const fault = this.#ghostfs.faultOf("open", path);
    if (fault < 0) return fault;
    if (dir_fd !== AT_FDCWD) {
      const directory = this.process.file(dir_fd);
      if (directory?.kind !== "directory") return -ERRNO.EBADF;
      return this.#openInEnclave(directory.enclave, path, flags);
    }
    if (path.startsWith(`${ROOT}/`)) return this.#openInGhostfs(path, flags);
    const text = this.process.text(path);
    return text === undefined ? -ERRNO.ENOENT : this.process.add({ kind: "text", text });
  }

  #openInGhostfs(path: string, flags: number): number {
    if (!this.#ghostfs.is_mounted) return -ERRNO.ENOENT;
    const [name, ...rest] = path.slice(ROOT.length + 1).split("/");
    if (name === "version" && rest.length === 0) {
      if ((flags & O_ACCESS) !== 0) return -ERRNO.EACCES;
      const text = this.#ghostfs.versions.map((version) => `${version}\n`).join("");
      return this.process.add({ kind: "text", text });
    }
    if (name === "ctl" && rest.length === 0) {
      return this.process.is_root ? this.process.add({ kind: "top_ctl" }) : -ERRNO.EACCES;
    }
    const id = /^enclave_(\d+)$/.exec(name)?.[1];
    const enclave = id === undefined ? undefined : this.#ghostfs.enclaves.get(Number(id));
    if (enclave === undefined) return -ERRNO.ENOENT;
    if (rest.length > 0) return this.#openInEnclave(enclave, rest.join("/"), flags);
    if ((flags & O_PATH) === 0) return -ERRNO.EINVAL;
    return this.process.add({ kind: "directory", enclave });
  }

  #openInEnclave(enclave: ModelEnclave, name: string, flags: number): number {
    const file = EnclaveFileModel.open(enclave, name, flags, this);
    return typeof file === "number" ? file : this.process.add({ kind: "enclave", file });
  }

  close(fd: number): number {
    return this.process.close(fd);
  }

  readText(fd: number): string | number {
    const file = this.process.file(fd);
    if (file?.kind === "text") return file.text;
    return file?.kind === "enclave" ? file.file.read() : -ERRNO.EBADF;
  }

  writeText(fd: number, text: string): number {
    const file = this.process.file(fd);
    const fault = this.#ghostfs.faultOf("write", text);
    if (fault < 0) return fault;
    let result: number = -ERRNO.EBADF;
    if (file?.kind === "top_ctl") {
      this.#ghostfs.commands.push(text);
      result = this.#ghostfs.createEnclave(text);
    } else if (file?.kind === "enclave") {
      result = file.file.write(text, this);
    }
    return result < 0 ? result : text.length;
  }

  listDirectory(path: string): readonly string[] | number {
    if (path !== ROOT) return -ERRNO.ENOENT;
    if (!this.#ghostfs.is_mounted) return [];
    return ["ctl", "version", ...[...this.#ghostfs.enclaves.keys()].map((id) => `enclave_${id}`)];
  }

  // ---- memory ----

  #mappable(fd: number): MappedFile | number {
    const file = this.process.file(fd);
    if (file?.kind === "queue") return file.queue.file;
    return file?.kind === "enclave" ? file.file.mappable() : -ERRNO.EBADF;
  }

  fileSize(fd: number): number {
    const file = this.#mappable(fd);
    return typeof file === "number" ? file : file.bytes.byteLength;
  }

  mapFile(fd: number, size_bytes: number, protection: number): number {
    const file = this.#mappable(fd);
    if (typeof file === "number") return file;
    const open = this.process.file(fd)!;
    const name = open.kind === "enclave" ? open.file.name : "queue";
    const fault = this.#ghostfs.faultOf("mmap", name);
    if (fault < 0) return fault;
    if (size_bytes !== file.bytes.byteLength) return -ERRNO.EINVAL;
    const can_write = open.kind === "queue" || (open.kind === "enclave" && open.file.can_write);
    if ((protection & 2) !== 0 && !can_write) return -ERRNO.EACCES;
    if ((protection & 1) === 0) return -ERRNO.EINVAL;
    return this.process.memory.map(file);
  }

  detachMapping(address: number, size_bytes: number, keeps_contents: boolean): number {
    return this.process.memory.detach(address, size_bytes, keeps_contents);
  }

  unmap(address: number, size_bytes: number): number {
    return this.process.memory.unmap(address, size_bytes);
  }

  bufferAt(address: number, size_bytes: number): ArrayBuffer {
    return this.process.memory.bufferAt(address, size_bytes);
  }

  bufferAddress(view: Int32Array): number {
    return this.process.memory.addressOf(view);
  }

  // ---- ioctls, time, the thread ----

  dryFd(): number {
    return this.process.add({ kind: "dry" });
  }

  #ioctl(fd: number, code: number, address: number): number {
    const file = this.process.file(fd);
    if (file?.kind === "dry") return code === 0x5451 ? 0 : -ERRNO.ENOTTY;
    if (file?.kind !== "enclave" || file.file.name !== "ctl") return -ERRNO.EBADF;
    const { enclave, can_write } = file.file;
    if (enclave.is_dying) return -ERRNO.ENODEV;
    if (!can_write) return -ERRNO.EACCES;
    const fault = this.#ghostfs.faultOf("ioctl", String(code));
    if (fault < 0) return fault;
    return new IoctlModel(enclave, this.#caller()).call(code, address);
  }

  #caller() {
    const { process, cpu } = this;
    const { memory, pid, timers } = process;
    return {
      memory,
      pid,
      cpu,
      has_cap_sys_nice: process.is_root,
      online_cpus: this.#ghostfs.online_cpus,
      queueOf: (fd: number) => this.queueOf(fd),
      openQueue: (queue: ModelQueue) => process.add({ kind: "queue", queue }),
      isTimer: (fd: number) => process.file(fd)?.kind === "timer",
      arm: (timer: ArmedTimer) => void timers.push(timer),
      runtimeNs: (gtid: bigint) => this.#ghostfs.findByGtid(gtid)?.runtime_ns,
    };
  }

  /** The queue of a descriptor. */
  queueOf(fd: number): ModelQueue | undefined {
    const file = this.process.file(fd);
    return file?.kind === "queue" ? file.queue : undefined;
  }

  lock(fd: number, operation: number): number {
    const file = this.process.file(fd);
    if (file?.kind !== "enclave") return -ERRNO.EBADF;
    return operation === LOCK_UN ? file.file.unlock() : file.file.lock();
  }

  createTimer(): number {
    const fault = this.#ghostfs.faultOf("timerfd_create", "");
    return fault < 0 ? fault : this.process.add({ kind: "timer" });
  }

  sleepMs(duration_ms: number): void {
    this.#ghostfs.sleep(duration_ms);
  }

  pinThread(cpu: number): number {
    if (!this.#ghostfs.online_cpus.includes(cpu)) return -ERRNO.EINVAL;
    this.affinity = [cpu];
    this.cpu = cpu;
    return 0;
  }

  threadPolicy(): number {
    return this.policy;
  }

  currentCpu(): number {
    return this.cpu;
  }

  mountGhostfs(path: string): number {
    if (!this.process.is_root) return -ERRNO.EPERM;
    if (path !== ROOT || !this.#ghostfs.has_ghost) return -ERRNO.ENODEV;
    if (this.#ghostfs.is_mounted) return -ERRNO.EBUSY;
    this.#ghostfs.is_mounted = true;
    return 0;
  }

  /** `become agent`: 0 or −errno. */
  becomeAgent(enclave: ModelEnclave, cpu: number, queue_fd: number): number {
    if (queue_fd < -1) return -ERRNO.EBADF;
    if (!this.process.is_root) return -ERRNO.EPERM;
    const queue = queue_fd === -1 ? undefined : this.queueOf(queue_fd);
    if (queue_fd !== -1 && queue === undefined) return -ERRNO.EBADF;
    if (this.agent_of !== undefined) return -ERRNO.EPERM;
    if (this.#ghostfs.isLost("become")) return 0;
    const { tid, process } = this;
    const result = enclave.becomeAgent(cpu, queue, {
      tid,
      gtid: this.#ghostfs.gtidOf(tid),
      pid: process.pid,
      kill: () => process.crash(),
    });
    if (result < 0) return result;
    this.agent_of = { enclave, cpu };
    this.policy = SCHED_GHOST_RESET;
    return 0;
  }

  /** The host that a file asks. */
  get ghostfs(): ScriptedGhostfs {
    return this.#ghostfs;
  }
}

/** True if the flags ask for writing. */
export function asksToWrite(flags: number): boolean {
  return (flags & O_ACCESS) >= O_WRONLY;
}
