/**
 * Jobs on a ghOSt kernel, in a VM or on a host that has one: the packed agent schedules real
 * threads, is interrupted, replaced and killed; then the contract suite.
 *
 * @module
 */
import { GHOST_CALLS } from "./calls_jobs.ts";
import { prelude, SUB_TESTS } from "./ghost_script.ts";
import { GHOST_GLOBAL_JOBS } from "./global_jobs.ts";
import { shellWord } from "./guest.ts";
import { fact, faultsIf, type VmJob } from "./job.ts";

const ACTIVE = "Initialization complete, ghOSt active.";
/** CPUs of the agents' enclaves. */
const CPUS = "0-1";

const GHOST_FACTS: VmJob = {
  name: "ghost_facts",
  summary: "ghostfs is mounted, and doctor finds the host ready",
  timeout_s: 60,
  is_packed: true,
  is_ghost: true,
  script: (context) =>
    `${prelude(context)}echo "versions $(tr '\\n' ' ' <$ghostfs/version)"
"$programs/ghostctl" doctor --ghost_cpus ${CPUS}`,
  judge: ({ stdout }) => ({
    faults: faultsIf([!/^This host is ready.*ghost/m.test(stdout), "doctor finds faults"]),
    detail: `ABI ${fact(stdout, "versions")?.trim()}`,
  }),
};

const GHOST_SIMPLE_EXP: VmJob = {
  name: "ghost_simple_exp",
  summary: "simple_exp's six sub-tests pass under the agent, which leaves cleanly at Ctrl-C",
  timeout_s: 300,
  is_packed: true,
  is_ghost: true,
  script: (context) =>
    `${prelude(context)}start_agent agent --ghost_cpus ${CPUS}
active agent $guard
load; end_load
kill -INT $guard; end_agent agent $guard
echo "enclaves $(enclaves)"`,
  judge({ stdout }) {
    const missing = SUB_TESTS.filter((name) => !stdout.includes(`load: ${name}\n`));
    const times = [...stdout.matchAll(/^load: {2}took (\S+ ms)$/gm)].map((match) => match[1]);
    return {
      faults: faultsIf(
        [!stdout.includes(`agent: ${ACTIVE}\n`), "the agent was never active"],
        [missing.length > 0, `not run: ${missing.join(", ")}`],
        [fact(stdout, "load_status") !== "0", "simple_exp failed"],
        [!stdout.includes("agent: Done!\n"), "the agent did not say Done!"],
        [fact(stdout, "agent_status") !== "0", `agent ended with ${fact(stdout, "agent_status")}`],
        [fact(stdout, "enclaves") !== "0", "the enclave was left behind"],
      ),
      detail: times.join(", "),
    };
  },
};

const GHOST_UPGRADE: VmJob = {
  name: "ghost_upgrade",
  summary: "an agent takes an enclave over while threads run in it; none is lost",
  timeout_s: 200,
  is_packed: true,
  is_ghost: true,
  script: (context) =>
    `${prelude(context)}start_agent old --ghost_cpus ${CPUS}; old=$guard
active old $old
load --only SimpleExpMany
start_agent new --enclave "$(path)"; new=$guard
await_line waiting "$work/new" $new
kill -USR2 $old; active new $new
end_agent old $old
end_load
kill -INT $new; end_agent new $new
[ "$(enclaves)" = 0 ] || echo destroy >"$(path)/ctl"
await_none; echo "enclaves $(enclaves)"`,
  judge({ stdout }) {
    const gap = stdout.match(/^new: .*?(\d[\d.]* (?:us|ms|s))/m)?.[1];
    return {
      faults: faultsIf(
        [!stdout.includes("new active\n"), "the new agent was never active"],
        [fact(stdout, "old_status") !== "0", `old agent: ${fact(stdout, "old_status")}`],
        [fact(stdout, "new_status") !== "0", `new agent: ${fact(stdout, "new_status")}`],
        [fact(stdout, "load_status") !== "0", "threads were lost"],
        [fact(stdout, "enclaves") !== "0", "the enclave is still there"],
      ),
      detail: gap === undefined ? "" : `gap ${gap}`,
    };
  },
};

const KILL_COUNT = 5;

const GHOST_KILL: VmJob = {
  name: "ghost_kill",
  summary: "an agent that is killed leaves its threads to the default scheduler",
  timeout_s: 600,
  is_packed: true,
  is_ghost: true,
  script: (context) =>
    `${prelude(context)}for turn in $(seq ${KILL_COUNT}); do
  start_agent agent --ghost_cpus ${CPUS}
  active agent $guard
  load --only SimpleExpMany
  agent=$(pgrep -x -P $guard fifo_per_cpu_ag)
  kill -9 $agent; start=$(date +%s%N)
  await_none; echo "gone_ms $(( ($(date +%s%N) - start) / 1000000 ))"
  for i in $(seq 300); do kill -0 $load 2>/dev/null || break; sleep 0.1; done
  kill -0 $load 2>/dev/null && echo "stuck $load"
  end_agent agent $guard
  echo "left $(enclaves)"
done`,
  judge({ stdout }) {
    const gone_ms = [...stdout.matchAll(/^gone_ms (\d+)$/gm)].map((match) => Number(match[1]));
    const count = (line: string) => stdout.split("\n").filter((one) => one === line).length;
    return {
      faults: faultsIf(
        [count("agent active") !== KILL_COUNT, "the agent was not active each time"],
        [count("left 0") !== KILL_COUNT, "the enclave outlived its agent"],
        [/^stuck/m.test(stdout), "threads did not go on after their agent's end"],
        [count("agent_status 1") !== KILL_COUNT, "the guard did not end with status 1"],
      ),
      detail: `enclave gone after ${gone_ms.join(", ")} ms`,
    };
  },
};

