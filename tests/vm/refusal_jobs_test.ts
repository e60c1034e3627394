import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JobContext } from "./job.ts";
import { NPM_JOBS } from "./npm_job.ts";
import { REFUSAL_JOBS } from "./refusal_jobs.ts";
import { SCX_JOBS } from "./scx_jobs.ts";

const CONTEXT: JobContext = {
  deno: "/deno",
  std_flags: [],
  programs: "/p",
  scx: "/s",
  kernel_release: "7.3.4-cloud",
};
const OWN: JobContext = { ...CONTEXT, kernel_release: undefined };
const [VERDICT] = REFUSAL_JOBS;
const [NPM] = NPM_JOBS;

function faultsOf(job: typeof VERDICT, stdout: string, context = CONTEXT): readonly string[] {
  const result = { name: job.name, status: 0, is_timed_out: false, elapsed_ms: 1, stderr: "" };
  return job.judge({ ...result, stdout }, context).faults;
}

function doctor(...blocked_by: string[]): string {
  const is_ready = blocked_by.length === 0;
  return JSON.stringify({ schema: 1, kernels: [{ kernel: "scx", is_ready, blocked_by }] });
}

const NO_BTF = "no_btf_status 1\nno_btf_said a: Linux 7 has no BTF (/sys/kernel/btf/vmlinux); " +
  `boot a kernel with CONFIG_DEBUG_INFO_BTF=y\nno_btf_doctor ${doctor("btf")}\n` +
  "no_btf_after disabled\n";

Deno.test("scx_verdict: with BTF hidden the agent and the doctor must name it", () => {
  const good = `plain_doctor ${doctor()}\nplain_after disabled\n${NO_BTF}`;
  assertEquals(faultsOf(VERDICT, good), []);
  const wrong: [string, string][] = [
    ["no_btf_status 1", "no_btf_status 0"],
    ["no_btf_status 1", "no_btf_active enabled\nno_btf_status 0"],
    ["no_btf_after disabled", "no_btf_after enabled"],
    ["has no BTF", "refuses the program"],
    [`no_btf_doctor ${doctor("btf")}`, `no_btf_doctor ${doctor()}`],
    [`no_btf_doctor ${doctor("btf")}`, `no_btf_doctor ${doctor("user")}`],
    [`plain_doctor ${doctor()}`, `plain_doctor ${doctor("btf")}`],
    [NO_BTF, ""],
  ];
  for (const [from, to] of wrong) {
    assert(faultsOf(VERDICT, good.replace(from, to)).length > 0, to);
  }
});

Deno.test("scx_verdict: on another kernel the agent must do what the doctor foretells", () => {
  assertStringIncludes(VERDICT.script(OWN), "\nlook plain\n");
  assertStringIncludes(VERDICT.script(CONTEXT), "\nask plain\n");
  const starts = "plain_active enabled\nplain_status 0\nplain_said Initializing...\n" +
    "plain_after disabled\n";
  const refused = "plain_status 1\nplain_said a: Linux 6.18 lacks it; boot 7.3\n" +
    "plain_after disabled\n";
  assertEquals(faultsOf(VERDICT, `${starts}plain_doctor ${doctor()}\n`, OWN), []);
  assertEquals(faultsOf(VERDICT, `${refused}plain_doctor ${doctor("btf")}\n`, OWN), []);
  const none = refused.replace("disabled", "none");
  assertEquals(faultsOf(VERDICT, `${none}plain_doctor ${doctor("sched_ext")}\n`, OWN), []);
  const wrong = [
    "",
    `${refused}plain_doctor ${doctor()}\n`,
    `${starts}plain_doctor ${doctor("btf")}\n`,
    `${refused.replace("status 1", "status 3")}plain_doctor ${doctor("btf")}\n`,
    `${refused}plain_said a: and: more; of it\nplain_doctor ${doctor("btf")}\n`,
    `${refused.replace("disabled", "enabled")}plain_doctor ${doctor("btf")}\n`,
  ];
  for (const stdout of wrong) assert(faultsOf(VERDICT, stdout, OWN).length > 0, stdout);
});

const NPM_OUTPUT = "loaded enabled\ngood_status 0\ngood_ms 900\npolicies node 7 7\n" +
  "policies node 7\npolicies npm_test 7 7\n# pass 2\n# fail 0\nbad_status 42\nbad_fail 1\n" +
  'tasks       "task_count": 0,\nagent_status 0\nafter disabled\nleft 0\n';

Deno.test("scx_npm: both statuses, all threads' classes, and what is left are looked at", () => {
  assertEquals(faultsOf(NPM, NPM_OUTPUT), []);
  const wrong: [string, string][] = [
    ["good_status 0", "good_status 1"],
    ["policies node 7 7", "policies node 7 0"],
    ["policies node 7\n", ""],
    ["# pass 2", "# pass 1"],
    ["bad_status 42", "bad_status 1"],
    ["bad_fail 1", "bad_fail 0"],
    ['"task_count": 0', '"task_count": 3'],
    ["left 0", "left 2"],
    ["after disabled", "after enabled"],
  ];
  for (const [from, to] of wrong) {
    assertEquals(faultsOf(NPM, NPM_OUTPUT.replace(from, to)).length, 1, to);
  }
});

const REFUSED = [
  "taken 1",
  "taken_said a: another sched_ext scheduler is loaded: fifo; end it",
  "taken_ops fifo",
  "taken_doctor fail    taken by scheduler fifo (enabled)",
  "uncapped 1",
  "uncapped_said a: not permitted; run with CAP_BPF",
  "uncapped_doctor fail    missing",
  "uncapped_state disabled",
  "unniced 1",
  "unniced_said a: CAP_SYS_NICE is missing; run as root",
  "unniced_state disabled",
  "loaded enabled",
  "second 1",
  "second_said a: one agent process at a time can have sched_ext",
  "own 1",
  "agent_status 0",
  "after disabled",
];

Deno.test("scx_refusals: whatever agent or doctor does not say is a fault", () => {
  const job = SCX_JOBS.find(({ name }) => name === "scx_refusals")!;
  assertEquals(faultsOf(job, REFUSED.join("\n")), []);
  for (const line of REFUSED.filter((one) => !one.startsWith("own"))) {
    const without = REFUSED.filter((one) => one !== line).join("\n");
    assert(faultsOf(job, without).length > 0, line);
  }
  assert(faultsOf(job, REFUSED.join("\n").replace("own 1", "own 0")).length > 0);
});
