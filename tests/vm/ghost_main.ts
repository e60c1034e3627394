/**
 * `deno task test:ghost`: the jobs of ghost_jobs.ts on this host, if it has ghOSt, or with
 * `--kernel-image` in a VM. Without either it says so in one line and ends with status 0, so that
 * it can stand in any list of checks.
 *
 * @module
 */
import { ghostFault, probeKernel } from "../../kernels/choose.ts";
import { readTextFile } from "../../lib/host_files.ts";
import { rootPath, stdFlags, stdSource } from "../../tools/std_source.ts";
import { GHOST_JOBS } from "./ghost_jobs.ts";
import { isTimedOut } from "./guest.ts";
import type { JobContext, VmJob } from "./job.ts";
import { judgeJob } from "./jobs.ts";
import { main as vmMain } from "./main.ts";
import { runProcess } from "./process.ts";

const HELP =
  `usage: deno task test:ghost [--soak] [--job NAME] [--kernel-image FILE [FLAGS of test:vm]]

Runs simple_exp under the packed agent, an upgrade, kills of the agent and the contract suite on
this host's ghOSt kernel, or in QEMU on the kernel given with --kernel-image (docs/vm.md says what
it must have built in). On a host without ghOSt it prints one line and ends with status 0.

  --soak       also the jobs that take many minutes
  --job NAME   run this job only; may be given again: ${
    GHOST_JOBS.map(({ name }) => name).join(" ")
  }

Exit status: 0 all passed, or skipped; 1 a job failed; 2 wrong usage; 130 after Ctrl-C.`;

/** The contract suite wants eight CPUs for a case and one for itself. */
const VM_CPUS = 9;
const BUILD_TIMEOUT_S = 600;

/** The jobs of these names; without names all, the long ones only if they are asked for. */
function jobsOf(names: readonly string[], with_soak: boolean): VmJob[] {
  return GHOST_JOBS.filter(({ name, is_soak = false }) =>
    names.length === 0 ? with_soak || !is_soak : names.includes(name)
  );
}

/** Names after `--job`; undefined if something else is there. */
function jobNames(args: readonly string[]): string[] | undefined {
  const names: string[] = [];
  for (let at = 0; at < args.length; at++) {
    if (args[at] === "--soak") continue;
    const [flag, value] = args[at].split("=", 2);
    if (flag !== "--job") return undefined;
    names.push(value ?? args[++at] ?? "");
  }
  return names;
}

async function buildPrograms(context: JobContext): Promise<boolean> {
  const programs = ["ghostctl", "fifo_per_cpu_agent", "simple_exp"];
  const entry = ["tools/compile/main.ts", ...programs, "--out", context.programs];
  const { code, stderr } = await runProcess({
    command: [context.deno, "run", "-A", "--no-prompt", ...context.std_flags, ...entry],
    timeout_s: BUILD_TIMEOUT_S,
    cwd: rootPath(),
  });
  if (code !== 0) console.error(`test:ghost: the executables cannot be made: ${stderr.trim()}`);
  return code === 0;
}

/** Runs one job on this host; true if it passed. */
async function runHere(job: VmJob, context: JobContext): Promise<boolean> {
  const start_ms = performance.now();
  const { code, is_timed_out, stdout, stderr } = await runProcess({
    command: ["sh", "-c", job.script(context)],
    timeout_s: job.timeout_s,
    cwd: rootPath(),
  });
  const elapsed_ms = performance.now() - start_ms;
  const result = {
    name: job.name,
    status: code,
    is_timed_out: is_timed_out || isTimedOut(code),
    elapsed_ms,
    stdout,
    stderr,
  };
  const { faults, detail } = judgeJob(job, result, context);
  const note = detail === "" ? "" : `: ${detail}`;
  const took = `${(elapsed_ms / 1000).toFixed(1)} s`;
  console.log(`${job.name} ... ${faults.length === 0 ? "ok" : "FAILED"} (${took})${note}`);
  for (const fault of faults) console.log(`  ${fault}`);
  if (faults.length > 0) console.log(`${stdout}\n${stderr}`);
  return faults.length === 0;
}

async function runHost(jobs: readonly VmJob[]): Promise<number> {
  const fault = ghostFault(probeKernel(readTextFile));
  if (fault !== undefined) {
    console.log(`test:ghost: skipped: ${fault}; --kernel-image FILE boots such a kernel in QEMU`);
    return 0;
  }
  const folder = await Deno.makeTempDir({ prefix: "test_ghost_" });
  const context: JobContext = {
    deno: Deno.execPath(),
    std_flags: stdFlags(await stdSource()),
    programs: folder,
    scx: folder,
    kernel_release: undefined,
  };
  try {
    if (!await buildPrograms(context)) return 1;
    let failed_count = 0;
    for (const job of jobs) if (!await runHere(job, context)) failed_count++;
    console.log(`\n${jobs.length - failed_count} passed, ${failed_count} failed`);
    return failed_count === 0 ? 0 : 1;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * The task.
 *
 * @param args Its arguments.
 * @returns The exit status.
 */
export async function main(args: readonly string[]): Promise<number> {
  const own = args[0] === "--" ? args.slice(1) : args;
  if (own.includes("--help") || own.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  if (own.some((arg) => /^--kernel-image(=|$)/.test(arg))) {
    const has_jobs = own.some((arg) => /^--job(=|$)/.test(arg));
    const standard = jobsOf([], own.includes("--soak")).flatMap(({ name }) => ["--job", name]);
    const jobs = has_jobs ? [] : standard;
    const cpus = own.some((arg) => /^--cpus(=|$)/.test(arg)) ? [] : ["--cpus", `${VM_CPUS}`];
    return await vmMain([...own, ...jobs, ...cpus]);
  }
  const names = jobNames(own);
  const unknown = names?.find((name) => !GHOST_JOBS.some((job) => job.name === name));
  if (names === undefined || unknown !== undefined) {
    const what = unknown === undefined ? `unknown flag ${own[0]}` : `no job "${unknown}"`;
    console.error(`test:ghost: ${what}; --help lists them`);
    return 2;
  }
  return await runHost(jobsOf(names, own.includes("--soak")));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
