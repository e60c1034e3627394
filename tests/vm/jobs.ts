/**
 * The jobs of `deno task test:vm`, and what each has to show.
 *
 * @module
 */

import { type GuestJob, type JobResult, shellWord } from "./guest.ts";

/** What jobs know of the run. */
export interface JobContext {
  /** Deno's executable; the guest sees it under the same path. */
  readonly deno: string;
  /** Flags by which `@std/...` resolves. */
  readonly std_flags: readonly string[];
  /** Folder with the packed executables. */
  readonly programs: string;
  /** Folder with the scx program and its probe. */
  readonly scx: string;
  /** Folders of libraries that the host may not have. */
  readonly library_folders: readonly string[];
  /** Release of Debian's kernel; undefined on a kernel that the user named. */
  readonly kernel_release: string | undefined;
}

/** What a result says: what is wrong, or what is worth reading. */
export interface Verdict {
  /** What is wrong; empty if the job passed. */
  readonly faults: readonly string[];
  /** One line for the summary. */
  readonly detail: string;
}

/** A job and its judgement. */
export interface VmJob {
  /** Name. */
  readonly name: string;
  /** What it shows, in one line. */
  readonly summary: string;
  /** Time it may take in the guest, in seconds. */
  readonly timeout_s: number;
  /** Whether it needs the packed executables. */
  readonly is_packed?: boolean;
  /** Whether it needs the scx program and its probe. */
  readonly is_scx?: boolean;
  /** Its shell script. */
  script(context: JobContext): string;
  /** Judges how it ended; its status counts already. */
  judge(result: JobResult, context: JobContext): Verdict;
}

function faultsIf(...checks: [is_wrong: boolean, fault: string][]): string[] {
  return checks.filter(([is_wrong]) => is_wrong).map(([, fault]) => fault);
}

/** Value of a line "NAME VALUE". */
function fact(text: string, name: string): string | undefined {
  return text.match(new RegExp(`^${name} (.*)$`, "m"))?.[1];
}

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
const COMPILER_TESTS = ["abi/abi_reference_test.ts", "embedded_shim_test.ts", "shim_load_test.ts"];

const FFI_TESTS: VmJob = {
  name: "ffi_tests",
  summary: "the shim's own tests pass as root on this kernel",
  timeout_s: 300,
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
  summary: "the contract suite passes from the packed executable",
  timeout_s: 180,
  is_packed: true,
  script: ({ programs }) => `${shellWord(`${programs}/ghostctl`)} selftest`,
  judge: ({ stdout }) => ({ faults: [], detail: stdout.trim().split("\n").at(-1) ?? "" }),
};

const SIM_AGENT: VmJob = {
  name: "sim_agent",
  summary: "the packed fifo_per_cpu_agent runs simple_exp on the simulated kernel",
  timeout_s: 60,
  is_packed: true,
  script: ({ programs }) =>
    `${shellWord(`${programs}/fifo_per_cpu_agent`)} --kernel sim --workload simple_exp ` +
    "--ghost_cpus 0-1",
  judge: ({ stdout }) => ({
    faults: faultsIf([stdout.trim() === "", "it printed nothing"]),
    detail: stdout.trim().split("\n").at(-1) ?? "",
  }),
};

const REAL_AGENT: VmJob = {
  name: "real_agent",
  summary: "an agent that cannot drive this kernel says so in one line and ends with status 1",
  timeout_s: 60,
  is_packed: true,
  script: ({ programs }) =>
    `${shellWord(`${programs}/fifo_per_cpu_agent`)} --ghost_cpus 0-1; status=$?
cat /sys/kernel/sched_ext/state
[ $status -eq 1 ]`,
  judge({ stdout, stderr }, { kernel_release }) {
    const said = stderr.trim();
    const own = kernel_release === undefined ? [] : faultsIf(
      [!/\bsched_ext\b/.test(said), "the agent does not name sched_ext"],
      [!said.includes(kernel_release), "the agent does not name the kernel"],
      [stdout.trim().split("\n").at(-1) !== "disabled", "a scheduler is still loaded"],
    );
    return {
      faults: [...own, ...faultsIf([said.split("\n").length !== 1, "not one line on stderr"])],
      detail: said.split("\n")[0],
    };
  },
};

/** Environment with which the probe finds its libraries. */
function withLibraries({ library_folders }: JobContext): string {
  return `export LD_LIBRARY_PATH=${shellWord(library_folders.join(":"))}\n`;
}

function probeCall({ scx }: JobContext): string {
  return `${shellWord(`${scx}/scx_probe`)} ${shellWord(`${scx}/scx_ghost.bpf.o`)}`;
}

