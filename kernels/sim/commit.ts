/**
 * Transactions of one enclave: the checks in the kernel's order, and what a commit does.
 * Source: reference section 1.5.
 *
 * @module
 */
import * as abi_constants from "../../ffi/abi/constants.ts";
import * as memory from "../../ffi/memory.ts";
import * as transactions from "../../lib/transaction.ts";
import type { SimAgent } from "./agent.ts";
import * as checks from "./commit_checks.ts";
import type { SimEnclave } from "./enclave.ts";
import * as events from "./event_kinds.ts";
import type { SimMachine } from "./machine.ts";
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { cpuFaults, gtidFaults, recordFaults, refusal, specialGtid, strangerFaults, taskFaults } =
  checks;
const { storeU64 } = memory;
const {
  COMMIT_AT_FLAGS,
  COMMIT_AT_SCHEDULE,
  COMMIT_AT_TXN_COMMIT,
  ELIDE_AGENT_BARRIER_INC,
  ELIDE_PREEMPT,
  GHOST_IDLE_GTID,
  GHOST_TXN_COMPLETE: COMPLETE,
  GHOST_TXN_POISONED,
  GHOST_TXN_READY,
  INC_AGENT_BARRIER_ON_FAILURE,
  NEED_CPU_NOT_IDLE,
  SYNC_GROUP_NOT_OWNED,
  TXN_AGENT_BARRIER_WORD,
  TXN_COMMIT_TIME_WORD,
  TXN_CPU_SEQNUM_WORD,
  TXN_FLAGS_WORD,
  TXN_GTID_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} = abi_constants;
const { TXN_STRIDE_WORDS } = transactions;
const { EVENT_GREEDY, EVENT_RESCHED } = events;
const { LATCHED, MODE_AGENT, MODE_DEFAULT, MODE_GHOST, READY, RUNNING } = states;

/** Until a member of a sync group looks what to run. */
const RENDEZVOUS_NS = 40;

/** Who commits: an agent, the kernel by itself, or a thread that is no agent. */
type Caller = SimAgent | null;

// A first value of the right kind: V8 then knows the kind of the field for good.
const NO_WORDS = new Int32Array(0);

/** The kernel's side of the transaction records. */
export class Commits {
  declare private readonly machine: SimMachine;
  declare private readonly enclave: SimEnclave;
  readonly #words: Int32Array = NO_WORDS;
  readonly #group: number[] = [];
  /** False while a thread that is no agent commits. */
  #is_permitted = true;

  /** Made by the enclave. */
  constructor(machine: SimMachine, enclave: SimEnclave) {
    this.machine = machine;
    this.enclave = enclave;
    this.#words = enclave.cpu_data;
  }

