/**
 * Keeps the threads that are no agents (the main isolate, V8's and the runtime's helpers) off the
 * enclave's CPUs where any other CPU is left.
 *
 * @module
 */
import { CPU_MASK_BYTES } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";

/** The affinity of a thread without some CPUs; undefined if nothing would be left. */
function without(tid: number, cpus: readonly number[]): Uint8Array<ArrayBuffer> | undefined {
  const mask = new Uint8Array(CPU_MASK_BYTES);
  if (loadShim().schedGetaffinity(tid, mask, mask.length) < 0) return undefined;
  for (const cpu of cpus) mask[cpu >> 3] &= ~(1 << (cpu & 7));
  return mask.some((byte) => byte !== 0) ? mask : undefined;
}

/**
 * Moves threads of this process off CPUs. A thread that was started by a pinned agent has only that
 * agent's CPU, and gets those of the main thread.
 *
 * @param cpus CPUs of the enclave.
 * @param agent_tids Threads that stay where they are.
 * @returns Threads that were moved.
 */
export function leaveCpus(cpus: readonly number[], agent_tids: readonly number[]): number {
  const { schedSetaffinity } = loadShim();
  const spare = without(Deno.pid, cpus);
  if (spare === undefined) return 0;
  let moved = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const tid = Number(name);
    if (agent_tids.includes(tid)) continue;
    if (schedSetaffinity(tid, without(tid, cpus) ?? spare, spare.length) >= 0) moved++;
  }
  return moved;
}
