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
import { CPU_MASK_WORD_COUNT } from "./limits.ts";
import { AGAIN, type PolicyDefinition, RUN_LOCAL, type Verdict } from "./policy.ts";
import { type GlobalRole, roleCandidates } from "./role_candidates.ts";
import { Scheduler } from "./scheduler.ts";
import type { ColumnType } from "./shared_state.ts";

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

/** Base class of centralized policies. */
export abstract class GlobalScheduler extends Scheduler {
  /** See {@linkcode Policy.look_ns}; a policy with time slices sets it in each pass. */
  look_ns: number = Infinity;
  /** Time of this pass in ns. A double that is handed from method to method would be garbage. */
  protected readonly pass_ns: Float64Array = new Float64Array(1);
  /** Positions of all CPUs in the enclave, those near this agent's CPU first, itself left out. */
  protected readonly near_first: Int32Array;
  /** CPUs whose transactions the next group commit submits. */
  protected readonly commit_mask: Int32Array = new Int32Array(CPU_MASK_WORD_COUNT);
  /** Time slice in ns. */
  declare protected readonly slice_ns: number;
  /** Positions of CPUs that may get the role, those near first. */
  readonly #candidates: Int32Array;
  readonly #is_candidate: boolean;
  readonly #global_cpu: Int32Array;
  readonly #role_taken: Int32Array;
  readonly #current: Int32Array;
  readonly #agent_status: Int32Array;
  readonly #first_global_cpu: number;
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
    this.slice_ns = slice_ns;
    this.#first_global_cpu = role.global_cpu;
    this.#global_cpu = agent.state.global("global_cpu");
    this.#role_taken = agent.state.global("role_taken");
    this.#current = agent.state.global("current");
    this.near_first = Int32Array.from(nearFirst(agent));
    const candidates = roleCandidates(agent.cpus, agent.cpu_rows, role);
    const may_get_it = (index: number) => candidates.includes(agent.cpus[index]);
    this.#candidates = this.near_first.filter(may_get_it);
    this.#is_candidate = candidates.includes(agent.cpu);
    this.#agent_status = Int32Array.from(agent.cpus, () => -1);
  }

  /** Decides for all CPUs; messages have been read. */
  protected abstract globalSchedule(): void;

  /** Agents of a global queue hand no rows over. */
  protected taskReceived(_row: number): void {}

  /**
   * The role moves to a CPU, or has come to it: settles the transaction that is under way there.
   *
   * @returns False if that is being decided, and is known soon.
   */
  protected settleCpu(_index: number): boolean {
    return true;
  }

  /** CPU of the global agent; −1 while nobody has the role, because no CPU was free. */
  globalCpu(): number {
    const word = this.agent.memory.acquire(this.#global_cpu, 0);
    return word === 0 ? this.#first_global_cpu : word === ROLE_FREE ? -1 : word - 1;
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
    this.commit_mask[cpu >> 5] |= 1 << (cpu & 31);
  }

  /** Commits all transactions of the group in one call, and empties it. */
  protected commitGroup(): void {
    this.agent.port.commitGroup(this.commit_mask);
    this.commit_mask.fill(0);
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
    if (this.#current[index] === 0) {
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
    for (let nth = 0; nth < this.#candidates.length; nth++) {
      const index = this.#candidates[nth];
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
    for (let nth = 0; nth < this.#candidates.length; nth++) {
      this.agent.port.ping(this.agent.cpus[this.#candidates[nth]]);
    }
    return this.yieldCpu(barrier, RTLA_ON_IDLE);
  }

  /** Nobody has the role: takes it, or waits until this CPU is free. */
  #seekRole(barrier: number): Verdict {
    if (!this.#is_candidate) return this.yieldCpu(barrier, 0);
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
