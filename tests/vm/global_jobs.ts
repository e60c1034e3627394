/**
 * Jobs of the agents with a global CPU: they schedule real threads, hand the role on when another
 * thread wants the global CPU, hand their enclave on, and leave nothing behind, however they end.
 *
 * @module
 */
import { prelude, SUB_TESTS } from "./ghost_script.ts";
import { shellWord } from "./guest.ts";
import { fact, faultsIf, type JobContext, type Verdict, type VmJob } from "./job.ts";

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

/** Threads that yield outlast a hand-over; those of simple_exp may end before the old agent. */
const ACROSS_MS = 60_000;

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
"$programs/ghostctl" microbench --class ghost --bench yield --threads 30 --format csv \
  --duration_ms ${ACROSS_MS} --label across & across=$!
for i in $(seq 1200); do [ "$(tasks)" -ge 30 ] && break; sleep 0.1; done
load --only SimpleExpMany
kill -USR2 $old; active new $new; end_agent old $old
end_load
wait $across; echo "across_status $?"
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
  const carried = Number(stdout.match(/^new: .*took over .* with (\d+) threads/m)?.[1]);
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
      [!(carried >= 30), `${carried} threads were handed over`],
      [fact(stdout, "across_status") !== "0", "threads that yielded did not end well"],
      [fact(stdout, "old_status") !== "0", `the old agent: ${fact(stdout, "old_status")}`],
      [fact(stdout, "new_status") !== "1", "the guard did not tell of the kill"],
      [/^stuck/m.test(stdout), "threads did not go on after their agent's end"],
      [count("enclaves 0") !== 2, "an enclave was left behind"],
    ),
    detail: `${yields.toFixed(0)} yields/s, hand-over ${gap} with ${carried} threads, gone ${
      fact(stdout, "gone_ms")
    } ms after the kill`,
  };
}

/** Agents, what a service tells them, and the order in which its threads are to end. */
const HINTED: readonly (readonly [program: string, cpus: string, hint: string])[] = [
  ["agent_shinjuku", "--firstcpu 1 --ncpus 2", "qos"],
  ["agent_exp", "--ghost_cpus 1-2", "deadline"],
];
const HINTED_ORDER = "order 0 1 2 3 4 5 6 7";

/** Lines that start an agent whose guard is `$guard`, run `body`, and stop it. */
function withAgent(kernel: string, program: string, flags: string, body: string): string {
  return `"$programs/ghostctl" ${program} --kernel=${kernel} ${flags} >"$work/agent" 2>&1 & guard=$!
active agent $guard
${body}
kill -INT $guard; end_agent agent $guard
await_none
`;
}

/** Threads of two applications compete for one CPU: those of the higher class get it. */
function classesScript(kernel: string): string {
  const antagonist = (qos: number) =>
    `"$programs/ghostctl" antagonist --scheduler=ghost --kernel=${kernel} --cpus= ` +
    `--ghost_qos=${qos} --num_threads=1 >"$work/qos${qos}" 2>&1 &`;
  return `used() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
${antagonist(1)} low=$!
await_line Initializing "$work/qos1" $low; sleep 2
${antagonist(2)} high=$!
await_line Initializing "$work/qos2" $high; sleep 3
low_begin=$(used $low) high_begin=$(used $high)
sleep 4
echo "low_ticks $(( $(used $low) - low_begin ))"
echo "high_ticks $(( $(used $high) - high_begin ))"
kill -INT $low $high; wait $low $high`;
}

/** The sub-tests of simple_edf; upstream's edf_test are these. */
const EDF_SUB_TESTS = [
  "SimpleExp",
  "SimpleExpMany",
  "SimpleRepeatable",
  "BusyExp",
  "TaskDeparted",
  "TaskDepartedMany",
];

function edfLoad(kernel: string, run: string): string {
  return `timeout 300 "$programs/ghostctl" simple_edf --kernel=${kernel} >"$work/edf" 2>&1
echo "edf_status $?"; sed 's/^/edf: /' "$work/edf"
timeout 300 ${run} tests/vm/edf_cases.ts ${kernel}; echo "edf_cases_status $?"`;
}

