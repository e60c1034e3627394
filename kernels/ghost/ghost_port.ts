/**
 * How a thread becomes an agent of the ghOSt kernel, and the calls it makes then. The agent class
 * cannot be left: an agent leaves by the end of its thread.
 *
 * @module
 */
import { type Abi, abiOf, becomeAgentCommand } from "../../ffi/abi/abi.ts";
import { SCHED_GHOST } from "../../ffi/abi/constants.ts";
import { SCHED_RESET_ON_FORK } from "../../ffi/linux.ts";
import type { DryRunPort } from "../../lib/synthetic_kernel.ts";
import type { AgentSpec, PortOpener } from "../agent_spec.ts";
import { EINVAL, ESRCH } from "../kernel.ts";
import type { GhostHost } from "./ghost_host.ts";
import { GhostIoctls } from "./ghost_ioctls.ts";
import { shimHost } from "./shim_host.ts";

const NO_FD = -1;

/** One agent's port. */
export class GhostAgentPort implements DryRunPort {
  /** See {@linkcode AgentPort.cpu}. */
  declare readonly cpu: number;
  /** See {@linkcode AgentPort.status_index}. */
  declare readonly status_index: number;
  /** See {@linkcode DryRunPort.associate_result}. */
  associate_result = 0;
  /** See {@linkcode DryRunPort.on_commit}. */
  on_commit: (() => void) | null = null;
  readonly #host: GhostHost;
  declare private readonly ioctls: GhostIoctls;
  readonly #clock: () => number;
  readonly #is_dry: boolean;
  #timer_fd: number;

  /**
   * Wraps the calls.
   *
   * @param host The host.
   * @param ctl_fd The enclave's `ctl`; −1 for a dry run.
   * @param cpu CPU of the agent.
   * @param status_index Index of the agent's status word.
   * @param timer_fd The agent's timer, which the port closes.
   */
  constructor(
    host: GhostHost,
    ctl_fd: number,
    cpu: number,
    status_index: number,
    timer_fd: number,
  ) {
    this.#host = host;
    this.ioctls = new GhostIoctls(host, ctl_fd);
    this.#clock = host.nowNs;
    this.#is_dry = ctl_fd < 0;
    this.#timer_fd = timer_fd;
    this.cpu = cpu;
    this.status_index = status_index;
  }

  /** A port of the same class whose calls have no effect, to warm up with. */
  static dry(host: GhostHost, cpu: number, status_index: number): GhostAgentPort {
    return new GhostAgentPort(host, NO_FD, cpu, status_index, NO_FD);
  }

  /** See {@linkcode AgentPort.nowNs}. */
  nowNs(): number {
    return this.#clock();
  }

  /** See {@linkcode AgentPort.associate}. */
  associate(queue_id: number, gtid_lo: number, gtid_hi: number, barrier: number): number {
    const result = this.ioctls.associate(queue_id, gtid_lo, gtid_hi, barrier);
    return this.#is_dry ? this.associate_result : result;
  }

  /** See {@linkcode AgentPort.freeStatusWord}. */
  freeStatusWord(index: number): number {
    return this.ioctls.freeStatusWord(index);
  }

  /** See {@linkcode AgentPort.commit}. */
  commit(cpu: number): void {
    this.ioctls.commit(cpu);
    if (this.on_commit !== null) this.on_commit();
  }

  /** See {@linkcode AgentPort.commitGroup}. */
  commitGroup(mask: Int32Array): void {
    this.ioctls.commitGroup(mask);
    if (this.on_commit !== null) this.on_commit();
  }

  /** See {@linkcode AgentPort.commitSyncGroup}. */
  commitSyncGroup(mask: Int32Array): number {
    return this.ioctls.commitSyncGroup(mask);
  }

  /** See {@linkcode AgentPort.ping}. */
  ping(cpu: number): number {
    return this.ioctls.ping(cpu);
  }

