/**
 * Figures of the simulator: events per second, simulated against real time under simple_exp, and
 * the memory of a machine with 512 CPUs and 100,000 threads. Invariants are checked at every
 * event, as in every other run.
 *
 * @module
 */
import { SIM_V8_FLAGS } from "../tools/sim_flags.ts";
import type { SimRatios } from "./sim_child.ts";
import { busyRun } from "./sim_load.ts";

const REPETITIONS = 5;
const BUSY_ROUNDS = 2000;
/** Processes that run simple_exp. */
const CHILD_COUNT = 3;

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

/** What a module prints that is run in a process of its own. */
async function childOutput(module: string, flags: readonly string[]): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", ...flags, new URL(module, import.meta.url).href],
    stdout: "piped",
    stderr: "inherit",
  });
  const { success, stdout } = await command.output();
  if (!success) throw new Error(`${module} failed; its message is above`);
  return new TextDecoder().decode(stdout);
}

/** Runs the 512-CPU machine in a process of its own. */
async function huge(): Promise<HugeResult> {
  const result: HugeResult = JSON.parse(await childOutput("./sim_load.ts", []));
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
 * them all busy with runs of microseconds, several events for each. It is that of a process that
 * has simulated for some seconds, under the flags of the tasks that do so; `sim_real_ratio_cold` is
 * that of its first run, most of which V8 interprets. `sim_real_ratio_default_cpus` is with the
 * agent's default enclave on the same machine.
 *
 * @returns The figures; medians.
 */
export async function run(): Promise<Record<string, number>> {
  busyRun(200);
  const events_per_s: number[] = [];
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    const result = busyRun(BUSY_ROUNDS);
    events_per_s.push(result.event_count / result.real_ms * 1000);
  }
  const runs: SimRatios[] = [];
  for (let count = 0; count < CHILD_COUNT; count++) {
    runs.push(JSON.parse(await childOutput("./sim_child.ts", [SIM_V8_FLAGS])));
  }
  const { rss_mib } = await huge();
  return {
    sim_events_per_s: median(events_per_s),
    sim_real_ratio: median(runs.flatMap(({ warm }) => warm)),
    sim_real_ratio_cold: median(runs.map(({ cold }) => cold)),
    sim_real_ratio_default_cpus: median(runs.flatMap(({ default_cpus }) => default_cpus)),
    sim_512cpu_rss_mib: rss_mib,
  };
}
