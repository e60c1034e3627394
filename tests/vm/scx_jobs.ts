/**
 * Jobs of `deno task test:vm` for --kernel=scx: the packed agent schedules threads of unmodified
 * programs, and what happens when it is stopped, killed or hangs.
 *
 * @module
 */
import { EXIT_COUNT_MAX, type ExitKind, EXITS_FOLDER } from "../../util/guard/last_exit.ts";
import { SCX_CALLS } from "./calls_jobs.ts";
import { shellWord } from "./guest.ts";
import { fact, faultsIf, type JobContext, type VmJob } from "./job.ts";

const PER_CPU_AGENT = '"$programs/fifo_per_cpu_agent"';

/** Starts an agent, runs shell lines beside it, and stops it. */
interface AgentScript {
  /** Shell words that start the agent; without them the per-CPU FIFO's. */
  readonly program?: string;
  /** Further flags of the agent. */
  readonly flags?: string;
  /** Lines that run while it is online; `$agent` is its process. */
  readonly body: string;
}

/** Shell functions that all scripts use. */
export function prelude(
  { programs, scx, deno, std_flags }: JobContext,
  program = PER_CPU_AGENT,
): string {
  return `programs=${shellWord(programs)} scx=${shellWord(scx)} deno=${shellWord(deno)}
deno_run() { "$deno" run -A --no-prompt --no-check ${std_flags.map(shellWord).join(" ")} "$@"; }
state() { cat /sys/kernel/sched_ext/state; }
start_agent() {
  ${program} --kernel=scx --ghost_cpus 1-3 "$@" >/tmp/agent 2>&1 & guard=$!
  for i in $(seq 600); do
    grep -q "ghOSt active" /tmp/agent && break
    kill -0 $guard 2>/dev/null || break
    sleep 0.1
  done
  agent=$(pgrep -P $guard || echo $guard)
}
stop_agent() {
  kill -INT $guard; wait $guard
  echo "agent_status $?"; sed 's/^/agent: /' /tmp/agent; echo "after $(state)"
}
`;
}

/** The agent on CPUs 1 to 3, beside which the body runs. */
export function withAgent(context: JobContext, script: AgentScript): string {
  const { program = PER_CPU_AGENT, flags = "", body } = script;
  return `${prelude(context, program)}start_agent ${flags}
echo "loaded $(state)"
${body}
stop_agent
`;
}

/** What must hold after an agent was stopped as it should be. */
export function endFaults(stdout: string): string[] {
  return faultsIf(
    [fact(stdout, "loaded") !== "enabled", "no scheduler was loaded"],
    [fact(stdout, "agent_status") !== "0", `the agent ended with ${fact(stdout, "agent_status")}`],
    [fact(stdout, "after") !== "disabled", "a scheduler is still loaded"],
  );
}

interface Counts {
  readonly fallback_count: number;
  readonly no_word_count: number;
  readonly overflow_count: number;
  readonly latched_count: number;
  readonly stray_count: number;
  readonly exit_kind: number;
}

function counts(stdout: string): Counts | undefined {
  const text = fact(stdout, "report");
  return text === undefined ? undefined : JSON.parse(text) ?? undefined;
}

