/**
 * The calls of an agent's thread to the scx program. Those in which the agent gives its CPU away
 * sleep in the shim, until the program rings.
 *
 * @module
 */
import { loadScx, type ScxLibrary } from "../../ffi/scx.ts";
import { loadShim } from "../../ffi/shim.ts";
import type { DryRunPort } from "../../lib/synthetic_kernel.ts";
import type { AgentSpec, PortOpener } from "../agent_spec.ts";
import { SCX_OP } from "./scx_layout.ts";

const MASK_WORDS = 16;
/** The native functions do nothing, and succeed, for this handle. */
const DRY_HANDLE = 0;
const { agent_wake, task_associate, task_runtime, word_free } = SCX_OP;

/** Where a new agent finds its enclave. */
export interface ScxPlace {
  /** Descriptors: `commit_fd`, `control_fd`, `doorbells_fd`; addresses: `turns`; `enclave`. */
  readonly handles: Readonly<Record<string, number>>;
  /** CPU of the agent. */
  readonly cpu: number;
  /** Its queue; −1 is the default queue. */
  readonly queue_id: number;
  /** Address of the status words. */
  readonly status_address: number;
  /** Address of the transaction records. */
  readonly cpu_data_address: number;
}

/** A place as the numbers of `becomeAgent`, in the order of the `enum` in scx_agent.c. */
export function placeNumbers(place: ScxPlace): Float64Array<ArrayBuffer> {
  const { handles, cpu, queue_id, status_address, cpu_data_address } = place;
  return Float64Array.of(
    handles.commit_fd,
    handles.control_fd,
    handles.doorbells_fd,
    handles.enclave,
    cpu,
    queue_id,
    status_address,
    cpu_data_address,
    handles.turns,
    handles.spin_ns,
  );
}

/** One agent's port. */
export class ScxAgentPort implements DryRunPort {
  /** See {@linkcode AgentPort.cpu}. */
  readonly cpu: number;
  /** See {@linkcode AgentPort.status_index}. */
  readonly status_index: number;
  /** See {@linkcode DryRunPort.associate_result}. */
  associate_result = 0;
  /** See {@linkcode DryRunPort.on_commit}. */
  on_commit: (() => void) | null = null;
  readonly #handle: number;
  readonly #native: ScxLibrary;
  readonly #clock: () => number;
  readonly #mask = new Int32Array(MASK_WORDS);

  private constructor(handle: number, cpu: number, status_index: number) {
    this.#handle = handle;
    this.cpu = cpu;
    this.status_index = status_index;
    this.#native = loadScx();
    this.#clock = loadShim().clockMonotonicNs;
  }

  /** Makes the calling thread the agent of a CPU; the port, or −errno. */
  static become(place: ScxPlace): ScxAgentPort | number {
    const native = loadScx();
    const handle = native.becomeAgent(placeNumbers(place));
    return handle < 0 ? handle : new ScxAgentPort(handle, place.cpu, native.agentWord(handle));
  }

  /** A port of the same class whose calls have no effect, to warm up with. */
  static dry(cpu: number, status_index: number): ScxAgentPort {
    return new ScxAgentPort(DRY_HANDLE, cpu, status_index);
  }

  /** See {@linkcode AgentPort.nowNs}. */
  nowNs(): number {
    return this.#clock();
  }

  /** See {@linkcode AgentPort.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    const handle = this.#handle;
    const result = this.#native.agentCall(
      handle,
      task_associate,
      queue_id,
      barrier,
      gtid_lo,
      gtid_hi,
    );
    return handle === DRY_HANDLE ? this.associate_result : result;
  }

  /** See {@linkcode AgentPort.freeStatusWord}. */
  freeStatusWord(index: number): number {
    return this.#native.agentCall(this.#handle, word_free, index, 0, 0, 0);
  }

  /** See {@linkcode AgentPort.commit}. */
  commit(cpu: number): void {
    const mask = this.#mask;
    mask[cpu >> 5] = 1 << (cpu & 31);
    this.#native.commit(this.#handle, mask);
    mask[cpu >> 5] = 0;
    if (this.on_commit !== null) this.on_commit();
  }

  /** See {@linkcode AgentPort.commitGroup}. */
  commitGroup(mask: Int32Array): void {
    this.#native.commit(this.#handle, mask);
    if (this.on_commit !== null) this.on_commit();
  }

  /** See {@linkcode AgentPort.commitSyncGroup}. */
  commitSyncGroup(mask: Int32Array): number {
    return this.#native.commitSyncGroup(this.#handle, mask);
  }

  /** See {@linkcode AgentPort.ping}. */
  ping(cpu: number): number {
    return this.#native.agentCall(this.#handle, agent_wake, cpu, 1, 0, 0);
  }

  /** See {@linkcode AgentPort.cpuTimeNs}. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number {
    return this.#native.agentCall(this.#handle, task_runtime, 0, 0, gtid_lo, gtid_hi);
  }

  /** See {@linkcode AgentPort.armTimer}. */
  armTimer(deadline_ns: number, type: number, cookie: number): number {
    return this.#native.armTimer(this.#handle, deadline_ns, type, cookie);
  }

  /** See {@linkcode AgentPort.localCommit}. */
  localCommit(): number {
    return this.#native.localCommit(this.#handle);
  }

  /** See {@linkcode AgentPort.localYield}. */
  localYield(agent_barrier: number, run_flags: number): number {
    return this.#native.localYield(this.#handle, agent_barrier, run_flags);
  }

  /** See {@linkcode AgentPort.leave}. */
  leave(): number {
    return this.#native.leave(this.#handle);
  }
}

/** How a thread becomes an agent under sched_ext. */
export const SCX_OPENER: PortOpener = {
  open: (spec: AgentSpec) =>
    ScxAgentPort.become({
      handles: spec.port_handles,
      cpu: spec.cpu,
      queue_id: spec.queue_ids[spec.cpus.indexOf(spec.cpu)],
      status_address: spec.status_region.address,
      cpu_data_address: spec.cpu_data_region.address,
    }),
  dry: (cpu, status_index) => ScxAgentPort.dry(cpu, status_index),
};
