/**
 * A ghOSt kernel of this host under the contract suite: real threads (ffi/actor.ts), and agents
 * that are Workers. The last CPU of the host belongs to the suite itself.
 *
 * @module
 */
import { Actor, ACTOR_JOIN } from "../../ffi/actor.ts";
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import type { MappedEnclave } from "../../kernels/agent_spec.ts";
import type { RealKernel } from "../../kernels/real_kernel.ts";
import { GhostIoctls } from "../../kernels/ghost/ghost_ioctls.ts";
import { shimHost } from "../../kernels/ghost/shim_host.ts";
import type { Capability, EnclaveControl, Kernel } from "../../kernels/kernel.ts";
import { leaveCpus } from "../../util/spare_cpus.ts";
import { compileScript, cpuMaskBytes } from "./actor_script.ts";
import { type AgentThread, AgentWorkers } from "./agent_workers.ts";
import { CASE_WORDS } from "./case_memory.ts";
import {
  AGENT_CONTROL_WORDS,
  type ContractAgentSpec,
  readError,
  RESULT_WORD,
  STATE_WORD,
  STOP_WORD,
  TID_WORD,
} from "./contract_agent.ts";
import { type ContractCase, ContractFailure } from "./contract.ts";
import type {
  AttachOptions,
  ContractHost,
  ContractThread,
  HostFeature,
  ThreadAction,
} from "./host.ts";

/** Emulated machines are slow; a case that passes does not wait for it. */
const TIMEOUT_NS = 5e9;
const AGENT_START_MS = 20_000;
const AGENT_END_MS = 10_000;
const POLL_MS = 1;
/** Times in cases are a simulated machine's; a real one takes longer for the same. */
const SLEEP_MIN_MS = 30;
const SETPRIORITY = { x86_64: 141, aarch64: 140 } as const;
const SCHED_OTHER = 0;
/** sched_setattr and sched_getattr. */
const SCHED_ATTR = { x86_64: [314, 315], aarch64: [274, 275] } as const;
/** Of struct sched_attr: its size before utilization clamps, and where two of its fields are. */
const SCHED_ATTR_BYTES = 48;
const ATTR_POLICY = 1;
const ATTR_NICE = 4;
const FOREVER: readonly ThreadAction[] = [{ op: "run", ns: 1e12 }];

interface RunningAgent extends AgentThread {
  readonly cpu: number;
  readonly enclave: MappedEnclave;
}

interface Thread extends ContractThread {
  readonly actor: Actor;
}

/** What the suite needs to know of a real kernel beside its contract. */
export interface SuiteAccess {
  /** What the kernel has and no thread of the suite can use. */
  readonly unusable: readonly Capability[];
  /** Where agents run. */
  readonly workers: AgentWorkers;
  /** The gtid of a thread. */
  gtidOf(tid: number): readonly [lo: number, hi: number];
  /** Operation and argument with which an actor moves itself into an enclave. */
  joinOperation(id: number): readonly [code: number, argument: number];
  /** A COMMIT_TXN call by the suite's own thread. */
  commitFromOutside(enclave: MappedEnclave, cpu: number): void;
  /** The case is over: gives back what it used, the kernel among it unless all cases share it. */
  close(): void;
}

/** How the suite uses a ghOSt kernel: files of procfs and ghostfs, and the ioctls. */
export function ghostAccess(kernel: RealKernel): SuiteAccess {
  const join_fds = new Map<number, number>();
  return {
    unusable: ["switchto"],
    workers: new AgentWorkers(false),
    gtidOf: (tid) => {
      const gtid = BigInt(Deno.readTextFileSync(`/proc/${tid}/ghost/gtid`).trim());
      return [Number(BigInt.asIntN(32, gtid)), Number(BigInt.asIntN(32, gtid >> 32n))];
    },
    joinOperation: (id) => {
      const path = `${kernel.enclavePath(id)}/tasks`;
      const known = join_fds.get(id);
      const fd = known ?? loadShim().openat(AT_FDCWD, cString(path), O_WRONLY | O_CLOEXEC, 0);
      join_fds.set(id, fd);
      return [ACTOR_JOIN, fd];
    },
    commitFromOutside: ({ port_handles: { ctl_fd } }, cpu) =>
      new GhostIoctls(shimHost(), ctl_fd).commit(cpu),
    close: () => {
      for (const fd of join_fds.values()) loadShim().close(fd);
      kernel.close();
    },
  };
}

