/**
 * What a kernel of this host adds to the contract, so that agents and tools need not know which one
 * it is: enclaves whose agents can be threads, and enclaves as an operator's tool sees them.
 *
 * @module
 */
import type { MappedEnclave, PortOpener } from "./agent_spec.ts";
import type { Kernel } from "./kernel.ts";

/** A kernel of this host, opened to run agents in this process. */
export interface RealKernel extends Kernel {
  /** How a thread becomes an agent, and how a port without effect is made for dumps. */
  readonly opener: PortOpener;
  /** See {@linkcode Kernel.createEnclave}. */
  createEnclave(cpus: readonly number[], abi_version: number): MappedEnclave | number;
  /** See {@linkcode Kernel.attachEnclave}. */
  attachEnclave(id: number): MappedEnclave | number;
  /** Number of the enclave at the path that a user gave as `--enclave`, or undefined. */
  enclaveIdOf(path: string): number | undefined;
  /** What a user calls an enclave, such as "/sys/fs/ghost/enclave_1". */
  enclavePath(id: number): string;
  /**
   * Files and what to write to each, in order, to destroy an enclave from outside; left out where
   * the end of the agent process is enough. The first file is there as long as the enclave is.
   */
  destroyActions?(id: number): readonly (readonly [path: string, text: string])[];
  /** What ended an enclave that nobody here has destroyed, if the kernel says it. */
  endText?(): string | undefined;
  /** What the kernel itself said of its state then; "" if nothing. */
  endDump?(): string;
  /** Gives up what is open; the enclaves stay. */
  close(): void;
}

/**
 * An enclave as a tool sees it that runs no agent there: files are read, nothing is mapped, so that
 * its end cannot take the tool with it.
 */
export interface EnclaveView {
  /** Number in the name `enclave_<id>`. */
  readonly id: number;
  /** What a user calls it, such as "/sys/fs/ghost/enclave_1". */
  readonly path: string;
  /** Its CPUs, or −errno. */
  cpus(): readonly number[] | number;
  /** Its threads, agents excluded, or −errno. */
  taskTids(): readonly number[] | number;
  /** True while an agent process is online; −errno if the enclave is gone. */
  isOnline(): boolean | number;
  /** Moves a thread into the enclave: 0 or −errno, as `EnclaveControl.join`. */
  join(tid: number): number;
  /**
   * By what a thread of this process enters by itself; undefined if it may not, or there is no way.
   * The descriptor stays open.
   */
  selfJoin(): SelfJoin | undefined;
  /** Sets the time in ms after which a runnable thread that no one runs ends the enclave. */
  setRunnableTimeout(timeout_ms: number): number;
  /** Destroys it: 0 or −errno. Agents still attached are killed. */
  destroy(): number;
}

/** By what a thread enters an enclave by itself: native/load_ops.c. */
export interface SelfJoin {
  /** The enclave's file of threads, or the control program's descriptor. */
  readonly join_fd: number;
  /** With the control program: index of the enclave; else −1. */
  readonly join_enclave: number;
}

/** A kernel of this host as a tool sees it. */
export interface KernelView {
  /** Which one. */
  readonly kind: "ghost" | "scx";
  /** The enclaves there are, ascending by number. */
  enclaves(): readonly EnclaveView[];
}