const SCX_THREADS: VmJob = {
  name: "scx_threads",
  summary: "20 threads of a program run under the packed agent, and end; Ctrl-C leaves nothing",
  timeout_s: 180,
  is_packed: true,
  is_scx: true,
  script: (context) =>
    withAgent(context, {
      body: `timeout 120 "$programs/ghostctl" run -- sh -c \\
  'for run in 1 2 3; do "$0" phases 20 5 || exit 1; done' "$scx/scx_load"; echo "load_status $?"
"$programs/ghostctl" enclaves
echo "asked $("$programs/ghostctl" rpc $guard 2)"
deno_run tests/vm/scx_report.ts`,
    }),
  judge({ stdout }) {
    const runs = stdout.match(/^policy 7, 20 threads ended after \d+ ms$/gm) ?? [];
    const report = counts(stdout);
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [runs.length !== 3, `${runs.length} of 3 runs ended under SCHED_EXT`],
          [report === undefined, "no report of the program"],
          [(report?.fallback_count ?? 0) > 0, `${report?.fallback_count} fallback inserts`],
          [(report?.no_word_count ?? 0) > 0, "threads without a status word"],
          [!((report?.latched_count ?? 0) >= 300), "the policy decided too little"],
          [!/scx\/enclave_1 +scx +1-3/.test(stdout), "ghostctl does not list the enclave"],
          [fact(stdout, "asked") !== "0", "the agent does not say that it has no thread"],
        ),
      ],
      detail: runs.map((line) => line.match(/\d+ ms/)?.[0]).join(", "),
    };
  },
};

const BOUND_ROUNDS = 5;

const SCX_BOUND: VmJob = {
  name: "scx_bound",
  summary: "threads that bind themselves to CPUs where no policy puts them run there, and end",
  timeout_s: 180,
  is_packed: true,
  is_scx: true,
  script: (context) =>
    withAgent(context, {
      body: `timeout 120 "$programs/ghostctl" run -- "$scx/scx_load" bound 6 ${BOUND_ROUNDS}
echo "load_status $?"
deno_run tests/vm/scx_report.ts`,
    }),
  judge({ stdout }) {
    const run = stdout.match(/^policy 7, 6 threads ended after (\d+ ms)$/m);
    const stray_count = counts(stdout)?.stray_count ?? 0;
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [run === null, "the threads did not end under SCHED_EXT"],
          [fact(stdout, "load_status") !== "0", "a thread was not where it is bound to"],
          // Two of five CPUs are outside the enclave.
          [!(stray_count >= 2 * 6 * BOUND_ROUNDS), `${stray_count} strays`],
        ),
      ],
      detail: `${run?.[1]}, ${stray_count} strays`,
    };
  },
};

/** Threads that may run before all are there, so that the policy has a choice. */
const EARLY_COUNT = 2;
const ORDER_COUNT = 16;

/** True if the numbers descend once the first few are over. */
export function isDescending(tids: readonly number[], early_count: number): boolean {
  return tids.slice(early_count).every((tid, index, late) => index === 0 || tid < late[index - 1]);
}

const SCX_ORDER: VmJob = {
  name: "scx_order",
  summary: "a policy that runs the highest tid first on one CPU is obeyed",
  timeout_s: 240,
  is_packed: true,
  is_scx: true,
  script: (context) =>
    `${prelude(context)}"$deno" run -A --no-prompt --no-check ${
      context.std_flags.map(shellWord).join(" ")
    } \\
  tests/vm/highest_tid_agent.ts --kernel=scx --ghost_cpus 1 >/tmp/agent 2>&1 & guard=$!
for i in $(seq 600); do grep -q "ghOSt active" /tmp/agent && break; sleep 0.1; done
echo "loaded $(state)"
timeout 60 "$programs/ghostctl" run -- "$scx/scx_load" order ${ORDER_COUNT} 40
echo "load_status $?"
stop_agent
`,
  judge({ stdout }) {
    const tids = stdout.match(/^\d+(?: \d+)+$/m)?.[0].split(" ").map(Number) ?? [];
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [tids.length !== ORDER_COUNT, `${tids.length} of ${ORDER_COUNT} threads ended`],
          [!isDescending(tids, EARLY_COUNT), "not in the order of the policy"],
        ),
      ],
      detail: tids.join(" "),
    };
  },
};

