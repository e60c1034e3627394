/**
 * The simulated machine: events on a virtual clock, CPUs, and who gets them. Scheduling classes in
 * falling order: a woken agent, the default class, ghOSt threads. What a change of hands costs is
 * in {@linkcode SimCosts}; what user space sees of it is in `messages.ts` and `commit.ts`.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import { InvariantError } from "../../lib/invariant.ts";
import type { SimAgent } from "./agent.ts";
import * as default_class from "./default_class.ts";
import type { SimEnclave } from "./enclave.ts";
import * as events from "./event_kinds.ts";
import { EventQueue } from "./event_queue.ts";
import { FaultInjector } from "./fault_injector.ts";
import * as invariants from "./invariants.ts";
import { type MachineCounters, type MachineOptions, noCounts } from "./machine_options.ts";
import { Messages } from "./messages.ts";
import type { ActionSource, Script } from "./actions.ts";
import * as script_runner from "./script_runner.ts";
import { type CpuMode, SimCpu, SimThread, type ThreadState } from "./thread.ts";
import * as states from "./thread.ts";
import type { SimTrace } from "./trace.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { chooseDefaultCpu } = default_class;
const { continueScript, finishExit } = script_runner;
const { checkCpuEvent, checkEvent, checkThreadEvent } = invariants;
const { ELIDE_PREEMPT, GHOST_SW_TASK_ONCPU, GHOST_SW_TASK_RUNNABLE, RTLA_ON_IDLE } = abi_constants;
const {
  EVENT_AGENT_STEP,
  EVENT_AGENT_WAKE,
  EVENT_CALL,
  EVENT_GREEDY,
  EVENT_RESCHED,
  EVENT_RUNNABLE_TIMEOUT,
  EVENT_SEGMENT_END,
  EVENT_SLICE_END,
  EVENT_TICK,
  EVENT_TIMER,
  EVENT_WAKE,
} = events;
const { DEAD, LATCHED, MODE_AGENT, MODE_DEFAULT, MODE_GHOST, MODE_IDLE, READY, RUNNING, SLEEPING } =
  states;

// What an agent's status word shows of its CPU.
const SHOWS_FREE = 0;
const SHOWS_BUSY = 1;
const SHOWS_IN_THE_WAY = 2;

const FIRST_TID = 1000;
/** Events that {@linkcode SimMachine.runLive} handles in one go. */
const BATCH = 64;

/** Deepest nesting of agents' steps within one another's calls. */
const NESTING_MAX = 3;

/** CPUs, threads and time. */
export class SimMachine {
  /** Virtual time in ns. */
  now_ns: number = NaN;
  /** Pending events. */
  readonly events: EventQueue = new EventQueue(1024);
  /** The CPUs by number. */
  declare readonly cpus: readonly SimCpu[];
  /** All threads that ever were, by tid − {@linkcode first_tid}. */
  readonly threads: SimThread[] = [];
  /** tid of the first thread. */
  readonly first_tid: number = FIRST_TID;
  /** Threads that have not exited. */
  live_count = 0;
  /** Observer, if any. */
  trace: SimTrace | null = null;
  /** Called with the time from wake-up to running of each ghOSt thread, in ns. */
  on_latency: ((thread: SimThread, latency_ns: number) => void) | null = null;
  /** Counters of the run so far. */
  readonly counters: MachineCounters = noCounts();
  /** Parameters. */
  declare readonly options: MachineOptions;
  /** What user space is told. */
  declare readonly messages: Messages;
  /** A ghOSt thread that waits longer for a CPU was forgotten by its policy. */
  forgotten_after_ns: number = Infinity;
  /** CPUs that the present event looked at; checked when it is over. */
  declare readonly touched: Int32Array;
  /** Number of these CPUs. */
  touched_count = 0;
  /** The CPU that the present event is about counts as touched and is not in the list; or −1. */
  #own_cpu = -1;
  /** Fault points that act on threads. */
  declare readonly injector: FaultInjector;
  /** Enclave of each queue that is open; a queue's number is unique on the machine. */
  readonly queue_owners: Map<number, SimEnclave> = new Map();
  /** Number of the next queue. */
  next_queue_id = 3;
  /** Calls of {@linkcode at}. */
  readonly #calls = new Map<number, () => void>();
  readonly #kernel_memory = new Set<ArrayBufferLike>();
  #next_call = 0;
  #generation = 0;
  #nesting = 0;

