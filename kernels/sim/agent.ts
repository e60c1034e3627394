/**
 * An agent of the simulated kernel: the thread that has the first claim on its CPU, as a state
 * machine that calls one step per event, and the port through which the step calls the kernel.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import type { YieldChoice } from "../../lib/agent_loop.ts";
import * as agent_loop from "../../lib/agent_loop.ts";
import type { Verdict } from "../../lib/policy.ts";
import * as verdicts from "../../lib/policy.ts";
import type { AgentPort } from "../kernel.ts";
import * as errors from "../kernel.ts";
import type { SimEnclave } from "./enclave.ts";
import * as events from "./event_kinds.ts";
import type { SimMachine } from "./machine.ts";
import type { SimQueue } from "./producer_ring.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { carryOut } = agent_loop;
const {
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_IS_AGENT,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AGENT_WAKEUP,
  RTLA_ON_IDLE,
} = abi_constants;
const { AGAIN } = verdicts;
const { EINVAL, ENODEV, ESRCH, ESTALE } = errors;
const { EVENT_TIMER } = events;

/** Longest stretch of a spinning agent that is left out. */
const SPIN_MAX_NS = 1_000_000;

/** Gave the CPU away. */
const AGENT_BLOCKED = 0;
/** Woken, and waits for the switch. */
const AGENT_READY = 1;
/** Has the CPU. */
const AGENT_RUNNING = 2;
/** Has left, or was killed. */
const AGENT_GONE = 3;
/** State of an agent. */
export type AgentState = 0 | 1 | 2 | 3;

/** High word of the gtids of agents; the low word is the CPU + 1. No thread has it. */
export const AGENT_GTID_HI = 0x7fffff00;

/** What runs inside an agent. */
export interface AgentDriver {
  /** The policy instance, or what else chooses yields; replaced by the driver when asked to. */
  readonly policy: YieldChoice & { readonly look_ns?: number };
  /** Runs one step. */
  step(): Verdict;
  /** Replaces the policy instance by a fresh one (fault injection). */
  replace(): void;
  /** The step threw; the agent is gone when this returns. */
  failed(error: unknown): void;
}

/** One agent. */
export class SimAgent implements AgentPort {
  /** See {@linkcode AgentPort.cpu}. */
  declare readonly cpu: number;
  /** See {@linkcode AgentPort.status_index}. */
  declare readonly status_index: number;
  /** Low word of the agent's gtid. */
  declare readonly gtid_lo: number;
  /** High word of the agent's gtid. */
  readonly gtid_hi: number = AGENT_GTID_HI;
  /** Enclave of the agent. */
  declare readonly enclave: SimEnclave;
  /** Queue for messages about the agent's CPU. */
  declare queue: SimQueue | null;
  /** What runs in the agent; without it the agent yields. */
  driver: AgentDriver | null = null;
  /** Invalidates the pending step event. */
  step_generation = 0;
  /** What its status word shows of the CPU; kept by {@linkcode SimMachine.updateAvailability}. */
  shown: number = -1;
  #state: AgentState = AGENT_READY;
  #in_step = false;
  #wake_on_idle = false;
  #is_asleep = false;
  #timer_generation = 0;
  #timer_type = 0;
  #timer_cookie = 0;
  declare private readonly machine: SimMachine;

  /** Made by {@linkcode SimEnclave.becomeAgent}. */
  constructor(
    machine: SimMachine,
    enclave: SimEnclave,
    cpu: number,
    status_index: number,
    queue: SimQueue | null,
  ) {
    this.machine = machine;
    this.enclave = enclave;
    this.cpu = cpu;
    this.gtid_lo = cpu + 1;
    this.status_index = status_index;
    this.queue = queue;
    enclave.status.change(status_index, GHOST_SW_TASK_IS_AGENT, 0);
  }

  /** Barrier of the agent's status word. */
  barrier(): number {
    return this.enclave.status.barrier(this.status_index);
  }

  /** Increments the agent's barrier. */
  bumpBarrier(): number {
    return this.enclave.status.bump(this.status_index);
  }

  /** True if the agent has or wants its CPU. */
  wantsCpu(): boolean {
    return this.#state === AGENT_READY || this.#state === AGENT_RUNNING;
  }

  /** True once the agent has left. */
  isGone(): boolean {
    return this.#state === AGENT_GONE;
  }

