import { assert, assertEquals } from "@std/assert";
import type { JobResult } from "./guest.ts";
import type { JobContext } from "./job.ts";
import { guestJob, JOBS, judgeJob } from "./jobs.ts";

const CONTEXT: JobContext = {
  deno: "/opt/my deno",
  std_flags: ["--import-map=/m"],
  programs: "/p",
  scx: "/s",
  kernel_release: "7.3.4-cloud",
};

function judge(name: string, result: Partial<JobResult>, context = CONTEXT) {
  const job = JOBS.find((one) => one.name === name)!;
  return judgeJob(job, {
    name,
    status: 0,
    is_timed_out: false,
    elapsed_ms: 1,
    stdout: "",
    stderr: "",
    ...result,
  }, context);
}

const FACTS = "release 7.3.4-cloud\ncpus 4\nsched_ext disabled\nbtf_bytes 5300000\nuid 0\n";

Deno.test("jobs: names are words, each once, and each has a limit and a summary", () => {
  assertEquals(new Set(JOBS.map(({ name }) => name)).size, JOBS.length);
  for (const { name, timeout_s, summary } of JOBS) {
    assert(/^\w+$/.test(name));
    assert(timeout_s > 0 && summary !== "");
  }
});

Deno.test("jobs: a path with a space is one word in the guest", () => {
  const ffi = JOBS.find(({ name }) => name === "ffi_tests")!;
  assert(guestJob(ffi, CONTEXT).script.startsWith("'/opt/my deno' 'test'"));
});

Deno.test("jobs: the right kernel with sched_ext and BTF passes, any other does not", () => {
  assertEquals(judge("kernel_facts", { stdout: FACTS }).faults, []);
  const wrong: [string, string][] = [
    ["7.3.4", "7.2.12"],
    ["disabled", "none"],
    ["5300000", "0"],
    ["uid 0", "uid 7"],
  ];
  for (const [from, to] of wrong) {
    assertEquals(judge("kernel_facts", { stdout: FACTS.replace(from, to) }).faults.length, 1, to);
  }
});

Deno.test("jobs: of the user's own kernel no sched_ext is asked", () => {
  const stdout = "release 5.11.0\ncpus 4\nsched_ext none\nbtf_bytes 0\nuid 0\n";
  const own = { ...CONTEXT, kernel_release: undefined };
  assertEquals(judge("kernel_facts", { stdout }, own).faults, []);
});

Deno.test("jobs: failed tests are named, and a run that did not add up fails", () => {
  const good = "a ... ok\n\nok | 41 passed | 0 failed (9s)\n";
  assertEquals(judge("ffi_tests", { stdout: good }).detail, "41 passed | 0 failed (9s)");
  assertEquals(judge("ffi_tests", { stdout: good }).faults, []);
  const bad = judge("ffi_tests", { status: 1, stdout: "a ... FAILED (1ms)\nFAILED | 1 passed" });
  assertEquals(bad.faults, ["exit status 1", "a ... FAILED (1ms)"]);
  assertEquals(judge("ffi_tests", { stdout: "" }).faults.length, 1);
});

Deno.test("jobs: a job that the guest did not end, or that took too long, fails", () => {
  assertEquals(judge("selftest", { status: undefined }).faults, ["the guest ended before it"]);
  const late = judge("selftest", { status: 124, is_timed_out: true }).faults;
  assertEquals(late, ["took more than 180 s"]);
  assertEquals(judge("selftest", { status: 3 }).faults, ["exit status 3"]);
});

const GOOD_REPORT = { fallback_count: 0, no_word_count: 0, latched_count: 400, exit_kind: 0 };

function threadsOutput(report: object, status = 0, after = "disabled"): string {
  const run = "policy 7, 20 threads ended after 873 ms\nload_status 0\n";
  return `loaded enabled\n${run.repeat(3)}scx/enclave_1  scx  1-3  0  yes\nasked 0\n` +
    `report ${JSON.stringify(report)}\nagent_status ${status}\nafter ${after}\n`;
}

