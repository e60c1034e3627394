/**
 * Transactions of one enclave: the checks in the kernel's order, and what a commit does.
 * Source: reference section 1.5.
 *
 * @module
 */
import {
  COMMIT_AT_FLAGS,
  COMMIT_AT_SCHEDULE,
  ELIDE_AGENT_BARRIER_INC,
  ELIDE_PREEMPT,
  GHOST_IDLE_GTID,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_POISONED,
  GHOST_TXN_READY,
  INC_AGENT_BARRIER_ON_FAILURE,
  NEED_CPU_NOT_IDLE,
  SYNC_GROUP_NOT_OWNED,
  TXN_AGENT_BARRIER_WORD,
  TXN_COMMIT_TIME_WORD,
  TXN_CPU_SEQNUM_WORD,
  TXN_CPU_WORD,
  TXN_FLAGS_WORD,
  TXN_GTID_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
  TXN_TASK_BARRIER_WORD,
  TXN_VERSION_WORD,
} from "../../ffi/abi/constants.ts";
import { storeU64 } from "../../ffi/memory.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import type { SimAgent } from "./agent.ts";
import { type Candidate, checkCommit } from "./commit_checks.ts";
import type { SimEnclave } from "./enclave.ts";
import { EVENT_GREEDY, EVENT_RESCHED, type SimMachine } from "./machine.ts";
import {
  LATCHED,
  MODE_DEFAULT,
  MODE_GHOST,
  READY,
  RUNNING,
  type SimCpu,
  type SimThread,
} from "./thread.ts";

/** Until a member of a sync group looks what to run. */
const RENDEZVOUS_NS = 40;

/** Who commits. */
type Caller = SimAgent | "kernel" | "outsider";

/** The kernel's side of the transaction records. */
export class Commits {
  readonly #machine: SimMachine;
  readonly #enclave: SimEnclave;
  readonly #words: Int32Array;
  readonly #group: number[] = [];
  readonly #candidate: Candidate;

