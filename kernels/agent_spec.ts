/**
 * What an agent's thread is told and what it answers. All of it can be cloned, since it goes from
 * the main isolate to a Worker and back.
 *
 * @module
 */
import type { NativeSatellite } from "../ffi/satellite.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import type { DryRunPort } from "../lib/synthetic_kernel.ts";
import type { WarmUpExtent } from "../lib/warm_up.ts";
import type { AgentPort, CpuRaw, EnclaveControl, KernelKind } from "./kernel.ts";

/** Memory of this process that native code has mapped. */
export interface MemoryRegion {
  /** Where it is. */
  readonly address: number;
  /** How long it is. */
  readonly size_bytes: number;
}

/** An enclave whose agents can be threads of this process. */
export interface MappedEnclave extends EnclaveControl {
  /** Where the status words are mapped. */
  readonly status_region: MemoryRegion;
  /** Where the transaction records are mapped. */
  readonly cpu_data_region: MemoryRegion;
  /** By what another thread reaches the enclave: descriptors, a handle. */
  readonly port_handles: Readonly<Record<string, number>>;
  /** Where a queue is mapped. */
  queueRegion(queue_id: number): MemoryRegion;
  /** Wakes the agent of a CPU, wherever it waits in the kernel: 0 or −errno. */
  wakeAgent(cpu: number): number;
  /** The agent of a CPU has died without leaving: what it waits for in the kernel returns. */
  agentDied(cpu: number): void;
  /**
   * Starts a native thread that is the agent of a CPU and only gives it away; left out where there
   * is no such thing.
   *
   * @returns The satellite; or −errno, −EBUSY while the CPU has another agent.
   */
  startSatellite?(cpu: number, queue_id: number): Satellite | number;
}

/** An agent that runs no policy. */
export type Satellite = NativeSatellite;

/** Which policy, and how. */
export interface PolicyChoice {
  /** A name in the {@linkcode PolicyTable}. */
  readonly name: string;
  /** What its maker gets; must be cloneable. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Policies by name; the program's entry makes it, since no library module knows a scheduler. */
export type PolicyTable = Readonly<
  Record<string, (options: Readonly<Record<string, unknown>>) => PolicyDefinition>
>;

/** How a thread becomes an agent of one kind of kernel. */
export interface PortOpener {
  /** Makes the calling thread the agent; the port, or −errno. */
  open(spec: AgentSpec): AgentPort | number;
  /** A port of the same class whose calls have no effect. */
  dry(cpu: number, status_index: number): DryRunPort;
}

/** Openers by kernel. */
export type PortTable = Readonly<Partial<Record<KernelKind, PortOpener>>>;

/** What an agent's thread is told. */
export interface AgentSpec {
  /** Name of the Worker's code in the program's table. */
  readonly entry: "agent";
  /** Which kernel. */
  readonly kernel: KernelKind;
  /** See {@linkcode MappedEnclave.port_handles}. */
  readonly port_handles: Readonly<Record<string, number>>;
  /** ABI version. */
  readonly abi_version: number;
  /** The policy. */
  readonly policy: PolicyChoice;
  /** CPU of the agent. */
  readonly cpu: number;
  /** CPUs of the enclave, ascending. */
  readonly cpus: readonly number[];
  /** The host's CPUs. */
  readonly cpu_rows: readonly CpuRaw[];
  /** Queue of each CPU, in the order of {@linkcode cpus}. */
  readonly queue_ids: readonly number[];
  /** The agent's queue. */
  readonly queue_region: MemoryRegion;
  /** Status words. */
  readonly status_region: MemoryRegion;
  /** Transaction records. */
  readonly cpu_data_region: MemoryRegion;
  /** Memory of the policy. */
  readonly state: SharedArrayBuffer | MemoryRegion;
  /** Most tasks at a time. */
  readonly task_capacity: number;
  /** The agent's control block. */
  readonly control: SharedArrayBuffer;
  /** Name of the thread; at most 15 bytes. */
  readonly thread_name: string;
  /** CPU of this host that the thread is pinned to; −1 leaves it to the kernel. */
  readonly pin_cpu: number;
  /** Pins only after the warm-up, which would take its CPU from the threads of another agent. */
  readonly pins_late: boolean;
  /** How far the policy is warmed up first; `none` for tests, and where threads wait already. */
  readonly warm_up: WarmUpExtent | "none";
  /** How long to try again while the agent of before is still there, in ms. */
  readonly busy_ms: number;
}

// Values of the control block's phase word.

/** The thread warms up and waits. */
export const PHASE_WARM_UP = 0;
/** It becomes the agent and waits for the others. */
export const PHASE_OPEN = 1;
/** The first agent looks for tasks that are there already. */
export const PHASE_DISCOVER = 2;
/** The enclave is online. */
export const PHASE_RUN = 3;

/** What an agent's thread says. */
export type AgentMessage =
  | {
    /** It is warmed up and waits. */
    readonly kind: "warm";
    readonly tid: number;
    /** Time the warm-up took, in ms. */
    readonly warm_up_ms: number;
  }
  /** It is an agent and waits. */
  | { readonly kind: "ready" }
  /** It has looked for tasks. */
  | { readonly kind: "discovered" }
  /** It has left, as it was told to or because the enclave is gone. */
  | { readonly kind: "left" }
  | {
    /** It cannot go on and has left. */
    readonly kind: "failed";
    /** What is wrong, in one line. */
    readonly text: string;
    /** What to do, if that is known. */
    readonly cure?: string;
    /** Exit status that a program ends with for it. */
    readonly exit_status: number;
  };