/** True while a thread waits for something. */
function isAsleep(tid: number): boolean {
  const stat = Deno.readTextFileSync(`/proc/${tid}/stat`);
  return stat.charAt(stat.lastIndexOf(")") + 2) === "S";
}

/** The host of one case. */
export class GhostContractHost implements ContractHost {
  /** See {@linkcode ContractHost.kernel}. */
  readonly kernel: Kernel;
  /** See {@linkcode ContractHost.cpus}. */
  readonly cpus: readonly number[];
  /** See {@linkcode ContractHost.outside_cpu}. */
  readonly outside_cpu: number;
  /** See {@linkcode ContractHost.offline_cpu}. */
  readonly offline_cpu = -1;
  /** See {@linkcode ContractHost.missing_cpu}. */
  readonly missing_cpu: number;
  /** See {@linkcode ContractHost.missing_node}. */
  readonly missing_node = 99;
  /** See {@linkcode ContractHost.patience}. */
  readonly patience = 10_000;
  /** See {@linkcode ContractHost.words}. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly #case_name: string;
  readonly #ghost: RealKernel;
  readonly #access: SuiteAccess;
  readonly #host_cpus: readonly number[];
  readonly #enclaves = new Map<EnclaveControl, MappedEnclave>();
  readonly #agents: RunningAgent[] = [];
  readonly #threads: Thread[] = [];

  /**
   * Takes a kernel for a case; the calling thread is kept off the case's CPUs.
   *
   * @param contract_case The case.
   * @param kernel The kernel.
   * @param access How the suite uses it.
   */
  constructor(
    contract_case: ContractCase,
    kernel: RealKernel,
    access: SuiteAccess = ghostAccess(kernel),
  ) {
    this.#case_name = contract_case.name;
    this.#ghost = kernel;
    this.#access = access;
    this.#host_cpus = kernel.cpuRows().map(({ cpu }) => cpu);
    this.outside_cpu = this.#host_cpus[this.#host_cpus.length - 1];
    this.missing_cpu = this.outside_cpu + 1;
    const free = this.#host_cpus.slice(0, -1);
    this.cpus = free.slice(0, contract_case.cpu_count);
    this.words = new Int32Array(new SharedArrayBuffer(CASE_WORDS * 4));
    this.kernel = this.#watchKernel();
    const mask = cpuMaskBytes([this.outside_cpu]);
    loadShim().schedSetaffinity(0, mask, mask.length);
    // The runtime's threads would take CPUs away from the threads of the case.
    leaveCpus(free, this.#agents.map(({ control }) => control[TID_WORD]));
  }

  /** CPUs that a case could have on a host. */
  static cpuCountMax(kernel: Kernel): number {
    return kernel.cpuRows().length - 1;
  }

  /** The kernel, with enclaves that do not take this process with them. */
  #watchKernel(): Kernel {
    const watch = <T>(made: T): T | EnclaveControl =>
      typeof made === "number" ? made : this.#watchEnclave(made as unknown as MappedEnclave);
    const own: Partial<Record<keyof Kernel, unknown>> = {
      capabilities: new Set(
        [...this.#ghost.capabilities].filter((name) => !this.#access.unusable.includes(name)),
      ),
      createEnclave: (cpus: readonly number[], version: number) =>
        watch(this.#ghost.createEnclave(cpus, version)),
      attachEnclave: (id: number) => watch(this.#ghost.attachEnclave(id)),
    };
    return overlay(this.#ghost, own);
  }

  #watchEnclave(enclave: MappedEnclave): EnclaveControl {
    const destroy = (): number => {
      // The kernel kills the process of agents that are still attached: this one.
      if (!enclave.isDestroyed()) this.#stopAgents(enclave.id);
      return enclave.destroy();
    };
    const becomeAgent = (cpu: number, queue_id: number): number => {
      if (!enclave.isDestroyed()) throw new Error("the suite's own thread becomes no agent");
      return enclave.becomeAgent(cpu, queue_id) as number;
    };
    const control = overlay<EnclaveControl>(enclave, { destroy, becomeAgent });
    this.#enclaves.set(control, enclave);
    return control;
  }

  #mapped(control: EnclaveControl): MappedEnclave {
    const enclave = this.#enclaves.get(control);
    if (enclave === undefined) throw new Error("an enclave of another case");
    return enclave;
  }

  /** Makes the agents of an enclave leave, and waits until they have. */
  #stopAgents(id: number): void {
    const { workers } = this.#access;
    const leaving = this.#agents.filter(({ enclave }) => enclave.id === id);
    const stuck: number[] = [];
    for (const { control } of leaving) Atomics.store(control, STOP_WORD, 1);
    const end_ms = performance.now() + AGENT_END_MS;
    for (const agent of leaving) {
      while (!workers.hasLeft(agent) && performance.now() < end_ms) {
        agent.enclave.wakeAgent(agent.cpu);
        shimHost().sleepMs(POLL_MS);
      }
      this.#agents.splice(this.#agents.indexOf(agent), 1);
      if (workers.hasLeft(agent)) workers.giveBack(agent);
      else {
        stuck.push(agent.cpu);
        workers.abandon(agent);
      }
    }
    if (stuck.length > 0) throw new Error(`the agent of CPU ${stuck.join()} does not leave`);
  }

  /** See {@linkcode ContractHost.has}. */
  has(_feature: HostFeature): boolean {
    return false;
  }

  #start(first: readonly ThreadAction[], script: readonly ThreadAction[]): Thread {
    const actor = new Actor(compileScript(first, script, {
      handleOf: (tid) => this.#thread({ tid, gtid_lo: 0, gtid_hi: 0 }).actor.handle,
      joinOperation: (enclave) => this.#access.joinOperation(enclave.id),
    }));
    const [gtid_lo, gtid_hi] = this.#access.gtidOf(actor.tid);
    const thread = { tid: actor.tid, gtid_lo, gtid_hi, actor };
    this.#threads.push(thread);
    return thread;
  }

