/**
 * Keeps what agents touch in memory: code and libraries, and the regions they share. mlockall would
 * break V8, so V8's heap stays pageable; where there is swap it is kept off the agent's cgroup.
 *
 * @module
 */
import { loadShim } from "../ffi/shim.ts";
import type { PolicyEnclave } from "../lib/enclave.ts";
import type { MappedEnclave, MemoryRegion } from "./agent_spec.ts";

/** What locking achieved. */
export interface LockReport {
  /** Bytes of files and regions that are locked. */
  readonly locked_bytes: number;
  /** Bytes that could not be locked; RLIMIT_MEMLOCK is too low, or CAP_IPC_LOCK is missing. */
  readonly failed_bytes: number;
}

/**
 * Locks file-backed mappings and the agents' regions. What cannot be locked stays pageable: that
 * costs time in bad moments, and is no reason not to start.
 *
 * @param control The enclave.
 * @param enclave The enclave with its policy.
 * @returns What was locked.
 */
export function lockAgentMemory(control: MappedEnclave, enclave: PolicyEnclave): LockReport {
  const { raiseMemlockLimit, lockFileMappings, lockRegion, bufferAddress } = loadShim();
  raiseMemlockLimit();
  const result = new Float64Array(3);
  lockFileMappings(result);
  let [locked_bytes, failed_bytes] = result;
  const state: MemoryRegion = {
    address: bufferAddress(new Int32Array(enclave.state.buffer as ArrayBuffer)),
    size_bytes: enclave.state.size_bytes,
  };
  const queue_ids = new Set(enclave.queues.map((queue) => queue.id));
  const queues = [...queue_ids].map((id) => control.queueRegion(id));
  for (const region of [state, control.status_region, control.cpu_data_region, ...queues]) {
    if (lockRegion(region.address, region.size_bytes) === 0) locked_bytes += region.size_bytes;
    else failed_bytes += region.size_bytes;
  }
  return { locked_bytes, failed_bytes };
}
