/**
 * Machines for tests: rows of a regular machine, and the files of /sys that describe given rows.
 * The machine of upstream's topology tests has 112 CPUs; source: reference section 3.7.
 *
 * @module
 */

import { CpuList } from "./cpu_list.ts";
import type { ReadText } from "./host_files.ts";
import type { CpuRaw } from "./topology.ts";

/** CPUs of the machine of upstream's topology tests. */
export const TEST_CPU_COUNT = 112;

/** The shape of a regular machine. */
export interface MachineShape {
  /** Physical cores. */
  readonly core_count: number;
  /** Hardware threads per core. */
  readonly smt_count: number;
  /** NUMA nodes; cores are spread over them evenly, in order. */
  readonly numa_node_count: number;
  /** True if each NUMA node's CPUs share an L3 cache; false if there is none. */
  readonly has_l3_cache: boolean;
  /** True if the threads of a core have consecutive numbers; else they are `core_count` apart. */
  readonly consecutive_smt_numbering: boolean;
}

/** Rows of a regular machine. */
export function machineRows(shape: MachineShape): CpuRaw[] {
  const { core_count, smt_count, numa_node_count } = shape;
  const cpuOf = (core: number, smt_idx: number): number =>
    shape.consecutive_smt_numbering ? core * smt_count + smt_idx : core + smt_idx * core_count;
  const nodeOf = (core: number): number => Math.floor(core * numa_node_count / core_count);
  const node_cpus = Array.from({ length: numa_node_count }, () => new CpuList());
  const rows: CpuRaw[] = [];
  for (let core = 0; core < core_count; core++) {
    for (let smt_idx = 0; smt_idx < smt_count; smt_idx++) {
      node_cpus[nodeOf(core)].set(cpuOf(core, smt_idx));
    }
  }
  for (let core = 0; core < core_count; core++) {
    const numa_node = nodeOf(core);
    const siblings = Array.from({ length: smt_count }, (_, i) => cpuOf(core, i));
    const l3_siblings = shape.has_l3_cache ? node_cpus[numa_node].toIntVector() : [];
    for (const [smt_idx, cpu] of siblings.entries()) {
      rows.push({ cpu, core: siblings[0], smt_idx, siblings, l3_siblings, numa_node });
    }
  }
  return rows.sort((a, b) => a.cpu - b.cpu);
}

/**
 * Rows of the machine of upstream's topology tests: 112 CPUs, two threads per core, two NUMA nodes.
 *
 * @param has_l3_cache False for a machine without an L3 cache.
 * @param consecutive_smt_numbering True if CPU 2i and 2i + 1 share a core, false for i and i + 56.
 */
export function testRows(has_l3_cache: boolean, consecutive_smt_numbering = false): CpuRaw[] {
  return machineRows({
    core_count: TEST_CPU_COUNT / 2,
    smt_count: 2,
    numa_node_count: 2,
    has_l3_cache,
    consecutive_smt_numbering,
  });
}

/**
 * The files under /sys that a kernel would show for some CPUs.
 *
 * @param rows The CPUs that are online.
 * @returns Text by path.
 */
export function sysfsFiles(rows: readonly CpuRaw[]): Map<string, string> {
  const files = new Map<string, string>();
  const nodes = new Map<number, CpuList>();
  const online = new CpuList();
  for (const row of rows) {
    online.set(row.cpu);
    const node_cpus = nodes.get(row.numa_node) ?? new CpuList();
    node_cpus.set(row.cpu);
    nodes.set(row.numa_node, node_cpus);
    const dir = `/sys/devices/system/cpu/cpu${row.cpu}`;
    const siblings = CpuList.from(row.siblings);
    files.set(`${dir}/topology/thread_siblings`, `${siblings.cpuMaskStr()}\n`);
    files.set(`${dir}/topology/thread_siblings_list`, `${siblings}\n`);
    if (row.l3_siblings.length > 0) {
      files.set(`${dir}/cache/index3/level`, "3\n");
      files.set(`${dir}/cache/index3/shared_cpu_list`, `${CpuList.from(row.l3_siblings)}\n`);
    }
  }
  files.set("/sys/devices/system/cpu/online", `${online}\n`);
  files.set("/sys/devices/system/node/possible", `0-${Math.max(...nodes.keys())}\n`);
  for (const [node, cpus] of nodes) {
    files.set(`/sys/devices/system/node/node${node}/cpulist`, `${cpus}\n`);
  }
  return files;
}

/** A reader of those files, for {@linkcode Topology.fromSysfs}. */
export function readerOf(files: ReadonlyMap<string, string>): ReadText {
  return (path) => files.get(path);
}
