/**
 * In which order CPUs come into an experiment with a growing number of them (reference section
 * 6.3). CPUs i and i + half are taken for siblings of one core, and the quarters of the CPUs for
 * the sockets' first and second hardware threads, as Linux numbers them on two sockets.
 *
 * @module
 */

/** What decides the order. */
export interface CpuOrderOptions {
  /** CPUs that there are, from 0 on. */
  readonly cpu_count: number;
  /** Comes first. */
  readonly global_cpu: number;
  /** Leaves CPU 0 out. */
  readonly skips_cpu0: boolean;
  /** Fills both hardware threads of a core before the next core; else a socket's cores first. */
  readonly packs_smt: boolean;
}

function packed(cpu_count: number): number[] {
  const half = Math.floor(cpu_count / 2);
  const pairs = Array.from({ length: half }, (_, core) => [core, core + half]).flat();
  return cpu_count % 2 === 0 ? pairs : [...pairs, cpu_count - 1];
}

function sparse(cpu_count: number): number[] {
  const end = (quarters: number): number => Math.floor(cpu_count * quarters / 4);
  // The first socket's cores, their siblings, the second socket's cores, their siblings.
  return [0, 2, 1, 3].flatMap((quarter) =>
    Array.from({ length: end(quarter + 1) - end(quarter) }, (_, i) => end(quarter) + i)
  );
}

/**
 * The order.
 *
 * @param options What decides it.
 * @returns Every CPU that may be used, once; the global one first.
 */
export function cpuOrder(options: CpuOrderOptions): number[] {
  const { cpu_count, global_cpu, skips_cpu0, packs_smt } = options;
  const order = packs_smt ? packed(cpu_count) : sparse(cpu_count);
  return [global_cpu, ...order.filter((cpu) => cpu !== global_cpu && !(skips_cpu0 && cpu === 0))];
}