function hintsScript({ deno, std_flags }: JobContext, kernel: string): string {
  const run = [deno, "run", "-A", "--no-prompt", "--no-check", ...std_flags].map(shellWord)
    .join(" ");
  const runs = HINTED.map(([program, cpus, hint]) => {
    const service = `${run} tests/vm/hinted_service.ts ${kernel} ${hint}`;
    const load = program === "agent_exp" ? edfLoad(kernel, run) : "";
    const body = `timeout 240 ${service}; echo "service_status $?"\n${load}`;
    return withAgent(kernel, program, cpus, body);
  });
  const [[program, cpus]] = HINTED;
  return runs.join("") + withAgent(kernel, program, cpus, classesScript(kernel));
}

function judgeHints(stdout: string): Verdict {
  const count = (line: string): number => stdout.split("\n").filter((one) => one === line).length;
  const orders = stdout.match(/^order .*$/gm) ?? [];
  const [low, high] = [Number(fact(stdout, "low_ticks")), Number(fact(stdout, "high_ticks"))];
  const agent_count = HINTED.length + 1;
  return {
    faults: faultsIf(
      [count("agent active") !== agent_count, "the agent was not active each time"],
      [count("idle_ran 0") !== HINTED.length, "threads ran that had no work"],
      [count(HINTED_ORDER) !== HINTED.length, `not in the order of their hints: ${orders}`],
      [count("service_status 0") !== HINTED.length, "the service failed"],
      ...stdout.split("\n").filter((line) => /^FAIL {2}edf_test/.test(line))
        .map((line): [boolean, string] => [true, line]),
      [!/^cases 5 passed, 0 failed$/m.test(stdout), "not every case of edf_test passed"],
      [fact(stdout, "edf_status") !== "0", "simple_edf failed"],
      [
        EDF_SUB_TESTS.some((name) => !stdout.includes(`edf: ${name}\n`)),
        "not every sub-test of simple_edf ran",
      ],
      [!(high > 100), `the higher class got ${high} ticks of 400`],
      [!(5 * low < high), `the lower class got ${low} ticks, the higher one ${high}`],
      [count("agent_status 0") !== agent_count, "an agent did not end well"],
    ),
    detail: `${orders.join(", ")}; class 1 ${low} ticks, class 2 ${high}`,
  };
}

/** Threads run when their service says so, in its order; upstream's edf_test. */
function hintsJob(kernel: "ghost" | "scx"): VmJob {
  return {
    name: `${kernel}_hints`,
    summary: "threads run when their service says so, in its order; simple_edf, edf_test",
    timeout_s: 1500,
    is_packed: true,
    is_ghost: kernel === "ghost",
    is_scx: kernel === "scx",
    is_soak: kernel === "scx",
    script: (context) => `${prelude(context)}${hintsScript(context, kernel)}`,
    judge: ({ stdout }) => judgeHints(stdout),
  };
}

/** One job per agent on a ghOSt kernel, and one of hints. */
export const GHOST_GLOBAL_JOBS: readonly VmJob[] = [
  ...AGENTS.map((agent): VmJob => ({
    name: `ghost_${agent.job}`,
    summary: `${agent.program}: loads, a wanted global CPU, Ctrl-C, hand-over, kill`,
    timeout_s: 900,
    is_packed: true,
    is_ghost: true,
    script: (context) => `${prelude(context, `ghostctl ${agent.program}`)}${script(agent)}`,
    judge: ({ stdout }) => judge(stdout),
  })),
  hintsJob("ghost"),
];

const SCX_THREADS = 24;
const SCX_RUNS = 2;