const SCX_SIMPLE_EXP: VmJob = {
  name: "scx_simple_exp",
  summary: "the six sub-tests of simple_exp pass with real threads under the agent",
  timeout_s: 480,
  is_packed: true,
  is_scx: true,
  script: (context) =>
    withAgent(context, {
      body: `timeout 420 "$programs/simple_exp" --kernel=scx --timeout 300; echo "exp_status $?"`,
    }),
  judge({ stdout, stderr }) {
    const ended = stdout.match(/^ took [\d.]+ ms$/gm) ?? [];
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [fact(stdout, "exp_status") !== "0", `simple_exp: ${stderr.trim().split("\n")[0]}`],
          [ended.length !== 6, `${ended.length} of 6 sub-tests ended`],
        ),
      ],
      detail: `${ended.length} sub-tests`,
    };
  },
};

/** What an agent must say, and that nothing stays loaded, for hosts it cannot run on. */
const SCX_REFUSALS: VmJob = {
  name: "scx_refusals",
  summary: "a taken sched_ext, missing capabilities and the agent's own tree are refused in a line",
  timeout_s: 300,
  is_packed: true,
  is_scx: true,
  script: (context) =>
    `${prelude(context)}agent_flags="--kernel=scx --ghost_cpus 1"
(sleep 1000) | "$scx/scx_fifo_loader" 4 30000 >/tmp/fifo & 
for i in $(seq 100); do grep -q ready /tmp/fifo && break; sleep 0.1; done
"$programs/fifo_per_cpu_agent" $agent_flags 2>/tmp/said; echo "taken $?"
sed 's/^/taken_said /' /tmp/said; echo "taken_ops $(cat /sys/kernel/sched_ext/root/ops)"
"$programs/ghostctl" doctor | sed -n 's/^sched_ext  */taken_doctor /p'
pkill -x sleep
for i in $(seq 100); do [ "$(state)" = disabled ] && break; sleep 0.1; done
uncapped() { setpriv --bounding-set=-bpf,-perfmon,-sys_admin "$@"; }
uncapped "$programs/fifo_per_cpu_agent" $agent_flags 2>/tmp/said; echo "uncapped $?"
sed 's/^/uncapped_said /' /tmp/said
uncapped "$programs/ghostctl" doctor | sed -n 's/^CAP_BPF  */uncapped_doctor /p'
echo "uncapped_state $(state)"
setpriv --bounding-set=-sys_nice "$programs/fifo_per_cpu_agent" $agent_flags 2>/tmp/said
echo "unniced $?"; sed 's/^/unniced_said /' /tmp/said; echo "unniced_state $(state)"
start_agent
echo "loaded $(state)"
"$programs/fifo_per_cpu_agent" $agent_flags 2>/tmp/said; echo "second $?"
sed 's/^/second_said /' /tmp/said
"$programs/ghostctl" adopt $agent >/tmp/said 2>&1; echo "own $?"; sed 's/^/own_said /' /tmp/said
stop_agent
`,
  judge({ stdout }) {
    const says = (name: string, words: RegExp): [boolean, string] => [
      !words.test(fact(stdout, `${name}_said`) ?? ""),
      `${name}: it said ${JSON.stringify(fact(stdout, `${name}_said`))}`,
    ];
    const foretells = (name: string, words: RegExp): [boolean, string] => [
      !words.test(fact(stdout, `${name}_doctor`) ?? ""),
      `${name}: the doctor said ${JSON.stringify(fact(stdout, `${name}_doctor`))}`,
    ];
    const ends = (name: string): [boolean, string] => [
      fact(stdout, name) !== "1",
      `${name}: status ${fact(stdout, name)}`,
    ];
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          ends("taken"),
          says("taken", /another sched_ext scheduler is loaded: fifo/),
          foretells("taken", /^fail +taken by scheduler fifo/),
          [fact(stdout, "taken_ops") !== "fifo", "the other scheduler did not stay"],
          ends("uncapped"),
          says("uncapped", /CAP_BPF/),
          foretells("uncapped", /^fail +missing/),
          [fact(stdout, "uncapped_state") !== "disabled", "uncapped: a scheduler is loaded"],
          ends("unniced"),
          says("unniced", /CAP_SYS_NICE is missing/),
          [fact(stdout, "unniced_state") !== "disabled", "unniced: a scheduler is loaded"],
          ends("second"),
          says("second", /one agent process at a time/),
          [fact(stdout, "own") === "0", "own: the agent's process was adopted"],
        ),
      ],
      detail: "taken, uncapped, without CAP_SYS_NICE, second, own tree",
    };
  },
};

