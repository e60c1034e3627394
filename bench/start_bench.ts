/**
 * How long an agent takes to start, and how long an enclave is without one when it is replaced:
 * an executable with the native peer as its kernel, on this host's CPUs. What a ghOSt kernel itself
 * takes for its part (an ioctl and a few files) is not in it.
 *
 * @module
 */
import { rootPath } from "../tools/std_source.ts";
import { buildExecutable } from "../tools/compile/build.ts";
import type { BenchOptions } from "./main.ts";

const ACTIVE = "ghOSt active.";
const START_COUNT = 11;
const [UPGRADES, LONG_UPGRADES] = [100, 400];
const MS_PER_CPU = 20;
/** More CPUs than that tell no more. */
const CPU_COUNT_MAX = 8;

/** By nearest rank. */
function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)];
}

/** From the start of the executable to its line that it is active, in ms. */
async function startMs(exe: string, cpu_count: number): Promise<number> {
  const begin_ms = performance.now();
  const child = new Deno.Command(exe, {
    args: ["start", `${cpu_count}`],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let [text, active_ms] = ["", NaN];
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (!Number.isNaN(active_ms) || !text.includes(ACTIVE)) continue;
    active_ms = performance.now() - begin_ms;
    child.kill("SIGINT");
  }
  const { success } = await child.status;
  if (!success || Number.isNaN(active_ms)) throw new Error(`the agent did not start: ${text}`);
  return active_ms;
}

/** From `kill -9` of the agent to the guard's next one that is active, in ms. */
async function restartMs(exe: string): Promise<number> {
  const args = ["start", "1", "--on-crash=restart"];
  const child = new Deno.Command(exe, { args, stdout: "piped", stderr: "null" }).spawn();
  let [killed_ms, again_ms] = [NaN, NaN];
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    if (!piece.includes(ACTIVE)) continue;
    if (Number.isNaN(killed_ms)) {
      const children = Deno.readTextFileSync(`/proc/${child.pid}/task/${child.pid}/children`);
      killed_ms = performance.now();
      Deno.kill(Number(children.trim().split(" ")[0]), "SIGKILL");
    } else {
      again_ms = performance.now() - killed_ms;
      child.kill("SIGINT");
    }
  }
  await child.status;
  return again_ms;
}

async function gapsMs(exe: string, cpu_count: number, count: number): Promise<number[]> {
  const args = ["upgrade", `${cpu_count}`, `${count}`];
  const { success, stdout } = await new Deno.Command(exe, { args, stderr: "inherit" }).output();
  if (!success) throw new Error("an agent did not follow its predecessor");
  return JSON.parse(new TextDecoder().decode(stdout));
}

/**
 * Measures all.
 *
 * @returns start_active_ms: median time to "active" with one CPU; start_active_over_ms: the same
 * with all CPUs (8 at most), less 20 ms for each; restart_active_ms: median time from the kill of
 * an agent to the next one that is active, under --on-crash=restart; upgrade_gap_p50_ms and
 * upgrade_gap_p99_ms: time from the old agent's going offline to the first step of the new one's
 * last agent, under load; upgrade_spare_gap_*: the same with one CPU of the host left out of the
 * enclave, on which the main isolates run.
 */
export async function run({ is_long }: BenchOptions): Promise<Record<string, number>> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_start_bench_" });
  try {
    const exe = `${folder}/fifo_per_cpu_agent`;
    await buildExecutable({
      entry: `${rootPath()}/bench/start_child.ts`,
      out: exe,
      mode: "patch",
    });
    const cpu_count = Math.min(navigator.hardwareConcurrency, CPU_COUNT_MAX);
    const [one, all]: number[][] = [[], []];
    await startMs(exe, 1);
    const again: number[] = [];
    for (let turn = 0; turn < START_COUNT; turn++) again.push(await restartMs(exe));
    for (let turn = 0; turn < START_COUNT; turn++) {
      one.push(await startMs(exe, 1));
      all.push(await startMs(exe, cpu_count));
    }
    const upgrade_count = is_long ? LONG_UPGRADES : UPGRADES;
    const gaps = await gapsMs(exe, cpu_count, upgrade_count);
    const spare_count = Math.max(1, Math.min(navigator.hardwareConcurrency - 1, CPU_COUNT_MAX));
    const spare_gaps = await gapsMs(exe, spare_count, upgrade_count);
    return {
      start_active_ms: percentile(one, 0.5),
      start_active_over_ms: percentile(all, 0.5) - cpu_count * MS_PER_CPU,
      restart_active_ms: percentile(again, 0.5),
      upgrade_gap_p50_ms: percentile(gaps, 0.5),
      upgrade_gap_p99_ms: percentile(gaps, 0.99),
      upgrade_spare_gap_p50_ms: percentile(spare_gaps, 0.5),
      upgrade_spare_gap_p99_ms: percentile(spare_gaps, 0.99),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