  /**
   * Builds the machine: all CPUs idle, no thread.
   *
   * @param options Parameters.
   */
  constructor(options: MachineOptions) {
    this.options = options;
    // Not from the start: V8 would keep a small integer in the field until times grow.
    this.now_ns = 0;
    this.cpus = Array.from({ length: options.cpu_count }, (_, id) => new SimCpu(id));
    this.touched = new Int32Array(options.cpu_count);
    this.messages = new Messages(this);
    this.injector = new FaultInjector(this);
  }

  /** Names memory that the kernel writes and user space reads. */
  addKernelMemory(words: Int32Array): void {
    this.#kernel_memory.add(words.buffer);
  }

  /** True for a queue, the status words and the transaction records. */
  isKernelMemory(words: Int32Array): boolean {
    return this.#kernel_memory.has(words.buffer);
  }

  /** The thread with a tid, dead or alive. */
  thread(tid: number): SimThread | undefined {
    return this.threads[tid - FIRST_TID];
  }

  /**
   * Starts a thread: of the default class, or of its parent's enclave.
   *
   * @param script What it does; made by the caller from the thread.
   * @param name For timelines.
   * @param parent The thread that forks it, if any.
   */
  spawn(
    script: (thread: SimThread) => Script | ActionSource,
    name: string,
    parent: SimThread | null = null,
  ): SimThread {
    const thread = new SimThread(this.first_tid + this.threads.length, undefined, name);
    this.threads.push(thread);
    const made = script(thread);
    if ("nextAction" in made) thread.source = made;
    else thread.script = made;
    thread.parent = parent;
    thread.cpu = parent === null ? thread.tid % this.cpus.length : parent.cpu;
    this.live_count++;
    const enclave = parent === null ? null : parent.enclave;
    const inherits = enclave !== null && this.options.has_rule("fork.inherits") &&
      enclave.inherit(thread);
    if (!inherits) this.wake(thread, thread.cpu);
    return thread;
  }

  /** Runs a function at a time, as an event. */
  at(time_ns: number, call: () => void): void {
    const id = this.#next_call++;
    this.#calls.set(id, call);
    this.events.push(time_ns, EVENT_CALL, id, 0);
  }

  /** Handles all events up to a time, then sets the clock to it. */
  runUntil(time_ns: number): void {
    while (this.events.next_ns <= time_ns && this.events.next_ns < Infinity) this.#handle(1);
    if (time_ns !== Infinity && time_ns > this.now_ns) this.now_ns = time_ns;
  }

  /**
   * Handles events while threads live.
   *
   * @param event_count Events at most.
   * @param until_ns Stops within {@linkcode BATCH} events of this time.
   * @returns How many of `event_count` are left: no thread lives, nothing is pending, or the time
   * is over.
   */
  runLive(event_count: number, until_ns: number): number {
    let left = event_count;
    while (left > 0 && this.live_count > 0 && this.events.next_ns !== Infinity) {
      const count = left < BATCH ? left : BATCH;
      left -= count - this.#handle(count);
      if (this.now_ns > until_ns) break;
    }
    return left;
  }

  /** Handles one event; false if there is none. */
  runOne(): boolean {
    return this.#handle(1) === 0;
  }

