/**
 * The base of centralized policies: one agent, the global one, polls one queue and schedules every
 * other CPU; the other agents only give their CPUs away. When the default class wants the global
 * agent's CPU, the role moves to another CPU.
 * Source: reference section 4.0 (global-agent loop) and 4.2 (hand-off order). Upstream keeps the
 * CPU when no other one is free; here whoever is on the first CPU that is free takes the role.
 *
 * @module
 */
import { COMMIT_AT_TXN_COMMIT, GHOST_SW_CPU_AVAIL, RTLA_ON_IDLE } from "../ffi/abi/constants.ts";
import type { CpuRaw } from "../kernels/kernel.ts";
import type { AgentContext } from "./agent_context.ts";
import { FifoQueue } from "./fifo_queue.ts";
import { assertInvariant } from "./invariant.ts";
import { CPU_MASK_WORD_COUNT } from "./limits.ts";
import { AGAIN, DUMP_ALL_TASKS, type PolicyDefinition, RUN_LOCAL, type Verdict } from "./policy.ts";
import { type GlobalRole, roleCandidates } from "./role_candidates.ts";
import { Scheduler } from "./scheduler.ts";
import type { ColumnType } from "./shared_state.ts";
import { txnSucceeded } from "./transaction.ts";

/**
 * Columns of the enclave that a centralized policy's layout must declare, beside `current`: as many
 * words as CPUs, the row of the task on each + 1, or 0.
 */
export const GLOBAL_COLUMNS: Readonly<Record<string, ColumnType>> = {
  global_cpu: "i32",
  role_taken: "i32",
};

/**
 * What the definitions of all centralized policies have in common.
 *
 * @param role Who may have the role.
 */
export function globalPolicy(
  role: GlobalRole,
): Pick<PolicyDefinition, "policyApi" | "queues" | "policyCpus"> {
  const policyCpus = (cpus: readonly number[], rows: readonly CpuRaw[]) =>
    roleCandidates(cpus, rows, role);
  return { policyApi: 1, queues: "global", policyCpus };
}

/** In `global_cpu`: nobody has the role. Else it is the CPU + 1, or 0 for the first one. */
const ROLE_FREE = -1;
/** How long an agent that has just got the role may leave its CPU to the default class. */
const COME_BACK_NS = 1e6;

/**
 * States of a task that all centralized policies have; theirs follow. BLOCKED is on nothing at all.
 * YIELDING waits for the end of one pass.
 */
export const BLOCKED = 0;
/** See {@linkcode BLOCKED}. */
export const QUEUED = 1;
/** See {@linkcode BLOCKED}. */
export const ON_CPU = 2;
/** See {@linkcode BLOCKED}. */
export const YIELDING = 3;

/** Base class of centralized policies. */
export abstract class GlobalScheduler extends Scheduler {
  /** See {@linkcode Policy.look_ns}; a policy with time slices sets it in each pass. */
  look_ns: number = Infinity;
  /** Time of this pass in ns. A double that is handed from method to method would be garbage. */
  protected readonly pass_ns: Float64Array = new Float64Array(1);
  /** Positions of all CPUs in the enclave, those near this agent's CPU first, itself left out. */
  protected readonly near_first: Int32Array = Int32Array.from(nearFirst(this.agent));
  /** State of each task; only {@linkcode setState} writes it. */
  protected readonly state: Int32Array = this.agent.state.task("state");
  /** Position + 1 of the CPU that each task was last given. */
  protected readonly task_index: Int32Array = this.agent.state.task("cpu_index");
  /** Whether a task goes before those that wait already. */
  protected readonly prio_boost: Int32Array = this.agent.state.task("prio_boost");
  /** By CPU: row of its task + 1, or 0. */
  protected readonly current: Int32Array = this.agent.state.global("current");
  /** Tasks whose next message is on the way; empty between two passes. */
  protected readonly yielding: FifoQueue = new FifoQueue(
    this.agent.state.global("yielding"),
    this.agent.tasks.next,
    this.agent.tasks.prev,
  );
  /** By CPU: row + 1 of the task that the group commit gives it, or 0; empty between two passes. */
  protected readonly chosen: Int32Array = new Int32Array(this.agent.cpus.length);
  /** For each state of a task, the states that may follow, as a bit set. */
  protected abstract readonly next_states: readonly number[];
  /** What a dump calls the states. */
  protected abstract readonly state_names: readonly string[];
  /** Time slice in ns. */
  declare protected readonly slice_ns: number;
  /** Positions of CPUs that may get the role, those near first. */
  declare private readonly candidates: Int32Array;
  declare private readonly is_candidate: boolean;
  declare private readonly first_global_cpu: number;
  /** CPUs whose transactions the next group commit submits. */
  readonly #commit_mask = new Int32Array(CPU_MASK_WORD_COUNT);
  readonly #global_cpu = this.agent.state.global("global_cpu");
  readonly #role_taken = this.agent.state.global("role_taken");
  readonly #agent_status = Int32Array.from(this.agent.cpus, () => -1);
  readonly #illegal = `${this.agent.state.shape.policy}: task state may not change so`;
  #held = false;

