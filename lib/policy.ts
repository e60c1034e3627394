/**
 * How a policy runs, on every kernel alike: a step is synchronous and returns a verdict; nothing
 * inside a step waits. On real kernels a loop in the agent's thread carries verdicts out, in the
 * simulator the event loop does.
 *
 * @module
 */
import type { Capability, CpuRaw } from "../kernels/kernel.ts";
import type { AgentContext } from "./agent_context.ts";
import type { PolicyLayout } from "./shared_state.ts";
import type { Snapshot } from "./snapshot.ts";

/** The own CPU's transaction is open: commit it and give the CPU away. */
export const RUN_LOCAL = 1;
/** Nothing to run: give the CPU away until a wake-up. */
export const YIELD = 2;
/** Something is under way elsewhere: call the step again. */
export const AGAIN = 3;
/** What a step decided. */
export type Verdict = typeof RUN_LOCAL | typeof YIELD | typeof AGAIN;

/** Dump runqueues that are empty too. */
export const DUMP_EMPTY_RUNQUEUES = 1;
/** Dump every task. */
export const DUMP_ALL_TASKS = 2;

/** One agent's instance of a policy; it keeps no state outside the declared memory. */
export interface Policy {
  /** After YIELD: the agent barrier that was read before the queue was drained. */
  readonly yield_barrier: number;
  /** After YIELD: 0 or RTLA_ON_IDLE. */
  readonly yield_flags: number;
  /**
   * After AGAIN: when a spinning policy has to decide something though nothing happens, such as the
   * end of a time slice; Infinity or left out for never. The simulator leaves out turns before it.
   */
  readonly look_ns?: number;
  /** Reads messages, decides, and says what to do with the CPU. */
  step(): Verdict;
  /** Finds the tasks of an enclave that had an agent before; called once, before going online. */
  discover(): void;
  /** What a successor should know that status words do not tell. */
  snapshot(): Snapshot;
  /** Takes over what a predecessor knew; called after {@linkcode discover}. */
  restore(snapshot: Snapshot): void;
  /** True if this agent may leave: nothing that it queued waits for it. */
  drained(): boolean;
  /** State of this agent's CPU and, with DUMP_ALL_TASKS, of all tasks, as text. */
  dump(flags: number): string;
}

/** What a policy is, before any agent runs it. */
export interface PolicyDefinition {
  /** Version of this interface. */
  readonly policyApi: 1;
  /** Name of the policy, as its agent is called. */
  readonly name: string;
  /** What the kernel must be able to do. */
  readonly requires: readonly Capability[];
  /** `per_cpu`: a queue per CPU that wakes that CPU's agent; `global`: one polled queue. */
  readonly queues: "per_cpu" | "global";
  /**
   * CPUs whose agents may ever run the policy; all if left out. The agents of the others only give
   * their CPUs away, which a kernel may do without a thread of JavaScript.
   */
  readonly policyCpus?: (
    cpus: readonly number[],
    cpu_rows: readonly CpuRaw[],
  ) => readonly number[];
  /** Tunables of the enclave that it wants; those that the kernel lacks are left out. */
  readonly tunables?: Readonly<Record<string, number>>;
  /** What makes this definition again in another thread, by its name; must be cloneable. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** The same policy, but for what lies outside of the declared memory: to warm up with. */
  readonly rehearsal?: () => PolicyDefinition;
  /** Of a rehearsal: what applications do between two steps. */
  readonly rehearse?: () => void;
  /** Declares the memory that instances share, for an enclave of so many CPUs. */
  layout(cpu_count: number): PolicyLayout;
  /** Makes the instance of one agent. */
  create(agent: AgentContext): Policy;
}