  /** Wakes the agent; the caller has moved its barrier. */
  wake(): void {
    if (this.#state !== AGENT_BLOCKED || this.#is_asleep) return;
    this.#state = AGENT_READY;
    this.machine.resched(this.machine.cpus[this.cpu]);
  }

  /**
   * The CPU is about to idle; true if the agent wants it back then.
   *
   * @param is_asked The last transaction on the CPU asked for that (RTLA_ON_IDLE).
   */
  wakeOnIdle(is_asked: boolean): boolean {
    if (!(this.#wake_on_idle || is_asked)) return false;
    if (this.#state !== AGENT_BLOCKED || this.#is_asleep) return false;
    this.#state = AGENT_READY;
    return true;
  }

  /** The CPU switches to the agent. */
  dispatch(): void {
    if (this.#state !== AGENT_READY) return;
    this.#state = AGENT_RUNNING;
    this.#wake_on_idle = false;
    const { costs, faults } = this.machine.options;
    const pause_ns = faults.any ? this.#pause() : 0;
    this.machine.pushStep(this, costs.message_local_ns + pause_ns);
  }

  #pause(): number {
    const { faults } = this.machine.options;
    let pause_ns = 0;
    if (faults.roll("agent_pause_short")) pause_ns += faults.below(100_000);
    if (faults.roll("agent_pause_long")) pause_ns += 1_000_000 + faults.below(9_000_000);
    return pause_ns;
  }

  /** The step event. */
  beginStep(generation: number): void {
    if (generation !== this.step_generation || this.#state !== AGENT_RUNNING) return;
    const machine = this.machine;
    if (machine.injector.enabled) machine.injector.beforeStep(this);
    machine.counters.step_count++;
    if (this.driver === null) {
      this.#end(this.localYield(this.barrier(), 0));
      return;
    }
    let verdict: Verdict;
    this.#in_step = true;
    try {
      verdict = this.driver.step();
    } catch (error) {
      this.#in_step = false;
      this.driver.failed(error);
      return;
    }
    this.#in_step = false;
    if (this.isGone()) return;
    if (verdict === AGAIN) machine.pushStep(this, this.#spinNs());
    else this.#end(carryOut(verdict, this.driver.policy, this));
  }

  /**
   * When a spinning agent steps again. Nothing changes before the next event, so the turns that
   * would see nothing new are left out.
   */
  #spinNs(): number {
    const { costs } = this.machine.options;
    const { now_ns, events } = this.machine;
    const look_ns = this.driver?.policy.look_ns ?? Infinity;
    // A look that is due is taken at once; the policy names the next one then.
    if (look_ns < events.nextTimeNs() && look_ns - now_ns < SPIN_MAX_NS) {
      return Math.max(look_ns - now_ns, costs.again_ns);
    }
    const quiet_ns = Math.min(events.nextTimeNs() - now_ns, SPIN_MAX_NS);
    return quiet_ns <= costs.again_ns ? costs.again_ns : quiet_ns + costs.message_global_ns;
  }

  /** After a commit or yield: if the agent still has the CPU, it goes on with the next step. */
  #end(result: number): void {
    if (this.isGone()) return;
    if (result < 0 || this.#state === AGENT_RUNNING) {
      this.machine.pushStep(this, this.machine.options.costs.syscall_ns);
    }
  }

  /** True while a step of this agent is on the JavaScript stack. */
  inStep(): boolean {
    return this.#in_step;
  }

  #block(wake_on_idle: boolean): void {
    this.#state = AGENT_BLOCKED;
    this.#wake_on_idle = wake_on_idle;
    this.machine.agentOff(this.machine.cpus[this.cpu]);
  }

  /**
   * The agent's thread blocks for a time, as in a page fault or a sleep. No message ends that, and
   * it is what AGENT_BLOCKED and AGENT_WAKEUP tell; a yield or a commit is no blocking.
   *
   * @param ns How long, from now.
   */
  sleepFor(ns: number): void {
    this.#is_asleep = true;
    this.machine.messages.agentRunnability(this, MSG_CPU_AGENT_BLOCKED);
    this.#block(false);
    this.machine.at(this.machine.now_ns + ns, () => {
      if (this.isGone()) return;
      this.#is_asleep = false;
      this.machine.messages.agentRunnability(this, MSG_CPU_AGENT_WAKEUP);
      this.wake();
    });
  }

  /** See {@linkcode AgentPort.nowNs}. */
  nowNs(): number {
    return this.machine.now_ns;
  }

  /** See {@linkcode AgentPort.localCommit}. */
  localCommit(): number {
    if (this.enclave.isDestroyed()) return -ENODEV;
    const { injector } = this.machine;
    if (injector.enabled) injector.beforeCommit(this);
    if (this.isGone()) return -ENODEV;
    if (this.enclave.commits.commitLocal(this)) this.#block(false);
    return 0;
  }

  /** See {@linkcode AgentPort.localYield}. */
  localYield(agent_barrier: number, run_flags: number): number {
    const { has_rule } = this.machine.options;
    if (this.enclave.isDestroyed()) return has_rule("yield.destroyed") ? -ENODEV : 0;
    if ((run_flags & ~RTLA_ON_IDLE) !== 0 && has_rule("yield.flags")) return -EINVAL;
    if (this.isGone()) return -EINVAL;
    if (agent_barrier !== this.barrier() && has_rule("yield.agent_barrier")) return -ESTALE;
    // What the last transaction asked for ends with what the yield asks for.
    this.machine.cpus[this.cpu].want_not_idle = false;
    this.#block((run_flags & RTLA_ON_IDLE) !== 0 && has_rule("yield.rtla_on_idle"));
    return 0;
  }

  /** See {@linkcode AgentPort.commit}. */
  commit(cpu: number): void {
    this.enclave.commits.commitRemote(this, cpu);
  }

  /** See {@linkcode AgentPort.commitGroup}. */
  commitGroup(mask: Int32Array): void {
    this.enclave.commits.commitGroup(this, mask);
  }

  /** See {@linkcode AgentPort.commitSyncGroup}. */
  commitSyncGroup(mask: Int32Array): number {
    return this.enclave.commits.commitSyncGroup(this, mask);
  }

  /** See {@linkcode AgentPort.ping}. */
  ping(cpu: number): number {
    this.#call();
    const { has_rule } = this.machine.options;
    const agent = this.machine.cpus[cpu]?.agent ?? null;
    if (agent === null || agent.enclave !== this.enclave) {
      return has_rule("ping.no_agent") ? -EINVAL : 0;
    }
    if (has_rule("ping.barrier_inc")) agent.bumpBarrier();
    agent.wake();
    return 0;
  }

  /** See {@linkcode AgentPort.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    this.#call();
    return this.enclave.associate(queue_id, gtid_lo, gtid_hi, barrier);
  }

  /** See {@linkcode AgentPort.freeStatusWord}. */
  freeStatusWord(index: number): number {
    return this.enclave.freeStatusWord(index);
  }

  /** See {@linkcode AgentPort.cpuTimeNs}. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number {
    const thread = this.enclave.find(gtid_lo, gtid_hi);
    if (thread === undefined) {
      return this.machine.options.has_rule("cpu_time.unknown") ? -ESRCH : 0;
    }
    this.machine.account(thread);
    return thread.runtime_ns;
  }

  /** See {@linkcode AgentPort.armTimer}. */
  armTimer(deadline_ns: number, type: number, cookie: number): number {
    this.#timer_type = type;
    this.#timer_cookie = cookie;
    const generation = this.#timer_generation = this.machine.newGeneration();
    if (deadline_ns > 0) {
      this.machine.events.push(deadline_ns, EVENT_TIMER, this.cpu, generation);
    }
    return 0;
  }

  /** The timer event. */
  timerExpired(generation: number): void {
    const is_old = generation !== this.#timer_generation;
    if (this.isGone() || (is_old && this.machine.options.has_rule("timer.disarm"))) return;
    this.machine.messages.timerExpired(this, this.#timer_type, this.#timer_cookie);
  }

  /** Time of a short call; the machine may move on meanwhile. */
  #call(): void {
    this.machine.injector.duringCall();
  }

  /** See {@linkcode AgentPort.leave}. */
  leave(): number {
    if (this.isGone()) return -ENODEV;
    this.#state = AGENT_GONE;
    this.step_generation = this.machine.newGeneration();
    const cpu = this.machine.cpus[this.cpu];
    cpu.agent = null;
    if (this.machine.options.has_rule("agent.leave_canfree")) {
      this.enclave.status.change(this.status_index, GHOST_SW_F_CANFREE, 0);
    }
    this.enclave.agents.delete(this.cpu);
    this.machine.agentOff(cpu);
    return 0;
  }
}
