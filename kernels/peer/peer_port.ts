/**
 * The calls of an agent's thread to the native peer. Those in which the agent gives its CPU away
 * sleep in the shim, as on a real kernel.
 *
 * @module
 */
import { loadPeer, type PeerLibrary } from "../../ffi/peer.ts";
import { loadShim } from "../../ffi/shim.ts";
import type { DryRunPort } from "../../lib/synthetic_kernel.ts";

const MASK_WORDS = 16;
/** The native functions do nothing, and succeed, for this handle. */
const DRY_HANDLE = 0;

/** One agent's port. */
export class PeerAgentPort implements DryRunPort {
  /** See {@linkcode AgentPort.cpu}. */
  readonly cpu: number;
  /** See {@linkcode AgentPort.status_index}. */
  readonly status_index: number;
  /** See {@linkcode DryRunPort.associate_result}. */
  associate_result = 0;
  /** See {@linkcode DryRunPort.on_commit}. */
  on_commit: (() => void) | null = null;
  readonly #handle: number;
  readonly #native: PeerLibrary;
  readonly #clock: () => number;
  readonly #mask = new Int32Array(MASK_WORDS);

  /**
   * Wraps the calls.
   *
   * @param handle Handle of the peer; 0 for a dry run.
   * @param cpu CPU of the agent.
   * @param status_index Index of the agent's status word.
   */
  constructor(handle: number, cpu: number, status_index: number) {
    this.#handle = handle;
    this.cpu = cpu;
    this.status_index = status_index;
    this.#native = loadPeer();
    this.#clock = loadShim().clockMonotonicNs;
  }

  /** A port of the same class whose calls have no effect, to warm up with. */
  static dry(cpu: number, status_index: number): PeerAgentPort {
    return new PeerAgentPort(DRY_HANDLE, cpu, status_index);
  }

  /** See {@linkcode AgentPort.nowNs}. */
  nowNs(): number {
    return this.#clock();
  }

  /** See {@linkcode AgentPort.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    const result = this.#native.associate(this.#handle, queue_id, gtid_lo, gtid_hi, barrier);
    return this.#handle === DRY_HANDLE ? this.associate_result : result;
  }

  /** See {@linkcode AgentPort.freeStatusWord}. */
  freeStatusWord(index: number): number {
    return this.#native.freeWord(this.#handle, index);
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
    return this.#native.ping(this.#handle, cpu);
  }

  /** See {@linkcode AgentPort.cpuTimeNs}. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number {
    return this.#native.cpuTime(this.#handle, gtid_lo, gtid_hi);
  }

  /** See {@linkcode AgentPort.armTimer}. */
  armTimer(deadline_ns: number, type: number, cookie: number): number {
    return this.#native.armTimer(this.#handle, this.cpu, deadline_ns, type, cookie);
  }

  /** See {@linkcode AgentPort.localCommit}. */
  localCommit(): number {
    return this.#native.localCommit(this.#handle, this.cpu);
  }

  /** See {@linkcode AgentPort.localYield}. */
  localYield(agent_barrier: number, run_flags: number): number {
    return this.#native.localYield(this.#handle, this.cpu, agent_barrier, run_flags);
  }

  /** See {@linkcode AgentPort.leave}. */
  leave(): number {
    return this.#native.leave(this.#handle, this.cpu);
  }
}