  /** See {@linkcode AgentPort.cpuTimeNs}. */
  cpuTimeNs(gtid_lo: number, gtid_hi: number): number {
    return this.ioctls.cpuTimeNs(gtid_lo, gtid_hi);
  }

  /** See {@linkcode AgentPort.armTimer}. */
  armTimer(deadline_ns: number, type: number, cookie: number): number {
    return this.ioctls.armTimer(this.#timer_fd, this.cpu, deadline_ns, type, cookie);
  }

  /** See {@linkcode AgentPort.localCommit}. */
  localCommit(): number {
    return this.ioctls.commit(this.cpu);
  }

  /** See {@linkcode AgentPort.localYield}. */
  localYield(agent_barrier: number, run_flags: number): number {
    return this.ioctls.localYield(this.cpu, agent_barrier, run_flags);
  }

  /** See {@linkcode AgentPort.leave}; the kernel takes the agent back when its thread ends. */
  leave(): number {
    if (this.#timer_fd >= 0) this.#host.close(this.#timer_fd);
    this.#timer_fd = NO_FD;
    return 0;
  }
}

/** By what a thread reaches its enclave. */
export interface AgentAccess {
  /** The enclave's `ctl`, open for writing. */
  readonly ctl_fd: number;
  /** ABI of the enclave. */
  readonly abi: Abi;
  /** CPU to be the agent of. */
  readonly cpu: number;
  /** Queue of the agent, or −1 for the enclave's default queue. */
  readonly queue_fd: number;
}

/**
 * Makes the calling thread the agent of a CPU.
 *
 * @param host The host.
 * @param access The enclave and the CPU.
 * @returns The port; or −EBUSY while the CPU has another agent, −ENODEV if the enclave
 * lacks the CPU or is gone, −ENXIO without a queue, −EPERM without CAP_SYS_NICE, −EBADF for a bad
 * queue, −EINVAL if the thread is not what it should be afterwards.
 */
export function becomeGhostAgent(host: GhostHost, access: AgentAccess): GhostAgentPort | number {
  const { ctl_fd, abi, cpu, queue_fd } = access;
  if (!abi.become_agent_takes_cpu) {
    // This kernel makes the thread the agent of the CPU that it happens to be on.
    const pinned = host.pinThread(cpu);
    if (pinned < 0) return pinned;
  }
  // Opened before: an agent that is in the way of everybody else must not wait for memory.
  const timer_fd = host.createTimer();
  if (timer_fd < 0) return timer_fd;
  let result = host.writeText(ctl_fd, becomeAgentCommand(abi, cpu, queue_fd));
  if (result >= 0) {
    const is_agent = host.threadPolicy() === (SCHED_GHOST | SCHED_RESET_ON_FORK) &&
      host.currentCpu() === cpu;
    result = is_agent ? new GhostIoctls(host, ctl_fd).agentStatusIndex(cpu) : -EINVAL;
  }
  if (result >= 0) return new GhostAgentPort(host, ctl_fd, cpu, result, timer_fd);
  host.close(timer_fd);
  return result;
}

/**
 * How threads become agents of the ghOSt kernel.
 *
 * @param hostOf Gives the host; called in the thread that becomes the agent.
 * @returns The opener.
 */
export function ghostOpener(hostOf: () => GhostHost): PortOpener {
  return {
    open: ({ port_handles: { ctl_fd }, abi_version, cpu, cpus, queue_ids }: AgentSpec) => {
      const abi = abiOf(abi_version);
      if (abi === undefined) return -ESRCH;
      const queue_fd = queue_ids[cpus.indexOf(cpu)];
      return becomeGhostAgent(hostOf(), { ctl_fd, abi, cpu, queue_fd });
    },
    dry: (cpu, status_index) => GhostAgentPort.dry(hostOf(), cpu, status_index),
  };
}

/** The opener of the real kernel. */
export const GHOST_OPENER: PortOpener = ghostOpener(shimHost);