Deno.test("jobs: three runs under the agent, nothing lost, and nothing left are asked for", () => {
  const good = judge("scx_threads", { stdout: threadsOutput(GOOD_REPORT) });
  assertEquals(good, { faults: [], detail: "873 ms, 873 ms, 873 ms" });
  const bad = [
    threadsOutput({ ...GOOD_REPORT, fallback_count: 1 }),
    threadsOutput({ ...GOOD_REPORT, no_word_count: 1 }),
    threadsOutput({ ...GOOD_REPORT, latched_count: 3 }),
    threadsOutput(GOOD_REPORT, 1),
    threadsOutput(GOOD_REPORT, 0, "enabled"),
    threadsOutput(GOOD_REPORT).replace("policy 7", "policy 0"),
    threadsOutput(GOOD_REPORT).replace("enclave_1", "none"),
    threadsOutput(GOOD_REPORT).replace("asked 0", "asked "),
  ];
  for (const stdout of bad) assertEquals(judge("scx_threads", { stdout }).faults.length, 1, stdout);
});

/** What the tools show of an end. */
function endsShown(kind: string): string {
  const row = `2026-11-21T17:05:09Z  fifo_per_cpu_agent  scx/enclave_1  1-3   ${kind}\n    why\n`;
  return `${row}last_exit         info    2026-11-21T17:05:09Z a (b) ${kind}: why\n` +
    "state_of /r/1.txt\n";
}

function endOutput(ejected_ms: number): string {
  return "loaded enabled\nejected_ms " + ejected_ms + "\nload_status 0\nagent_status 1\n" +
    "agent: gone: runnable_timeout: thread 77 waited 3020 ms for a CPU\nafter disabled\n";
}

Deno.test("jobs: threads that do not end with their agent, or late ejections, are a fault", () => {
  for (const name of ["scx_kill", "scx_hang"]) {
    const limit_ms = name === "scx_kill" ? 6000 : 4000;
    const shown = endsShown(name === "scx_kill" ? "killed" : "ejected");
    const stdout = endOutput(limit_ms) + shown;
    assertEquals(judge(name, { stdout }).faults, []);
    const wrong = [
      endOutput(limit_ms + 1) + shown,
      endOutput(20).repeat(2) + shown,
      stdout.replace(/ (killed|ejected)$/m, " thrown"),
      stdout.replace("state_of ", ""),
      stdout.replace(/^last_exit .*\n/m, ""),
      stdout.replace("load_status 0", "load_status 124"),
      stdout.replace("after disabled", "after enabled"),
      stdout.replaceAll("agent: gone: runnable_timeout", "silence"),
    ];
    for (const one of wrong) assert(judge(name, { stdout: one }).faults.length > 0, one);
  }
});

Deno.test("jobs: what takes minutes is left out unless it is asked for", () => {
  assertEquals(JOBS.find(({ name }) => name === "ghost_kills")?.is_soak, true);
  const soak = JOBS.filter(({ is_soak, is_ghost }) => is_soak && !is_ghost).map(({ name }) => name);
  assertEquals(soak, [
    "ffi_tests",
    "selftest",
    "sim_agent",
    "scx_kill_soak",
    "scx_hang_soak",
    "scx_cycles",
    "scx_stress",
    "scx_bench",
    "scx_npm",
    "scx_fifo",
    "scx_sol",
    "scx_shinjuku",
    "scx_edf",
    "scx_hints",
    "scx_antagonist",
  ]);
});

const EXP_NAMES: readonly string[] = [
  "SimpleExp",
  "SimpleExpMany",
  "BusyExp",
  "TaskDeparted",
  "TaskDepartedMany",
  "TaskDepartedManyRace",
];

