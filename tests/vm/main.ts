/**
 * `deno task test:vm`: boots a kernel in QEMU and runs jobs in it. docs/vm.md says more.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { rootPath, stdFlags, stdSource } from "../../tools/std_source.ts";
import type { JobResult } from "./guest.ts";
import type { JobContext, VmJob } from "./job.ts";
import { guestJob, JOBS, judgeJob } from "./jobs.ts";
import { ensurePackages } from "./packages.ts";
import { runProcess } from "./process.ts";
import type { Versions } from "./versions.ts";
import { buildScxLoads } from "./scx_build.ts";
import { runVm } from "./vm.ts";
import { prepareTools } from "./vm_tools.ts";

const HELP = `usage: deno task test:vm [FLAGS]

Boots Debian's newest cloud kernel with sched_ext in QEMU without KVM, with the host's files
read-only under an overlay, and runs jobs in it. The first run fetches packages into .cache/vm.

  --job NAME           run this job only; may be given again
  --soak               also the jobs that take minutes
  --list               list the jobs
  --fetch              fetch the packages if they are not there, and end
  --kernel-image FILE  boot this kernel (virtiofs and overlayfs built in) in place of Debian's
  --overlay-module FILE  its overlay.ko, plain or as .xz, if overlayfs is not built in
  --cpus N             CPUs of the guest (5)
  --memory-mib N       memory of the guest (4096)
  --icount             the guest's clock counts instructions: figures that the host's load does not
                       change, after a longer run
  --timeout-s N        time for the guest (the sum of its jobs' limits and 60)
  --keep-logs          keep the run's folder in .cache/vm/runs also when all passed
  --update             fetch the packages again`;

const NUMBERS = { "cpus": [1, 64], "memory-mib": [512, 65536], "timeout-s": [1, 86400] } as const;
/** Four for the cases of the contract suite that want so many, and one for the suite itself. */
const CPU_COUNT = 5;
const BUILD_TIMEOUT_S = 600;
/** Time to boot and to end, in seconds. */
const BOOT_TIMEOUT_S = 60;
/** Seconds of the host for a second of a guest whose clock counts instructions, at most. */
const ICOUNT_SLOWNESS = 30;
const TAIL_LINES = 15;
/** Executables of the jobs. */
const PACKED = ["ghostctl", "fifo_per_cpu_agent", "simple_exp", "microbench"];
const RUNS_KEPT = 9;

/** What the command line asks for. */
interface Request {
  readonly jobs: readonly VmJob[];
  readonly is_list: boolean;
  readonly is_fetch: boolean;
  readonly is_update: boolean;
  readonly is_keep: boolean;
  readonly is_icount: boolean;
  readonly kernel_image: string | undefined;
  readonly overlay_module: string | undefined;
  readonly cpus: number;
  readonly memory_mib: number;
  readonly timeout_s: number | undefined;
}