  /**
   * Lets time pass inside an agent's call: the rest of the machine goes on meanwhile.
   *
   * @param ns Time the call takes.
   */
  advance(ns: number): void {
    const until = this.now_ns + ns;
    if (this.#nesting < NESTING_MAX) {
      this.#nesting++;
      // What happens meanwhile is an event of its own.
      if (this.#own_cpu >= 0) this.touched[this.touched_count++] = this.#own_cpu;
      while (this.events.next_ns <= until) this.#handle(1);
      this.#own_cpu = -1;
      this.#nesting--;
    }
    if (until > this.now_ns) this.now_ns = until;
  }

  /**
   * Handles events; with more than one it stops once no thread lives. V8 compiles this into one
   * piece with nearly all that an event does.
   *
   * @param event_count Events at most.
   * @returns How many of them are left.
   */
  #handle(event_count: number): number {
    const { events } = this;
    let left = event_count;
    while (left > 0 && events.next_ns !== Infinity) {
      left--;
      const time_ns = events.next_ns;
      if (time_ns > this.now_ns) this.now_ns = time_ns;
      events.pop();
      const { kind, a, b } = events;
      // Nearly all events: apart from the others, so that they are told apart once.
      if (kind === EVENT_SEGMENT_END) {
        const thread = this.threads[a - FIRST_TID];
        const cpu = this.cpus[thread.cpu];
        this.#own(cpu);
        this.#segmentEnd(cpu, thread, b);
        checkThreadEvent(this, thread, cpu);
      } else if (kind === EVENT_AGENT_STEP) {
        const cpu = this.cpus[a];
        this.#own(cpu);
        cpu.agent?.beginStep(b);
        checkCpuEvent(this, cpu);
      } else {
        this.#handleRare(kind, a, b);
        checkEvent(this, kind, a);
      }
      this.#own_cpu = -1;
      if (this.live_count === 0) break;
    }
    return left;
  }

