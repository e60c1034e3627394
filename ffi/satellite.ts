/**
 * Satellites: native threads that are agents of CPUs whose agents never run a policy. Each costs a
 * thread instead of an isolate. See native/satellite.h.
 *
 * @module
 */
import type { Shim } from "./symbols.ts";

/** A satellite of no kernel, which sleeps until it is woken: for tests. */
export const SATELLITE_ALONE = 0;
/** Of the native peer; further numbers: handle, queue. */
export const SATELLITE_PEER = 1;
/** Of the ghOSt kernel; further numbers: see the enum in native/ghost_satellite.c. */
export const SATELLITE_GHOST = 2;
/** Under sched_ext; further numbers: control_fd, enclave, status words, those of an agent. */
export const SATELLITE_SCX = 3;

const INFO_WORD_INDEX = 0;
const INFO_TID = 1;
const INFO_GIVE_COUNT = 2;
const INFO_ENDED = 3;

/** What a satellite is told. */
export interface SatellitePlan {
  /** One of the SATELLITE_* kinds. */
  readonly kind: number;
  /** Its CPU. */
  readonly cpu: number;
  /** CPU of this host that the thread is pinned to; −1 leaves it to the kernel. */
  readonly pin_cpu: number;
  /** What its kind wants to know, in the order of the enum in its source. */
  readonly where: readonly number[];
}

/** A running satellite. */
export interface NativeSatellite {
  /** Its CPU. */
  readonly cpu: number;
  /** Index of its status word. */
  readonly status_index: number;
  /** Its thread. */
  readonly tid: number;
  /** Times it gave its CPU away. */
  yieldCount(): number;
  /** −errno if its thread has ended by itself, else 0 or more. */
  ended(): number;
  /** Makes it look whether it is to end. */
  wake(): void;
  /** Ends it; its status word can be freed then. 0, or −ETIMEDOUT if its thread does not end. */
  stop(): number;
}

/**
 * Starts a satellite.
 *
 * @param shim The shim.
 * @param plan What it is told.
 * @returns The satellite once it is the agent of its CPU, or −errno.
 */
export function startSatellite(shim: Shim, plan: SatellitePlan): NativeSatellite | number {
  const where = Float64Array.of(plan.cpu, plan.pin_cpu, ...plan.where);
  const handle = shim.satelliteStart(plan.kind, where);
  if (handle < 0) return handle;
  return {
    cpu: plan.cpu,
    status_index: shim.satelliteInfo(handle, INFO_WORD_INDEX),
    tid: shim.satelliteInfo(handle, INFO_TID),
    yieldCount: () => shim.satelliteInfo(handle, INFO_GIVE_COUNT),
    ended: () => shim.satelliteInfo(handle, INFO_ENDED),
    wake: () => void shim.satelliteWake(handle),
    stop: () => shim.satelliteStop(handle),
  };
}
