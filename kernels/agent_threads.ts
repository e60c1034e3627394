/**
 * The agents of one enclave as threads of this process, seen from the main isolate: start them,
 * wait until all are there, let them run, stop or kill them, and know why one has ended. A thread
 * that throws, hangs or dies never takes the process with it.
 *
 * @module
 */
import { GHOST_SW_BOOST_PRIO } from "../ffi/abi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { loadShim } from "../ffi/shim.ts";
import { AgentContext } from "../lib/agent_context.ts";
import {
  CONTROL_PHASE_WORD,
  CONTROL_STOP_WORD,
  CONTROL_WORDS,
  STOP_NOW,
  STOP_WHEN_DRAINED,
} from "../lib/agent_loop.ts";
import type { PolicyEnclave } from "../lib/enclave.ts";
import { EXIT_FAILURE, OperatingError } from "../lib/errors.ts";
import type { Snapshot } from "../lib/snapshot.ts";
import { StatusWordTable } from "../lib/status_word.ts";
import { AgentRefusal } from "./agent_refusal.ts";
import { dumpAgents } from "./agent_dump.ts";
import { workerModuleUrl } from "../lib/worker_module.ts";
import {
  type AgentMessage,
  type AgentSpec,
  type MappedEnclave,
  type MemoryRegion,
  PHASE_DISCOVER,
  PHASE_OPEN,
  PHASE_RUN,
  type PolicyChoice,
  type PortOpener,
  type Satellite,
} from "./agent_spec.ts";
import { EBUSY, ENODEV, type Kernel } from "./kernel.ts";
import { lockAgentMemory, type LockReport } from "./agent_memory.ts";

/** How agents are started. */
export interface AgentThreadsOptions {
  /** The kernel. */
  readonly kernel: Kernel;
  /** Its enclave; the queues and the state in `enclave` are those of this one. */
  readonly control: MappedEnclave;
  /** The enclave with the policy on it. */
  readonly enclave: PolicyEnclave;
  /** How the threads find the policy. */
  readonly choice: PolicyChoice;
  /** How a port of this kernel is made, for views of the state. */
  readonly opener: PortOpener;
  /** Module of the Workers; the program's own unless a test says otherwise. */
  readonly worker_url?: string;
  /** Pins each agent to its CPU; not where "CPUs" are made up. True unless told otherwise. */
  readonly pin?: boolean;
  /** See {@linkcode AgentSpec.pins_late}. False unless told otherwise. */
  readonly pins_late?: boolean;
  /** Locks code and shared regions in memory. True unless told otherwise. */
  readonly lock_memory?: boolean;
  /** See {@linkcode AgentSpec.warm_up}. Full unless told otherwise. */
  readonly warm_up?: AgentSpec["warm_up"];
  /** How long the agents may take for each of: warm-up, becoming agents, looking for tasks. */
  readonly start_timeout_ms?: number;
  /** Waits, when all threads are warm, until they may become agents; a take-over is quicker so. */
  readonly awaitTurn?: () => Promise<void>;
  /** Called when the tasks are found, and nobody schedules yet. */
  readonly beforeOnline?: (threads: AgentThreads) => void;
  /** See {@linkcode AgentSpec.busy_ms}. 0 unless told otherwise. */
  readonly busy_ms?: number;
  /** Where the state is mapped, unless it is a SharedArrayBuffer. */
  readonly state_region?: MemoryRegion;
}

/** How long {@linkcode AgentThreads.stop} waits. */
export interface StopOptions {
  /** For agents to finish what is queued. */
  readonly drain_ms?: number;
  /** For agents to end their present step. */
  readonly leave_ms?: number;
  /** The process ends at once, and its threads with it: these are not waited for. */
  readonly process_ends?: boolean;
}

/** Why an agent ended that was not told to. */
export interface AgentFailure {
  /** CPU of the agent. */
  readonly cpu: number;
  /** One line. */
  readonly text: string;
  /** What to do, if that is known. */
  readonly cure?: string;
  /** Exit status that a program ends with for it. */
  readonly exit_status: number;
}

/** An agent that could not start. */
export class AgentStartError extends OperatingError {
  /** See {@linkcode Error.name}. */
  override name = "AgentStartError";
  /** See {@linkcode AgentFailure.exit_status}. */
  override readonly exit_status: number;

  /** @param failure What has failed. */
  constructor({ text, cure, exit_status }: AgentFailure) {
    const usual = exit_status === EXIT_FAILURE
      ? "see `ghostctl doctor` and the kernel's log (dmesg)"
      : "the policy is at fault: its step failed before the agents were online";
    super(text, cure ?? usual);
    this.exit_status = exit_status;
  }
}