const KILLS = 100;
const KILL_THREADS = 12;
/** The watchdog of the guard and a second, in which every thread must run again. */
const AGAIN_MS = 6_000;

/** One load of threads that outlive all agents: the shell moves them into each one's enclave. */
const GHOST_KILLS: VmJob = {
  name: "ghost_kills",
  summary: `${KILLS} agents are killed at random moments; no thread waits for long, none is lost`,
  timeout_s: 3600,
  is_packed: true,
  is_ghost: true,
  is_soak: true,
  script: (context) =>
    `${prelude(context)}cc -O2 -pthread -o "$work/stall_load" tests/vm/stall_load.c || exit 1
"$work/stall_load" ${KILL_THREADS} "$work/over" >"$work/stalls" 2>&1 & load=$!
for turn in $(seq ${KILLS}); do
  start_agent agent --ghost_cpus ${CPUS}
  await_line "ghOSt active" "$work/agent" $guard || echo "not active in turn $turn"
  for task in /proc/$load/task/*; do
    [ "\${task##*/}" = $load ] || echo "\${task##*/}" >"$(path)/tasks"
  done
  joined=$(tasks); [ "$joined" = ${KILL_THREADS} ] || echo "joined $joined in turn $turn"
  sleep 0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')
  kill -9 $(pgrep -x -P $guard fifo_per_cpu_ag)
  wait $guard; status=$?; [ $status = 1 ] || echo "guard ended with $status in turn $turn"
  grep -q "was killed" "$work/agent" && told=$((told + 1))
  await_none; left=$(enclaves); [ "$left" = 0 ] || echo "left $left in turn $turn"
  echo "turns $turn" >"$work/turns"; echo "turn $turn after $(cut -d' ' -f1 /proc/uptime) s"
done
touch "$work/over"; wait $load; echo "load_status $?"
cat "$work/turns" "$work/stalls"; echo "told $told"`,
  judge({ stdout }) {
    const sum = stdout.match(/^stalls (\d+) worst_ms (\d+) lost (\d+) min_rounds (\d+)$/m);
    const [stalls, worst_ms, lost, rounds] = (sum ?? []).slice(1).map(Number);
    return {
      faults: [
        ...stdout.split("\n").filter((line) => line.includes("in turn")),
        ...faultsIf(
          [fact(stdout, "turns") !== `${KILLS}`, `${fact(stdout, "turns")} of ${KILLS} turns`],
          [fact(stdout, "told") !== `${KILLS}`, `${fact(stdout, "told")} ends were told of`],
          [fact(stdout, "load_status") !== "0" || !/^joined$/m.test(stdout), "the load failed"],
          [lost !== 0, `${lost} threads were lost`],
          [!(rounds > KILLS), `a thread ran ${rounds} times`],
          [!(worst_ms <= AGAIN_MS), `a thread did not run for ${worst_ms} ms`],
        ),
      ],
      detail: `${stalls} stalls of 200 ms and more, ${worst_ms} ms at most`,
    };
  },
};

const GHOST_RPC: VmJob = {
  name: "ghost_rpc",
  summary: "another process asks the agent, by its guard's process id, while it schedules",
  timeout_s: 300,
  is_packed: true,
  is_ghost: true,
  script: (context) =>
    `${prelude(context)}start_agent agent --ghost_cpus ${CPUS}
active agent $guard
ask() { "$programs/ghostctl" rpc $guard "$@"; }
echo "empty $(ask 2)"
load --only SimpleExpMany
echo "loaded $(ask 2)"; echo "dump $(ask 1)"; echo "unknown $(ask 99)"
end_load
kill -INT $guard; end_agent agent $guard
echo "gone $(ask 2 2>&1)"`,
  judge: ({ stdout }) => ({
    faults: faultsIf(
      [fact(stdout, "empty") !== "0", "an empty enclave has threads"],
      [!(Number(fact(stdout, "loaded")) > 20), "the threads of the load are not counted"],
      [fact(stdout, "dump") !== "0", "the agent does not dump its state"],
      [!/^agent: CPU 1: /m.test(stdout), "the dump is not on the agent's stderr"],
      [fact(stdout, "unknown") !== "-1", "an unknown request is not refused"],
      [fact(stdout, "load_status") !== "0", "simple_exp failed"],
      [fact(stdout, "agent_status") !== "0", `agent ended with ${fact(stdout, "agent_status")}`],
      [!/^gone .*answers no requests/m.test(stdout), "an agent that is gone still answers"],
    ),
    detail: `${fact(stdout, "loaded")} threads`,
  }),
};

const GHOST_CONTRACT: VmJob = {
  name: "ghost_contract",
  summary: "the contract suite passes on the kernel; what it cannot be asked is a skip with reason",
  timeout_s: 2400,
  is_packed: true,
  is_ghost: true,
  script: ({ programs }) => `${shellWord(`${programs}/ghostctl`)} selftest --kernel=ghost`,
  judge({ stdout }) {
    const lines = stdout.trim().split("\n");
    const sum = lines.at(-1) ?? "";
    return {
      faults: [
        ...lines.filter((line) => line.startsWith("FAIL")),
        ...faultsIf([!/^\d+ passed, 0 failed/.test(sum), "the suite did not pass"]),
      ],
      detail: sum,
    };
  },
};

/** The jobs. */
export const GHOST_JOBS: readonly VmJob[] = [
  GHOST_FACTS,
  GHOST_SIMPLE_EXP,
  ...GHOST_GLOBAL_JOBS,
  GHOST_UPGRADE,
  GHOST_KILL,
  GHOST_KILLS,
  GHOST_RPC,
  GHOST_CALLS,
  GHOST_CONTRACT,
];
