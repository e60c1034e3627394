/**
 * CPUs of a simulated machine when the user gives only their number: two hardware threads per core
 * (siblings i and i + n/2, as most servers number them), 16 CPUs per last-level cache, 128 per
 * NUMA node. An odd number of CPUs has no siblings.
 *
 * @module
 */
import type { CpuRaw } from "../kernel.ts";

const CORES_PER_L3 = 8;
const CORES_PER_NODE = 64;

/**
 * Rows for a number of CPUs.
 *
 * @param cpu_count At least 1.
 * @returns One row per CPU, ascending.
 */
export function simTopology(cpu_count: number): CpuRaw[] {
  const smt = cpu_count % 2 === 0 && cpu_count > 2 ? 2 : 1;
  const core_count = cpu_count / smt;
  const threadsOf = (core: number): number[] =>
    Array.from({ length: smt }, (_, index) => core + index * core_count);
  return Array.from({ length: cpu_count }, (_, cpu) => {
    const core = cpu % core_count;
    const first = core - (core % CORES_PER_L3);
    const cores = Array.from(
      { length: Math.min(CORES_PER_L3, core_count - first) },
      (_, index) => first + index,
    );
    const l3_siblings = cores.flatMap(threadsOf).sort((a, b) => a - b);
    return {
      cpu,
      core,
      smt_idx: Math.floor(cpu / core_count),
      siblings: threadsOf(core),
      l3_siblings,
      numa_node: Math.floor(core / CORES_PER_NODE),
    };
  });
}
