/**
 * The map of a machine's cores, as upstream's agents with a global CPU print it first.
 * Source: reference section 4.0.
 *
 * @module
 */
import type { CpuRaw } from "../kernels/kernel.ts";

const CORES_PER_LINE = 8;

/**
 * The map: each core as the list of its CPUs, eight to a line.
 *
 * @param rows The machine's CPUs, ascending.
 * @returns The text, from "Core map" on.
 */
export function coreMap(rows: readonly CpuRaw[]): string {
  const cores = rows.filter(({ cpu, siblings }) => cpu === siblings[0]);
  const fields = cores.map(({ siblings }, index) => {
    const end = (index + 1) % CORES_PER_LINE === 0 ? "\n" : "\t";
    return `( ${siblings.map((cpu) => `${String(cpu).padStart(2)} `).join("")})${end}`;
  });
  return `Core map\n${fields.join("")}\n`;
}