/** How the agents ended. */
export interface AgentsReport {
  /** Agents that left. */
  readonly left_count: number;
  /** Agents that had to be killed. */
  readonly killed_count: number;
  /** What went wrong, the first one first. */
  readonly failures: readonly AgentFailure[];
  /** 0, or the exit status of the first failure. */
  readonly exit_status: number;
}

/** An emulated machine compiles slowly. */
const START_TIMEOUT_MS = 120_000;
/** So many times as long may the warm-up take that precedes a take-over. */
const PATIENCE = 5;
const DRAIN_MS = 2000;
const LEAVE_MS = 5000;
/** A thread is still to be seen for a moment after its Worker has closed. */
const JOIN_MS = 10_000;
const JOIN_POLL_MS = 1;

/** One agent as the main isolate sees it. */
interface AgentHandle {
  readonly cpu: number;
  readonly worker: Worker;
  readonly control: Int32Array;
  readonly warm: PromiseWithResolvers<void>;
  readonly ready: PromiseWithResolvers<void>;
  readonly discovered: PromiseWithResolvers<void>;
  readonly ended: PromiseWithResolvers<void>;
  state: "starting" | "running" | "left" | "killed" | "failed";
  may_be_agent: boolean;
  tid: number;
  warm_up_ms: number;
}

function sleep(duration_ms: number): { done: Promise<void>; cancel: () => void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const done = new Promise<void>((wake) => timer = setTimeout(wake, duration_ms));
  return { done, cancel: () => clearTimeout(timer) };
}

/** True if `promise` is fulfilled within a time. */
async function within(promise: Promise<unknown>, duration_ms: number): Promise<boolean> {
  const { done, cancel } = sleep(duration_ms);
  const in_time = await Promise.race([promise.then(() => true), done.then(() => false)]);
  cancel();
  return in_time;
}

/** The threads of one enclave's agents. */
export class AgentThreads {
  /** What locking memory achieved; undefined if it was not asked for. */
  readonly lock_report: LockReport | undefined;
  readonly #options: AgentThreadsOptions;
  readonly #agents: AgentHandle[] = [];
  readonly #satellites: Satellite[] = [];
  readonly #ended_cpus = new Set<number>();
  readonly #failures: AgentFailure[] = [];
  readonly #failed = Promise.withResolvers<AgentFailure>();
  #stopping: Promise<AgentsReport> | undefined;

  private constructor(options: AgentThreadsOptions) {
    this.#options = options;
    if (options.lock_memory ?? true) {
      this.lock_report = lockAgentMemory(options.control, options.enclave);
    }
    for (const cpu of this.#policyCpus()) this.#agents.push(this.#startAgent(cpu));
  }

  /**
   * Starts one thread per CPU; returns when the agents are online and run.
   *
   * @param options How.
   * @returns The threads.
   * @throws {OperatingError} If an agent cannot start; none is left behind then.
   */
  static async start(options: AgentThreadsOptions): Promise<AgentThreads> {
    const threads = new AgentThreads(options);
    try {
      await threads.#bringUp(options.start_timeout_ms ?? START_TIMEOUT_MS);
    } catch (error) {
      await threads.stop({ drain_ms: 0 });
      throw error;
    }
    return threads;
  }

  /** CPUs whose agents run the policy; the others get satellites where the kernel has them. */
  #policyCpus(): readonly number[] {
    const { control, enclave, kernel } = this.#options;
    const cpus = control.cpus();
    if (control.startSatellite === undefined) return cpus;
    return enclave.policy.policyCpus?.(cpus, kernel.cpuRows()) ?? cpus;
  }

  async #startSatellites(): Promise<void> {
    const { control, enclave, kernel, busy_ms = 0 } = this.#options;
    const end_ms = performance.now() + busy_ms;
    for (const [index, cpu] of control.cpus().entries()) {
      if (this.#agents.some((agent) => agent.cpu === cpu)) continue;
      const start = () => control.startSatellite?.(cpu, enclave.queues[index].id) ?? -ENODEV;
      let satellite = start();
      while (satellite === -EBUSY && performance.now() < end_ms && this.#stopping === undefined) {
        await sleep(JOIN_POLL_MS).done;
        satellite = start();
      }
      if (typeof satellite === "number") throw new AgentRefusal(cpu, satellite);
      this.#satellites.push(satellite);
      enclave.state.cpu("agent_status_index", cpu)[0] = satellite.status_index + 1;
      enclave.state.cpuF64("began_ns", cpu)[0] = kernel.nowNs();
    }
  }