  /** The verdict RUN_LOCAL; true if the agent gave its CPU away. */
  commitLocal(agent: SimAgent): boolean {
    const cost_ns = this.machine.options.costs.local_schedule_ns;
    if (!this.#claim(agent.cpu)) return false;
    return this.#finish(this.machine.cpus[agent.cpu], agent, cost_ns) === COMPLETE;
  }

  /**
   * A CPU has nothing to run: an open transaction that waits for that, or is greedy, is committed.
   *
   * @returns True if there is something to run now.
   */
  schedulePoint(cpu: SimCpu): boolean {
    if (this.#words[Math.imul(cpu.id, TXN_STRIDE_WORDS) + TXN_STATE_WORD] !== GHOST_TXN_READY) {
      return false;
    }
    const { costs, has_rule } = this.machine.options;
    const waits = (this.#commitFlags(cpu.id) & COMMIT_AT_TXN_COMMIT) === 0;
    if (!waits || cpu.agent === null || !has_rule("commit.at_schedule")) return false;
    this.#claim(cpu.id);
    this.#finish(cpu, null, costs.local_schedule_ns);
    return cpu.latched !== null;
  }

  /** One COMMIT_TXN call for the record of another CPU. */
  commitRemote(agent: SimAgent, cpu_id: number): void {
    this.#group.length = 0;
    this.#group.push(cpu_id);
    this.#commitList(agent);
  }

  /** One COMMIT_TXN call for several records. */
  commitGroup(agent: SimAgent, mask: Int32Array): void {
    this.#listMask(mask, agent, "group.own_last");
    this.#commitList(agent);
  }

  /** A COMMIT_TXN call by a thread that is no agent. */
  commitFromOutside(cpu_id: number): void {
    if (cpu_id >= this.machine.cpus.length || !this.#claim(cpu_id)) return;
    this.#is_permitted = false;
    this.#commitAndInterrupt(this.machine.cpus[cpu_id], null, 1);
    this.#is_permitted = true;
  }

  /** The CPUs of a mask, the caller's own last. */
  #listMask(mask: Int32Array, agent: SimAgent, rule: "group.own_last" | "sync.own_last"): void {
    const own_last = this.machine.options.has_rule(rule);
    this.#group.length = 0;
    let has_own = false;
    for (let cpu = 0; cpu < this.machine.cpus.length; cpu++) {
      if (((mask[cpu >> 5] >> (cpu & 31)) & 1) === 0) continue;
      if (cpu === agent.cpu && own_last) has_own = true;
      else this.#group.push(cpu);
    }
    if (has_own) this.#group.push(agent.cpu);
  }

  #commitList(agent: SimAgent): void {
    const { costs, has_rule } = this.machine.options;
    const count = this.#group.length;
    this.machine.advance(costs.remote_agent_ns + (count - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return;
    let failed = false;
    for (const cpu_id of this.#group) {
      if (cpu_id >= this.machine.cpus.length) continue;
      const flags = this.#commitFlags(cpu_id) & COMMIT_AT_FLAGS;
      if (flags === COMMIT_AT_SCHEDULE && has_rule("commit.at_schedule")) continue;
      if (!this.#claim(cpu_id)) continue;
      const target = this.machine.cpus[cpu_id];
      const own = cpu_id === agent.cpu;
      if (own && failed && has_rule("group.own_poisoned")) {
        this.#setState(cpu_id, GHOST_TXN_POISONED);
      } else if (flags === 0 && !own && this.#commitsLater(target)) {
        continue;
      } else if (this.#commitAndInterrupt(target, agent, count) !== COMPLETE) {
        failed = true;
      }
    }
  }

  /** Leaves a claimed greedy transaction to its CPU; false if that CPU is not the enclave's. */
  #commitsLater(target: SimCpu): boolean {
    const { costs, faults, has_rule } = this.machine.options;
    if (target.enclave !== this.enclave || !has_rule("commit.greedy_later")) return false;
    const late_ns = faults.roll("greedy_late") ? faults.below(1_000_000) : 0;
    const at_ns = this.machine.now_ns + costs.remote_target_ns + late_ns;
    this.machine.events.push(at_ns, EVENT_GREEDY, target.id, 0);
    return true;
  }

  /** A commit from another CPU: latch, then an interrupt makes the target look. */
  #commitAndInterrupt(target: SimCpu, caller: Caller, count: number): number {
    const { costs, faults } = this.machine.options;
    const target_ns = costs.remote_target_ns + (count - 1) * costs.group_target_extra_ns;
    const state = this.#finish(target, caller, target_ns);
    // The own record's task runs when its agent gives the CPU away.
    if (state !== COMPLETE || caller?.cpu === target.id) return state;
    const flight_ns = costs.remote_total_ns - costs.remote_agent_ns - costs.remote_target_ns;
    const late_ns = faults.roll("ipi_late") ? faults.below(500_000) : 0;
    const at_ns = this.machine.now_ns + flight_ns + late_ns;
    this.machine.events.push(at_ns, EVENT_RESCHED, target.id, 0);
    return state;
  }

  /** A commit point of a CPU: a claimed greedy transaction is decided. */
  greedyPoint(cpu: SimCpu): void {
    const state = this.#words[Math.imul(cpu.id, TXN_STRIDE_WORDS) + TXN_STATE_WORD];
    if (state < 0 || state === GHOST_TXN_READY) return;
    this.#finish(cpu, null, this.machine.options.costs.remote_target_ns);
    // A running agent finds what was latched for it when it yields.
    if (cpu.mode !== MODE_AGENT) this.machine.resched(cpu);
  }

  /** A tick of a CPU under commit_at_tick: an open greedy transaction is decided. */
  tickPoint(cpu: SimCpu): void {
    const bound = (this.#commitFlags(cpu.id) & COMMIT_AT_FLAGS) !== 0;
    if (bound && this.machine.options.has_rule("commit.tick_greedy_only")) return;
    if (this.#claim(cpu.id)) this.greedyPoint(cpu);
  }

  #commitFlags(cpu_id: number): number {
    return (this.#words[Math.imul(cpu_id, TXN_STRIDE_WORDS) + TXN_FLAGS_WORD] >> 16) & 0xff;
  }

  /** Takes an open transaction; false if it is not open. */
  #claim(cpu_id: number): boolean {
    const at = Math.imul(cpu_id, TXN_STRIDE_WORDS) + TXN_STATE_WORD;
    const is_open = this.#words[at] === GHOST_TXN_READY;
    if (!is_open && this.machine.options.has_rule("commit.claim")) return false;
    this.#words[at] = cpu_id;
    return true;
  }

  #setState(cpu_id: number, state: number): void {
    const words = this.#words;
    const { counters, now_ns, trace } = this.machine;
    const base = Math.imul(cpu_id, TXN_STRIDE_WORDS);
    storeU64(words, base + TXN_COMMIT_TIME_WORD, now_ns);
    words[base + TXN_STATE_WORD] = state | 0;
    if (state === COMPLETE) counters.commit_count++;
    else counters.refused_count++;
    if (trace === null) return;
    const target = this.enclave.findAny(
      words[base + TXN_GTID_WORD],
      words[base + TXN_GTID_WORD + 1],
    );
    trace.commit(now_ns, cpu_id, target === undefined ? -1 : target.tid, state);
  }

  /** Validates a claimed transaction and does what it says. */
  #finish(cpu: SimCpu, caller: Caller, cost_ns: number): number {
    const thread = this.#target(cpu);
    const state = this.#validate(cpu, thread, caller);
    this.#moveBarrier(cpu, state);
    if (state === COMPLETE) this.#apply(cpu, thread, cost_ns);
    this.#setState(cpu.id, state);
    return state;
  }

  #moveBarrier(cpu: SimCpu, state: number): void {
    const { agent } = cpu;
    if (agent === null) return;
    const { has_rule } = this.machine.options;
    const flags = this.#commitFlags(cpu.id);
    const moves = state === COMPLETE
      ? ((flags & ELIDE_AGENT_BARRIER_INC) === 0 || !has_rule("commit.elide_barrier_inc")) &&
        has_rule("commit.barrier_inc")
      : (flags & INC_AGENT_BARRIER_ON_FAILURE) !== 0 && has_rule("commit.failure_barrier_inc");
    if (moves) agent.bumpBarrier();
  }

