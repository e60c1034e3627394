/**
 * What an executable costs: its start against `deno run` on the same bundle, and its size against
 * the runtime that it is made from.
 *
 * @module
 */

import { readTextFile } from "../lib/host_files.ts";
import { rootPath } from "../tools/std_source.ts";
import { buildExecutable } from "../tools/compile/build.ts";
import { bundle } from "../tools/compile/bundle.ts";

const RUN_COUNT = 21;
const WARM_UP_COUNT = 3;
const SHIM_AND_BUNDLE_BYTES = 2e6;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Time from start to end of a program that only prints its version, in milliseconds. */
function startMs(file: string, args: readonly string[]): number {
  const start_ms = performance.now();
  const { success } = new Deno.Command(file, { args: [...args, "--version"] }).outputSync();
  if (!success) throw new Error(`${file} --version failed`);
  return performance.now() - start_ms;
}

const DEMO = ["--kernel=sim", "--workload=simple_exp", "--ghost_cpus=0-1"];
const DEMO_RUN_COUNT = 5;

/** Peak resident memory of the demo in an executable, in MiB, as the kernel counts it. */
async function demoRssMib(exe: string): Promise<number> {
  const child = new Deno.Command(exe, {
    args: ["fifo_per_cpu_agent", ...DEMO],
    stdout: "null",
    stderr: "null",
  }).spawn();
  let peak_kib = 0;
  const timer = setInterval(() => {
    const text = readTextFile(`/proc/${child.pid}/status`) ?? "";
    peak_kib = Math.max(peak_kib, Number(/VmHWM:\s+(\d+) kB/.exec(text)?.[1] ?? 0));
  }, 2);
  const { success } = await child.status;
  clearInterval(timer);
  if (!success || peak_kib === 0) throw new Error("the demo failed in the executable");
  return peak_kib / 1024;
}

/**
 * Measures both figures, with runs in pairs so that a slow phase of the machine hits both sides.
 *
 * @returns exe_start_ratio: median start time of the executable, divided by that of `deno run`;
 * exe_size_ratio: size without 2 MB, divided by that of the runtime; demo_rss_mib: median peak of
 * the demo in the executable.
 */
export async function run(): Promise<Record<string, number>> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_exe_bench_" });
  try {
    const entry = `${rootPath()}/util/main.ts`;
    const [exe, module] = [`${folder}/ghostctl`, `${folder}/bundle.js`];
    const report = await buildExecutable({
      entry,
      out: exe,
      mode: "patch",
      default_name: "ghostctl",
    });
    await Deno.writeTextFile(module, await bundle(entry));
    const exe_ms: number[] = [];
    const deno_ms: number[] = [];
    for (let i = 0; i < RUN_COUNT + WARM_UP_COUNT; i++) {
      const is_counted = i >= WARM_UP_COUNT;
      const own_ms = startMs(exe, []);
      const run_ms = startMs(Deno.execPath(), ["run", "-A", "--no-config", module]);
      if (is_counted) exe_ms.push(own_ms);
      if (is_counted) deno_ms.push(run_ms);
    }
    const rss_mib: number[] = [];
    for (let i = 0; i < DEMO_RUN_COUNT; i++) rss_mib.push(await demoRssMib(exe));
    return {
      demo_rss_mib: median(rss_mib),
      exe_start_ratio: median(exe_ms) / median(deno_ms),
      exe_size_ratio: (report.file_bytes - SHIM_AND_BUNDLE_BYTES) / report.base_bytes,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
