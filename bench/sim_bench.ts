/**
 * Figures of the simulator: events per second, simulated against real time under simple_exp, and
 * the memory of a machine with 512 CPUs and 100,000 threads. Invariants are checked at every
 * event, as in every other run.
 *
 * @module
 */
import { SIMPLE_EXP } from "../experiments/simple_exp/load.ts";
import { SimLoadRun } from "../experiments/sim_load.ts";
import { busyRun, fifoMachine } from "./sim_load.ts";

const REPETITIONS = 5;
const BUSY_ROUNDS = 2000;
const MILLISECOND_NS = 1_000_000;
/** The agent's default enclave (`--ghost_cpus 1-5`). */
const DEFAULT_CPUS = [1, 2, 3, 4, 5];

/** Simulated to real time of simple_exp on a machine with 16 CPUs. */
function simpleExpRatio(enclave_cpus?: readonly number[]): number {
  const { kernel, enclave, host } = fifoMachine(16, 1, enclave_cpus);
  const load = new SimLoadRun(kernel.machine, enclave, SIMPLE_EXP, 1);
  const start = performance.now();
  while (load.advance(100_000));
  const real_ms = performance.now() - start;
  const faults = load.results.flatMap((result) => result.faults);
  if (host.failure !== null || faults.length > 0) {
    throw host.failure?.error ?? new Error(`simple_exp: ${faults[0]}`);
  }
  return kernel.machine.now_ns / MILLISECOND_NS / real_ms;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

interface HugeResult {
  readonly rss_mib: number;
  readonly overflow_count: number;
  readonly live_count: number;
  readonly peak_live_count: number;
  readonly peak_task_count: number;
}

/** Runs the 512-CPU machine in a process of its own. */
async function huge(): Promise<HugeResult> {
  const module = new URL("./sim_load.ts", import.meta.url).href;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", module],
    stdout: "piped",
    stderr: "inherit",
  });
  const { success, stdout } = await command.output();
  if (!success) throw new Error("the 512-CPU run failed; its message is above");
  const result: HugeResult = JSON.parse(new TextDecoder().decode(stdout));
  if (result.overflow_count !== 0 || result.live_count !== 0) {
    throw new Error("the 512-CPU run lost messages or threads");
  }
  if (result.peak_live_count < 100_000 || result.peak_task_count < 60_000) {
    throw new Error("the 512-CPU run never had all its threads at once");
  }
  return result;
}

/**
 * Measures. `sim_real_ratio` is with the enclave over all 16 CPUs: the last sub-test then keeps
 * them all busy with runs of microseconds, several events for each.
 * `sim_real_ratio_default_cpus` is with the agent's default enclave on the same machine.
 *
 * @returns The figures; medians of {@linkcode REPETITIONS} runs after one warm-up.
 */
export async function run(): Promise<Record<string, number>> {
  busyRun(200);
  const events_per_s: number[] = [];
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    const result = busyRun(BUSY_ROUNDS);
    events_per_s.push(result.event_count / result.real_ms * 1000);
  }
  const ratios: number[] = [];
  const default_ratios: number[] = [];
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    ratios.push(simpleExpRatio());
    default_ratios.push(simpleExpRatio(DEFAULT_CPUS));
  }
  const { rss_mib } = await huge();
  return {
    sim_events_per_s: median(events_per_s),
    sim_real_ratio: median(ratios),
    sim_real_ratio_default_cpus: median(default_ratios),
    sim_512cpu_rss_mib: rss_mib,
  };
}