/** Loads, a wanted global CPU, Ctrl-C, and a kill; sched_ext has no hand-over of an enclave. */
function scxScript({ programs, scx }: JobContext, { program, cpus, flags }: GlobalAgent): string {
  return `programs=${shellWord(programs)} scx=${shellWord(scx)} work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
state() { cat /sys/kernel/sched_ext/state; }
start_agent() {
  "$programs/ghostctl" ${program} --kernel=scx ${cpus} ${flags} >"$work/agent" 2>&1 & guard=$!
  for i in $(seq 900); do
    grep -q "ghOSt active" "$work/agent" && break
    kill -0 $guard 2>/dev/null || break
    sleep 0.1
  done
  echo "loaded $(state)"
}
end_agent() { wait $guard; echo "agent_status $?"; sed 's/^/agent: /' "$work/agent"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
cpu_times() { cat /proc/$(pgrep -P $guard | head -1)/task/*/stat | sed 's/(.*)/x/'; }
# the CPU of the agent that spins
role() {
  cpu_times >"$work/before"; sleep 1; cpu_times >"$work/after"
  awk 'FNR == NR { used[$1] = $14 + $15; next }
    $41 == 1 && $14 + $15 - used[$1] >= most { most = $14 + $15 - used[$1]; cpu = $39 }
    END { print cpu }' "$work/before" "$work/after"
}
start_agent
timeout 120 "$programs/ghostctl" run -- sh -c \\
  'for run in $(seq ${SCX_RUNS}); do "$0" phases ${SCX_THREADS} 5 || exit 1; done' "$scx/scx_load"
echo "load_status $?"
global_cpu=$(role); echo "role $global_cpu"
taskset -c $global_cpu sh -c 'while [ ! -e "$0" ]; do :; done' "$work/stop" & wants=$!
sleep 2; begin=$(ticks $wants) begin_ns=$(date +%s%N); echo "role $(role)"
echo "wanted_percent $(( ($(ticks $wants) - begin) * 1000000000 / ($(date +%s%N) - begin_ns) ))"
touch "$work/stop"; wait $wants; echo "wanted_status $?"
timeout 400 "$programs/ghostctl" simple_exp --kernel=scx --timeout 300 >/tmp/exp 2>&1
echo "exp_status $?"; sed 's/^/exp: /' /tmp/exp
kill -INT $guard; end_agent; echo "after $(state)"
start_agent
"$programs/ghostctl" run -- "$scx/scx_load" phases ${SCX_THREADS} 40 >"$work/load" 2>&1 & load=$!
for i in $(seq 600); do grep -q started "$work/load" && break; sleep 0.1; done; sleep 1
kill -9 $(pgrep -P $guard); start=$(date +%s%N)
for i in $(seq 400); do [ "$(state)" = disabled ] && break; sleep 0.05; done
echo "gone_ms $(( ($(date +%s%N) - start) / 1000000 ))"
wait $load; echo "kill_load_status $?"
end_agent; echo "after $(state)"`;
}

/** The kernel gives the default class 5 % of a CPU, whatever an agent does. */
const STARVED_PERCENT = 10;

function judgeScx(stdout: string): Verdict {
  const count = (line: string): number => stdout.split("\n").filter((one) => one === line).length;
  const runs = stdout.match(
    new RegExp(`^policy 7, ${SCX_THREADS} threads ended after \\d+ ms$`, "gm"),
  ) ?? [];
  const times = runs.map((line) => line.match(/\d+ ms/)?.[0]).join(", ");
  const missing = SUB_TESTS.filter((name) => !stdout.includes(`exp: ${name}\n`));
  const wanted_percent = Number(fact(stdout, "wanted_percent"));
  const roles = [...stdout.matchAll(/^role (\d+)$/gm)].map(([, cpu]) => cpu);
  return {
    faults: faultsIf(
      [count("loaded enabled") !== 2, "the agent was not active each time"],
      [runs.length !== SCX_RUNS, `${runs.length} of ${SCX_RUNS} runs ended under SCHED_EXT`],
      [fact(stdout, "load_status") !== "0", "the load failed"],
      [!(wanted_percent > STARVED_PERCENT), `who wanted the CPU got ${wanted_percent} % of it`],
      [roles.length !== 2 || roles[0] === roles[1], `the role was on the CPUs ${roles}`],
      [missing.length > 0, `simple_exp did not run: ${missing.join(", ")}`],
      [fact(stdout, "exp_status") !== "0", "simple_exp failed"],
      [count("agent_status 0") !== 1, "it did not end well at SIGINT"],
      [!stdout.includes("agent: Done!\n"), "it did not say Done!"],
      [count("after disabled") !== 2, "a scheduler is still loaded"],
      [fact(stdout, "kill_load_status") !== "0", "threads did not go on after the kill"],
      [count("agent_status 1") !== 1, "the guard did not tell of the kill"],
    ),
    detail: `${times}; role from CPU ${
      roles.join(" to ")
    }, who wanted it got ${wanted_percent} %; gone ${fact(stdout, "gone_ms")} ms after the kill`,
  };
}

/** One job per agent under sched_ext, and one of hints. */
export const SCX_GLOBAL_JOBS: readonly VmJob[] = [
  ...AGENTS.map((agent): VmJob => ({
    name: `scx_${agent.job}`,
    summary: `${agent.program}: loads, a wanted global CPU, Ctrl-C, kill`,
    timeout_s: 1500,
    is_packed: true,
    is_scx: true,
    is_soak: true,
    script: (context) => scxScript(context, agent),
    judge: ({ stdout }) => judgeScx(stdout),
  })),
  hintsJob("scx"),
];