  /**
   * Makes one agent's instance of a global policy.
   *
   * @param agent What the agent lends to the policy.
   * @param role Who may have the role.
   * @param slice_ns Time slice in ns.
   */
  constructor(agent: AgentContext, role: GlobalRole, slice_ns = Infinity) {
    super(agent);
    const candidates = roleCandidates(agent.cpus, agent.cpu_rows, role);
    this.candidates = this.near_first.filter((index) => candidates.includes(agent.cpus[index]));
    this.is_candidate = candidates.includes(agent.cpu);
    this.first_global_cpu = role.global_cpu;
    this.slice_ns = slice_ns;
  }

  /** Decides for all CPUs; messages have been read. */
  protected abstract globalSchedule(): void;
  /** Puts a task that can run into the queue, at its back. */
  protected abstract enqueue(row: number): void;
  /** Tasks in the queue. */
  protected abstract waitingCount(): number;
  /** What a dump says of a task behind its state. */
  protected abstract taskColumns(row: number): string;

  /** What a dump of all tasks says behind them. */
  protected moreText(): string {
    return "";
  }

  /**
   * The first task in the queue, taken out of it; or −1.
   *
   * @param _current The task that it is to replace, or −1.
   */
  protected takeFirst(_current: number): number {
    return -1;
  }

  /** A task that {@linkcode choose} gave a CPU has it. */
  protected taskCommitted(_row: number, _index: number): void {}
  /** A task made room for the one that was committed. */
  protected taskReplaced(row: number): void {
    this.enqueue(row);
  }
  /** The kernel did not take a task that {@linkcode choose} gave a CPU. */
  protected taskRefused(row: number, _index: number): void {
    this.enqueue(row);
  }

