import { assert, assertEquals } from "@std/assert";
import type { JobResult } from "./guest.ts";
import { guestJob, type JobContext, JOBS, judgeJob } from "./jobs.ts";

const CONTEXT: JobContext = {
  deno: "/opt/my deno",
  std_flags: ["--import-map=/m"],
  programs: "/p",
  scx: "/s",
  library_folders: ["/l"],
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

Deno.test("jobs: an agent that does not name what it found is not honest", () => {
  const stderr = "fifo_per_cpu_agent: found sched_ext on Linux 7.3.4-cloud, but; simulate\n";
  const stdout = "disabled\n";
  assertEquals(judge("real_agent", { stdout, stderr }).faults, []);
  assertEquals(judge("real_agent", { stdout, stderr: "no\n" }).faults.length, 2);
  assertEquals(judge("real_agent", { stdout, stderr: `${stderr}more\n` }).faults.length, 1);
  assertEquals(judge("real_agent", { stdout: "enabled\n", stderr }).faults.length, 1);
});

Deno.test("jobs: a job that the guest did not end, or that took too long, fails", () => {
  assertEquals(judge("selftest", { status: undefined }).faults, ["the guest ended before it"]);
  const late = judge("selftest", { status: 124, is_timed_out: true }).faults;
  assertEquals(late, ["took more than 180 s"]);
  assertEquals(judge("selftest", { status: 3 }).faults, ["exit status 3"]);
});

Deno.test("jobs: three good runs of the probe and an unloaded scheduler are asked for", () => {
  const run = "new 21 ...\nload status 0 after 873 ms: good\n";
  const good = judge("scx_probe", { stdout: `${run.repeat(3)}disabled\n` });
  assertEquals(good, { faults: [], detail: "873 ms, 873 ms, 873 ms" });
  assertEquals(judge("scx_probe", { stdout: `${run.repeat(2)}disabled\n` }).faults.length, 1);
  assertEquals(judge("scx_probe", { stdout: `${run.repeat(3)}enabled\n` }).faults.length, 1);
  const bad = run.replace("good", "BAD");
  assertEquals(judge("scx_probe", { stdout: `${bad.repeat(3)}disabled\n` }).faults.length, 1);
});

Deno.test("jobs: threads that do not finish after their agent's end are a fault", () => {
  const stdout = "loaded enabled\nload runs\nunloaded disabled\n".repeat(5);
  assertEquals(judge("scx_kill", { stdout }).faults, []);
  assertEquals(judge("scx_kill", { stdout: `${stdout}stuck 77\n` }).faults.length, 1);
  assertEquals(
    judge("scx_kill", { stdout: stdout.replace("disabled", "enabled") }).faults.length,
    1,
  );
});

Deno.test("jobs: a hung agent has to be ejected in time, with a reason", () => {
  const stdout = "ejected_ms 5400\ncomplete 9 exit_kind 1026 runnable task stall x\n" +
    "load status 0 after 9000 ms: BAD\n";
  assertEquals(judge("scx_hang", { stdout }), { faults: [], detail: "ejected after 5400 ms" });
  const wrong = [["5400", "7600"], ["5400", "20"], ["1026", "0"], ["status 0", "status -1"]];
  for (const [from, to] of wrong) {
    assertEquals(judge("scx_hang", { stdout: stdout.replace(from, to) }).faults.length, 1, to);
  }
});
