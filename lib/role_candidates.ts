/**
 * Which CPUs may get the role of the global agent. Each such CPU has a thread that can run the
 * policy, which costs megabytes; on large machines the others have threads that only yield.
 *
 * @module
 */
import type { CpuRaw } from "../kernels/kernel.ts";

/** Who has the role of the global agent, and who may get it. */
export interface GlobalRole {
  /** CPU of the first global agent. */
  readonly global_cpu: number;
  /** CPUs that may get the role; {@linkcode roleCandidates} chooses if left out. */
  readonly role_cpus?: readonly number[];
}

/** Up to so many CPUs all are candidates; more than these never are. */
export const CANDIDATES_MAX = 32;

/**
 * The candidates: all CPUs of a small enclave; else those that share a core or the last-level cache
 * with the first global CPU, and one of each other NUMA node.
 *
 * @param cpus CPUs of the enclave, ascending.
 * @param rows The host's CPUs.
 * @param role The first global CPU; and the candidates, if they are not to be chosen.
 * @returns The candidates, ascending; the first global CPU is one.
 */
export function roleCandidates(
  cpus: readonly number[],
  rows: readonly CpuRaw[],
  { global_cpu, role_cpus }: GlobalRole,
): readonly number[] {
  if (role_cpus !== undefined) return role_cpus;
  if (cpus.length <= CANDIDATES_MAX) return cpus;
  const nodes = new Map(rows.map((row) => [row.cpu, row.numa_node]));
  const own = rows.find((row) => row.cpu === global_cpu);
  const near = [global_cpu, ...own?.siblings ?? [], ...own?.l3_siblings ?? []];
  const far: number[] = [];
  const seen = new Set([own?.numa_node]);
  for (const cpu of cpus) {
    const node = nodes.get(cpu);
    if (seen.has(node)) continue;
    seen.add(node);
    far.push(cpu);
  }
  const chosen = new Set<number>();
  for (const cpu of near) {
    if (cpus.includes(cpu) && chosen.size < CANDIDATES_MAX - far.length) chosen.add(cpu);
  }
  // Without a neighbour there would be nobody to hand the role to.
  if (chosen.size + far.length < 2) {
    far.push(...cpus.filter((cpu) => cpu !== global_cpu).slice(0, 1));
  }
  return [...chosen, ...far].sort((a, b) => a - b);
}