const SCX_PROBE: VmJob = {
  name: "scx_probe",
  summary: "20 threads run under a C agent through the scx program's rings and transactions",
  timeout_s: 150,
  is_scx: true,
  script: (context) =>
    `${withLibraries(context)}for run in 1 2 3; do ${probeCall(context)} || exit 1; done
cat /sys/kernel/sched_ext/state`,
  judge({ stdout }) {
    const lines = stdout.trim().split("\n");
    const runs = lines.filter((line) => /^load status 0 .*: good$/.test(line));
    return {
      faults: faultsIf(
        [runs.length !== 3, `${runs.length} of 3 runs were good`],
        [lines.at(-1) !== "disabled", "a scheduler is still loaded"],
      ),
      detail: runs.map((line) => line.match(/\d+ ms/)?.[0]).join(", "),
    };
  },
};

/** Rounds of the load when its agent is killed: some seconds of work. */
const KILL_ROUNDS = 30;

const SCX_KILL: VmJob = {
  name: "scx_kill",
  summary: "an agent that is killed takes its scheduler with it, and its threads finish",
  timeout_s: 200,
  is_scx: true,
  script: (context) =>
    `${withLibraries(context)}for run in 1 2 3 4 5; do
  ${probeCall(context)} ${KILL_ROUNDS} >/tmp/probe & agent=$!
  for i in $(seq 100); do grep -q load /tmp/probe && break; sleep 0.1; done
  sleep 1
  echo "loaded $(cat /sys/kernel/sched_ext/state)"
  load=$(awk '/load/ { print $2 }' /tmp/probe)
  kill -0 $load && echo "load runs"
  kill -9 $agent; wait $agent
  for i in $(seq 200); do
    [ "$(cat /sys/kernel/sched_ext/state)" = disabled ] && ! kill -0 $load 2>/dev/null && break
    sleep 0.1
  done
  kill -0 $load 2>/dev/null && echo "stuck $load"
  echo "unloaded $(cat /sys/kernel/sched_ext/state)"
done
true`,
  judge({ stdout }) {
    const count = (line: string) => stdout.split("\n").filter((one) => one === line).length;
    return {
      faults: faultsIf(
        [count("loaded enabled") !== 5, "the scheduler was not loaded each time"],
        [count("load runs") !== 5, "the agent was not killed while its threads ran"],
        [count("unloaded disabled") !== 5, "the scheduler outlived its agent"],
        [/^stuck/m.test(stdout), "threads did not finish after their agent's end"],
      ),
      detail: `${count("unloaded disabled")} of 5 unloaded`,
    };
  },
};

/**
 * What bpf/scx_ghost.bpf.c sets as timeout_ms, and how late the kernel may be: it looks for stalled
 * threads each half of that time.
 */
const WATCHDOG_MS = 5000;
const WATCHDOG_LATE_MS = 2500;

const SCX_HANG: VmJob = {
  name: "scx_hang",
  summary: "an agent that hangs is ejected by the kernel's watchdog, and its threads finish",
  timeout_s: 120,
  is_scx: true,
  script: (context) =>
    `${withLibraries(context)}${probeCall(context)} ${KILL_ROUNDS} >/tmp/probe & agent=$!
for i in $(seq 100); do grep -q load /tmp/probe && break; sleep 0.1; done
sleep 1
load=$(awk '/load/ { print $2 }' /tmp/probe)
kill -STOP $agent; start=$(date +%s%N)
for i in $(seq 200); do
  [ "$(cat /sys/kernel/sched_ext/state)" = disabled ] && break
  sleep 0.1
done
echo "ejected_ms $(( ($(date +%s%N) - start) / 1000000 ))"
for i in $(seq 200); do grep -q '^State:.*Z' /proc/$load/status && break; sleep 0.1; done
kill -CONT $agent; wait $agent
cat /tmp/probe`,
  judge({ stdout }) {
    const ejected_ms = Number(fact(stdout, "ejected_ms"));
    const is_late = !(ejected_ms >= 1000 && ejected_ms <= WATCHDOG_MS + WATCHDOG_LATE_MS);
    return {
      faults: faultsIf(
        [is_late, `ejected after ${ejected_ms} ms, at most ${WATCHDOG_MS + WATCHDOG_LATE_MS}`],
        [!/exit_kind 1026 runnable task stall/.test(stdout), "the reason was not reported"],
        [!/^load status 0/m.test(stdout), "threads did not finish"],
      ),
      detail: `ejected after ${ejected_ms} ms`,
    };
  },
};

/** All jobs, in the order they run in. */
export const JOBS: readonly VmJob[] = [
  KERNEL_FACTS,
  FFI_TESTS,
  SELFTEST,
  SIM_AGENT,
  REAL_AGENT,
  SCX_PROBE,
  SCX_KILL,
  SCX_HANG,
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
