/**
 * `global_scalability`: how many threads a second one global agent schedules, by number of CPUs.
 * Flags and results are upstream's (reference section 6.3); `--kernel sim` simulates.
 *
 * ```sh
 * global_scalability sol --max_cpus 8
 * ```
 *
 * @module
 */
import { ShimError } from "../../ffi/errors.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../../lib/errors.ts";
import { ioReason } from "../../lib/host_files.ts";
import { flagsHelp } from "../../util/flags.ts";
import { onlineCpus } from "../shared/host_cpus.ts";
import { cpuOrder } from "./cpu_order.ts";
import {
  headText,
  rowText,
  SCALABILITY_FLAGS,
  SCALABILITY_POLICIES,
  type ScalabilityOptions,
  scalabilityOptions,
  type ScalabilityPoint,
} from "./options.ts";
import { realElapsedNs } from "./real_point.ts";
import { simElapsedNs } from "./sim_point.ts";

/** The points of a run, by growing number of CPUs. */
export function scalabilityPoints(options: ScalabilityOptions): ScalabilityPoint[] {
  const { min_cpus, max_cpus, global_cpu, skips_cpu0, packs_smt } = options;
  const order = cpuOrder({ cpu_count: max_cpus, global_cpu, skips_cpu0, packs_smt });
  const points: ScalabilityPoint[] = [];
  for (let cpu_count = min_cpus; cpu_count <= max_cpus; cpu_count++) {
    const task_cpu_count = cpu_count - (skips_cpu0 ? 2 : 1);
    const thread_count = options.threads_per_cpu * task_cpu_count;
    const loop_count = Math.floor(options.total_loops / thread_count);
    const cpus = order.slice(0, task_cpu_count + 1);
    points.push({ task_cpu_count, cpus, thread_count, loop_count });
  }
  return points;
}

async function elapsedNs(
  options: ScalabilityOptions,
  point: ScalabilityPoint,
): Promise<number | OperatingError> {
  if (point.loop_count === 0) return 0;
  const { policy, kernel, max_cpus, seed } = options;
  if (kernel !== "sim") return await realElapsedNs(options, point);
  if (policy !== "none") return simElapsedNs(policy, point, max_cpus, seed);
  return new UsageError("--kernel=sim has no agent that runs already", "name a policy");
}

/** Where the results go; as they come, so that an interrupted run has those it has. */
function openOutput(path: string): { write(text: string): void; close(): void } | UsageError {
  const encoder = new TextEncoder();
  // Opened by its path, a redirected stdout would be cut off.
  if (path === "/dev/stdout") {
    return { write: (text) => void Deno.stdout.writeSync(encoder.encode(text)), close: () => {} };
  }
  try {
    const file = Deno.openSync(path, { write: true, create: true, truncate: true });
    const write = (text: string): void => void file.writeSync(encoder.encode(text));
    return { write, close: () => file.close() };
  } catch (error) {
    return new UsageError(
      `cannot write ${path}: ${ioReason(error)}`,
      "give --o a file in a folder that you may write to",
    );
  }
}

async function run(options: ScalabilityOptions): Promise<OperatingError | undefined> {
  const output = openOutput(options.output);
  if (output instanceof UsageError) return output;
  try {
    if (options.kernel === "sim") {
      console.error(`global_scalability: simulated, not measured; seed ${options.seed}`);
    }
    let is_first = true;
    for (const point of scalabilityPoints(options)) {
      const elapsed_ns = await elapsedNs(options, point);
      if (elapsed_ns instanceof OperatingError) return elapsed_ns;
      if (is_first) output.write(headText(options));
      is_first = false;
      output.write(rowText(point, elapsed_ns));
    }
    return undefined;
  } finally {
    output.close();
  }
}

/**
 * Runs it.
 *
 * @param args Its arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  const options = scalabilityOptions(args, onlineCpus().back() + 1);
  if (options === "help") {
    const names = SCALABILITY_POLICIES.join("|");
    console.log(`usage: global_scalability ${names} [FLAGS]\n\n${flagsHelp(SCALABILITY_FLAGS)}`);
    return 0;
  }
  try {
    const fault = options instanceof UsageError ? options : await run(options);
    if (fault === undefined) return 0;
    console.error(`global_scalability: ${fault.message}`);
    return fault.exit_status;
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    console.error(`global_scalability: ${error.message}`);
    return EXIT_FAILURE;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
