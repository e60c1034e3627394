/**
 * What a case of the contract suite may ask of the machine under it: threads that follow scripts,
 * agents that run steps, and time. Each kernel has its adapter; the simulator's is sim_host.ts.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import type { Memory } from "../../ffi/memory.ts";
import type { AgentPort, EnclaveControl, Kernel, Queue } from "../../kernels/kernel.ts";
import type { Verdict } from "../../lib/policy.ts";
import type { MessageRing } from "../../lib/ring.ts";
import type { StatusWordTable } from "../../lib/status_word.ts";
import type { TransactionTable } from "../../lib/transaction.ts";

/** What a host may or may not be able to arrange. */
export type HostFeature =
  /** A CPU that is there but off. */
  | "offline_cpu"
  /** A status word region that a handful of threads fill. */
  | "small_status_region"
  /** Every switch to a latched thread fails. */
  | "latch_failure"
  /** Greedy transactions are decided after the call that commits them, never within it. */
  | "late_greedy"
  /** An agent's thread goes on for a while after its enclave was destroyed. */
  | "survives_destroy";

/** One thing that a thread does. Times are in ns; `tid` is another thread's. */
export type ThreadAction =
  | { readonly op: "run"; readonly ns: number }
  | { readonly op: "sleep"; readonly ns: number }
  | { readonly op: "yield" }
  | { readonly op: "block" }
  | { readonly op: "exit" }
  | { readonly op: "wake"; readonly tid: number }
  | { readonly op: "switch_to"; readonly tid: number }
  | { readonly op: "nice"; readonly nice: number }
  | { readonly op: "affinity"; readonly cpus: readonly number[] }
  | { readonly op: "leave" }
  | { readonly op: "join"; readonly enclave: EnclaveControl }
  | { readonly op: "fork"; readonly script: readonly ThreadAction[] }
  | {
    readonly op: "repeat";
    readonly count: number;
    readonly actions: readonly ThreadAction[];
  };

/** A thread under the control of the host. */
export interface ContractThread {
  /** Thread id. */
  readonly tid: number;
  /** Low word of the gtid. */
  readonly gtid_lo: number;
  /** High word of the gtid. */
  readonly gtid_hi: number;
}

/** What a step may use: the agent's port, and the shared memory of its enclave and its case. */
export interface ContractAgent {
  /** CPU of the agent. */
  readonly cpu: number;
  /** Calls into the kernel. */
  readonly port: AgentPort;
  /** How shared words are accessed. */
  readonly memory: Memory;
  /** ABI of the enclave. */
  readonly abi: Abi;
  /** Queues that the agent drains. */
  readonly rings: readonly MessageRing[];
  /** Ids of the queues of {@linkcode rings}. */
  readonly queue_ids: readonly number[];
  /** Status words. */
  readonly status: StatusWordTable;
  /** Transaction records. */
  readonly txns: TransactionTable;
  /** Memory of the case; the only place where a step keeps anything. */
  readonly words: Int32Array;
  /** After YIELD: the agent barrier that was read before the queues were drained. */
  yield_barrier: number;
  /** After YIELD: 0 or RTLA_ON_IDLE. */
  yield_flags: number;
  /** Lets the agent's thread sleep, otherwise than by a yield; end the step with AGAIN then. */
  sleep(ns: number): void;
  /** Destroys the enclave from within the step. */
  destroyEnclave(): void;
}

/** One step of an agent; it never waits and keeps nothing outside `agent.words`. */
export type ContractStep = (agent: ContractAgent) => Verdict;

/** Who becomes an agent, and of what. */
export interface AttachOptions {
  /** Queues that the agent drains. */
  readonly queues: readonly Queue[];
  /** Queue given to `become agent`; −1 is the default queue. Absent: the first of `queues`. */
  readonly queue_id?: number;
}

/** The machine under a case. */
export interface ContractHost {
  /** The kernel. */
  readonly kernel: Kernel;
  /** CPUs that the case may use, as many as it asked for, ascending. */
  readonly cpus: readonly number[];
  /** A CPU that is on and not among {@linkcode cpus}. */
  readonly outside_cpu: number;
  /** A CPU that is there but off, or −1. */
  readonly offline_cpu: number;
  /** A number that no CPU has. */
  readonly missing_cpu: number;
  /** A number that no NUMA node has. */
  readonly missing_node: number;
  /** How many times as long as on a simulated machine something may take that is to be soon. */
  readonly patience: number;
  /** Memory that the control side shares with the steps. */
  readonly words: Int32Array;
  /** True if the host can arrange something. */
  has(feature: HostFeature): boolean;
  /** Starts a thread of the default class, which blocks until it is woken for the first time. */
  spawn(script: readonly ThreadAction[]): ContractThread;
  /** Starts a thread of the default class that keeps a CPU busy until it is killed. */
  occupy(cpu: number): ContractThread;
  /** Wakes a blocked thread. */
  wake(thread: ContractThread): void;
  /** Ends a thread, wherever it is. */
  kill(thread: ContractThread): void;
  /** Ends all threads of the case. */
  killAll(): void;
  /** True once the thread has exited. */
  hasExited(thread: ContractThread): boolean;
  /** Changes the CPUs that a thread may use. */
  setAffinity(thread: ContractThread, cpus: readonly number[]): void;
  /** Changes a thread's nice value. */
  setNice(thread: ContractThread, nice: number): void;
  /**
   * Changes a thread's nice value by writing all that the kernel tells of its class back with
   * another value; returns the number of the class before and after.
   */
  setNiceByAttr(thread: ContractThread, nice: number): readonly [before: number, after: number];
  /** Moves a ghOSt thread to the default class. */
  leaveGhost(thread: ContractThread): void;
  /** Starts an agent that runs the case's step: the index of its status word, or −errno. */
  attachAgent(control: EnclaveControl, cpu: number, options: AttachOptions): number;
  /** Makes the agent of a CPU run a step soon, by a ping. */
  nudge(control: EnclaveControl, cpu: number): void;
  /** A COMMIT_TXN call by a thread that is no agent. */
  commitFromOutside(control: EnclaveControl, cpu: number): void;
  /** Absolute time in ns. */
  nowNs(): number;
  /** Lets time pass. */
  sleep(ns: number): Promise<void>;
  /**
   * Lets time pass until something holds.
   *
   * @param condition What to wait for.
   * @param what The same in words, for the failure.
   * @param timeout_ns Longest wait; absent means 10 ms on a simulated clock, 1 s on a real one.
   * @throws {ContractFailure} If it does not hold in time, or a step threw.
   */
  until(condition: () => boolean, what: string, timeout_ns?: number): Promise<void>;
  /** Destroys what the case left behind. */
  close(): Promise<void>;
}
