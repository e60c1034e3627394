/**
 * Transactions of one enclave: the checks in the kernel's order, and what a commit does.
 * Source: reference section 1.5.
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_FLAGS,
  COMMIT_AT_SCHEDULE,
  COMMIT_AT_TXN_COMMIT,
  COMMIT_FLAGS_ALL,
  DO_NOT_PREEMPT,
  ELIDE_AGENT_BARRIER_INC,
  GHOST_AGENT_GTID,
  GHOST_IDLE_GTID,
  GHOST_TXN_AGENT_STALE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_CPU_OFFLINE,
  GHOST_TXN_CPU_UNAVAIL,
  GHOST_TXN_INVALID_CPU,
  GHOST_TXN_INVALID_FLAGS,
  GHOST_TXN_INVALID_TARGET,
  GHOST_TXN_NO_AGENT,
  GHOST_TXN_POISONED,
  GHOST_TXN_READY,
  GHOST_TXN_TARGET_NOT_FOUND,
  GHOST_TXN_TARGET_NOT_RUNNABLE,
  GHOST_TXN_TARGET_ONCPU,
  GHOST_TXN_TARGET_STALE,
  GHOST_TXN_UNSUPPORTED_VERSION,
  INC_AGENT_BARRIER_ON_FAILURE,
  NEED_CPU_NOT_IDLE,
  RTLA_ON_IDLE,
  RUN_FLAGS_ALL,
  SYNC_GROUP_NOT_OWNED,
  TXN_AGENT_BARRIER_WORD,
  TXN_COMMIT_TIME_WORD,
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
import type { SimEnclave } from "./enclave.ts";
import { EVENT_GREEDY, EVENT_RESCHED, type SimMachine } from "./machine.ts";
import {
  LATCHED,
  MODE_DEFAULT,
  MODE_GHOST,
  MODE_IDLE,
  READY,
  RUNNING,
  type SimCpu,
  type SimThread,
} from "./thread.ts";

/** The kernel's side of the transaction records. */
export class Commits {
  readonly #machine: SimMachine;
  readonly #enclave: SimEnclave;
  readonly #words: Int32Array;
  readonly #group: number[] = [];

  /** Made by the enclave. */
  constructor(machine: SimMachine, enclave: SimEnclave) {
    this.#machine = machine;
    this.#enclave = enclave;
    this.#words = enclave.cpu_data;
  }

  /** The verdict RUN_LOCAL; true if the agent gave its CPU away. */
  commitLocal(agent: SimAgent): boolean {
    const cost_ns = this.#machine.options.costs.local_schedule_ns;
    if (!this.#claim(agent.cpu)) return false;
    return this.#finish(this.#machine.cpus[agent.cpu], agent, cost_ns) === GHOST_TXN_COMPLETE;
  }

  /** One COMMIT_TXN call for the record of another CPU. */
  commitRemote(agent: SimAgent, cpu_id: number): void {
    this.#group.length = 0;
    this.#group.push(cpu_id);
    this.#commitList(agent);
  }

  /** One COMMIT_TXN call for several records. */
  commitGroup(agent: SimAgent, mask: Int32Array): void {
    this.#listMask(mask);
    this.#commitList(agent);
  }

  #listMask(mask: Int32Array): void {
    this.#group.length = 0;
    for (let cpu = 0; cpu < this.#machine.cpus.length; cpu++) {
      if (((mask[cpu >> 5] >> (cpu & 31)) & 1) !== 0) this.#group.push(cpu);
    }
  }