  /** The present event is about a CPU, which it will check; one in the list stays there. */
  #own(cpu: SimCpu): void {
    this.#own_cpu = cpu.is_touched ? -1 : cpu.id;
    cpu.is_touched = true;
  }

  #handleRare(kind: number, a: number, b: number): void {
    switch (kind) {
      case EVENT_WAKE: {
        const thread = this.threads[a - FIRST_TID];
        if (b === thread.event_generation && thread.state === SLEEPING) {
          this.wake(thread, thread.cpu);
        }
        return;
      }
      case EVENT_RESCHED:
        return this.resched(this.cpus[a]);
      case EVENT_SLICE_END:
        return this.#sliceEnd(this.cpus[a], b);
      case EVENT_TICK:
        return this.#tick(this.cpus[a], b);
      case EVENT_GREEDY:
        return this.cpus[a].enclave?.commits.greedyPoint(this.cpus[a]);
      case EVENT_TIMER:
        return this.cpus[a].agent?.timerExpired(b);
      case EVENT_RUNNABLE_TIMEOUT:
        return this.cpus.find(({ enclave }) => enclave?.id === a)?.enclave?.checkRunnableTimeout();
      case EVENT_CALL: {
        const call = this.#calls.get(a);
        this.#calls.delete(a);
        return call?.();
      }
      case EVENT_AGENT_WAKE:
        return this.cpus[a].agent?.wake();
      default:
        throw new InvariantError(`unknown event ${kind}`);
    }
  }

  #segmentEnd(cpu: SimCpu, thread: SimThread, generation: number): void {
    if (generation !== thread.event_generation || thread.state !== RUNNING) return;
    this.account(thread);
    if (thread.remaining_ns !== 0) throw new InvariantError(`thread ${thread.tid} ended early`);
    continueScript(this, cpu, thread);
  }

  /** Adds what a running thread has run since it began, or since the last accounting. */
  account(thread: SimThread): void {
    const ran_ns = this.now_ns - thread.run_start_ns;
    if (ran_ns <= 0) return;
    const used_ns = ran_ns < thread.remaining_ns ? ran_ns : thread.remaining_ns;
    thread.runtime_ns += used_ns;
    thread.remaining_ns -= used_ns;
    thread.run_start_ns = this.now_ns;
    if (thread.enclave !== null) {
      thread.enclave.status.setRuntimeNs(thread.status_index, thread.runtime_ns);
    }
  }

  /** Schedules the end of a running thread's RUN action. */
  scheduleSegmentEnd(thread: SimThread): void {
    const end_ns = thread.run_start_ns + thread.remaining_ns;
    this.events.push(end_ns, EVENT_SEGMENT_END, thread.tid, ++thread.event_generation);
  }

  /** Wakes a sleeping thread (also a new one). */
  wake(thread: SimThread, waker_cpu: number): void {
    if (thread.state !== SLEEPING) return;
    thread.event_generation++;
    thread.setState(READY);
    thread.ready_since_ns = this.now_ns;
    thread.woken_ns = this.now_ns;
    if (thread.enclave !== null) {
      thread.enclave.ready.push(thread);
      this.messages.taskWoken(thread, waker_cpu);
      return;
    }
    const cpu = chooseDefaultCpu(this.cpus, thread);
    thread.cpu = cpu.id;
    cpu.waiting.push(thread);
    this.updateAvailability(cpu);
    this.resched(cpu);
  }

  /** Tells the agent of a CPU whether ghOSt threads may use it, and whether it is in the way. */
  updateAvailability(cpu: SimCpu): void {
    const { agent } = cpu;
    if (agent === null) return;
    const busy = cpu.mode === MODE_DEFAULT || cpu.waiting.length > 0;
    const shown = !busy ? SHOWS_FREE : cpu.mode === MODE_AGENT ? SHOWS_IN_THE_WAY : SHOWS_BUSY;
    if (agent.shown === shown) return;
    agent.shown = shown;
    this.messages.availability(cpu, agent, busy);
  }

  #touch(cpu: SimCpu): void {
    if (cpu.is_touched) return;
    cpu.is_touched = true;
    // Numbers: a list of objects would cost the collector's write barrier at each change.
    this.touched[this.touched_count++] = cpu.id;
  }

  #setMode(cpu: SimCpu, mode: CpuMode, thread: SimThread | null): void {
    this.#touch(cpu);
    if (this.now_ns > cpu.since_ns) this.#closeSpan(cpu);
    cpu.mode = mode;
    cpu.current = thread;
    this.counters.switch_count++;
  }

  #closeSpan(cpu: SimCpu): void {
    const { now_ns, trace } = this;
    const { mode, since_ns } = cpu;
    cpu.mode_ns[mode] += now_ns - since_ns;
    cpu.since_ns = now_ns;
    if (mode !== MODE_IDLE) this.counters.busy_span_count++;
    if (trace === null) return;
    trace.span(cpu.id, mode, cpu.current === null ? -1 : cpu.current.tid, since_ns, now_ns);
  }

  /** Closes the present span of every CPU, for a trace that ends here. */
  flushSpans(): void {
    for (const cpu of this.cpus) this.#setMode(cpu, cpu.mode, cpu.current);
  }

  /** Gives a CPU to whoever has the first claim on it. */
  resched(cpu: SimCpu): void {
    this.#touch(cpu);
    cpu.pick_again = true;
    if (cpu.picking || !cpu.online) return;
    cpu.picking = true;
    do {
      // A message that a choice sends may wake the agent of this very CPU.
      cpu.pick_again = false;
    } while (this.#pick(cpu) || cpu.pick_again);
    cpu.picking = false;
    this.updateAvailability(cpu);
  }

  /** One choice; true if the choice itself changed who has a claim. */
  #pick(cpu: SimCpu): boolean {
    const agent = cpu.agent;
    const agent_ready = agent !== null && agent.wantsCpu();
    if (agent_ready && cpu.mode === MODE_AGENT) return this.messages.latchedUnderAgent(cpu);
    const preempted_by_higher = agent_ready ||
      (cpu.waiting.length > 0 && cpu.mode !== MODE_DEFAULT);
    if (preempted_by_higher) {
      if (cpu.mode === MODE_DEFAULT) this.#requeueDefault(cpu);
      if (cpu.mode === MODE_GHOST) {
        this.preemptCurrent(cpu);
        return true;
      }
      if (cpu.latched !== null) {
        this.messages.latchedPreempted(cpu);
        return true;
      }
      if (!agent_ready) this.#notIdle(cpu, cpu.waiting.first as SimThread);
      if (agent_ready) {
        this.#setMode(cpu, MODE_AGENT, null);
        agent.dispatch();
      } else {
        this.#runDefault(cpu);
      }
      return false;
    }
    if (cpu.mode === MODE_DEFAULT) {
      // Whoever began alone is not alone any more.
      if (cpu.waiting.length > 0 && !cpu.slice_armed) this.#startSlice(cpu);
      return false;
    }
    if (cpu.latched !== null) return this.#runLatched(cpu);
    if (cpu.mode === MODE_GHOST) return false;
    if (cpu.enclave !== null && cpu.enclave.commits.schedulePoint(cpu)) return true;
    if (cpu.mode !== MODE_IDLE) this.#setMode(cpu, MODE_IDLE, null);
    const is_asked = (cpu.run_flags & RTLA_ON_IDLE) !== 0 &&
      this.options.has_rule("run.rtla_on_idle");
    cpu.run_flags = 0;
    return agent !== null && agent.wakeOnIdle(is_asked);
  }

  /** A thread of the default class gets an idle CPU. */
  #notIdle(cpu: SimCpu, next: SimThread): void {
    if (!cpu.want_not_idle) return;
    cpu.want_not_idle = !this.options.has_rule("message.not_idle_once");
    this.messages.cpuNotIdle(cpu, next);
  }

  #requeueDefault(cpu: SimCpu): void {
    const thread = cpu.current as SimThread;
    this.stop(thread);
    thread.setState(READY);
    thread.ready_since_ns = this.now_ns;
    this.#setMode(cpu, MODE_IDLE, null);
    cpu.waiting.push(thread);
  }

  #runDefault(cpu: SimCpu): void {
    const thread = cpu.waiting.first as SimThread;
    cpu.waiting.remove(thread);
    this.start(cpu, thread, MODE_DEFAULT, this.options.costs.default_switch_ns);
    cpu.slice_armed = false;
    if (cpu.waiting.length > 0) this.#startSlice(cpu);
  }

  #startSlice(cpu: SimCpu): void {
    const end_ns = this.now_ns + this.options.costs.default_slice_ns;
    cpu.slice_armed = true;
    this.events.push(end_ns, EVENT_SLICE_END, cpu.id, ++cpu.slice_generation);
  }

  #sliceEnd(cpu: SimCpu, generation: number): void {
    if (generation !== cpu.slice_generation) return;
    cpu.slice_armed = false;
    if (cpu.mode !== MODE_DEFAULT || cpu.waiting.length === 0) return;
    this.#requeueDefault(cpu);
    this.resched(cpu);
  }

  /** Switches to the latched thread; a ghOSt thread on the CPU is preempted by it. */
  #runLatched(cpu: SimCpu): boolean {
    if (cpu.mode === MODE_GHOST) {
      this.preemptCurrent(cpu, (cpu.latched_flags & ELIDE_PREEMPT) !== 0);
      return true;
    }
    const thread = cpu.latched as SimThread;
    cpu.latched = null;
    const { faults } = this.options;
    const fails = faults.any && faults.roll("latch_failure");
    if (fails && this.messages.latchFailed(cpu, thread)) return true;
    cpu.want_not_idle = false;
    cpu.run_flags = cpu.latched_flags;
    this.start(cpu, thread, MODE_GHOST, cpu.latched_cost_ns);
    return false;
  }

  /** Puts a thread on a CPU. */
  start(cpu: SimCpu, thread: SimThread, mode: CpuMode, cost_ns: number): void {
    if (thread.enclave !== null) thread.enclave.ready.remove(thread);
    thread.setState(RUNNING);
    thread.cpu = cpu.id;
    thread.run_start_ns = this.now_ns + cost_ns;
    this.#setMode(cpu, mode, thread);
    if (thread.enclave !== null) {
      const { status } = thread.enclave;
      status.change(thread.status_index, GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE, 0);
      status.setSwitchTimeNs(thread.status_index, thread.run_start_ns);
      if (thread.woken_ns >= 0 && this.on_latency !== null) {
        this.on_latency(thread, thread.run_start_ns - thread.woken_ns);
      }
      this.messages.taskOnCpu(cpu, thread);
    }
    thread.woken_ns = -1;
    this.scheduleSegmentEnd(thread);
    if (this.injector.enabled) this.injector.threadStarted(cpu, thread);
  }

  /** Takes a running thread off its CPU; the caller decides what it becomes. */
  stop(thread: SimThread): void {
    this.account(thread);
    thread.event_generation++;
    if (thread.enclave !== null) {
      thread.enclave.status.change(thread.status_index, 0, GHOST_SW_TASK_ONCPU);
    }
  }

  /**
   * Takes the running ghOSt thread off its CPU though it could run on.
   *
   * @param elide The transaction that displaces it asked for no message (ELIDE_PREEMPT).
   */
  preemptCurrent(cpu: SimCpu, elide = false): void {
    const thread = cpu.current as SimThread;
    this.offCpu(cpu, thread, READY);
    if (elide && this.options.has_rule("run.elide_preempt")) this.messages.taskElided(thread);
    else this.messages.taskPreempted(cpu, thread, false);
  }

  /** Stops a running thread, makes it READY or SLEEPING and leaves the CPU without a thread. */
  offCpu(cpu: SimCpu, thread: SimThread, state: ThreadState): void {
    this.stop(thread);
    thread.setState(state);
    this.#setMode(cpu, MODE_IDLE, null);
    if (state === READY) {
      thread.ready_since_ns = this.now_ns;
      if (thread.enclave !== null) thread.enclave.ready.push(thread);
      else cpu.waiting.push(thread);
    } else if (thread.enclave !== null) {
      thread.enclave.status.change(thread.status_index, 0, GHOST_SW_TASK_RUNNABLE);
    }
  }

  /** Ends a thread, wherever it is. */
  exit(thread: SimThread): void {
    if (thread.state === DEAD) return;
    const cpu = this.cpus[thread.cpu];
    if (thread.state === RUNNING) {
      this.stop(thread);
      this.#setMode(cpu, MODE_IDLE, null);
    } else {
      thread.event_generation++;
      this.unlist(thread);
    }
    finishExit(this, thread);
    this.resched(cpu);
  }

  /** Takes a thread out of the list or latch in which it waits. */
  unlist(thread: SimThread): void {
    if (thread.state === LATCHED) {
      const cpu = this.cpus.find((candidate) => candidate.latched === thread);
      if (cpu !== undefined) cpu.latched = null;
    }
    if (thread.state !== READY && thread.state !== LATCHED) return;
    if (thread.enclave !== null) thread.enclave.ready.remove(thread);
    else this.cpus[thread.cpu].waiting.remove(thread);
  }

  /** The agent has left the CPU (yield, commit, death). */
  agentOff(cpu: SimCpu): void {
    if (cpu.mode === MODE_AGENT) this.#setMode(cpu, MODE_IDLE, null);
    this.resched(cpu);
  }

  #tick(cpu: SimCpu, generation: number): void {
    const enclave = cpu.enclave;
    if (enclave === null || generation !== enclave.tick_generation) return;
    enclave.tick(cpu);
    this.events.push(this.now_ns + this.options.costs.tick_ns, EVENT_TICK, cpu.id, generation);
  }

  /** Makes an agent's next step an event. */
  pushStep(agent: SimAgent, delay_ns: number): void {
    this.events.push(
      this.now_ns + delay_ns,
      EVENT_AGENT_STEP,
      agent.cpu,
      agent.step_generation = this.newGeneration(),
    );
  }

  /**
   * A number that no pending event has. Agents and enclaves come and go while events name them by
   * CPU, so a count of their own would let a successor get its predecessor's events.
   */
  newGeneration(): number {
    return this.#generation = (this.#generation + 1) | 0;
  }
}