/** What the ghost_ jobs print when all is well. */
const GHOST_OUTPUT: Readonly<Record<string, string>> = {
  ghost_facts: "versions 69 \nThis host is ready for agents on: ghost\n",
  ghost_simple_exp: "agent active\nload_status 0\n" +
    EXP_NAMES.map((name) => `load: ${name}\nload:  took 1.00 ms\n`).join("") +
    "agent_status 0\nagent: Initialization complete, ghOSt active.\nagent: Done!\nenclaves 0\n",
  ghost_sol: "first active\nload_status 0\n" +
    EXP_NAMES.map((name) => `load: ${name}\n`).join("") +
    "counted\nwanted_status 0\nload_status 0\nbusy,ghost,yield,30,1.0,812.5,0,0,0\n" +
    "first_status 0\nfirst: Done!\nenclaves 0\nold active\nnew active\nold_status 0\n" +
    "load_status 0\nacross_status 0\ngone_ms 170\nnew_status 1\n" +
    "new: a: took over e1 with 90 threads; no CPU was without agent for more than 5.00 ms\n" +
    "enclaves 0\n",
  ghost_hints: "agent active\nidle_ran 0\norder 0 1 2 3 4 5 6 7\nservice_status 0\n"
    .repeat(2) +
    [
      "SimpleExp",
      "SimpleExpMany",
      "SimpleRepeatable",
      "BusyExp",
      "TaskDeparted",
      "TaskDepartedMany",
    ].map((name) => `edf: ${name}\n`).join("") +
    "edf_status 0\ncases 5 passed, 0 failed\nagent active\nlow_ticks 3\nhigh_ticks 391\n" +
    "agent_status 0\n".repeat(3),
  ghost_upgrade: "old active\nnew active\nold_status 0\nload_status 0\nnew_status 0\nenclaves 0\n",
  ghost_kill: "agent active\ngone_ms 12\nagent_status 1\nleft 0\n".repeat(5),
  ghost_kills: "load_status 0\nturns 100\nstall_ms 400\n" +
    "stalls 1 worst_ms 400 lost 0 min_rounds 9000\njoined\ntold 100\n",
  ghost_rpc: "empty 0\nloaded 1000\ndump 0\nunknown -1\nload_status 0\nagent_status 0\n" +
    "agent: CPU 1: x\ngone ghostctl rpc: process 1 answers no requests: x\n",
  ghost_calls: "ok  this: -9, want -9\nchecks 1 passed, 0 failed\n",
  ghost_contract: "ok  this\nskip  that: a reason\n1 passed, 0 failed, 1 skipped\n",
};

Deno.test("jobs: on a ghOSt kernel each fault of an agent, a load or the suite is seen", () => {
  const faulty: readonly (readonly [name: string, from: string, to: string])[] = [
    ["ghost_facts", "This host is ready", "This host lacks"],
    ["ghost_simple_exp", "load: BusyExp", "load: silence"],
    ["ghost_simple_exp", "load_status 0", "load_status 1"],
    ["ghost_simple_exp", "Done!", "Killed"],
    ["ghost_simple_exp", "enclaves 0", "enclaves 1"],
    ["ghost_sol", "counted", "Terminated"],
    ["ghost_sol", "load: TaskDepartedMany\n", ""],
    ["ghost_sol", "yield,30,1.0,812.5", "yield,30,1.0,0"],
    ["ghost_sol", "first_status 0", "first_status 3"],
    ["ghost_sol", "new active", "new not active"],
    ["ghost_sol", "old_status 0", "old_status 1"],
    ["ghost_sol", "with 90 threads", "with 0 threads"],
    ["ghost_sol", "across_status 0", "across_status 1"],
    ["ghost_sol", "gone_ms 170", "stuck 77"],
    ["ghost_sol", "new_status 1", "new_status 0"],
    ["ghost_sol", "\nenclaves 0\nold", "\nenclaves 1\nold"],
    ["ghost_hints", "idle_ran 0", "idle_ran 1"],
    ["ghost_hints", "order 0 1", "order 1 0"],
    ["ghost_hints", "service_status 0", "service_status 124"],
    ["ghost_hints", "edf_status 0", "edf_status 1"],
    ["ghost_hints", "edf: BusyExp", "edf: silence"],
    ["ghost_hints", "cases 5 passed, 0", "FAIL  edf_test Simple\ncases 4 passed, 1"],
    ["ghost_hints", "low_ticks 3", "low_ticks 203"],
    ["ghost_hints", "high_ticks 391", "high_ticks 91"],
    ["ghost_hints", "agent_status 0", "agent_status 3"],
    ["ghost_upgrade", "new active", "new not active"],
    ["ghost_upgrade", "load_status 0", "load_status 124"],
    ["ghost_kill", "left 0", "left 1"],
    ["ghost_kill", "agent_status 1", "stuck 7"],
    ["ghost_kills", "turns 100", "turns 99"],
    ["ghost_kills", "told 100", "told 99"],
    ["ghost_kills", "load_status 0", "load_status 1"],
    ["ghost_kills", "joined\n", ""],
    ["ghost_kills", "lost 0", "lost 1"],
    ["ghost_kills", "min_rounds 9000", "min_rounds 9"],
    ["ghost_kills", "worst_ms 400", "worst_ms 6001"],
    ["ghost_kills", "load_status", "left 1 in turn 5\nload_status"],
    ["ghost_rpc", "loaded 1000", "loaded "],
    ["ghost_rpc", "agent: CPU 1", "silence"],
    ["ghost_calls", "ok  this", "FAIL  this"],
    ["ghost_calls", "0 failed", "1 failed"],
    ["ghost_contract", "ok  this", "FAIL  this: 1, want 2"],
    ["ghost_contract", "0 failed", "2 failed"],
  ];
  for (const [name, stdout] of Object.entries(GHOST_OUTPUT)) {
    assertEquals(judge(name, { stdout }).faults, [], name);
  }
  for (const [name, from, to] of faulty) {
    const stdout = GHOST_OUTPUT[name].replace(from, to);
    assert(judge(name, { stdout }).faults.length > 0, `${name}: ${to}`);
  }
});