  #commitList(agent: SimAgent): void {
    const { costs, faults, has_rule } = this.#machine.options;
    const count = this.#group.length;
    this.#machine.advance(costs.remote_agent_ns + (count - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return;
    for (const cpu_id of this.#group) {
      const flags = (this.#words[cpu_id * TXN_STRIDE_WORDS + TXN_FLAGS_WORD] >> 16) & 0xff;
      if (cpu_id >= this.#machine.cpus.length || !this.#claim(cpu_id)) continue;
      const target = this.#machine.cpus[cpu_id];
      const greedy = (flags & COMMIT_AT_TXN_COMMIT) === 0 && has_rule("commit.greedy_later");
      if (greedy && cpu_id !== agent.cpu) {
        const late_ns = faults.roll("greedy_late") ? faults.below(1_000_000) : 0;
        const at_ns = this.#machine.now_ns + costs.remote_target_ns + late_ns;
        this.#machine.events.push(at_ns, EVENT_GREEDY, cpu_id, 0);
      } else {
        this.#commitAndInterrupt(target, agent, count);
      }
    }
  }

  /** A commit from another CPU: latch, then an interrupt makes the target look. */
  #commitAndInterrupt(target: SimCpu, agent: SimAgent | null, count: number): void {
    const { costs, faults } = this.#machine.options;
    const target_ns = costs.remote_target_ns + (count - 1) * costs.group_target_extra_ns;
    if (this.#finish(target, agent, target_ns) !== GHOST_TXN_COMPLETE) return;
    const flight_ns = costs.remote_total_ns - costs.remote_agent_ns - costs.remote_target_ns;
    const late_ns = faults.roll("ipi_late") ? faults.below(500_000) : 0;
    const at_ns = this.#machine.now_ns + flight_ns + late_ns;
    this.#machine.events.push(at_ns, EVENT_RESCHED, target.id, 0);
  }

  /** A commit point of a CPU: a claimed transaction, or at a tick an open one, is decided. */
  greedyPoint(cpu: SimCpu): void {
    const at = cpu.id * TXN_STRIDE_WORDS + TXN_STATE_WORD;
    const state = this.#words[at];
    if (state < 0 || (state === GHOST_TXN_READY && !this.#claim(cpu.id))) return;
    if (this.#finish(cpu, null, this.#machine.options.costs.remote_target_ns) < 0) {
      this.#machine.resched(cpu);
    }
  }

  /** Takes an open transaction; false if it is not open. */
  #claim(cpu_id: number): boolean {
    const at = cpu_id * TXN_STRIDE_WORDS + TXN_STATE_WORD;
    if (this.#words[at] !== GHOST_TXN_READY) return false;
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
  #finish(cpu: SimCpu, agent: SimAgent | null, cost_ns: number): number {
    const state = this.#validate(cpu, agent);
    this.#moveBarrier(cpu, state);
    if (state === GHOST_TXN_COMPLETE) this.#apply(cpu, cost_ns);
    this.#setState(cpu.id, state);
    return state;
  }

  #moveBarrier(cpu: SimCpu, state: number): void {
    const { has_rule } = this.#machine.options;
    const flags = (this.#words[cpu.id * TXN_STRIDE_WORDS + TXN_FLAGS_WORD] >> 16) & 0xff;
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
    const base = cpu_id * TXN_STRIDE_WORDS;
    return this.#enclave.findAny(
      this.#words[base + TXN_GTID_WORD],
      this.#words[base + TXN_GTID_WORD + 1],
    );
  }

  /** The special gtid of a record (0, −1, −2), or undefined. */
  #special(cpu_id: number): number | undefined {
    const base = cpu_id * TXN_STRIDE_WORDS;
    const lo = this.#words[base + TXN_GTID_WORD];
    const hi = this.#words[base + TXN_GTID_WORD + 1];
    if (lo === 0 && hi === 0) return 0;
    return hi === -1 ? lo : undefined;
  }

  /** The checks, in the kernel's order. */
  #validate(cpu: SimCpu, agent: SimAgent | null): number {
    const { has_rule } = this.#machine.options;
    const base = cpu.id * TXN_STRIDE_WORDS;
    const words = this.#words;
    if (words[base + TXN_VERSION_WORD] !== 0 && has_rule("commit.version")) {
      return GHOST_TXN_UNSUPPORTED_VERSION;
    }
    if (words[base + TXN_CPU_WORD] !== cpu.id) return GHOST_TXN_INVALID_CPU;
    const special = this.#special(cpu.id);
    const run_flags = words[base + TXN_FLAGS_WORD] & 0xffff;
    if (badRunFlags(run_flags, special) && has_rule("commit.run_flags")) {
      return GHOST_TXN_INVALID_FLAGS;
    }
    const commit_flags = (words[base + TXN_FLAGS_WORD] >> 16) & 0xff;
    if (badCommitFlags(commit_flags) && has_rule("commit.commit_flags")) {
      return GHOST_TXN_INVALID_FLAGS;
    }
    if (!cpu.online) return GHOST_TXN_CPU_OFFLINE;
    const bad_target = special === undefined
      ? this.#validateTarget(cpu, commit_flags)
      : special === GHOST_AGENT_GTID && has_rule("commit.target_agent")
      ? GHOST_TXN_INVALID_TARGET
      : special < GHOST_IDLE_GTID
      ? GHOST_TXN_INVALID_TARGET
      : 0;
    if (bad_target !== 0) return bad_target;
    return this.#validateCpu(cpu, agent, run_flags);
  }

