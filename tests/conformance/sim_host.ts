/**
 * The simulated kernel under the contract suite. Beside the CPUs that a case asks for, the machine
 * has one on which new threads start, and one that is off.
 *
 * @module
 */
import { SCHED_GHOST } from "../../ffi/abi/constants.ts";
import {
  type Action,
  block,
  run,
  type Script,
  sleep,
  switchTo,
  yieldCpu,
} from "../../kernels/sim/actions.ts";
import type { AgentDriver, SimAgent } from "../../kernels/sim/agent.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import type { RuleName } from "../../kernels/sim/rules.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { DEAD, MODE_AGENT, type SimThread, SLEEPING } from "../../kernels/sim/thread.ts";
import type { EnclaveControl } from "../../kernels/kernel.ts";
import type { Verdict } from "../../lib/policy.ts";
import { MessageRing } from "../../lib/ring.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { TransactionTable } from "../../lib/transaction.ts";
import { commandStep } from "./agent_commands.ts";
import { CASE_WORDS } from "./case_memory.ts";
import { type ContractCase, ContractFailure } from "./contract.ts";
import type {
  AttachOptions,
  ContractAgent,
  ContractHost,
  ContractStep,
  ContractThread,
  HostFeature,
  ThreadAction,
} from "./host.ts";

const TIMEOUT_NS = 10_000_000;
/** Longer than any case. */
const FOREVER_NS = 1e12;
const SMALL_REGION = 8;
const STATUS_WORDS = 512;
const FEATURES: readonly HostFeature[] = [
  "offline_cpu",
  "small_status_region",
  "latch_failure",
  "late_greedy",
  "survives_destroy",
];

/** What a simulated host may be made of. */
export interface SimHostOptions {
  /** ABI version. */
  readonly abi_version?: number;
  /** A rule that the kernel does not have. */
  readonly mutant?: RuleName;
}

/** Runs a case's step inside a simulated agent. */
class StepDriver implements AgentDriver {
  readonly policy: ContractAgent;
  readonly #step: ContractStep;
  readonly #failed: (error: unknown) => void;

  constructor(agent: ContractAgent, step: ContractStep, failed: (error: unknown) => void) {
    this.policy = agent;
    this.#step = step;
    this.#failed = failed;
  }

  step(): Verdict {
    return this.#step(this.policy);
  }

  replace(): void {}

  failed(error: unknown): void {
    this.#failed(error);
  }
}

/** The host of one case on one simulated kernel. */
export class SimHost implements ContractHost {
  /** See {@linkcode ContractHost.kernel}. */
  readonly kernel: SimKernel;
  /** See {@linkcode ContractHost.cpus}. */
  readonly cpus: readonly number[];
  /** See {@linkcode ContractHost.outside_cpu}. */
  readonly outside_cpu: number;
  /** See {@linkcode ContractHost.offline_cpu}. */
  readonly offline_cpu: number;
  /** See {@linkcode ContractHost.missing_cpu}. */
  readonly missing_cpu: number;
  /** See {@linkcode ContractHost.patience}. */
  readonly patience = 1;
  /** See {@linkcode ContractHost.missing_node}. */
  readonly missing_node = 99;
  /** See {@linkcode ContractHost.words}. */
  readonly words: Int32Array = new Int32Array(new SharedArrayBuffer(CASE_WORDS * 4));
  readonly #step: ContractStep;
  #step_error: unknown = undefined;

  /**
   * Boots a kernel for a case.
   *
   * @param contract_case The case.
   * @param options ABI version and missing rule.
   */
  constructor(contract_case: ContractCase, options: SimHostOptions = {}) {
    const { cpu_count, needs = [] } = contract_case;
    this.cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    this.outside_cpu = cpu_count;
    this.offline_cpu = cpu_count + 1;
    this.missing_cpu = cpu_count + 2;
    this.kernel = new SimKernel({
      cpus: cpu_count + 2,
      offline_cpus: [this.offline_cpu],
      abi_version: options.abi_version,
      mutant: options.mutant,
      faults: needs.includes("latch_failure") ? { latch_failure: 10_000 } : {},
      status_word_capacity: needs.includes("small_status_region") ? SMALL_REGION : STATUS_WORDS,
    });
    this.#step = contract_case.step ?? commandStep;
  }