const SCX_SELFTEST: VmJob = {
  name: "scx_selftest",
  summary: "the contract suite passes under sched_ext with real threads",
  timeout_s: 600,
  is_packed: true,
  script: ({ programs }) => `${shellWord(`${programs}/ghostctl`)} selftest --kernel=scx`,
  judge: ({ stdout }) => ({
    faults: stdout.split("\n").filter((line) => line.startsWith("FAIL")),
    detail: stdout.trim().split("\n").at(-1) ?? "",
  }),
};

/** Flags of a measurement; one that counts instructions needs no long time to be repeatable. */
function benchFlags({ is_icount }: JobContext): string {
  return "--bench yield,pingpong --threads 2,30 --pairs 1,10 --format csv " +
    `--duration_ms ${is_icount ? 300 : 1500}`;
}

/** "label,class,bench,thread_count,seconds,per_second,..." by label, bench and thread count. */
function rates(stdout: string): Map<string, number> {
  const rows = stdout.match(/^(?:default|fifo|floor|ghost),.*$/gm) ?? [];
  return new Map(rows.map((row) => {
    const [label, , bench, count, , per_second] = row.split(",");
    return [`${label} ${bench} ${count}`, Number(per_second)];
  }));
}

const SCX_BENCH: VmJob = {
  name: "scx_bench",
  summary: "yields and futex wake-ups per second on one CPU: default, FIFO in BPF, agents",
  timeout_s: 360,
  is_packed: true,
  is_scx: true,
  is_soak: true,
  script: (context) =>
    `${prelude(context)}bench() { timeout 60 "$@" ${benchFlags(context)}; }
bench "$programs/microbench" --class default --cpus 1 --label default
(sleep 1000) | "$scx/scx_fifo_loader" 4 30000 >/tmp/fifo & 
for i in $(seq 100); do grep -q ready /tmp/fifo && break; sleep 0.1; done
bench "$scx/scx_load" exec "$programs/microbench" --class default --cpus 1 --label fifo
pkill -x sleep
for i in $(seq 100); do [ "$(state)" = disabled ] && break; sleep 0.1; done
"$scx/scx_floor_agent" "$scx/scx_ghost_loader" 1 >/tmp/floor & floor=$!
for i in $(seq 100); do grep -q ready /tmp/floor && break; sleep 0.1; done
bench "$programs/microbench" --class scx --label floor
kill $floor; wait $floor
for i in $(seq 100); do [ "$(state)" = disabled ] && break; sleep 0.1; done
"$programs/fifo_per_cpu_agent" --kernel=scx --ghost_cpus 1 >/tmp/agent 2>&1 & guard=$!
for i in $(seq 600); do grep -q "ghOSt active" /tmp/agent && break; sleep 0.1; done
echo "loaded $(state)"
bench "$programs/microbench" --class scx --label ghost
stop_agent
`,
  judge({ stdout }) {
    const found = rates(stdout);
    const kinds = ["yield 2", "yield 30", "pingpong 2", "pingpong 20"];
    const of = (label: string, kind: string) => found.get(`${label} ${kind}`) ?? NaN;
    const detail = kinds.map((kind) => {
      const to = (label: string) => (of("ghost", kind) / of(label, kind)).toFixed(3);
      return `${kind}: ${of("ghost", kind).toFixed(0)}/s, ${to("default")} of default, ` +
        `${to("fifo")} of BPF, ${to("floor")} of an agent in C`;
    }).join("; ");
    return {
      faults: [...endFaults(stdout), ...faultsIf([found.size !== 16, `${found.size} of 16 rates`])],
      detail,
    };
  },
};

