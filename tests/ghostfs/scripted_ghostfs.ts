/**
 * A simulation of a host with ghostfs, for tests of kernels/ghost: files, commands, descriptors,
 * processes and a clock that moves only when somebody sleeps. It checks commands and structs byte
 * by byte, as the kernel does. It schedules nothing and is no kernel: what it shows is that the
 * control plane asks for the right things in the right order, and takes every refusal.
 *
 * @module
 */
import { ABI_FACTS, ERRNO } from "./abi_facts.ts";
import { ModelEnclave } from "./enclave_model.ts";
import { ScriptedProcess } from "./scripted_process.ts";

/** What a host is like. */
export interface GhostfsOptions {
  /** ABI versions of the kernel. */
  readonly versions?: readonly number[];
  /** CPUs; the last one is offline if `has_offline_cpu`. */
  readonly cpu_count?: number;
  /** The last CPU is off. */
  readonly has_offline_cpu?: boolean;
  /** The kernel has no ghOSt. */
  readonly lacks_ghost?: boolean;
  /** The kernel has ghOSt; ghostfs is not mounted. */
  readonly is_unmounted?: boolean;
  /** Status words of a region. */
  readonly status_capacity?: number;
  /** Time from `destroy` until the CPUs are free again, in ms. */
  readonly cpu_release_ms?: number;
  /** Time from the end of an agent's thread until its word may be freed, in ms. */
  readonly agent_release_ms?: number;
}

/** A thread of the host that is no agent. */
export interface HostThread {
  readonly tid: number;
  readonly gtid: bigint;
  runtime_ns: bigint;
  enclave: ModelEnclave | undefined;
}

interface Timer {
  readonly at_ns: number;
  readonly act: () => void;
}

/** A call that is to fail. */
interface Fault {
  readonly call: string;
  readonly match: string;
  /** −errno, or 0. */
  readonly errno: number;
  left: number;
}

const GTID_SEQNUM_BITS = 41n;
const NAME_BYTES_MAX = 31;

/** A host with ghostfs. */
export class ScriptedGhostfs {
  /** Enclaves by number, also those whose directory is still there while they die. */
  readonly enclaves = new Map<number, ModelEnclave>();
  /** ABI versions of the kernel. */
  readonly versions: readonly number[];
  /** CPUs, the offline one included. */
  readonly cpu_count: number;
  /** CPUs that are on. */
  readonly online_cpus: readonly number[];
  /** Is ghostfs mounted? */
  is_mounted: boolean;
  /** Has the kernel ghOSt? */
  readonly has_ghost: boolean;
  /** What was written to control files, in order. */
  readonly commands: string[] = [];
  readonly #options: GhostfsOptions;
  readonly #processes: ScriptedProcess[] = [];
  readonly #threads = new Map<number, HostThread>();
  readonly #cpu_owner = new Map<number, ModelEnclave>();
  readonly #timers: Timer[] = [];
  readonly #faults: Fault[] = [];
  #now_ns = 1e9;
  #next_tid = 1000;

  constructor(options: GhostfsOptions = {}) {
    this.#options = options;
    this.versions = options.versions ?? [91];
    this.cpu_count = options.cpu_count ?? 4;
    const cpus = Array.from({ length: this.cpu_count }, (_, cpu) => cpu);
    this.online_cpus = options.has_offline_cpu === true ? cpus.slice(0, -1) : cpus;
    this.has_ghost = options.lacks_ghost !== true;
    this.is_mounted = this.has_ghost && options.is_unmounted !== true;
  }

  // ---- what a test arranges ----

  /** Starts a process. */
  process(options: { readonly is_root?: boolean } = {}): ScriptedProcess {
    const process = new ScriptedProcess(this, this.newTid(), options.is_root ?? true);
    this.#processes.push(process);
    return process;
  }

  /** A thread of some application. */
  thread(): HostThread {
    const tid = this.newTid();
    const thread = { tid, gtid: this.gtidOf(tid), runtime_ns: 0n, enclave: undefined };
    this.#threads.set(tid, thread);
    return thread;
  }

  /** A thread ends. */
  endThread(thread: HostThread): void {
    this.#threads.delete(thread.tid);
    thread.enclave?.taskDies(thread.gtid);
  }

  /**
   * Lets calls fail.
   *
   * @param call Name of the call, such as "mmap" or "ioctl".
   * @param match What its subject must contain: a path, a command, a code.
   * @param errno With what.
   * @param times How often.
   */
  fail(call: string, match: string, errno: number, times = 1): void {
    this.#faults.push({ call, match, errno: -errno, left: times });
  }

  /** Does something when the clock has moved on. */
  after(duration_ms: number, act: () => void): void {
    this.#timers.push({ at_ns: this.#now_ns + duration_ms * 1e6, act });
  }