  #validateTarget(cpu: SimCpu, commit_flags: number): number {
    const { has_rule } = this.#machine.options;
    const thread = this.#target(cpu.id);
    if (thread === undefined) {
      return has_rule("commit.target_unknown") ? GHOST_TXN_TARGET_NOT_FOUND : 0;
    }
    if (thread.enclave !== this.#enclave) {
      if (!has_rule("commit.target_departed")) return 0;
      return thread.departed_index >= 0 ? GHOST_TXN_TARGET_STALE : GHOST_TXN_INVALID_TARGET;
    }
    if (thread.gated || thread.new_pending) return GHOST_TXN_TARGET_STALE;
    const barrier = this.#words[cpu.id * TXN_STRIDE_WORDS + TXN_TASK_BARRIER_WORD];
    const known = this.#enclave.status.barrier(thread.status_index);
    if (barrier !== known && has_rule("commit.task_barrier")) return GHOST_TXN_TARGET_STALE;
    const runnable = thread.state === READY || thread.state === LATCHED ||
      thread.state === RUNNING;
    if (!runnable) return has_rule("commit.runnable") ? GHOST_TXN_TARGET_NOT_RUNNABLE : 0;
    if (thread.state === RUNNING) {
      const allowed = (commit_flags & ALLOW_TASK_ONCPU) !== 0 && thread.cpu === cpu.id;
      if (!allowed && has_rule("commit.oncpu")) return GHOST_TXN_TARGET_ONCPU;
    }
    return 0;
  }

  #validateCpu(cpu: SimCpu, agent: SimAgent | null, run_flags: number): number {
    const { has_rule } = this.#machine.options;
    const local = agent !== null && agent.cpu === cpu.id;
    const mine = cpu.enclave === this.#enclave && cpu.agent !== null;
    if (!mine && has_rule("commit.cpu_in_enclave")) return GHOST_TXN_NO_AGENT;
    if (
      (run_flags & DO_NOT_PREEMPT) !== 0 && cpu.mode === MODE_GHOST &&
      has_rule("commit.do_not_preempt")
    ) {
      return GHOST_TXN_AGENT_STALE;
    }
    const busy = cpu.mode === MODE_DEFAULT || cpu.waiting.length > 0;
    if (busy && has_rule("commit.cpu_avail")) return GHOST_TXN_CPU_UNAVAIL;
    if (local && has_rule("commit.agent_barrier")) {
      const barrier = this.#words[cpu.id * TXN_STRIDE_WORDS + TXN_AGENT_BARRIER_WORD];
      if (barrier !== agent.barrier()) return GHOST_TXN_AGENT_STALE;
    }
    return GHOST_TXN_COMPLETE;
  }

  /** What a valid transaction does to its CPU. */
  #apply(cpu: SimCpu, cost_ns: number): void {
    const run_flags = this.#words[cpu.id * TXN_STRIDE_WORDS + TXN_FLAGS_WORD] & 0xffff;
    const machine = this.#machine;
    const special = this.#special(cpu.id);
    if (special !== undefined) {
      if (cpu.latched !== null) machine.messages.latchedPreempted(cpu);
      if (cpu.mode === MODE_GHOST && machine.options.has_rule("commit.null_gtid")) {
        machine.preemptCurrent(cpu);
      }
      cpu.want_not_idle = special === GHOST_IDLE_GTID && (run_flags & NEED_CPU_NOT_IDLE) !== 0 &&
        cpu.mode === MODE_IDLE;
      return;
    }
    const thread = this.#target(cpu.id);
    // Only mutants get here with a thread that cannot be latched.
    if (thread === undefined || (thread.state !== READY && thread.state !== LATCHED)) return;
    if (thread.enclave === null) return;
    if (thread.state === LATCHED) this.#unlatch(thread);
    else thread.setState(LATCHED);
    if (cpu.latched !== null && cpu.latched !== thread) machine.messages.latchedPreempted(cpu);
    cpu.latched = thread;
    cpu.latched_cost_ns = cost_ns;
    cpu.latched_flags = run_flags;
  }

  #unlatch(thread: SimThread): void {
    for (const cpu of this.#machine.cpus) {
      if (cpu.latched === thread) cpu.latched = null;
    }
  }

  /** SYNC_GROUP_TXN: all or none. */
  commitSyncGroup(agent: SimAgent, mask: Int32Array): number {
    const { costs, has_rule, abi } = this.#machine.options;
    this.#listMask(mask);
    const list = this.#group.slice();
    this.#machine.advance(costs.remote_agent_ns + (list.length - 1) * costs.group_agent_extra_ns);
    if (agent.isGone()) return 0;
    const states = list.map((cpu_id) =>
      this.#claim(cpu_id) ? this.#validate(this.#machine.cpus[cpu_id], agent) : GHOST_TXN_POISONED
    );
    const bad = states.findIndex((state) => state !== GHOST_TXN_COMPLETE);
    if (bad >= 0 && has_rule("sync.all_or_none")) {
      list.forEach((cpu_id, index) => {
        // Before ABI 73 every member shows the failure; later ones may look successful.
        const earlier = abi.sync_group_fails_whole ? GHOST_TXN_POISONED : states[index];
        const state = index < bad ? earlier : index === bad ? states[bad] : GHOST_TXN_POISONED;
        this.#setState(cpu_id, state);
      });
      return 0;
    }
    list.forEach((cpu_id, index) => {
      const target = this.#machine.cpus[cpu_id];
      const state = states[index];
      this.#moveBarrier(target, state);
      if (state === GHOST_TXN_COMPLETE) this.#apply(target, costs.remote_target_ns);
      this.#setState(cpu_id, state);
      if (has_rule("sync.release")) {
        this.#words[cpu_id * TXN_STRIDE_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
      }
      this.#machine.events.push(this.#machine.now_ns + 40, EVENT_RESCHED, cpu_id, 0);
    });
    return 1;
  }
}

function badRunFlags(run_flags: number, special: number | undefined): boolean {
  if ((run_flags & ~RUN_FLAGS_ALL) !== 0) return true;
  const idle = special === GHOST_IDLE_GTID;
  const negative = special !== undefined && special < 0;
  if ((run_flags & RTLA_ON_IDLE) !== 0 && negative) return true;
  if ((run_flags & NEED_CPU_NOT_IDLE) !== 0 && !idle) return true;
  return special === GHOST_AGENT_GTID && run_flags !== 0;
}

function badCommitFlags(commit_flags: number): boolean {
  if ((commit_flags & ~COMMIT_FLAGS_ALL) !== 0) return true;
  const both_points = COMMIT_AT_SCHEDULE | COMMIT_AT_TXN_COMMIT;
  if ((commit_flags & COMMIT_AT_FLAGS) === both_points) return true;
  const both_barriers = ELIDE_AGENT_BARRIER_INC | INC_AGENT_BARRIER_ON_FAILURE;
  return (commit_flags & both_barriers) === both_barriers;
}
