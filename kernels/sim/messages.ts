/**
 * What the simulated kernel tells user space: messages in the exact layout of the ABI version,
 * status word flags and barriers, and the wake-up of the agent that follows a message.
 * Source: reference sections 1.1, 1.3 and 1.4.
 *
 * @module
 */
import * as abi_tables from "../../ffi/abi/abi.ts";
import * as abi_constants from "../../ffi/abi/constants.ts";
import * as memory from "../../ffi/memory.ts";
import type { SimAgent } from "./agent.ts";
import type { SimMachine } from "./machine.ts";
import * as events from "./event_kinds.ts";
import type { SimQueue } from "./producer_ring.ts";
import type { RuleName } from "./rules.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { storeU64 } = memory;
const { PAYLOAD } = abi_tables;
const {
  DEFER_LATCHED_PREEMPTION_BY_AGENT,
  GHOST_SW_BOOST_PRIO,
  GHOST_SW_CPU_AVAIL,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AVAILABLE,
  MSG_CPU_BUSY,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_HEADER_BYTES,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_NEW,
  MSG_TASK_ON_CPU,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
  RTLA_ON_BLOCKED,
  RTLA_ON_PREEMPT,
  RTLA_ON_YIELD,
  SEND_TASK_ON_CPU,
} = abi_constants;
const { EVENT_AGENT_WAKE } = events;
const { MODE_AGENT, READY } = states;

/** Words of the payload, behind the header. */
const P = 2;
/** Payload word of `cpu_seqnum` in messages that also tell the runtime or the commit time. */
const CPU_SEQNUM = 4;
/** Payload word of `cpu_seqnum` in TASK_DEPARTED. */
const DEPARTED_CPU_SEQNUM = 2;
/** From this version on TASK_ON_CPU says that the task runs; before, that it was latched. */
const ON_CPU_SINCE = 78;
const EINVAL = 22;

/** Sends messages. */
export class Messages {
  declare private readonly machine: SimMachine;
  readonly #nowhere = new Int32Array(32);
  /** Where the payload of the present message begins. */
  #payload: number = P;
  readonly #lengths = new Int32Array(256);

  /**
   * Makes the messages of one machine.
   *
   * @param machine The machine whose kernel this is.
   */
  constructor(machine: SimMachine) {
    this.machine = machine;
    for (const message of machine.options.abi.messages.values()) {
      this.#lengths[message.type] = MSG_HEADER_BYTES + (message.payload?.size ?? 0);
    }
  }

  /** True if the ABI version has a message type. */
  has(type: number): boolean {
    return this.#lengths[type] > 0;
  }

