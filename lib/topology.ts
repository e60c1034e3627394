/**
 * The CPUs of a machine: cores, hardware threads, shared caches, NUMA nodes. Read from sysfs or
 * made from rows. Unlike upstream it takes hosts with offline CPUs and holes in the numbering, and
 * gives errors back instead of stopping. Source: reference section 3.7.
 *
 * @module
 */

import type { CpuRaw } from "../kernels/kernel.ts";
import { CpuList, parseCpuStr } from "./cpu_list.ts";
import { OperatingError, UsageError } from "./errors.ts";
import { type ReadText, readTextFile } from "./host_files.ts";
import { MAX_CPU_COUNT } from "./limits.ts";

export type { CpuRaw } from "../kernels/kernel.ts";

/** One CPU (hardware thread). */
export class Cpu {
  /** CPU number; -1 if the CPU is not valid. */
  readonly id: number;
  /** Number of the physical core: its lowest sibling, unless custom rows say otherwise. */
  readonly core: number;
  /** Position among the siblings. */
  readonly smt_idx: number;
  /** Hardware threads of the same core, this one included. */
  readonly siblings: CpuList;
  /** CPUs that share the L3 cache; empty if there is none. */
  readonly l3_siblings: CpuList;
  /** NUMA node. */
  readonly numa_node: number;

  /**
   * A CPU as its row describes it.
   *
   * @param raw The row; with none the CPU is not valid.
   */
  constructor(raw?: CpuRaw) {
    this.id = raw?.cpu ?? -1;
    this.core = raw?.core ?? -1;
    this.smt_idx = raw?.smt_idx ?? -1;
    this.siblings = CpuList.from(raw?.siblings ?? []);
    this.l3_siblings = CpuList.from(raw?.l3_siblings ?? []);
    this.numa_node = raw?.numa_node ?? -1;
  }

  /** False for the CPU that stands for "none". */
  valid(): boolean {
    return this.id >= 0;
  }

  /** The number in decimal; "-1" if not valid. */
  toString(): string {
    return `${this.id}`;
  }
}

/** What a topology answers when asked for a CPU that it does not have. */
export const INVALID_CPU: Cpu = new Cpu();

/** The CPUs of one machine. Does not change. */
export class Topology {
  /** All CPUs. */
  readonly all_cpus: CpuList;
  /** One CPU per physical core. */
  readonly all_cores: CpuList;
  /** Number of CPUs. */
  readonly num_cpus: number;
  /** One more than the highest CPU number; above `num_cpus` where the numbering has holes. */
  readonly cpu_id_bound: number;
  /** Most hardware threads of one core. */
  readonly smt_count: number;
  /** The highest NUMA node there may be. */
  readonly highest_node_idx: number;
  /** Number of NUMA nodes there may be. */
  readonly num_numa_nodes: number;
  /** True if a core's two hardware threads have consecutive numbers. */
  readonly consecutive_smt_numbering: boolean;
  readonly #cpus: readonly (Cpu | undefined)[];

  private constructor(rows: readonly CpuRaw[], highest_node_idx: number) {
    const cpus: (Cpu | undefined)[] = [];
    for (const row of rows) cpus[row.cpu] = new Cpu(row);
    this.#cpus = cpus;
    this.all_cpus = CpuList.from(rows.map((row) => row.cpu));
    this.all_cores = this.cores(this.all_cpus);
    this.num_cpus = rows.length;
    this.cpu_id_bound = this.all_cpus.back() + 1;
    this.smt_count = Math.max(...rows.map((row) => row.siblings.length));
    this.highest_node_idx = highest_node_idx;
    this.num_numa_nodes = highest_node_idx + 1;
    const first = this.cpu(this.all_cpus.front()).siblings;
    this.consecutive_smt_numbering = first.size === 2 && first.back() - first.front() === 1;
  }

  /**
   * A topology from rows (upstream's custom topology).
   *
   * @param rows One row per CPU, in any order.
   * @param highest_node_idx The highest NUMA node there may be, if above every row's node.
   * @returns The topology, or the first thing that is wrong with the rows.
   */
  static fromRaw(rows: readonly CpuRaw[], highest_node_idx = 0): Topology | OperatingError {
    const problem = rawProblem(rows);
    if (problem !== undefined) {
      return new OperatingError(`bad CPU topology: ${problem}`, "mend the rows it is made from");
    }
    const sorted = [...rows].sort((a, b) => a.cpu - b.cpu);
    const highest = Math.max(highest_node_idx, ...sorted.map((row) => row.numa_node));
    return new Topology(sorted, highest);
  }

  /**
   * The topology of a host, of its online CPUs.
   *
   * @param read Reads a file of /sys; give another one for tests.
   */
  static fromSysfs(read: ReadText = readTextFile): Topology | OperatingError {
    const rows = readSysfsRows(read);
    if (rows instanceof OperatingError) return rows;
    const nodes = readList(read, "/sys/devices/system/node/possible");
    if (nodes instanceof OperatingError) return nodes;
    return Topology.fromRaw(rows, Math.max(0, nodes.back()));
  }

  /** The CPU of that number; {@linkcode INVALID_CPU} if the machine has none. */
  cpu(id: number): Cpu {
    return this.#cpus[id] ?? INVALID_CPU;
  }

  /** The CPUs of a set, ascending; those the machine lacks are left out. */
  toVector(list: Iterable<number>): Cpu[] {
    return [...list].map((id) => this.cpu(id)).filter((cpu) => cpu.valid());
  }

  /** The physical core of a CPU. */
  core(cpu: Cpu): Cpu {
    return this.cpu(cpu.core);
  }

  /** One CPU per physical core that the CPUs of a set run on. */
  cores(list: Iterable<number>): CpuList {
    return CpuList.from(this.toVector(list).map((cpu) => cpu.core));
  }