  /** Agents of a global queue hand no rows over. */
  protected taskReceived(_row: number): void {}

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.state[row] === ON_CPU) return;
    this.taskOff(row);
    if (runnable) this.enqueue(row);
  }

  /**
   * The role moves to a CPU, or has come to it: settles the transaction that is under way there.
   *
   * @returns False if that is being decided, and is known soon.
   */
  protected settleCpu(_index: number): boolean {
    return true;
  }

  /** The one place where a task's state changes. */
  protected setState(row: number, next: number): void {
    const is_legal = ((this.next_states[this.state[row]] >> next) & 1) !== 0;
    assertInvariant(is_legal, this.#illegal);
    this.state[row] = next;
  }

  /** A task that is on a CPU leaves it: the CPU is free, unless another task has it already. */
  protected leaveCpu(row: number): void {
    const index = this.task_index[row] - 1;
    if (this.current[index] === row + 1) this.current[index] = 0;
  }

  /**
   * The first task in the queue that can be committed now, taken out of the queue; or −1.
   *
   * @param current The task that it is to replace, or −1.
   */
  protected nextTask(current: number): number {
    const { status, tasks } = this.agent;
    for (let row = this.takeFirst(current); row >= 0; row = this.takeFirst(current)) {
      const unread = status.barrier(tasks.status_index[row]) !== tasks.seqnum[row];
      if (!unread && !this.isOnCpu(row)) return row;
      // Its next message is on the way: look again in the next pass.
      this.setState(row, YIELDING);
      this.yielding.pushBack(row);
    }
    return -1;
  }

  /** The pass is over: tasks that waited for its end are queued again. */
  protected requeueYielding(): void {
    for (let row = this.yielding.popFront(); row >= 0; row = this.yielding.popFront()) {
      this.setState(row, BLOCKED);
      this.enqueue(row);
    }
  }

  /** Opens the transaction that gives a CPU a task; {@linkcode commitChosen} submits it. */
  protected choose(index: number, row: number): void {
    const cpu = this.agent.cpus[index];
    this.chosen[index] = row + 1;
    this.task_index[row] = index + 1;
    this.openTransaction(cpu, row, 0, COMMIT_AT_TXN_COMMIT, 0);
    this.addToGroup(cpu);
  }

  /** Submits the group and settles every member. */
  protected commitChosen(): void {
    const { txns, cpus } = this.agent;
    this.commitGroup();
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      const row = this.chosen[index] - 1;
      if (row < 0) continue;
      this.chosen[index] = 0;
      const previous = this.current[index] - 1;
      if (txnSucceeded(txns.state(cpus[index]))) {
        this.commit_count[0]++;
        this.current[index] = row + 1;
        this.setState(row, ON_CPU);
        this.prio_boost[row] = 0;
        this.taskCommitted(row, index);
        if (previous >= 0) this.taskReplaced(previous);
      } else {
        this.refused_count[0]++;
        this.taskRefused(row, index);
      }
    }
  }

  /** Takes the task off a CPU without a successor: the transaction "no task"; true if it did. */
  protected clearCpu(index: number): boolean {
    const { txns, port, cpus } = this.agent;
    const cpu = cpus[index];
    txns.open(cpu, 0, 0, 0, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(cpu);
    return txnSucceeded(txns.state(cpu));
  }

  /** CPU of the global agent; −1 while nobody has the role, because no CPU was free. */
  globalCpu(): number {
    const word = this.agent.memory.acquire(this.#global_cpu, 0);
    return word === 0 ? this.first_global_cpu : word === ROLE_FREE ? -1 : word - 1;
  }

  /** GHOST_SW_* flags of the agent of a CPU, by position. */
  protected agentFlagsAt(index: number): number {
    if (this.#agent_status[index] < 0) {
      const { state, cpus } = this.agent;
      this.#agent_status[index] = state.cpu("agent_status_index", cpus[index])[0] - 1;
    }
    return this.agent.status.flags(this.#agent_status[index]);
  }

  /** True if the kernel would let ghOSt tasks run on a CPU. */
  protected isAvailable(index: number): boolean {
    return (this.agentFlagsAt(index) & GHOST_SW_CPU_AVAIL) !== 0;
  }

  /** Reads the clock for this pass. */
  protected beginPass(): void {
    this.pass_ns[0] = this.agent.port.nowNs();
  }

  /**
   * True if a time slice was over when the pass began; if not, the policy looks again when it is.
   * The time is named by its place: a double that is handed over is boxed where the call is not
   * inlined.
   *
   * @param since_ns Times in ns.
   * @param at Place of the slice's beginning.
   */
  protected isSliceOver(since_ns: Float64Array, at: number): boolean {
    const end_ns = since_ns[at] + this.slice_ns;
    if (end_ns <= this.pass_ns[0]) return true;
    if (end_ns < this.look_ns) this.look_ns = end_ns;
    return false;
  }

  /** Adds a CPU to the next group commit. */
  protected addToGroup(cpu: number): void {
    this.#commit_mask[cpu >> 5] |= 1 << (cpu & 31);
  }

  /** Commits all transactions of the group in one call, and empties it. */
  protected commitGroup(): void {
    this.agent.port.commitGroup(this.#commit_mask);
    this.#commit_mask.fill(0);
  }

  /** Text as upstream's dump, reference sections 4.2 to 4.5; only the global agent has one. */
  dump(flags: number): string {
    const { tasks, cpus } = this.agent;
    if (this.globalCpu() !== this.agent.cpu) return "";
    let text = "";
    if ((flags & DUMP_ALL_TASKS) !== 0) {
      text = "task        state       rq_pos  P\n";
      for (let row = 0; row < tasks.usedCount(); row++) {
        if (tasks.owner[row] === 0) continue;
        const state = this.state_names[this.state[row]].padEnd(12);
        text += `${this.taskName(row).padEnd(12)}${state}${this.taskColumns(row)}\n`;
      }
      text += this.moreText();
    }
    const running = cpus.map((cpu, index) => {
      const row = this.current[index] - 1;
      return `${cpu}:${row < 0 ? "none" : this.taskName(row)} `;
    });
    return `${text}SchedState: ${running.join("")} rq_l=${this.waitingCount()}\n`;
  }

  /** See {@linkcode Scheduler}. */
  step(): Verdict {
    const barrier = this.agentBarrier();
    this.look_ns = Infinity;
    const global_cpu = this.globalCpu();
    if (global_cpu !== this.agent.cpu) {
      this.#held = false;
      return global_cpu < 0 ? this.#seekRole(barrier) : this.yieldCpu(barrier, 0);
    }
    if (this.agentBoosted()) return this.#giveUpCpu(barrier);
    if (!this.#held) {
      const verdict = this.#takeRole(barrier);
      if (!this.#held) return verdict;
    }
    this.drain();
    this.globalSchedule();
    return AGAIN;
  }

  /** The first step with the role; the verdict if it must be tried again. */
  #takeRole(barrier: number): Verdict {
    const { ring, txns, cpu } = this.agent;
    const index = this.agent.cpuIndex(cpu);
    // Another agent read the queue meanwhile.
    ring.resync();
    this.#held = this.#role_taken[0] !== 0;
    // What the last one left there is settled first: the record may be written over.
    if (this.#held || !this.settleCpu(index)) return AGAIN;
    // A task that was here has been preempted by this agent, and the message of it is there.
    this.drain();
    if (this.current[index] === 0) {
      this.#held = true;
      this.#role_taken[0] = 1;
      return AGAIN;
    }
    // Committed while this agent was awake already, it would wait for as long as the agent spins:
    // giving the CPU away to no task sends it back, and brings the agent back when the CPU is
    // idle; or soon, for the default class may keep it busy, and nobody else has the role.
    this.agent.port.armTimer(this.agent.port.nowNs() + COME_BACK_NS, 0, 0);
    txns.open(cpu, 0, 0, 0, barrier, COMMIT_AT_TXN_COMMIT, RTLA_ON_IDLE);
    return RUN_LOCAL;
  }

  /** The default class wants this CPU: the role moves, or waits until the CPU is idle. */
  #giveUpCpu(barrier: number): Verdict {
    for (let nth = 0; nth < this.candidates.length; nth++) {
      const index = this.candidates[nth];
      if (!this.isAvailable(index)) continue;
      this.settleCpu(index);
      const cpu = this.agent.cpus[index];
      this.#role_taken[0] = 0;
      this.agent.memory.publish(this.#global_cpu, 0, cpu + 1);
      this.#held = false;
      this.agent.port.ping(cpu);
      return this.yieldCpu(barrier, 0);
    }
    // Whichever of the candidates' CPUs is free first gets the role: all of them wait for that.
    this.#role_taken[0] = 0;
    this.#held = false;
    this.agent.memory.publish(this.#global_cpu, 0, ROLE_FREE);
    for (let nth = 0; nth < this.candidates.length; nth++) {
      this.agent.port.ping(this.agent.cpus[this.candidates[nth]]);
    }
    return this.yieldCpu(barrier, RTLA_ON_IDLE);
  }

  /** Nobody has the role: takes it, or waits until this CPU is free. */
  #seekRole(barrier: number): Verdict {
    if (!this.is_candidate) return this.yieldCpu(barrier, 0);
    if (this.agentBoosted()) return this.yieldCpu(barrier, RTLA_ON_IDLE);
    this.agent.memory.compareExchange(this.#global_cpu, 0, ROLE_FREE, this.agent.cpu + 1);
    return AGAIN;
  }
}

/** Siblings, then the last-level cache, then the NUMA node, then the rest. */
function nearFirst(agent: AgentContext): number[] {
  const rows = new Map<number, CpuRaw>(agent.cpu_rows.map((row) => [row.cpu, row]));
  const own = rows.get(agent.cpu);
  const distance = (cpu: number): number => {
    if (own === undefined) return 0;
    if (own.siblings.includes(cpu)) return 0;
    if (own.l3_siblings.includes(cpu)) return 1;
    return rows.get(cpu)?.numa_node === own.numa_node ? 2 : 3;
  };
  return agent.cpus
    .map((cpu, index) => ({ cpu, index, distance: distance(cpu) }))
    .filter(({ cpu }) => cpu !== agent.cpu)
    .sort((a, b) => a.distance - b.distance || a.cpu - b.cpu)
    .map(({ index }) => index);
}
