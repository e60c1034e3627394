/**
 * Jobs of the agents with a global CPU: they schedule real threads, hand the role on when another
 * thread wants the global CPU, hand their enclave on, and leave nothing behind, however they end.
 *
 * @module
 */
import { prelude, SUB_TESTS } from "./ghost_script.ts";
import { fact, faultsIf, type Verdict, type VmJob } from "./job.ts";

/** An agent, and where it runs. */
interface GlobalAgent {
  /** Its name in the jobs' names. */
  readonly job: string;
  readonly program: string;
  /** Flags that say which CPUs it schedules. */
  readonly cpus: string;
  /** The other flags. */
  readonly flags: string;
  readonly global_cpu: number;
}

/** With `--role_cpus` the other CPUs have native threads; without it all have isolates. */
const AGENTS: readonly GlobalAgent[] = [
  {
    job: "fifo",
    program: "fifo_centralized_agent",
    cpus: "--ghost_cpus 1-3 --globalcpu 2",
    flags: "--preemption_time_slice 2ms",
    global_cpu: 2,
  },
  {
    job: "sol",
    program: "agent_sol",
    cpus: "--ghost_cpus 0-3",
    flags: "--role_cpus 0-1",
    global_cpu: 0,
  },
  {
    job: "shinjuku",
    program: "agent_shinjuku",
    cpus: "--firstcpu 1 --ncpus 3",
    flags: "--role_cpus 1-2",
    global_cpu: 1,
  },
  {
    job: "edf",
    program: "agent_exp",
    cpus: "--ghost_cpus 1-3",
    flags: "--role_cpus 1,3",
    global_cpu: 1,
  },
];

/** The thread that wants the global CPU gets nothing while a global agent stays there. */
const WANTS_CPU = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; echo counted";

function script({ cpus, flags, global_cpu }: GlobalAgent): string {
  return `start_agent first ${cpus} ${flags}; first=$guard
active first $first
load; end_load
load --only BusyExp
timeout 60 taskset -c ${global_cpu} sh -c '${WANTS_CPU}'; echo "wanted_status $?"
end_load
"$programs/ghostctl" microbench --class ghost --bench yield --threads 30 --format csv \
  --duration_ms 1000 --label busy
kill -INT $first; end_agent first $first
await_none; echo "enclaves $(enclaves)"
start_agent old ${cpus} ${flags}; old=$guard
active old $old
start_agent new --enclave "$(path)" ${cpus} ${flags}; new=$guard
await_line waiting "$work/new" $new
load --only SimpleExpMany
kill -USR2 $old; active new $new; end_agent old $old
end_load
load --only SimpleExpMany
kill -9 $(pgrep -P $new); start=$(date +%s%N)
await_none; echo "gone_ms $(( ($(date +%s%N) - start) / 1000000 ))"
for i in $(seq 600); do kill -0 $load 2>/dev/null || break; sleep 0.1; done
kill -0 $load 2>/dev/null && echo "stuck $load"
end_agent new $new
echo "enclaves $(enclaves)"`;
}

/** Judges what the script of an agent printed. */
function judge(stdout: string): Verdict {
  const count = (line: string): number => stdout.split("\n").filter((one) => one === line).length;
  const missing = SUB_TESTS.filter((name) => !stdout.includes(`load: ${name}\n`));
  const gap = stdout.match(/^new: .* no CPU was without agent for more than (\S+ ms)/m)?.[1];
  const yields = Number(stdout.match(/^busy,ghost,yield,30,[^,]*,([^,]*)/m)?.[1]);
  return {
    faults: faultsIf(
      [count("first active") + count("old active") !== 2, "the agent was not active"],
      [missing.length > 0, `not run: ${missing.join(", ")}`],
      [count("load_status 0") < 3, "a load failed, or threads were lost"],
      [count("counted") !== 1, "the global agent did not give its CPU up"],
      [!(yields > 0), "30 threads got no CPU"],
      [fact(stdout, "first_status") !== "0", `at SIGINT: ${fact(stdout, "first_status")}`],
      [!stdout.includes("first: Done!\n"), "it did not say Done!"],
      [count("new active") !== 1 || gap === undefined, "no agent took the enclave over"],
      [fact(stdout, "old_status") !== "0", `the old agent: ${fact(stdout, "old_status")}`],
      [fact(stdout, "new_status") !== "1", "the guard did not tell of the kill"],
      [/^stuck/m.test(stdout), "threads did not go on after their agent's end"],
      [count("enclaves 0") !== 2, "an enclave was left behind"],
    ),
    detail: `${yields.toFixed(0)} yields/s, hand-over ${gap}, gone ${
      fact(stdout, "gone_ms")
    } ms after the kill`,
  };
}

/** One job per agent, on a ghOSt kernel. */
export const GHOST_GLOBAL_JOBS: readonly VmJob[] = AGENTS.map((agent) => ({
  name: `ghost_${agent.job}`,
  summary: `${agent.program}: loads, a wanted global CPU, Ctrl-C, hand-over, kill`,
  timeout_s: 900,
  is_packed: true,
  is_ghost: true,
  script: (context) => `${prelude(context, `ghostctl ${agent.program}`)}${script(agent)}`,
  judge: ({ stdout }) => judge(stdout),
}));