Deno.test("jobs: scx_bench compares agents, and takes less where instructions are time", () => {
  const job = JOBS.find(({ name }) => name === "scx_bench")!;
  assert(job.script(CONTEXT).includes("--duration_ms 1500"));
  assert(job.script({ ...CONTEXT, is_icount: true }).includes("--duration_ms 300"));
  const kinds = ["yield,2", "yield,30", "pingpong,2", "pingpong,20"];
  const speeds = { default: 800, fifo: 400, floor: 125, ghost: 100 };
  const rows = Object.entries(speeds).flatMap(([label, speed]) =>
    kinds.map((kind) => `${label},x,${kind},1.5,${speed}`)
  );
  const ends = ["loaded enabled", "agent_status 0", "after disabled"];
  const { faults, detail } = judge("scx_bench", { stdout: [...rows, ...ends].join("\n") });
  assertEquals(faults, []);
  assert(
    detail.startsWith("yield 2: 100/s, 0.125 of default, 0.250 of BPF, 0.800 of an agent in C"),
  );
  const without = [...rows.filter((row) => !row.startsWith("floor")), ...ends].join("\n");
  assertEquals(judge("scx_bench", { stdout: without }).faults, ["12 of 16 rates"]);
});

const SCX_SOL_OUTPUT = "loaded enabled\n" +
  "policy 7, 24 threads ended after 900 ms\n".repeat(2) +
  "load_status 0\nrole 0\nrole 1\nwanted_percent 60\nwanted_status 0\nexp_status 0\n" +
  EXP_NAMES.map((name) => `exp: ${name}\n`).join("") +
  "agent_status 0\nagent: Done!\nafter disabled\nloaded enabled\ngone_ms 900\n" +
  "kill_load_status 0\nagent_status 1\nafter disabled\n";

Deno.test("jobs: a global agent under sched_ext gives its CPU up, and the role moves", () => {
  assertEquals(judge("scx_sol", { stdout: SCX_SOL_OUTPUT }).faults, []);
  const wrong = [
    ["wanted_percent 60", "wanted_percent 5"],
    ["role 1", "role 0"],
    ["role 1\n", ""],
    ["exp: BusyExp", "exp: silence"],
    ["exp_status 0", "exp_status 1"],
    ["agent: Done!", "agent: silence"],
    ["kill_load_status 0", "kill_load_status 124"],
  ];
  for (const [from, to] of wrong) {
    const stdout = SCX_SOL_OUTPUT.replace(from, to);
    assertEquals(judge("scx_sol", { stdout }).faults.length, 1, to);
  }
});