  #thread(thread: ContractThread): Thread {
    const found = this.#threads.find(({ tid }) => tid === thread.tid);
    if (found === undefined) throw new Error(`no thread ${thread.tid}`);
    return found;
  }

  /** See {@linkcode ContractHost.spawn}. */
  spawn(script: readonly ThreadAction[]): ContractThread {
    const first: ThreadAction[] = [{ op: "affinity", cpus: this.#host_cpus }, { op: "block" }];
    const thread = this.#start(first, script);
    while (!isAsleep(thread.tid)) shimHost().sleepMs(POLL_MS);
    return thread;
  }

  /** See {@linkcode ContractHost.occupy}. */
  occupy(cpu: number): ContractThread {
    return this.#start([{ op: "affinity", cpus: [cpu] }], FOREVER);
  }

  /** See {@linkcode ContractHost.wake}. */
  wake(thread: ContractThread): void {
    this.#thread(thread).actor.wake();
  }

  /** See {@linkcode ContractHost.kill}. */
  kill(thread: ContractThread): void {
    this.#thread(thread).actor.kill();
  }

  /** See {@linkcode ContractHost.killAll}. */
  killAll(): void {
    for (const { actor } of this.#threads) actor.kill();
  }

  /** See {@linkcode ContractHost.hasExited}. */
  hasExited(thread: ContractThread): boolean {
    return this.#thread(thread).actor.hasExited();
  }

  /** See {@linkcode ContractHost.setAffinity}. */
  setAffinity(thread: ContractThread, cpus: readonly number[]): void {
    const mask = cpuMaskBytes(cpus);
    loadShim().schedSetaffinity(thread.tid, mask, mask.length);
  }

  /** See {@linkcode ContractHost.setNice}. */
  setNice(thread: ContractThread, nice: number): void {
    const number = SETPRIORITY[Deno.build.arch as keyof typeof SETPRIORITY];
    loadShim().syscall(number, 0, thread.tid, nice, 0, 0, 0);
  }

  /** See {@linkcode ContractHost.setNiceByAttr}. */
  setNiceByAttr(thread: ContractThread, nice: number): readonly [before: number, after: number] {
    const { syscall, bufferAddress } = loadShim();
    const [set, get] = SCHED_ATTR[Deno.build.arch as keyof typeof SCHED_ATTR];
    const attr = new Int32Array(SCHED_ATTR_BYTES / 4);
    const address = bufferAddress(attr);
    const read = (): number => {
      const result = syscall(get, thread.tid, address, SCHED_ATTR_BYTES, 0, 0, 0);
      if (result < 0) throw new ContractFailure(`sched_getattr: ${result}`);
      return attr[ATTR_POLICY];
    };
    const before = read();
    attr[ATTR_NICE] = nice;
    const result = syscall(set, thread.tid, address, 0, 0, 0, 0);
    if (result < 0) throw new ContractFailure(`sched_setattr: ${result}`);
    return [before, read()];
  }

  /** See {@linkcode ContractHost.leaveGhost}. */
  leaveGhost(thread: ContractThread): void {
    loadShim().schedSetscheduler(thread.tid, SCHED_OTHER, 0, 0);
  }

  /** See {@linkcode ContractHost.attachAgent}. */
  attachAgent(control: EnclaveControl, cpu: number, options: AttachOptions): number {
    const enclave = this.#mapped(control);
    const { queues } = options;
    const { workers } = this.#access;
    const words = new Int32Array(new SharedArrayBuffer(AGENT_CONTROL_WORDS * 4));
    const spec: ContractAgentSpec = {
      entry: "contract_agent",
      kernel: this.kernel.kind,
      case_name: this.#case_name,
      abi_version: this.kernel.abi.version,
      cpu,
      port_handles: enclave.port_handles,
      queue_id: options.queue_id ?? queues[0].id,
      queues: queues.map(({ id }) => ({ id, region: enclave.queueRegion(id) })),
      status_region: enclave.status_region,
      cpu_data_region: enclave.cpu_data_region,
      words: this.words.buffer,
      control: words.buffer,
      is_kept: workers.is_kept,
    };
    const thread = workers.start(spec);
    // The Worker needs nothing of this thread to start.
    if (Atomics.wait(words, STATE_WORD, 0, AGENT_START_MS) === "timed-out") {
      workers.abandon(thread);
      throw new Error(`the agent of CPU ${cpu} does not start`);
    }
    const result = words[RESULT_WORD];
    if (result >= 0) this.#agents.push({ ...thread, cpu, enclave });
    else {
      workers.giveBack(thread);
      this.#checkSteps(words);
    }
    return result;
  }

  /** See {@linkcode ContractHost.nudge}. */
  nudge(control: EnclaveControl, cpu: number): void {
    this.#mapped(control).wakeAgent(cpu);
  }

  /** See {@linkcode ContractHost.commitFromOutside}. */
  commitFromOutside(control: EnclaveControl, cpu: number): void {
    this.#access.commitFromOutside(this.#mapped(control), cpu);
  }

  /** See {@linkcode ContractHost.nowNs}. */
  nowNs(): number {
    return this.kernel.nowNs();
  }

  /** See {@linkcode ContractHost.sleep}. */
  async sleep(ns: number): Promise<void> {
    await new Promise((done) => setTimeout(done, Math.max(Math.ceil(ns / 1e6), SLEEP_MIN_MS)));
    this.#checkAllSteps();
  }

  /** See {@linkcode ContractHost.until}. */
  async until(condition: () => boolean, what: string, timeout_ns = TIMEOUT_NS): Promise<void> {
    const end_ms = performance.now() + Math.max(timeout_ns, TIMEOUT_NS) / 1e6;
    while (!condition()) {
      this.#checkAllSteps();
      if (performance.now() > end_ms) throw new ContractFailure(`waited in vain: ${what}`);
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
    this.#checkAllSteps();
  }

  #checkAllSteps(): void {
    for (const { control } of this.#agents) this.#checkSteps(control);
  }

  #checkSteps(control: Int32Array): void {
    const text = readError(control);
    if (text !== undefined) throw new Error(text);
  }

  /** See {@linkcode ContractHost.close}; all of it, also if agents do not leave. */
  async close(): Promise<void> {
    this.killAll();
    const faults: string[] = [];
    for (const enclave of this.#enclaves.values()) {
      try {
        this.#stopAgents(enclave.id);
      } catch (error) {
        faults.push((error as Error).message);
      }
      enclave.destroy();
    }
    for (const { actor } of this.#threads) actor.reap();
    const end_ms = performance.now() + AGENT_END_MS;
    while (this.#ghost.enclaveIds().length > 0 && performance.now() < end_ms) {
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
    this.#access.close();
    if (faults.length > 0) throw new Error(faults.join(", "));
  }
}

/** An object with some properties of its own in front of those of another one. */
function overlay<T extends object>(target: T, own: Partial<Record<keyof T, unknown>>): T {
  return new Proxy(target, {
    get: (_, key) => {
      if (Object.hasOwn(own, key)) return own[key as keyof T];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