  /** Begins a message to a queue; what it says goes behind {@linkcode #payload}. */
  #begin(type: number, queue: SimQueue | null): Int32Array {
    return this.#beginWith(type, this.#lengths[type], queue);
  }

  /** As above, with a length in bytes. */
  #beginWith(type: number, length_bytes: number, queue: SimQueue | null): Int32Array {
    const words = this.#open(type, length_bytes, queue);
    const first = this.#payload - 1;
    // A loop: `fill` is a call out of compiled code.
    for (let word = first + ((length_bytes - 5) >> 2); word >= first; word--) words[word] = 0;
    return words;
  }

  /** As above; the caller writes every word. A message that nobody can get goes nowhere. */
  #open(type: number, length_bytes: number, queue: SimQueue | null): Int32Array {
    const room = queue !== null && queue.open ? queue.reserve(length_bytes) : -1;
    const words = room >= 0 && queue !== null ? queue.words : this.#nowhere;
    const at = room >= 0 ? room : 0;
    words[at] = type | (length_bytes << 16);
    this.#payload = at + P;
    return words;
  }

  /** Sends the present message about a task. */
  #sendTask(words: Int32Array, thread: SimThread, preferred_cpu: number): void {
    const { enclave } = thread;
    if (enclave === null) return;
    const { faults, has_rule } = this.machine.options;
    let barrier = enclave.status.bump(thread.status_index);
    if (thread.new_pending || thread.gated) return;
    if (faults.any && faults.roll("seqnum_skip")) {
      barrier = enclave.status.bump(thread.status_index);
    }
    const p = this.#payload;
    words[p - 1] = has_rule("message.seqnum") ? barrier : 1;
    words[p] = thread.gtid_lo;
    words[p + 1] = thread.gtid_hi;
    this.#produce(words, thread.queue, thread.tid, preferred_cpu);
  }

  #produce(
    words: Int32Array,
    queue: SimQueue | null,
    tid: number,
    preferred_cpu: number,
  ): void {
    if (queue === null || !queue.open) return;
    const p = this.#payload;
    const machine = this.machine;
    const { trace } = machine;
    const ok = queue.publish();
    machine.counters.message_count++;
    if (trace !== null) {
      trace.message(machine.now_ns, queue.id, words[p - P] & 0xffff, tid, words[p - 1], ok);
    }
    if (!machine.options.has_rule("queue.wake")) return;
    const { wakeup_cpus } = queue;
    if (wakeup_cpus.length === 0) return;
    const is_target = wakeup_cpus.length > 1 && wakeup_cpus.includes(preferred_cpu) &&
      machine.options.has_rule("queue.preferred_cpu");
    const cpu = is_target ? preferred_cpu : wakeup_cpus[0];
    const { agent } = machine.cpus[cpu];
    if (agent === null) return;
    if (machine.options.has_rule("queue.barrier_inc")) agent.bumpBarrier();
    if (machine.options.faults.any && machine.options.faults.roll("message_wake_late")) {
      const late_ns = 1000 + machine.options.faults.below(200_000);
      machine.events.push(machine.now_ns + late_ns, EVENT_AGENT_WAKE, cpu, 0);
    } else {
      agent.wake();
    }
  }

  /** A message about a CPU, to its agent's queue. */
  #sendCpu(words: Int32Array, agent: SimAgent, target: SimQueue | null): void {
    words[this.#payload - 1] = agent.bumpBarrier();
    this.#produce(words, target, -1, agent.cpu);
  }

  /** A task entered: TASK_NEW, unless an older stay holds it back. */
  taskEntered(thread: SimThread): void {
    const { has_rule } = this.machine.options;
    if (thread.gated && has_rule("message.gated")) return;
    thread.gated = false;
    if (!has_rule("message.new_first")) {
      thread.new_pending = false;
      this.taskAffinityChanged(thread);
    }
    thread.new_pending = false;
    const layout = this.machine.options.abi.words;
    const words = this.#begin(MSG_TASK_NEW, thread.queue);
    const p = this.#payload;
    if (layout.new_parent_gtid >= 0) {
      words[p + layout.new_parent_gtid] = thread.parent?.gtid_lo ?? 0;
      words[p + layout.new_parent_gtid + 1] = thread.parent?.gtid_hi ?? 0;
    }
    storeU64(words, p + layout.new_runtime, thread.runtime_ns);
    words[p + layout.new_runnable] = thread.state === READY ? 1 : 0;
    if (layout.new_nice >= 0) words[p + layout.new_nice] = thread.nice;
    words[p + layout.new_sw_info + 1] = thread.status_index;
    this.#sendTask(words, thread, thread.cpu);
  }

  /** A sleeping task can run. */
  taskWoken(thread: SimThread, waker_cpu: number): void {
    const { enclave } = thread;
    if (enclave === null) return;
    const machine = this.machine;
    const { faults } = machine.options;
    enclave.status.change(thread.status_index, GHOST_SW_TASK_RUNNABLE, 0);
    const words = this.#begin(MSG_TASK_WAKEUP, thread.queue);
    const p = this.#payload;
    const is_deferrable = faults.any && faults.roll("task_wake_deferrable");
    words[p + PAYLOAD.wakeup_deferrable] = is_deferrable ? 1 : 0;
    words[p + PAYLOAD.wakeup_last_ran_cpu] = thread.cpu;
    if (faults.any && faults.roll("task_wake_other_cpu")) {
      thread.cpu = faults.below(machine.cpus.length);
    }
    const on_waker = enclave.tunable("wake_on_waker_cpu") !== 0 &&
      machine.options.has_rule("wakeup.on_waker_cpu");
    const wake_up_cpu = on_waker ? waker_cpu : thread.cpu;
    words[p + PAYLOAD.wakeup_wake_up_cpu] = wake_up_cpu;
    words[p + PAYLOAD.wakeup_waker_cpu] = waker_cpu;
    this.#sendTask(words, thread, wake_up_cpu);
  }

  #offCpuWords(type: number, cpu: SimCpu, thread: SimThread, cpu_word: number): Int32Array {
    const words = this.#open(type, this.#lengths[type], thread.queue);
    const p = this.#payload;
    storeU64(words, p + PAYLOAD.runtime, thread.runtime_ns);
    words[p + CPU_SEQNUM] = ++cpu.seqnum;
    words[p + CPU_SEQNUM + 1] = 0;
    for (let word = p + CPU_SEQNUM + 2; word < p + cpu_word; word++) words[word] = 0;
    words[p + cpu_word] = cpu.id;
    words[p + cpu_word + 1] = thread.in_switchto ? 1 : 0;
    thread.in_switchto = false;
    return words;
  }

  #returnToAgent(cpu: SimCpu, run_flags: number, flag: number, rule: RuleName): void {
    if ((run_flags & flag) !== 0 && this.machine.options.has_rule(rule)) cpu.agent?.wake();
  }

  /** A running task blocked. */
  taskBlocked(cpu: SimCpu, thread: SimThread): void {
    if (thread.enclave === null) return;
    const words = this.#offCpuWords(MSG_TASK_BLOCKED, cpu, thread, PAYLOAD.blocked_cpu);
    this.#sendTask(words, thread, cpu.id);
    this.#returnToAgent(cpu, cpu.run_flags, RTLA_ON_BLOCKED, "run.rtla_on_blocked");
  }

  /** A running task gave the CPU up. */
  taskYielded(cpu: SimCpu, thread: SimThread): void {
    if (thread.enclave === null) return;
    const words = this.#offCpuWords(MSG_TASK_YIELD, cpu, thread, PAYLOAD.preempt_cpu);
    this.#sendTask(words, thread, cpu.id);
    this.#returnToAgent(cpu, cpu.run_flags, RTLA_ON_YIELD, "run.rtla_on_yield");
  }

  /** A task lost its CPU, or its latch. */
  taskPreempted(cpu: SimCpu, thread: SimThread, was_latched: boolean): void {
    const { has_rule } = this.machine.options;
    if (!has_rule("message.preempt") && cpu.waiting.length > 0) return;
    const words = this.#offCpuWords(MSG_TASK_PREEMPT, cpu, thread, PAYLOAD.preempt_cpu);
    if (was_latched) words[this.#payload + PAYLOAD.preempt_flags] |= 1 << 8;
    this.#sendTask(words, thread, cpu.id);
    const run_flags = was_latched ? cpu.latched_flags : cpu.run_flags;
    this.#returnToAgent(cpu, run_flags, RTLA_ON_PREEMPT, "run.rtla_on_preempt");
  }

  /** A task lost its CPU without a message (ELIDE_PREEMPT): only its barrier tells. */
  taskElided(thread: SimThread): void {
    thread.in_switchto = false;
    thread.enclave?.status.bump(thread.status_index);
  }

  /** The latched task of a CPU will not run now. */
  latchedPreempted(cpu: SimCpu): void {
    const thread = cpu.latched as SimThread;
    cpu.latched = null;
    thread.setState(READY);
    const is_asked = (cpu.latched_flags & SEND_TASK_ON_CPU) !== 0;
    // Before ABI 78 the message says of a task, too, that it was latched and did not run.
    if (is_asked && this.machine.options.abi.version < ON_CPU_SINCE) {
      this.#sendOnCpu(cpu, thread, true);
    }
    this.taskPreempted(cpu, thread, true);
  }

  /**
   * Something happened on a CPU whose agent runs: a task that is latched there does not wait for
   * the agent's yield. True if there was one.
   */
  latchedUnderAgent(cpu: SimCpu): boolean {
    if (cpu.latched === null || !this.machine.options.has_rule("latch.agent_preempts")) {
      return false;
    }
    const may_wait = (cpu.latched_flags & DEFER_LATCHED_PREEMPTION_BY_AGENT) !== 0;
    if (may_wait && cpu.waiting.length === 0) return false;
    this.latchedPreempted(cpu);
    return true;
  }

  /** A latched task could not be switched to; false if the ABI has no message for it. */
  latchFailed(cpu: SimCpu, thread: SimThread): boolean {
    if (!this.has(MSG_TASK_LATCH_FAILURE)) {
      cpu.latched = thread;
      this.latchedPreempted(cpu);
      return true;
    }
    thread.setState(READY);
    const words = this.#begin(MSG_TASK_LATCH_FAILURE, thread.queue);
    const p = this.#payload;
    words[p + PAYLOAD.latch_failure_errno] = EINVAL;
    this.#sendTask(words, thread, cpu.id);
    return true;
  }

  /** A committed task is on its CPU; told only if the transaction asked. */
  taskOnCpu(cpu: SimCpu, thread: SimThread): void {
    const asked = (cpu.run_flags & SEND_TASK_ON_CPU) !== 0;
    if (asked || !this.machine.options.has_rule("message.on_cpu_asked")) {
      this.#sendOnCpu(cpu, thread, false);
    }
  }

  #sendOnCpu(cpu: SimCpu, thread: SimThread, is_preempted: boolean): void {
    const { abi } = this.machine.options;
    const is_latched = abi.version < ON_CPU_SINCE;
    const words = this.#begin(MSG_TASK_ON_CPU, thread.queue);
    const p = this.#payload;
    // TASK_LATCHED tells the time of the message.
    const time_ns = is_latched ? this.machine.now_ns : cpu.commit_ns;
    if (is_latched) cpu.seqnum++;
    storeU64(words, p + PAYLOAD.on_cpu_commit_time, time_ns);
    storeU64(words, p + CPU_SEQNUM, cpu.seqnum);
    words[p + PAYLOAD.on_cpu_cpu] = cpu.id;
    if (is_preempted) words[p + PAYLOAD.on_cpu_cpu + 1] = 1;
    this.#sendTask(words, thread, cpu.id);
  }

  /** A task began a switchto chain. */
  taskSwitchto(cpu: SimCpu, thread: SimThread): void {
    const words = this.#begin(MSG_TASK_SWITCHTO, thread.queue);
    const p = this.#payload;
    storeU64(words, p + PAYLOAD.runtime, thread.runtime_ns);
    storeU64(words, p + CPU_SEQNUM, ++cpu.seqnum);
    words[p + PAYLOAD.switchto_cpu] = cpu.id;
    this.#sendTask(words, thread, cpu.id);
  }

  /** A task left ghOSt. */
  taskDeparted(thread: SimThread, was_current: boolean): void {
    const { enclave } = thread;
    if (enclave === null) return;
    enclave.status.change(
      thread.status_index,
      GHOST_SW_F_CANFREE,
      GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE,
    );
    const words = this.#begin(MSG_TASK_DEPARTED, thread.queue);
    const p = this.#payload;
    storeU64(words, p + DEPARTED_CPU_SEQNUM, ++this.machine.cpus[thread.cpu].seqnum);
    words[p + PAYLOAD.departed_cpu] = thread.cpu;
    words[p + PAYLOAD.departed_flags] = (thread.in_switchto ? 1 : 0) | (was_current ? 1 << 8 : 0);
    thread.in_switchto = false;
    this.#sendTask(words, thread, thread.cpu);
  }

  /** A task exited. */
  taskDead(thread: SimThread): void {
    const { enclave } = thread;
    if (enclave === null) return;
    const words = this.#begin(MSG_TASK_DEAD, thread.queue);
    const p = this.#payload;
    const { dead_cpu } = this.machine.options.abi.words;
    if (dead_cpu >= 0) words[p + dead_cpu] = thread.cpu;
    enclave.status.change(
      thread.status_index,
      GHOST_SW_F_CANFREE,
      GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE,
    );
    this.#sendTask(words, thread, thread.cpu);
  }

  /** The CPUs a task may use changed. */
  taskAffinityChanged(thread: SimThread): void {
    if (thread.enclave === null || !this.machine.options.has_rule("message.affinity")) return;
    const words = this.#begin(MSG_TASK_AFFINITY_CHANGED, thread.queue);
    this.#sendTask(words, thread, thread.cpu);
  }

  /** A task's nice value changed. */
  taskPriorityChanged(thread: SimThread): void {
    if (thread.enclave === null || !this.has(MSG_TASK_PRIORITY_CHANGED)) return;
    if (!this.machine.options.has_rule("message.priority")) return;
    const words = this.#begin(MSG_TASK_PRIORITY_CHANGED, thread.queue);
    const p = this.#payload;
    words[p + PAYLOAD.priority_nice] = thread.nice;
    this.#sendTask(words, thread, thread.cpu);
  }

  /** Keeps CPU_AVAIL and BOOST_PRIO of a CPU's agent; tells the edges if asked to. */
  availability(cpu: SimCpu, agent: SimAgent, busy: boolean): void {
    const { enclave } = agent;
    const boosted = busy && cpu.mode === MODE_AGENT;
    const set = (busy ? 0 : GHOST_SW_CPU_AVAIL) | (boosted ? GHOST_SW_BOOST_PRIO : 0);
    const mask = GHOST_SW_CPU_AVAIL | GHOST_SW_BOOST_PRIO;
    const before = enclave.status.flags(agent.status_index) & mask;
    if (before === set) return;
    enclave.status.change(agent.status_index, set, mask & ~set);
    if (((before ^ set) & GHOST_SW_CPU_AVAIL) === 0) return;
    const wanted = enclave.tunable("deliver_cpu_availability") !== 0 ||
      !this.machine.options.has_rule("message.availability_off");
    if (!wanted || !this.has(MSG_CPU_AVAILABLE)) return;
    const words = this.#begin(busy ? MSG_CPU_BUSY : MSG_CPU_AVAILABLE, agent.queue);
    const p = this.#payload;
    words[p + PAYLOAD.cpu] = cpu.id;
    this.#sendCpu(words, agent, agent.queue);
  }

  /** An agent blocked or woke up. */
  agentRunnability(agent: SimAgent, type: number): void {
    const wanted = agent.enclave.tunable("deliver_agent_runnability") !== 0 ||
      !this.machine.options.has_rule("message.runnability_off");
    if (!wanted || !this.has(MSG_CPU_AGENT_BLOCKED)) return;
    const words = this.#begin(type, agent.queue);
    const p = this.#payload;
    words[p + PAYLOAD.cpu] = agent.cpu;
    this.#sendCpu(words, agent, agent.queue);
  }

  /** An idle CPU whose transaction asked for it is busy again. */
  cpuNotIdle(cpu: SimCpu, next: SimThread): void {
    const { agent } = cpu;
    if (agent === null) return;
    const words = this.#begin(MSG_CPU_NOT_IDLE, agent.queue);
    const p = this.#payload;
    words[p + PAYLOAD.cpu] = cpu.id;
    words[p + PAYLOAD.not_idle_next_gtid] = next.gtid_lo;
    words[p + PAYLOAD.not_idle_next_gtid + 1] = next.gtid_hi;
    this.#sendCpu(words, agent, agent.queue);
  }

  /** A scheduler tick. */
  tick(cpu: SimCpu): void {
    if (cpu.agent === null) return;
    const words = this.#begin(MSG_CPU_TICK, cpu.agent.queue);
    const p = this.#payload;
    words[p + PAYLOAD.cpu] = cpu.id;
    const { tick_is_agent } = this.machine.options.abi.words;
    if (tick_is_agent >= 0) words[p + tick_is_agent] = cpu.mode === MODE_AGENT ? 1 : 0;
    this.#sendCpu(words, cpu.agent, cpu.agent.queue);
  }

  /** A timer of an agent expired. */
  timerExpired(agent: SimAgent, type: number, cookie: number): void {
    const words = this.#begin(MSG_CPU_TIMER_EXPIRED, agent.queue);
    const p = this.#payload;
    words[p + PAYLOAD.cpu] = agent.cpu;
    words[p + PAYLOAD.timer_type] = type;
    words[p + PAYLOAD.timer_cookie] = cookie;
    this.#sendCpu(words, agent, agent.queue);
  }

  /** A message type that no ABI knows (fault): policies must not stop at it. */
  unknown(agent: SimAgent): void {
    const words = this.#beginWith(190, MSG_HEADER_BYTES + 8, agent.queue);
    words[this.#payload] = agent.cpu;
    this.#sendCpu(words, agent, agent.queue);
  }
}