function parseNumber(name: keyof typeof NUMBERS, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [min, max] = NUMBERS[name];
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} ${JSON.stringify(text)}`, `give a number from ${min} to ${max}`);
}

function chooseJobs(names: readonly string[], with_soak: boolean): VmJob[] {
  const unknown = names.find((name) => !JOBS.some((job) => job.name === name));
  if (unknown !== undefined) {
    const known = JOBS.map(({ name }) => name).join(", ");
    throw new UsageError(`no job ${JSON.stringify(unknown)}`, `there are: ${known}`);
  }
  if (names.length > 0) return JOBS.filter(({ name }) => names.includes(name));
  return JOBS.filter(({ is_soak = false, is_ghost = false }) =>
    !is_ghost && (with_soak || !is_soak)
  );
}

/** Path of a file that a flag names. */
function filePath(flag: string, text: string | undefined, cure: string): string | undefined {
  if (text === undefined) return undefined;
  // `deno task` changes to the repository's folder and keeps the caller's here.
  const folder = Deno.env.get("INIT_CWD") ?? Deno.cwd();
  const path = text.startsWith("/") ? text : `${folder}/${text}`;
  try {
    if (Deno.statSync(path).isFile) return path;
  } catch { /* as if it were no file */ }
  throw new UsageError(`--${flag} ${text} is no file`, cure);
}

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What is asked for.
 * @throws {UsageError} If a flag is unknown or its value no good.
 */
export function parseRequest(args: readonly string[]): Request {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    string: ["job", "kernel-image", "overlay-module", ...Object.keys(NUMBERS)],
    boolean: ["list", "update", "keep-logs", "soak", "fetch", "icount"],
    collect: ["job"],
    unknown: (arg) => void unknown.push(arg),
  });
  if (unknown.length > 0) throw new UsageError(`unknown flag ${unknown[0]}`, "--help lists them");
  const kernel_image = filePath("kernel-image", flags["kernel-image"], "give a kernel's bzImage");
  const overlay_module = filePath("overlay-module", flags["overlay-module"], "give an overlay.ko");
  if (overlay_module !== undefined && kernel_image === undefined) {
    throw new UsageError("--overlay-module without --kernel-image", "name the kernel it is of");
  }
  return {
    jobs: chooseJobs((flags.job ?? []).map(String), flags.soak || flags.list),
    is_list: flags.list,
    is_fetch: flags.fetch,
    is_update: flags.update,
    is_keep: flags["keep-logs"],
    is_icount: flags.icount,
    kernel_image,
    overlay_module,
    cpus: parseNumber("cpus", flags.cpus) ?? CPU_COUNT,
    memory_mib: parseNumber("memory-mib", flags["memory-mib"]) ?? 4096,
    timeout_s: parseNumber("timeout-s", flags["timeout-s"]),
  };
}

function progress(line: string): void {
  console.log(`vm: ${line}`);
}

function seconds(elapsed_ms: number): string {
  return `${(elapsed_ms / 1000).toFixed(1)} s`;
}

function printVersions({ kernel_release, packages }: Versions): void {
  const qemu = packages.find(({ name }) => name === "qemu-system-x86");
  const box = packages.find(({ name }) => name === "busybox-static");
  progress(`kernel ${kernel_release}, QEMU ${qemu?.version}, busybox ${box?.version}`);
}

/** Makes the packed executables; a failure is told and fails the jobs that need them. */
async function buildPrograms(folder: string, context: JobContext, signal: AbortSignal) {
  const start_ms = performance.now();
  const entry = ["tools/compile/main.ts", ...PACKED, "--out", folder];
  const { code, stderr } = await runProcess({
    command: [context.deno, "run", "-A", "--no-prompt", ...context.std_flags, ...entry],
    timeout_s: BUILD_TIMEOUT_S,
    cwd: rootPath(),
    env: { NO_COLOR: "1" },
    signal,
  });
  const why = stderr.trim().split("\n").find((line) => /error|compile:/i.test(line)) ?? "";
  progress(
    `packed executables ... ${code === 0 ? "ok" : `FAILED: ${why}`} ` +
      `(${seconds(performance.now() - start_ms)})`,
  );
}

function tail(text: string): string {
  return text.trimEnd().split("\n").slice(-TAIL_LINES).map((line) => `    ${line}\n`).join("");
}

function printResult(job: VmJob, result: JobResult, context: JobContext): boolean {
  const { faults, detail } = judgeJob(job, result, context);
  const took = result.status === undefined ? "not ended" : seconds(result.elapsed_ms);
  const note = detail === "" ? "" : `: ${detail}`;
  progress(`${job.name} ... ${faults.length === 0 ? "ok" : "FAILED"} (${took})${note}`);
  for (const fault of faults) console.log(`  ${fault}`);
  if (faults.length > 0) {
    for (const name of ["stdout", "stderr"] as const) {
      if (result[name] !== "") console.log(`  end of its ${name}:\n${tail(result[name])}`);
    }
  }
  return faults.length === 0;
}

/** Removes the folders of runs but the newest: what failed is kept, though not for ever. */
async function removeOldRuns(folder: string): Promise<void> {
  const runs = [...Deno.readDirSync(folder)].map(({ name }) => {
    const path = `${folder}/${name}`;
    return { path, changed_ms: Deno.statSync(path).mtime?.getTime() ?? 0 };
  }).sort((a, b) => b.changed_ms - a.changed_ms);
  for (const { path } of runs.slice(RUNS_KEPT)) await Deno.remove(path, { recursive: true });
}

/** Boots and judges; returns how many passed and how many failed. */
async function bootAndJudge(
  request: Request,
  versions: Versions,
  cache: string,
  signal: AbortSignal,
): Promise<[passed: number, failed: number]> {
  const context: JobContext = {
    deno: Deno.execPath(),
    std_flags: stdFlags(await stdSource()),
    programs: `${cache}/programs`,
    scx: `${cache}/scx`,
    kernel_release: request.kernel_image === undefined ? versions.kernel_release : undefined,
    is_icount: request.is_icount,
  };
  if (request.jobs.some((job) => job.is_packed)) {
    await buildPrograms(context.programs, context, signal);
  }
  if (request.jobs.some((job) => job.is_scx)) {
    await buildScxLoads(rootPath(), context.scx);
  }
  await Deno.mkdir(`${cache}/runs`, { recursive: true });
  await removeOldRuns(`${cache}/runs`);
  const out = await Deno.makeTempDir({ dir: `${cache}/runs`, prefix: "run_" });
  const { overlay_module } = request;
  const other = overlay_module === undefined ? undefined : { overlay_module, folder: out };
  const tools = await prepareTools(cache, versions, other);
  const passed = new Set<string>();
  const byName = (name: string) => request.jobs.find((job) => job.name === name);
  const jobs_s = request.jobs.reduce((sum, { timeout_s }) => sum + timeout_s, BOOT_TIMEOUT_S);
  const limit_s = request.is_icount ? jobs_s * ICOUNT_SLOWNESS : jobs_s;
  const clock = request.is_icount ? ", time by instructions" : "";
  progress(`boot, ${request.cpus} CPUs, ${request.memory_mib} MiB${clock}`);
  const results = await runVm({
    jobs: request.jobs.map((job) => guestJob(job, context)),
    cpus: request.cpus,
    memory_mib: request.memory_mib,
    timeout_s: request.timeout_s ?? limit_s,
    kernel_image: request.kernel_image,
    is_icount: request.is_icount,
    tools,
    out,
    cwd: rootPath(),
    signal,
    on_crash: (said) => progress(`QEMU crashed (${said}); it is started once more`),
    on_up: (elapsed_ms) => progress(`the guest is up (${seconds(elapsed_ms)})`),
    on_result: (result) => {
      const job = byName(result.name);
      if (job !== undefined && printResult(job, result, context)) passed.add(job.name);
    },
  });
  for (const result of results.jobs.filter(({ status }) => status === undefined)) {
    const job = byName(result.name);
    if (job !== undefined) printResult(job, result, context);
  }
  const faults = [
    ...results.kernel_faults,
    ...(results.fault === undefined ? [] : [results.fault]),
  ];
  progress(`the kernel ... ${faults.length === 0 ? "ok: no warning in its log" : "FAILED"}`);
  for (const fault of faults) console.log(`  ${fault}`);
  const failed = request.jobs.length - passed.size + (faults.length === 0 ? 0 : 1);
  if (results.fault !== undefined) {
    console.log(`  end of the serial log:\n${tail(await Deno.readTextFile(`${out}/serial.log`))}`);
  }
  if (failed > 0 || request.is_keep) progress(`output and logs are in ${out}`);
  else await Deno.remove(out, { recursive: true });
  return [request.jobs.length + 1 - failed, failed];
}

async function run(args: readonly string[], signal: AbortSignal): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  const request = parseRequest(args);
  if (request.is_list) {
    for (const { name, summary } of JOBS) console.log(`${name.padEnd(14)} ${summary}`);
    return 0;
  }
  if (Deno.uid() !== 0) {
    throw new OperatingError(
      "not root: the guest sees all of the host's files, through a daemon that changes its root",
      "run with sudo, or in a container as root",
    );
  }
  const start_ms = performance.now();
  const cache = `${rootPath()}/.cache/vm`;
  const versions = await ensurePackages({
    cache,
    progress,
    is_update: request.is_update,
    signal,
  });
  printVersions(versions);
  if (request.is_fetch) return 0;
  const [passed, failed] = await bootAndJudge(request, versions, cache, signal);
  progress(`took ${seconds(performance.now() - start_ms)}`);
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/**
 * The task.
 *
 * @param args Its arguments.
 * @returns The exit status: 0, 1 if a job failed, 2 on wrong usage, 130 after SIGINT.
 */
export async function main(args: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(name, stop);
  try {
    return await run(args[0] === "--" ? args.slice(1) : args, abort.signal);
  } catch (error) {
    if (abort.signal.aborted) {
      console.error("vm: stopped");
      return 130;
    }
    if (!(error instanceof OperatingError)) throw error;
    console.error(`vm: ${error.message}`);
    return error.exit_status;
  } finally {
    for (const name of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(name, stop);
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