const STRESS_S = 45;

const SCX_STRESS: VmJob = {
  name: "scx_stress",
  summary: `stress-ng (CPU, fork, affinity, aggressive) runs ${STRESS_S} s under centralized FIFO`,
  timeout_s: 240,
  is_packed: true,
  is_scx: true,
  is_soak: true,
  script: (context) =>
    withAgent(context, {
      program: '"$programs/ghostctl" fifo_centralized_agent',
      flags: "--globalcpu 1 --preemption_time_slice 5ms",
      body: `tools=.cache/vm/tools/usr
timeout 150 "$programs/ghostctl" run -- \\
  env LD_LIBRARY_PATH=$(echo $tools/lib/*-linux-gnu) $tools/bin/stress-ng --cpu 4 \\
  --fork 2 --affinity 4 --aggressive --timeout ${STRESS_S} --metrics-brief >/tmp/stress 2>&1
echo "stress_status $?"; tail -n 8 /tmp/stress
kill -0 $agent && echo "agent alive"
deno_run tests/vm/scx_report.ts`,
    }),
  judge({ stdout }) {
    const report = counts(stdout);
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [fact(stdout, "stress_status") !== "0", `stress-ng: ${fact(stdout, "stress_status")}`],
          [fact(stdout, "agent") !== "alive", "the agent did not live"],
          [(report?.no_word_count ?? 1) > 0, "threads without a status word"],
        ),
      ],
      detail: `${report?.latched_count} commits, ${report?.stray_count} strays`,
    };
  },
};

/** Runs of the load when its agent is killed: some seconds of work. */
const LONG_ROUNDS = 40;

/** What `ghostctl enclaves` and `ghostctl doctor` must show of the ends that there were. */
function exitChecks(stdout: string, { kind }: AgentEnd, want: number): [boolean, string][] {
  const row = new RegExp(`^\\S+Z  fifo_per_cpu_agent  scx/enclave_1  1-3   ${kind}$`, "gm");
  const count = stdout.match(row)?.length ?? 0;
  const state_count = stdout.match(/^state_of /gm)?.length ?? 0;
  const last = new RegExp(`^last_exit +info +\\S+Z .*\\) ${kind}: `, "m");
  return [
    [count !== want, `ghostctl enclaves shows ${count} of ${want} ends as ${kind}`],
    [!last.test(stdout), "ghostctl doctor does not show the last end"],
    [state_count !== want, `${state_count} of ${want} ends have the agents' state`],
  ];
}

function endsJob(name: string, summary: string, repeats: number, end: AgentEnd): VmJob {
  return {
    name,
    summary: repeats === 1 ? summary : `${summary}, ${repeats} times`,
    timeout_s: 90 + 60 * repeats,
    is_packed: true,
    is_scx: true,
    is_soak: repeats > 5,
    script: (context) =>
      `${prelude(context)}rm -rf ${EXITS_FOLDER}
for run in $(seq ${repeats}); do
  start_agent ${end.flags}
  echo "loaded $(state)"
  "$programs/ghostctl" run -- "$scx/scx_load" phases 20 ${LONG_ROUNDS} >/tmp/load 2>&1 & load=$!
  for i in $(seq 600); do grep -q started /tmp/load && break; sleep 0.1; done
  sleep 1
  "$scx/scx_load" end ${end.action}
  wait $load; echo "load_status $?"
  ${end.cleanup ?? ":"}
  wait $guard; echo "agent_status $?"
  tail -n 3 /tmp/agent | sed 's/^/agent: /'
  echo "after $(state)"
done
"$programs/ghostctl" enclaves
"$programs/ghostctl" doctor | grep "^last_exit "
grep -l "${end.state}" ${EXITS_FOLDER}/*.txt | sed 's/^/state_of /'`,
    judge({ stdout }) {
      const count = (line: string) => stdout.split("\n").filter((one) => one === line).length;
      const times = [...stdout.matchAll(/^ejected_ms (\d+)$/gm)].map(([, ms]) => Number(ms));
      const slowest_ms = Math.max(...times);
      return {
        faults: faultsIf(
          [count("loaded enabled") !== repeats, "the scheduler was not loaded each time"],
          [count("load_status 0") !== repeats, `${count("load_status 0")} loads ended well`],
          [count("after disabled") !== repeats, "the scheduler outlived its agent"],
          [!(slowest_ms <= end.limit_ms), `ejected after ${slowest_ms} ms, not ${end.limit_ms}`],
          [!end.said.test(stdout), `the agent did not say ${end.said}`],
          ...exitChecks(stdout, end, Math.min(repeats, EXIT_COUNT_MAX)),
        ),
        detail: `${count("load_status 0")} of ${repeats}, ejected after at most ${slowest_ms} ms`,
      };
    },
  };
}