  /** The thread that a record names, if it names one. */
  #target(cpu: SimCpu): SimThread | undefined {
    const words = this.#words;
    const at = Math.imul(cpu.id, TXN_STRIDE_WORDS) + TXN_GTID_WORD;
    const lo = words[at];
    const hi = words[at + 1];
    return specialGtid(lo, hi) > 0 ? this.enclave.findAny(lo, hi) : undefined;
  }

  /** Holds a record and its target against the checks. */
  #validate(cpu: SimCpu, thread: SimThread | undefined, caller: Caller): number {
    const words = this.#words;
    const enclave = this.enclave;
    const base = Math.imul(cpu.id, TXN_STRIDE_WORDS);
    const lo = words[base + TXN_GTID_WORD];
    const hi = words[base + TXN_GTID_WORD + 1];
    const special = specialGtid(lo, hi);
    let faults = recordFaults(words, base, cpu, special);
    if (thread === undefined) {
      faults |= gtidFaults(special, special > 0 && enclave.isAgentGtid(lo, hi));
    } else if (thread.enclave === enclave) {
      faults |= taskFaults(words, base, cpu, thread, enclave.status.barrier(thread.status_index));
    } else {
      faults |= strangerFaults(thread);
    }
    const has_agent = cpu.enclave === enclave && cpu.agent !== null;
    const is_agent_stale = caller !== null && caller.cpu === cpu.id &&
      words[base + TXN_AGENT_BARRIER_WORD] !== caller.barrier();
    const run_flags = words[base + TXN_FLAGS_WORD] & 0xffff;
    faults |= cpuFaults(cpu, run_flags, has_agent, this.#is_permitted, is_agent_stale);
    return faults === 0 ? COMPLETE : refusal(faults, this.machine.options.has_rule);
  }

  /** What a valid transaction that names no thread does to its CPU. */
  #applySpecial(cpu: SimCpu, special: number, run_flags: number): void {
    const machine = this.machine;
    if (cpu.latched !== null) machine.messages.latchedPreempted(cpu);
    if (cpu.mode === MODE_GHOST && machine.options.has_rule("commit.null_gtid")) {
      machine.preemptCurrent(cpu, (run_flags & ELIDE_PREEMPT) !== 0);
    }
    cpu.run_flags = run_flags;
    // A latched or running thread of a higher class would have refused the transaction, so the
    // CPU idles from here on, or as soon as its agent gives it away.
    cpu.want_not_idle = special === GHOST_IDLE_GTID && cpu.mode !== MODE_DEFAULT &&
      ((run_flags & NEED_CPU_NOT_IDLE) !== 0 || !machine.options.has_rule("run.need_not_idle"));
  }

  /** What a valid transaction does to its CPU. */
  #apply(cpu: SimCpu, thread: SimThread | undefined, cost_ns: number): void {
    const words = this.#words;
    const base = Math.imul(cpu.id, TXN_STRIDE_WORDS);
    const run_flags = words[base + TXN_FLAGS_WORD] & 0xffff;
    const machine = this.machine;
    if (thread === undefined) {
      const special = specialGtid(words[base + TXN_GTID_WORD], words[base + TXN_GTID_WORD + 1]);
      // Only mutants get here with a gtid of nobody, or further with one that cannot be latched.
      if (special <= 0) this.#applySpecial(cpu, special, run_flags);
      return;
    }
    if (thread.enclave === null) return;
    if (thread.state === RUNNING && thread.cpu === cpu.id) {
      if (cpu.latched !== null) machine.messages.latchedPreempted(cpu);
      cpu.run_flags = run_flags;
      return;
    }
    if (thread.state !== READY && thread.state !== LATCHED) return;
    if (thread.state === LATCHED) this.#unlatch(thread);
    else thread.setState(LATCHED);
    if (cpu.latched !== null && cpu.latched !== thread) machine.messages.latchedPreempted(cpu);
    cpu.latched = thread;
    cpu.latched_cost_ns = cost_ns;
    cpu.latched_flags = run_flags;
    cpu.commit_ns = machine.now_ns;
    words[base + TXN_CPU_SEQNUM_WORD] = ++cpu.seqnum;
    words[base + TXN_CPU_SEQNUM_WORD + 1] = 0;
  }

  #unlatch(thread: SimThread): void {
    for (const cpu of this.machine.cpus) {
      if (cpu.latched === thread) cpu.latched = null;
    }
  }

  /** SYNC_GROUP_TXN: all or none. */
  commitSyncGroup(agent: SimAgent, mask: Int32Array): number {
    const { costs, has_rule } = this.machine.options;
    this.#listMask(mask, agent, "sync.own_last");
    const list = this.#group.slice();
    this.machine.advance(costs.remote_agent_ns + (list.length - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return 0;
    const states: (number | undefined)[] = [];
    let failed = false;
    for (const cpu_id of list) {
      let state: number | undefined;
      if (this.#claim(cpu_id)) {
        const poisoned = failed && has_rule("sync.poison");
        const target = this.machine.cpus[cpu_id];
        state = poisoned ? GHOST_TXN_POISONED : this.#validate(target, this.#target(target), agent);
      }
      if (state !== COMPLETE) failed = true;
      states.push(state);
    }
    if (failed && has_rule("sync.all_or_none")) {
      this.#failGroup(list, states);
      return 0;
    }
    list.forEach((cpu_id, index) => {
      const target = this.machine.cpus[cpu_id];
      const state = states[index];
      if (state === undefined) return;
      this.#moveBarrier(target, state);
      if (state === COMPLETE) this.#apply(target, this.#target(target), costs.remote_target_ns);
      this.#setState(cpu_id, state);
      if (has_rule("sync.release")) {
        this.#words[Math.imul(cpu_id, TXN_STRIDE_WORDS) + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
      }
      if (cpu_id === agent.cpu) return;
      this.machine.events.push(this.machine.now_ns + RENDEZVOUS_NS, EVENT_RESCHED, cpu_id, 0);
    });
    return 1;
  }

  /** States of a sync group that runs nothing; a record that was not open keeps its own. */
  #failGroup(list: readonly number[], states: readonly (number | undefined)[]): void {
    const { abi, has_rule } = this.machine.options;
    // Before ABI 73 every member shows a failure; later ones may look successful.
    const whole = abi.sync_group_fails_whole && has_rule("sync.fails_whole");
    list.forEach((cpu_id, index) => {
      const state = states[index];
      if (state === undefined) return;
      const shown = state === COMPLETE && whole ? GHOST_TXN_POISONED : state;
      if (shown !== COMPLETE) this.#moveBarrier(this.machine.cpus[cpu_id], shown);
      this.#setState(cpu_id, shown);
    });
  }
}
