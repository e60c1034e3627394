/**
 * The figures there are, what they should be, and which module measures them.
 *
 * @module
 */

/** A figure with a goal. */
export interface Target {
  /** Name of the module: `bench/<module>_bench.ts`. */
  readonly module: string;
  /** The goal is reached at this value. */
  readonly limit: number;
  /** Whether larger or smaller values are better. */
  readonly better: "larger" | "smaller";
  /** What it is. */
  readonly what: string;
}

function atLeast(module: string, limit: number, what: string): Target {
  return { module, limit, better: "larger", what };
}

function atMost(module: string, limit: number, what: string): Target {
  return { module, limit, better: "smaller", what };
}

/** Every figure with a goal, by name. */
export const TARGETS: Readonly<Record<string, Target>> = {
  pump_throughput_ratio: atLeast("pump", 0.6, "messages/s, TypeScript over C -O2"),
  pump_rtt_p50_ratio: atMost("pump", 1.3, "round trip p50, TypeScript over C"),
  pump_rtt_p99_ratio: atMost("pump", 1.5, "round trip p99, TypeScript over C"),
  pump_gc_count: atMost("pump", 0, "collections + deoptimisations in 1e8 messages"),
  sim_events_per_s: atLeast("sim", 1e6, "simulated events/s, 16 CPUs"),
  sim_real_ratio: atLeast("sim", 10, "simulated over real time, simple_exp, 16 CPUs"),
  sim_512cpu_rss_mib: atMost("sim", 1024, "MiB, 512 CPUs and 100,000 threads"),
  exe_start_ratio: atMost("exe", 1.2, "start, executable over deno run"),
  exe_size_ratio: atMost("exe", 1.02, "size without 2 MB over its base"),
  demo_rss_mib: atMost("exe", 65, "MiB, the demo on sim"),
};

/** How a figure compares with its goal. */
export interface Verdict {
  /** The goal in words, "" if there is none. */
  readonly wanted: string;
  /** "ok", by how much it is missed, or "" if there is no goal. */
  readonly text: string;
}

/**
 * Compares a figure with its goal.
 *
 * @param name The figure.
 * @param value What was measured.
 * @returns What to say of it.
 */
export function verdict(name: string, value: number): Verdict {
  if (!Object.hasOwn(TARGETS, name)) return { wanted: "", text: "" };
  const { limit, better } = TARGETS[name];
  const wanted = `${better === "larger" ? ">=" : "<="} ${limit}`;
  const is_reached = better === "larger" ? value >= limit : value <= limit;
  if (is_reached) return { wanted, text: "ok" };
  const percent = limit === 0 ? NaN : Math.abs(value / limit - 1) * 100;
  return {
    wanted,
    text: Number.isNaN(percent)
      ? `missed by ${formatFigure(Math.abs(value - limit))}`
      : `missed by ${percent.toFixed(1)} %`,
  };
}

/** A figure with four significant digits, large ones in whole numbers. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 10_000) return String(Math.round(value));
  return value.toPrecision(4);
}