  /** CPUs of a NUMA node; empty if there is no such node. */
  cpusOnNode(node: number): CpuList {
    return CpuList.from([...this.all_cpus].filter((id) => this.cpu(id).numa_node === node));
  }

  /**
   * Reads a CPU list and checks that this machine has the CPUs.
   *
   * @param text The list, such as "0-3,6".
   * @returns The set, or an error that names the field or the offline CPUs.
   */
  parseCpuStr(text: string): CpuList | UsageError {
    const list = parseCpuStr(text, this.cpu_id_bound);
    if (list instanceof UsageError) return list;
    const missing = list.minus(this.all_cpus);
    if (missing.isEmpty()) return list;
    return new UsageError(
      `offline CPU ${missing} in CPU list ${JSON.stringify(text)}`,
      `online CPUs are ${this.all_cpus}`,
    );
  }

  /** The rows that {@linkcode Topology.fromRaw} makes this topology from. */
  export(): CpuRaw[] {
    return this.toVector(this.all_cpus).map((cpu) => ({
      cpu: cpu.id,
      core: cpu.core,
      smt_idx: cpu.smt_idx,
      siblings: cpu.siblings.toIntVector(),
      l3_siblings: cpu.l3_siblings.toIntVector(),
      numa_node: cpu.numa_node,
    }));
  }
}

/** The first thing that is wrong with the rows of a topology, or undefined. */
function rawProblem(rows: readonly CpuRaw[]): string | undefined {
  if (rows.length === 0) return "no CPU";
  const by_id = new Map(rows.map((row) => [row.cpu, row]));
  if (by_id.size !== rows.length) return "a CPU appears twice";
  for (const row of rows) {
    const { cpu, siblings, l3_siblings, numa_node } = row;
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < MAX_CPU_COUNT)) {
      return `CPU ${cpu} is outside 0-${MAX_CPU_COUNT - 1}`;
    }
    if (!(Number.isInteger(numa_node) && numa_node >= 0)) return `CPU ${cpu} has no NUMA node`;
    if (!by_id.has(row.core)) return `core ${row.core} of CPU ${cpu} is no CPU`;
    if (!siblings.includes(cpu)) return `CPU ${cpu} is not its own sibling`;
    for (const kind of ["siblings", "l3_siblings"] as const) {
      const own = CpuList.from(row[kind].filter((other) => by_id.has(other)));
      if (own.size !== row[kind].length) return `${kind} of CPU ${cpu} hold what is no CPU`;
      const differs = (id: number): boolean => !own.equals(CpuList.from(by_id.get(id)![kind]));
      const other = [...own].find(differs);
      if (other !== undefined) return `${kind} of CPUs ${cpu} and ${other} differ`;
    }
    if (l3_siblings.length > 0 && !l3_siblings.includes(cpu)) {
      return `CPU ${cpu} is not its own L3 sibling`;
    }
  }
  return undefined;
}

/** A list file of sysfs; empty if there is no such file. */
function readList(read: ReadText, path: string): CpuList | OperatingError {
  const text = read(path);
  if (text === undefined || text.trim() === "") return new CpuList();
  const list = parseCpuStr(text, MAX_CPU_COUNT);
  if (!(list instanceof UsageError)) return list;
  return new OperatingError(`cannot read ${path}: ${list.fault}`, list.cure);
}

/** The file that lists who shares a CPU's L3 cache. */
function l3Path(read: ReadText, cpu_dir: string): string {
  for (let index = 0; index < 10; index++) {
    const cache_dir = `${cpu_dir}/cache/index${index}`;
    if (read(`${cache_dir}/level`)?.trim() === "3") return `${cache_dir}/shared_cpu_list`;
  }
  return `${cpu_dir}/cache/index3/shared_cpu_list`;
}

/** The NUMA node of each CPU; a kernel without NUMA has everything on node 0. */
function readNodes(read: ReadText): Map<number, number> | OperatingError {
  const node_of = new Map<number, number>();
  const nodes = readList(read, "/sys/devices/system/node/possible");
  if (nodes instanceof OperatingError) return nodes;
  for (const node of nodes) {
    const cpus = readList(read, `/sys/devices/system/node/node${node}/cpulist`);
    if (cpus instanceof OperatingError) return cpus;
    for (const cpu of cpus) node_of.set(cpu, node);
  }
  return node_of;
}

function readSysfsRows(read: ReadText): CpuRaw[] | OperatingError {
  const cpu_root = "/sys/devices/system/cpu";
  const online = readList(read, `${cpu_root}/online`);
  if (online instanceof OperatingError) return online;
  if (online.isEmpty()) {
    return new OperatingError(`${cpu_root}/online lists no CPU`, "mount sysfs on /sys");
  }
  const node_of = readNodes(read);
  if (node_of instanceof OperatingError) return node_of;
  const rows: CpuRaw[] = [];
  for (const cpu of online) {
    const cpu_dir = `${cpu_root}/cpu${cpu}`;
    const siblings = readList(read, `${cpu_dir}/topology/thread_siblings_list`);
    if (siblings instanceof OperatingError) return siblings;
    const l3_siblings = readList(read, l3Path(read, cpu_dir));
    if (l3_siblings instanceof OperatingError) return l3_siblings;
    // A kernel that says nothing of siblings means that the CPU is alone on its core.
    if (siblings.isEmpty()) siblings.set(cpu);
    siblings.intersection(online);
    rows.push({
      cpu,
      core: siblings.front(),
      smt_idx: siblings.toIntVector().indexOf(cpu),
      siblings: siblings.toIntVector(),
      l3_siblings: l3_siblings.intersection(online).toIntVector(),
      numa_node: node_of.get(cpu) ?? 0,
    });
  }
  return rows;
}