/** How an agent comes to its end. */
interface AgentEnd {
  readonly flags: string;
  /** The signal, and who gets it. */
  readonly action: string;
  readonly cleanup?: string;
  readonly limit_ms: number;
  readonly said: RegExp;
  /** How the end is kept. */
  readonly kind: ExitKind;
  /** What the state that is kept has in it. */
  readonly state: string;
}

/** The watchdog's 5 s and one more; an emulated machine takes 2 s to end the process alone. */
const KILLED_LIMIT_MS = 6000;

const KILLED: AgentEnd = {
  flags: "",
  action: "9 $agent",
  limit_ms: KILLED_LIMIT_MS,
  said: /agent: /,
  kind: "killed",
  state: "SchedState",
};

const WATCHDOG_MS = 3000;

/** Stopped, an agent does nothing: neither it nor its guard, for which this is no stall. */
const HUNG: AgentEnd = {
  flags: `--runnable-timeout ${WATCHDOG_MS}ms --watchdog 1h`,
  action: "19 $guard $agent",
  cleanup: "kill -CONT $guard $agent",
  limit_ms: WATCHDOG_MS + 1000,
  said: /runnable_timeout: thread \d+ waited \d+ ms/,
  kind: "ejected",
  // What the kernel itself says comes behind the state of the agents.
  state: "triggered exit kind",
};

const REPEATS = 1;
const SOAK_REPEATS = 25;

const SCX_CYCLES: VmJob = {
  name: "scx_cycles",
  summary: "the program is loaded and unloaded 60 times under load, without a warning",
  timeout_s: 900,
  is_packed: true,
  is_scx: true,
  is_soak: true,
  script: (context) =>
    `${prelude(context)}"$scx/scx_load" phases 12 2000 >/dev/null & load=$!
deno_run tests/vm/scx_cycles.ts 60
kill $load
echo "after $(state)"`,
  judge: ({ stdout }) => ({
    faults: faultsIf(
      [fact(stdout, "cycles") !== "60", "not all cycles were made"],
      [fact(stdout, "after") !== "disabled", "a scheduler is still loaded"],
    ),
    detail: `${fact(stdout, "cycles")} cycles`,
  }),
};

/** All scx jobs. */
export const SCX_JOBS: readonly VmJob[] = [
  SCX_THREADS,
  SCX_BOUND,
  SCX_ORDER,
  SCX_SIMPLE_EXP,
  SCX_REFUSALS,
  endsJob("scx_kill", "a killed agent takes its scheduler along, its threads end", REPEATS, KILLED),
  endsJob("scx_hang", "a hung agent is ejected in time, its threads end", REPEATS, HUNG),
  endsJob("scx_kill_soak", "as scx_kill", SOAK_REPEATS, KILLED),
  endsJob("scx_hang_soak", "as scx_hang", SOAK_REPEATS, HUNG),
  SCX_CYCLES,
  SCX_CALLS,
  SCX_SELFTEST,
  SCX_STRESS,
  SCX_BENCH,
];