  /** Moves the clock, and lets happen what is due. */
  sleep(duration_ms: number): void {
    const end_ns = this.#now_ns + duration_ms * 1e6;
    for (;;) {
      this.#timers.sort((a, b) => a.at_ns - b.at_ns);
      if (this.#timers.length === 0 || this.#timers[0].at_ns > end_ns) break;
      const { at_ns, act } = this.#timers.shift()!;
      this.#now_ns = Math.max(this.#now_ns, at_ns);
      act();
    }
    this.#now_ns = end_ns;
  }

  // ---- what processes use ----

  /** Time in ns. */
  nowNs(): number {
    return this.#now_ns;
  }

  /** Number of a new thread. */
  newTid(): number {
    return this.#next_tid++;
  }

  /** gtid of a thread. */
  gtidOf(tid: number): bigint {
    return (BigInt(tid) << GTID_SEQNUM_BITS) | BigInt(tid);
  }

  /** A thread by its number. */
  findThread(tid: number): HostThread | undefined {
    return this.#threads.get(tid);
  }

  /** A thread by its gtid. */
  findByGtid(gtid: bigint): HostThread | undefined {
    return [...this.#threads.values()].find((thread) => thread.gtid === gtid);
  }

  /** −errno if a call is to fail, else 0. */
  faultOf(call: string, subject: string): number {
    return this.#takeFault(call, subject)?.errno ?? 0;
  }

  /** True if a call is to have no effect. */
  isLost(call: string): boolean {
    return this.#takeFault(call, "") !== undefined;
  }

  #takeFault(call: string, subject: string): Fault | undefined {
    const fault = this.#faults.find((fault) =>
      fault.left > 0 && fault.call === call && subject.includes(fault.match)
    );
    if (fault !== undefined) fault.left--;
    return fault;
  }

  /** Time until a dead agent's word may be freed. */
  get agent_release_ms(): number {
    return this.#options.agent_release_ms ?? 3;
  }

  /** `create <id> <abi>`: 0 or −errno. */
  createEnclave(command: string): number {
    const match = /^create (\d+) (\d+)$/.exec(command);
    if (match === null) return -ERRNO.EINVAL;
    const id = Number(match[1]);
    const version = Number(match[2]);
    if (!this.versions.includes(version) || !(version in ABI_FACTS)) return -ERRNO.ESRCH;
    if (`enclave_${id}`.length >= NAME_BYTES_MAX) return -ERRNO.ENOSPC;
    if (this.enclaves.has(id)) return -ERRNO.EEXIST;
    const capacity = this.#options.status_capacity ?? 256;
    this.enclaves.set(id, new ModelEnclave(id, version, this.cpu_count, capacity));
    return 0;
  }

  /** Replaces the CPUs of an enclave: 0 or −errno. */
  setCpus(enclave: ModelEnclave, cpus: readonly number[]): number {
    if (enclave.is_dying) return -ERRNO.EXDEV;
    // A kernel of ABI 69 was seen to leave CPUs out that the host does not have, and say nothing.
    const added = cpus.filter((cpu) => cpu < this.cpu_count && !enclave.cpus.has(cpu));
    const removed = [...enclave.cpus].filter((cpu) => !cpus.includes(cpu));
    if (removed.some((cpu) => enclave.agents.has(cpu))) return -ERRNO.EEXIST;
    if (added.some((cpu) => !this.online_cpus.includes(cpu))) return -ERRNO.ENODEV;
    if (added.some((cpu) => this.#cpu_owner.has(cpu))) return -ERRNO.EBUSY;
    for (const cpu of added) this.#takeCpu(enclave, cpu);
    for (const cpu of removed) this.#returnCpu(enclave, cpu);
    return 0;
  }

  #takeCpu(enclave: ModelEnclave, cpu: number): void {
    enclave.cpus.add(cpu);
    this.#cpu_owner.set(cpu, enclave);
  }

  #returnCpu(enclave: ModelEnclave, cpu: number): void {
    enclave.cpus.delete(cpu);
    this.#cpu_owner.delete(cpu);
  }

  /**
   * Destroys an enclave as the kernel does, by command or of its own accord: the ctl file goes at
   * once, then agents are killed and files and mappings go, at last the CPUs are free.
   */
  destroy(enclave: ModelEnclave): void {
    if (enclave.is_dying) return;
    enclave.is_dying = true;
    this.after(1, () => {
      for (const agent of [...enclave.agents.values()]) agent.kill();
      for (const thread of this.#threads.values()) {
        if (thread.enclave === enclave) thread.enclave = undefined;
      }
      enclave.tasks.clear();
      enclave.is_removed = true;
      this.enclaves.delete(enclave.id);
      const files = [enclave.cpu_data, enclave.status].filter((file) => file !== undefined);
      for (const { memory } of this.#processes) for (const file of files) memory.zap(file);
    });
    this.after(this.#options.cpu_release_ms ?? 120, () => {
      for (const cpu of [...enclave.cpus]) this.#returnCpu(enclave, cpu);
    });
  }
}