  /** Made by the enclave. */
  constructor(machine: SimMachine, enclave: SimEnclave) {
    this.#machine = machine;
    this.#enclave = enclave;
    this.#words = enclave.cpu_data;
    this.#candidate = {
      version: 0,
      record_cpu: 0,
      run_flags: 0,
      commit_flags: 0,
      special: 0,
      thread: undefined,
      is_agent: false,
      is_ours: false,
      is_task_stale: false,
      cpu: machine.cpus[0],
      has_agent: false,
      is_permitted: false,
      is_agent_stale: false,
    };
  }

  /** The verdict RUN_LOCAL; true if the agent gave its CPU away. */
  commitLocal(agent: SimAgent): boolean {
    const cost_ns = this.#machine.options.costs.local_schedule_ns;
    if (!this.#claim(agent.cpu)) return false;
    return this.#finish(this.#machine.cpus[agent.cpu], agent, cost_ns) === GHOST_TXN_COMPLETE;
  }

  /** The agent gives its CPU away: what waits for that is committed (COMMIT_AT_SCHEDULE). */
  commitAtSchedule(agent: SimAgent): void {
    const waits = (this.#commitFlags(agent.cpu) & COMMIT_AT_SCHEDULE) !== 0;
    if (waits && this.#machine.options.has_rule("commit.at_schedule")) this.commitLocal(agent);
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
    if (cpu_id >= this.#machine.cpus.length || !this.#claim(cpu_id)) return;
    this.#commitAndInterrupt(this.#machine.cpus[cpu_id], "outsider", 1);
  }

  /** The CPUs of a mask, the caller's own last. */
  #listMask(mask: Int32Array, agent: SimAgent, rule: "group.own_last" | "sync.own_last"): void {
    const own_last = this.#machine.options.has_rule(rule);
    this.#group.length = 0;
    let has_own = false;
    for (let cpu = 0; cpu < this.#machine.cpus.length; cpu++) {
      if (((mask[cpu >> 5] >> (cpu & 31)) & 1) === 0) continue;
      if (cpu === agent.cpu && own_last) has_own = true;
      else this.#group.push(cpu);
    }
    if (has_own) this.#group.push(agent.cpu);
  }

  #commitList(agent: SimAgent): void {
    const { costs, has_rule } = this.#machine.options;
    const count = this.#group.length;
    this.#machine.advance(costs.remote_agent_ns + (count - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return;
    let failed = false;
    for (const cpu_id of this.#group) {
      if (cpu_id >= this.#machine.cpus.length) continue;
      const flags = this.#commitFlags(cpu_id) & COMMIT_AT_FLAGS;
      if (flags === COMMIT_AT_SCHEDULE && has_rule("commit.at_schedule")) continue;
      if (!this.#claim(cpu_id)) continue;
      const target = this.#machine.cpus[cpu_id];
      const own = cpu_id === agent.cpu;
      if (own && failed && has_rule("group.own_poisoned")) {
        this.#setState(cpu_id, GHOST_TXN_POISONED);
      } else if (flags === 0 && !own && this.#commitsLater(target)) {
        continue;
      } else if (this.#commitAndInterrupt(target, agent, count) !== GHOST_TXN_COMPLETE) {
        failed = true;
      }
    }
  }

  /** Leaves a claimed greedy transaction to its CPU; false if that CPU is not the enclave's. */
  #commitsLater(target: SimCpu): boolean {
    const { costs, faults, has_rule } = this.#machine.options;
    if (target.enclave !== this.#enclave || !has_rule("commit.greedy_later")) return false;
    const late_ns = faults.roll("greedy_late") ? faults.below(1_000_000) : 0;
    const at_ns = this.#machine.now_ns + costs.remote_target_ns + late_ns;
    this.#machine.events.push(at_ns, EVENT_GREEDY, target.id, 0);
    return true;
  }

  /** A commit from another CPU: latch, then an interrupt makes the target look. */
  #commitAndInterrupt(target: SimCpu, caller: Caller, count: number): number {
    const { costs, faults } = this.#machine.options;
    const target_ns = costs.remote_target_ns + (count - 1) * costs.group_target_extra_ns;
    const state = this.#finish(target, caller, target_ns);
    if (state !== GHOST_TXN_COMPLETE) return state;
    const flight_ns = costs.remote_total_ns - costs.remote_agent_ns - costs.remote_target_ns;
    const late_ns = faults.roll("ipi_late") ? faults.below(500_000) : 0;
    const at_ns = this.#machine.now_ns + flight_ns + late_ns;
    this.#machine.events.push(at_ns, EVENT_RESCHED, target.id, 0);
    return state;
  }

  /** A commit point of a CPU: a claimed greedy transaction is decided. */
  greedyPoint(cpu: SimCpu): void {
    const state = this.#words[cpu.id * TXN_STRIDE_WORDS + TXN_STATE_WORD];
    if (state < 0 || state === GHOST_TXN_READY) return;
    if (this.#finish(cpu, "kernel", this.#machine.options.costs.remote_target_ns) < 0) {
      this.#machine.resched(cpu);
    }
  }

  /** A tick of a CPU under commit_at_tick: an open greedy transaction is decided. */
  tickPoint(cpu: SimCpu): void {
    const bound = (this.#commitFlags(cpu.id) & COMMIT_AT_FLAGS) !== 0;
    if (bound && this.#machine.options.has_rule("commit.tick_greedy_only")) return;
    if (this.#claim(cpu.id)) this.greedyPoint(cpu);
  }

  #commitFlags(cpu_id: number): number {
    return (this.#words[cpu_id * TXN_STRIDE_WORDS + TXN_FLAGS_WORD] >> 16) & 0xff;
  }

  /** Takes an open transaction; false if it is not open. */
  #claim(cpu_id: number): boolean {
    const at = cpu_id * TXN_STRIDE_WORDS + TXN_STATE_WORD;
    const is_open = this.#words[at] === GHOST_TXN_READY;
    if (!is_open && this.#machine.options.has_rule("commit.claim")) return false;
    this.#words[at] = cpu_id;
    return true;
  }

  #setState(cpu_id: number, state: number): void {
    const base = cpu_id * TXN_STRIDE_WORDS;
    storeU64(this.#words, base + TXN_COMMIT_TIME_WORD, this.#machine.now_ns);
    this.#words[base + TXN_STATE_WORD] = state;
    const { counters } = this.#machine;
    if (state === GHOST_TXN_COMPLETE) counters.commit_count++;
    else counters.refused_count++;
    const target = this.#target(cpu_id);
    this.#machine.trace?.commit(this.#machine.now_ns, cpu_id, target?.tid ?? -1, state);
  }

  /** Validates a claimed transaction and does what it says. */
  #finish(cpu: SimCpu, caller: Caller, cost_ns: number): number {
    const state = this.#validate(cpu, caller);
    this.#moveBarrier(cpu, state);
    if (state === GHOST_TXN_COMPLETE) this.#apply(cpu, cost_ns);
    this.#setState(cpu.id, state);
    return state;
  }

  #moveBarrier(cpu: SimCpu, state: number): void {
    const { has_rule } = this.#machine.options;
    const flags = this.#commitFlags(cpu.id);
    if (cpu.agent === null) return;
    if (state === GHOST_TXN_COMPLETE) {
      const elide = (flags & ELIDE_AGENT_BARRIER_INC) !== 0 &&
        has_rule("commit.elide_barrier_inc");
      if (!elide && has_rule("commit.barrier_inc")) cpu.agent.bumpBarrier();
    } else if (
      (flags & INC_AGENT_BARRIER_ON_FAILURE) !== 0 && has_rule("commit.failure_barrier_inc")
    ) {
      cpu.agent.bumpBarrier();
    }
  }

  #target(cpu_id: number): SimThread | undefined {
    const at = cpu_id * TXN_STRIDE_WORDS + TXN_GTID_WORD;
    return this.#enclave.findAny(this.#words[at], this.#words[at + 1]);
  }

  /** The gtid of a record if it is 0 or negative (−3 for all below −2), else 1. */
  #special(cpu_id: number): number {
    const at = cpu_id * TXN_STRIDE_WORDS + TXN_GTID_WORD;
    const lo = this.#words[at];
    const hi = this.#words[at + 1];
    if (lo === 0 && hi === 0) return 0;
    if (hi >= 0) return 1;
    return hi === -1 && lo < 0 && lo > -3 ? lo : -3;
  }

  /** The checks, in the kernel's order. */
  #validate(cpu: SimCpu, caller: Caller): number {
    const c = this.#candidate;
    const words = this.#words;
    const base = cpu.id * TXN_STRIDE_WORDS;
    c.version = words[base + TXN_VERSION_WORD];
    c.record_cpu = words[base + TXN_CPU_WORD];
    c.run_flags = words[base + TXN_FLAGS_WORD] & 0xffff;
    c.commit_flags = this.#commitFlags(cpu.id);
    c.special = this.#special(cpu.id);
    c.cpu = cpu;
    c.has_agent = cpu.enclave === this.#enclave && cpu.agent !== null;
    c.is_permitted = caller !== "outsider";
    c.is_agent_stale = typeof caller === "object" && caller.cpu === cpu.id &&
      words[base + TXN_AGENT_BARRIER_WORD] !== caller.barrier();
    const thread = c.special > 0 ? this.#target(cpu.id) : undefined;
    c.thread = thread;
    c.is_agent = c.special > 0 && thread === undefined &&
      this.#enclave.isAgentGtid(words[base + TXN_GTID_WORD], words[base + TXN_GTID_WORD + 1]);
    c.is_ours = thread !== undefined && thread.enclave === this.#enclave;
    c.is_task_stale = thread !== undefined && c.is_ours &&
      words[base + TXN_TASK_BARRIER_WORD] !== this.#enclave.status.barrier(thread.status_index);
    return checkCommit(c, this.#machine.options.has_rule);
  }

  /** What a valid transaction does to its CPU. */
  #apply(cpu: SimCpu, cost_ns: number): void {
    const base = cpu.id * TXN_STRIDE_WORDS;
    const run_flags = this.#words[base + TXN_FLAGS_WORD] & 0xffff;
    const machine = this.#machine;
    const special = this.#special(cpu.id);
    if (special <= 0) {
      if (cpu.latched !== null) machine.messages.latchedPreempted(cpu);
      if (cpu.mode === MODE_GHOST && machine.options.has_rule("commit.null_gtid")) {
        machine.preemptCurrent(cpu, (run_flags & ELIDE_PREEMPT) !== 0);
      }
      cpu.run_flags = run_flags;
      // A latched or running thread of a higher class would have refused the transaction, so the
      // CPU idles from here on, or as soon as its agent gives it away.
      cpu.want_not_idle = special === GHOST_IDLE_GTID && cpu.mode !== MODE_DEFAULT &&
        ((run_flags & NEED_CPU_NOT_IDLE) !== 0 || !machine.options.has_rule("run.need_not_idle"));
      return;
    }
    const thread = this.#target(cpu.id);
    // Only mutants get further than this with a thread that cannot be latched.
    if (thread === undefined || thread.enclave === null) return;
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
    storeU64(this.#words, base + TXN_CPU_SEQNUM_WORD, ++cpu.seqnum);
    machine.messages.taskLatched(cpu, thread);
  }

  #unlatch(thread: SimThread): void {
    for (const cpu of this.#machine.cpus) {
      if (cpu.latched === thread) cpu.latched = null;
    }
  }

  /** SYNC_GROUP_TXN: all or none. */
  commitSyncGroup(agent: SimAgent, mask: Int32Array): number {
    const { costs, has_rule } = this.#machine.options;
    this.#listMask(mask, agent, "sync.own_last");
    const list = this.#group.slice();
    this.#machine.advance(costs.remote_agent_ns + (list.length - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return 0;
    const states: (number | undefined)[] = [];
    let failed = false;
    for (const cpu_id of list) {
      let state: number | undefined;
      if (this.#claim(cpu_id)) {
        const poisoned = failed && has_rule("sync.poison");
        state = poisoned ? GHOST_TXN_POISONED : this.#validate(this.#machine.cpus[cpu_id], agent);
      }
      if (state !== GHOST_TXN_COMPLETE) failed = true;
      states.push(state);
    }
    if (failed && has_rule("sync.all_or_none")) {
      this.#failGroup(list, states);
      return 0;
    }
    list.forEach((cpu_id, index) => {
      const target = this.#machine.cpus[cpu_id];
      const state = states[index];
      if (state === undefined) return;
      this.#moveBarrier(target, state);
      if (state === GHOST_TXN_COMPLETE) this.#apply(target, costs.remote_target_ns);
      this.#setState(cpu_id, state);
      if (has_rule("sync.release")) {
        this.#words[cpu_id * TXN_STRIDE_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
      }
      this.#machine.events.push(this.#machine.now_ns + RENDEZVOUS_NS, EVENT_RESCHED, cpu_id, 0);
    });
    return 1;
  }

  /** States of a sync group that runs nothing; a record that was not open keeps its own. */
  #failGroup(list: readonly number[], states: readonly (number | undefined)[]): void {
    const { abi, has_rule } = this.#machine.options;
    // Before ABI 73 every member shows a failure; later ones may look successful.
    const whole = abi.sync_group_fails_whole && has_rule("sync.fails_whole");
    list.forEach((cpu_id, index) => {
      const state = states[index];
      if (state === undefined) return;
      const shown = state === GHOST_TXN_COMPLETE && whole ? GHOST_TXN_POISONED : state;
      if (shown !== GHOST_TXN_COMPLETE) this.#moveBarrier(this.#machine.cpus[cpu_id], shown);
      this.#setState(cpu_id, shown);
    });
  }
}
