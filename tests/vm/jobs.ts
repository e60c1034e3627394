/**
 * The jobs of `deno task test:vm`, and what each has to show.
 *
 * @module
 */

import { type GuestJob, type JobResult, shellWord } from "./guest.ts";
import { fact, faultsIf, type JobContext, type Verdict, type VmJob } from "./job.ts";
import { GHOST_JOBS } from "./ghost_jobs.ts";
import { EXPERIMENT_JOBS } from "./experiment_jobs.ts";
import { SCX_GLOBAL_JOBS } from "./global_jobs.ts";
import { NPM_JOBS } from "./npm_job.ts";
import { REFUSAL_JOBS } from "./refusal_jobs.ts";
import { SCX_JOBS } from "./scx_jobs.ts";

const KERNEL_FACTS: VmJob = {
  name: "kernel_facts",
  summary: "the kernel is the one that was fetched, with sched_ext idle and BTF",
  timeout_s: 20,
  script: () =>
    `echo "release $(uname -r)"
echo "cpus $(nproc)"
echo "sched_ext $(cat /sys/kernel/sched_ext/state 2>/dev/null || echo none)"
echo "btf_bytes $(stat -c %s /sys/kernel/btf/vmlinux 2>/dev/null || echo 0)"
echo "ghost $(cat /sys/fs/ghost/version 2>/dev/null | tr '\\n' ' ' || echo none)"
echo "uid $(id -u)"
`,
  judge({ stdout }, { kernel_release }) {
    const names = ["release", "cpus", "sched_ext", "btf_bytes"];
    const detail = names.map((name) => `${name} ${fact(stdout, name) ?? "unknown"}`).join(", ");
    const release = fact(stdout, "release");
    const own = kernel_release === undefined ? [] : faultsIf(
      [release !== kernel_release, `release is not ${kernel_release}`],
      [fact(stdout, "sched_ext") !== "disabled", "sched_ext is not there, or not idle"],
      [!(Number(fact(stdout, "btf_bytes")) > 1e6), "no BTF of the kernel"],
    );
    return { faults: [...own, ...faultsIf([fact(stdout, "uid") !== "0", "not root"])], detail };
  },
};

/** The line in which `deno test` adds up. */
function denoSummary(text: string): string | undefined {
  return text.match(/^(?:ok|FAILED) \| (\d+ passed.*)$/m)?.[1];
}

/** Tests of ffi/ that ask nothing of the kernel and run the compiler: slow when emulated. */
const COMPILER_TESTS = [
  "abi/abi_reference_test.ts",
  "build_by_hand_test.ts",
  "embedded_shim_test.ts",
  "shim_load_test.ts",
];

const FFI_TESTS: VmJob = {
  name: "ffi_tests",
  summary: "the shim's own tests pass as root on this kernel",
  timeout_s: 300,
  is_soak: true,
  script: ({ deno, std_flags }) => {
    const ignore = COMPILER_TESTS.map((path) => `ffi/${path}`).join(",");
    const flags = ["-A", "--no-prompt", "--no-check", `--ignore=${ignore}`, ...std_flags];
    return [deno, "test", ...flags, "ffi/"].map(shellWord).join(" ");
  },
  judge({ stdout }) {
    const summary = denoSummary(stdout);
    const failed = stdout.split("\n").filter((line) => / \.\.\. FAILED/.test(line));
    return {
      faults: [...failed, ...faultsIf([summary === undefined, "deno test did not add up"])],
      detail: summary ?? "",
    };
  },
};

const SELFTEST: VmJob = {
  name: "selftest",
  summary: "the contract suite passes from the packed executable, on the simulated kernel",
  timeout_s: 180,
  is_packed: true,
  is_soak: true,
  script: ({ programs }) => `${shellWord(`${programs}/ghostctl`)} selftest`,
  judge: ({ stdout }) => ({ faults: [], detail: stdout.trim().split("\n").at(-1) ?? "" }),
};

const SIM_AGENT: VmJob = {
  name: "sim_agent",
  summary: "the packed fifo_per_cpu_agent runs simple_exp on the simulated kernel",
  timeout_s: 60,
  is_packed: true,
  is_soak: true,
  script: ({ programs }) =>
    `${shellWord(`${programs}/fifo_per_cpu_agent`)} --kernel sim --workload simple_exp ` +
    "--ghost_cpus 0-1",
  judge: ({ stdout }) => ({
    faults: faultsIf([stdout.trim() === "", "it printed nothing"]),
    detail: stdout.trim().split("\n").at(-1) ?? "",
  }),
};

/** All jobs, in the order they run in. */
export const JOBS: readonly VmJob[] = [
  KERNEL_FACTS,
  FFI_TESTS,
  SELFTEST,
  SIM_AGENT,
  ...SCX_JOBS,
  ...REFUSAL_JOBS,
  ...NPM_JOBS,
  ...SCX_GLOBAL_JOBS,
  ...EXPERIMENT_JOBS,
  ...GHOST_JOBS,
];

/**
 * The job as the guest's runner takes it.
 *
 * @param job The job.
 * @param context The run.
 * @returns Name, script and time limit.
 */
export function guestJob(job: VmJob, context: JobContext): GuestJob {
  return { name: job.name, timeout_s: job.timeout_s, script: job.script(context) };
}

/**
 * Judges a result: how it ended, then what it showed.
 *
 * @param job The job.
 * @param result How it ended.
 * @param context The run.
 * @returns What is wrong, and a line for the summary.
 */
export function judgeJob(job: VmJob, result: JobResult, context: JobContext): Verdict {
  if (result.status === undefined) return { faults: ["the guest ended before it"], detail: "" };
  const { faults, detail } = job.judge(result, context);
  if (result.is_timed_out) return { faults: [`took more than ${job.timeout_s} s`], detail };
  return {
    faults: [...faultsIf([result.status !== 0, `exit status ${result.status}`]), ...faults],
    detail,
  };
}
