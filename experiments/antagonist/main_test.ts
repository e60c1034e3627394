import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runProgram, startProgram } from "../../tests/process.ts";
import { onlineCpus } from "../shared/host_cpus.ts";

const PROGRAM = "experiments/antagonist/main.ts";
const ONE_THREAD = ["--num_threads", "1", "--cpus", "1"];

if (onlineCpus().isSet(1)) {
  Deno.test("antagonist: a run prints options, threads and what they got", async () => {
    const args = [...ONE_THREAD, "--work_share", "0.1", "--experiment_duration", "500ms"];
    const { code, stdout, stderr } = await runProgram(PROGRAM, args);
    assertEquals(code, 0, stderr);
    const lines = stdout.split("\n");
    assertEquals(lines.slice(0, 9), [
      "cpus: 1",
      "experiment_duration: 500ms",
      "ghost_qos: 2",
      "num_threads: 1",
      "print_format: pretty",
      "scheduler: cfs",
      "work_share: 0.1",
      "",
      "Initializing...",
    ]);
    assertEquals(lines[9].replace(/\d{2,}/, "N"), "Worker (SID 0, TID: N, affined to CPU 1)");
    assertEquals(lines.slice(10, 12), ["Timer fired...", "Stats:"]);
    const [worker, run_ns, share] = lines[14].trim().split(/ +/);
    assertEquals(worker, "0");
    assert(Number(run_ns) > 0 && Number(share) < 0.12, lines[14]);
  });

  Deno.test("antagonist: the first SIGINT ends an endless run with its results", async () => {
    const program = await startProgram(PROGRAM, [...ONE_THREAD, "--print_format=csv"]);
    await program.waitFor("Worker (SID 0");
    program.child.kill("SIGINT");
    const { code, stdout } = await program.ended();
    assertEquals(code, 0);
    const results = stdout.slice(stdout.indexOf("Stats:")).trimEnd().split("\n");
    assertEquals(results.slice(1).map((line) => line.split(",")[0]), ["0", "Total"]);
  });
} else {
  Deno.test("antagonist: runs are skipped, this host has no CPU 1", () => {});
}

Deno.test("antagonist: bad flags end with status 2 and one line", async () => {
  const { code, stdout, stderr } = await runProgram(PROGRAM, ["--work_share=2"]);
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, "antagonist: --work_share");
});