  #startAgent(cpu: number): AgentHandle {
    const url = this.#options.worker_url ?? workerModuleUrl();
    const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
    const worker = new Worker(url, { type: "module", name: `agent_${cpu}` });
    const agent: AgentHandle = {
      cpu,
      worker,
      control,
      warm: Promise.withResolvers(),
      ready: Promise.withResolvers(),
      discovered: Promise.withResolvers(),
      ended: Promise.withResolvers(),
      state: "starting",
      may_be_agent: false,
      tid: 0,
      warm_up_ms: 0,
    };
    worker.onmessage = ({ data }: MessageEvent<AgentMessage>) => this.#receive(agent, data);
    worker.onerror = (event) => {
      // Left alone, an error in a Worker ends the process.
      event.preventDefault();
      const text = event.message.replaceAll(/\s*\n\s*/g, " ");
      this.#fail(agent, { text, exit_status: EXIT_FAILURE });
    };
    worker.postMessage(this.#spec(cpu, control));
    return agent;
  }

  #spec(cpu: number, control: Int32Array<SharedArrayBuffer>): AgentSpec {
    const { kernel, control: enclave, enclave: on_it, choice, pin, warm_up } = this.#options;
    const cpus = [...enclave.cpus()];
    const queue_ids = on_it.queues.map((queue) => queue.id);
    return {
      entry: "agent",
      kernel: kernel.kind,
      port_handles: enclave.port_handles,
      abi_version: kernel.abi.version,
      policy: choice,
      cpu,
      cpus,
      cpu_rows: [...kernel.cpuRows()],
      queue_ids,
      queue_region: enclave.queueRegion(queue_ids[cpus.indexOf(cpu)]),
      status_region: enclave.status_region,
      cpu_data_region: enclave.cpu_data_region,
      state: this.#options.state_region ?? on_it.state.buffer as SharedArrayBuffer,
      task_capacity: on_it.state.shape.task_capacity,
      control: control.buffer,
      thread_name: `ap_task_${cpu}`,
      pin_cpu: pin ?? true ? cpu : -1,
      pins_late: this.#options.pins_late ?? false,
      warm_up: warm_up ?? "full",
      busy_ms: this.#options.busy_ms ?? 0,
    };
  }

  #receive(agent: AgentHandle, message: AgentMessage): void {
    switch (message.kind) {
      case "warm":
        agent.tid = message.tid;
        agent.warm_up_ms = message.warm_up_ms;
        return agent.warm.resolve();
      case "ready":
        return agent.ready.resolve();
      case "discovered":
        return agent.discovered.resolve();
      case "left":
        return this.#end(agent, "left");
      case "failed": {
        const { kind: _kind, ...failure } = message;
        return this.#fail(agent, failure);
      }
    }
  }

  #end(agent: AgentHandle, state: "left" | "killed" | "failed"): void {
    if (agent.state === "left" || agent.state === "killed" || agent.state === "failed") return;
    agent.state = state;
    // Terminating a Worker does not stop its JavaScript: one that spins looks here at each step.
    Atomics.store(agent.control, CONTROL_STOP_WORD, STOP_NOW);
    agent.worker.terminate();
    // What the thread waits for in native code returns, else the thread would stay. Before it may
    // become the agent, and once it has left, the CPU's agent is another process's.
    const is_agent = agent.may_be_agent && state !== "left";
    if (is_agent) this.#options.control.agentDied(agent.cpu);
    agent.ended.resolve();
  }

  #fail(agent: AgentHandle, failure: Omit<AgentFailure, "cpu">): void {
    const { cpu } = agent;
    const { text } = failure;
    const names_cpu = text.endsWith(`CPU ${cpu}`) || text.includes(`CPU ${cpu}: `);
    this.#record({ ...failure, cpu, text: names_cpu ? text : `agent of CPU ${cpu}: ${text}` });
    this.#end(agent, "failed");
  }

  #record(failure: AgentFailure): void {
    this.#failures.push(failure);
    this.#failed.resolve(failure);
  }

  /** Waits for something that all agents do; fails with the first failure. */
  async #await(what: string, done: Promise<unknown>, timeout_ms: number): Promise<void> {
    const failed = this.#failed.promise.then(() => {});
    const in_time = await within(Promise.race([done, failed]), timeout_ms);
    const failure = this.#failures.at(0);
    if (failure !== undefined) {
      throw new AgentStartError(failure);
    }
    if (!in_time) {
      const cure = "the machine may be overloaded; try again, or with fewer CPUs";
      throw new OperatingError(`the agents were not ${what} within ${timeout_ms} ms`, cure);
    }
  }

  /** All agents there, then tasks found, then online: the order that the kernel wants. */
  async #bringUp(timeout_ms: number): Promise<void> {
    const all_warm = Promise.all(this.#agents.map((agent) => agent.warm.promise));
    // While another agent schedules, nobody waits for a warm-up on the CPUs that it leaves.
    const patience = this.#options.pins_late ?? false ? PATIENCE : 1;
    await this.#await("warmed up", all_warm, patience * timeout_ms);
    await this.#options.awaitTurn?.();
    for (const agent of this.#agents) {
      agent.may_be_agent = true;
      this.#setPhase(agent, PHASE_OPEN);
    }
    const all_ready = Promise.all(this.#agents.map((agent) => agent.ready.promise));
    await this.#await("ready", all_ready, timeout_ms);
    await this.#startSatellites();
    const [first] = this.#agents;
    this.#setPhase(first, PHASE_DISCOVER);
    await this.#await("done looking for tasks", first.discovered.promise, timeout_ms);
    this.#options.beforeOnline?.(this);
    this.#options.enclave.goOnline();
    for (const agent of this.#agents) {
      agent.state = "running";
      this.#setPhase(agent, PHASE_RUN);
    }
  }

  #setPhase({ control }: AgentHandle, phase: number): void {
    Atomics.store(control, CONTROL_PHASE_WORD, phase);
    Atomics.notify(control, CONTROL_PHASE_WORD);
  }

  /** Agents that have not ended. */
  liveCount(): number {
    return this.#live().length;
  }

  #live(): AgentHandle[] {
    return this.#agents.filter(({ state }) => state === "starting" || state === "running");
  }

  /** Thread ids of all agents, satellites last. */
  tids(): number[] {
    return [...this.#agents, ...this.#satellites].map(({ tid }) => tid);
  }

  /**
   * True if the agent of a CPU runs the policy and could do so now: the default class does not want
   * its CPU.
   *
   * @param index Position of the CPU in the enclave.
   */
  mayRun(index: number): boolean {
    const { kernel, control, enclave } = this.#options;
    const cpu = control.cpus()[index];
    if (!this.#agents.some((agent) => agent.cpu === cpu)) return false;
    const word = enclave.state.cpu("agent_status_index", cpu)[0] - 1;
    if (word < 0 || control.isDestroyed()) return true;
    const status = new StatusWordTable(kernel.memory, control.status_words);
    return (status.flags(word) & GHOST_SW_BOOST_PRIO) === 0;
  }

  /** The agents that run no policy. */
  satellites(): readonly Satellite[] {
    return this.#satellites;
  }

  /**
   * Notices satellites that have ended by themselves: unlike a Worker they send no message. To be
   * called now and then; one that was seen to have ended is a failure at the next call, since all
   * end with their enclave, and that may be seen a moment later.
   */
  checkSatellites(): void {
    for (const { cpu, ended } of this.#satellites) {
      const result = ended();
      if (result >= 0 || this.#stopping !== undefined) continue;
      if (this.#options.control.isDestroyed()) return;
      const is_first_look = !this.#ended_cpus.has(cpu);
      this.#ended_cpus.add(cpu);
      if (is_first_look) continue;
      const text = `agent of CPU ${cpu}: its thread has ended: ${errnoName(-result)}`;
      this.#record({ cpu, text, exit_status: EXIT_FAILURE });
    }
  }

  /** Longest warm-up of an agent, in ms. */
  warmUpMs(): number {
    return Math.max(...this.#agents.map((agent) => agent.warm_up_ms));
  }

  /** The first failure, whenever it comes. */
  failed(): Promise<AgentFailure> {
    return this.#failed.promise;
  }

  /**
   * State of all agents as text, read from the shared memory: agents that hang or are dead too.
   *
   * @param flags DUMP_* flags.
   * @returns At most DUMP_BYTES_MAX bytes.
   */
  dump(flags: number): string {
    const { policy, state } = this.#options.enclave;
    return dumpAgents(policy, state, (cpu) => this.#view(cpu), flags);
  }

  /** An agent's view of the enclave that does nothing to it. */
  #view(cpu: number): AgentContext {
    const { kernel, control, enclave, opener } = this.#options;
    return new AgentContext(opener.dry(cpu, 0), {
      abi: kernel.abi,
      memory: kernel.memory,
      status_words: control.status_words,
      cpu_data: control.cpu_data,
      queue_words: enclave.queues[control.cpus().indexOf(cpu)].words,
      queue_ids: enclave.queues.map((queue) => queue.id),
      cpu_rows: kernel.cpuRows(),
    }, enclave.state);
  }

  /** Gives the policy what a predecessor's has kept; called by `beforeOnline` only. */
  restore(snapshot: Snapshot): void {
    this.#options.enclave.policy.create(this.#view(this.#agents[0].cpu)).restore(snapshot);
  }

  /**
   * Ends an agent's thread that waits in the kernel or between two steps. The other agents go on;
   * what the dead one had under way may hold them up, so {@linkcode stop} should follow.
   *
   * @param cpu CPU of the agent.
   */
  kill(cpu: number): void {
    const agent = this.#agents.find((candidate) => candidate.cpu === cpu);
    if (agent !== undefined) this.#kill(agent, "killed");
  }

  #kill(agent: AgentHandle, why: string): void {
    if (!this.#live().includes(agent)) return;
    const text = `agent of CPU ${agent.cpu}: ${why}`;
    this.#record({ cpu: agent.cpu, text, exit_status: EXIT_FAILURE });
    this.#end(agent, "killed");
  }

  /**
   * Asks the agents to leave, first when they have nothing queued, then at once, and kills those
   * that do neither in time. Returns when their threads are gone.
   *
   * @param options How long to wait.
   * @returns How they ended. A second call returns the report of the first.
   */
  stop(options: StopOptions = {}): Promise<AgentsReport> {
    return this.#stopping ??= this.#stop(options);
  }

  async #stop(options: StopOptions): Promise<AgentsReport> {
    const { drain_ms = DRAIN_MS, leave_ms = LEAVE_MS, process_ends = false } = options;
    this.#options.enclave.goOffline();
    const has_failed = this.#failures.length > 0;
    // After a failure nothing is to be finished: what is queued may wait for ever.
    const drained = !has_failed && drain_ms > 0 && await this.#leave(STOP_WHEN_DRAINED, drain_ms);
    if (!drained) await this.#leave(STOP_NOW, leave_ms);
    for (const agent of this.#live()) {
      this.#kill(agent, `did not leave within ${leave_ms} ms, killed`);
    }
    if (process_ends && this.#failures.length === 0) return this.#report();
    await this.#join();
    for (const { cpu, stop } of this.#satellites) {
      const result = stop();
      if (result >= 0) continue;
      const text = `agent of CPU ${cpu}: its thread does not end; end the process`;
      this.#record({ cpu, text, exit_status: EXIT_FAILURE });
    }
    this.#freeStatusWords();
    return this.#report();
  }

  /** Tells all agents to leave; true if they have within a time. */
  async #leave(how: number, timeout_ms: number): Promise<boolean> {
    const live = this.#live();
    for (const agent of live) {
      Atomics.store(agent.control, CONTROL_STOP_WORD, how);
      this.#setPhase(agent, PHASE_RUN);
      if (agent.may_be_agent) this.#options.control.wakeAgent(agent.cpu);
    }
    return await within(Promise.all(live.map((agent) => agent.ended.promise)), timeout_ms);
  }

  /**
   * Waits until the threads are gone. Deno 2.9 does not interrupt a Worker's JavaScript: a step
   * that never returns can only be ended with the process.
   */
  async #join(): Promise<void> {
    const { schedGetscheduler } = loadShim();
    const end_ms = performance.now() + JOIN_MS;
    const alive = () => this.#agents.find(({ tid }) => tid > 0 && schedGetscheduler(tid) >= 0);
    while (alive() !== undefined && performance.now() < end_ms) await sleep(JOIN_POLL_MS).done;
    const stuck = alive();
    if (stuck === undefined) return;
    const text = `agent of CPU ${stuck.cpu}: its step does not return; end the process`;
    this.#record({ cpu: stuck.cpu, text, exit_status: EXIT_FAILURE });
  }

  #freeStatusWords(): void {
    const { control, enclave } = this.#options;
    for (const { cpu } of [...this.#agents, ...this.#satellites]) {
      const index = enclave.state.cpu("agent_status_index", cpu)[0] - 1;
      if (index >= 0) control.freeStatusWord(index);
    }
  }

  #report(): AgentsReport {
    const count = (state: string) => this.#agents.filter((agent) => agent.state === state).length;
    return {
      left_count: count("left"),
      killed_count: count("killed"),
      failures: [...this.#failures],
      exit_status: this.#failures.at(0)?.exit_status ?? 0,
    };
  }
}