  /** See {@linkcode ContractHost.has}. */
  has(feature: HostFeature): boolean {
    return FEATURES.includes(feature);
  }

  #thread(thread: ContractThread): SimThread {
    return this.kernel.machine.thread(thread.tid) as SimThread;
  }

  /** See {@linkcode ContractHost.spawn}. */
  spawn(script: readonly ThreadAction[]): ContractThread {
    const { machine } = this.kernel;
    const thread = machine.spawn((self) => {
      self.affinity = maskOf([this.outside_cpu]);
      return this.#start(self, script);
    }, "case");
    while (thread.state !== SLEEPING && machine.runOne());
    return thread;
  }

  *#start(self: SimThread, script: readonly ThreadAction[]): Script {
    yield block();
    self.affinity = null;
    yield* this.#play(self, script);
  }

  *#play(self: SimThread, script: readonly ThreadAction[]): Script {
    for (const action of script) {
      if (action.op === "exit") return;
      if (action.op === "repeat") {
        for (let count = 0; count < action.count; count++) yield* this.#play(self, action.actions);
        continue;
      }
      const asked = this.#perform(self, action);
      if (asked !== undefined) yield asked;
    }
  }

  /** Does what a thread does at once, or says what it asks of the scheduler. */
  #perform(self: SimThread, action: ThreadAction): Action | undefined {
    const { machine } = this.kernel;
    switch (action.op) {
      case "run":
        return run(action.ns);
      case "sleep":
        return sleep(action.ns);
      case "yield":
        return yieldCpu();
      case "block":
        return block();
      case "switch_to":
        return switchTo(action.tid);
      case "wake":
        machine.wake(machine.thread(action.tid) as SimThread, self.cpu);
        return undefined;
      case "nice":
        this.setNice(self, action.nice);
        return undefined;
      case "affinity":
        this.setAffinity(self, action.cpus);
        return undefined;
      case "leave":
        this.leaveGhost(self);
        return undefined;
      case "join":
        action.enclave.join(self.tid);
        return undefined;
      case "fork":
        machine.spawn((child) => this.#play(child, action.script), "child", self);
        return undefined;
      default:
        return undefined;
    }
  }

  /** See {@linkcode ContractHost.occupy}. */
  occupy(cpu: number): ContractThread {
    return this.kernel.machine.spawn((self) => {
      self.affinity = maskOf([cpu]);
      return this.#play(self, [{ op: "run", ns: FOREVER_NS }]);
    }, "occupant");
  }

  /** See {@linkcode ContractHost.wake}. */
  wake(thread: ContractThread): void {
    this.kernel.machine.wake(this.#thread(thread), this.outside_cpu);
  }

  /** See {@linkcode ContractHost.kill}. */
  kill(thread: ContractThread): void {
    this.kernel.machine.exit(this.#thread(thread));
  }

  /** See {@linkcode ContractHost.killAll}. */
  killAll(): void {
    for (const thread of this.kernel.machine.threads) this.kernel.machine.exit(thread);
  }

  /** See {@linkcode ContractHost.hasExited}. */
  hasExited(thread: ContractThread): boolean {
    return this.#thread(thread).state === DEAD;
  }

  /** See {@linkcode ContractHost.setAffinity}. */
  setAffinity(thread: ContractThread, cpus: readonly number[]): void {
    const target = this.#thread(thread);
    target.affinity = maskOf(cpus);
    this.kernel.machine.messages.taskAffinityChanged(target);
  }

  /** See {@linkcode ContractHost.setNice}. */
  setNice(thread: ContractThread, nice: number): void {
    const target = this.#thread(thread);
    target.nice = nice;
    this.kernel.machine.messages.taskPriorityChanged(target);
  }

  /** See {@linkcode ContractHost.setNiceByAttr}; here is one way to change it. */
  setNiceByAttr(thread: ContractThread, nice: number): readonly [before: number, after: number] {
    const policyNow = (): number => this.#thread(thread).enclave === null ? 0 : SCHED_GHOST;
    const before = policyNow();
    this.setNice(thread, nice);
    return [before, policyNow()];
  }

  /** See {@linkcode ContractHost.leaveGhost}. */
  leaveGhost(thread: ContractThread): void {
    const target = this.#thread(thread);
    target.enclave?.depart(target);
  }

  /** See {@linkcode ContractHost.attachAgent}. */
  attachAgent(control: EnclaveControl, cpu: number, options: AttachOptions): number {
    const { kernel } = this;
    const { queues } = options;
    const port = control.becomeAgent(cpu, options.queue_id ?? queues[0].id);
    if (typeof port === "number") return port;
    const { memory } = kernel;
    const agent = port as SimAgent;
    const view: ContractAgent = {
      cpu,
      port,
      memory,
      abi: kernel.abi,
      rings: queues.map((queue) => new MessageRing(memory, queue.words)),
      queue_ids: queues.map((queue) => queue.id),
      status: new StatusWordTable(memory, control.status_words),
      txns: new TransactionTable(memory, control.cpu_data),
      words: this.words,
      yield_barrier: 0,
      yield_flags: 0,
      sleep: (ns) => agent.sleepFor(ns),
      destroyEnclave: () => void control.destroy(),
    };
    agent.driver = new StepDriver(view, this.#step, (error) => {
      this.#step_error ??= error;
      agent.leave();
    });
    return port.status_index;
  }

  /** See {@linkcode ContractHost.nudge}. */
  nudge(control: EnclaveControl, cpu: number): void {
    const agent = (control as SimEnclave).agents.get(cpu);
    if (agent === undefined) return;
    const { machine } = this.kernel;
    agent.bumpBarrier();
    const had_cpu = machine.cpus[cpu].mode === MODE_AGENT;
    agent.wake();
    if (had_cpu) machine.pushStep(agent, machine.options.costs.syscall_ns);
  }

  /** See {@linkcode ContractHost.commitFromOutside}. */
  commitFromOutside(control: EnclaveControl, cpu: number): void {
    (control as SimEnclave).commits.commitFromOutside(cpu);
  }

  /** See {@linkcode ContractHost.nowNs}. */
  nowNs(): number {
    return this.kernel.nowNs();
  }

  /** See {@linkcode ContractHost.sleep}. */
  sleep(ns: number): Promise<void> {
    const { machine } = this.kernel;
    machine.runUntil(machine.now_ns + ns);
    this.#checkSteps();
    return Promise.resolve();
  }

  /** See {@linkcode ContractHost.until}. */
  async until(condition: () => boolean, what: string, timeout_ns = TIMEOUT_NS): Promise<void> {
    const { machine } = this.kernel;
    const end_ns = machine.now_ns + timeout_ns;
    while (!condition()) {
      this.#checkSteps();
      if (!machine.runOne() || machine.now_ns > end_ns) {
        throw new ContractFailure(`waited in vain: ${what}`);
      }
    }
    this.#checkSteps();
    await Promise.resolve();
  }

  #checkSteps(): void {
    if (this.#step_error === undefined) return;
    throw this.#step_error;
  }

  /** See {@linkcode ContractHost.close}. */
  close(): Promise<void> {
    for (const id of this.kernel.enclaveIds()) {
      const control = this.kernel.attachEnclave(id);
      if (typeof control !== "number") control.destroy();
    }
    return Promise.resolve();
  }
}

/** A 512-bit mask of CPUs. */
function maskOf(cpus: readonly number[]): Int32Array {
  const mask = new Int32Array(16);
  for (const cpu of cpus) mask[cpu >> 5] |= 1 << (cpu & 31);
  return mask;
}
