import { assert, assertEquals } from "@std/assert";
import { Soak } from "./soak.ts";

const DURATION_MS = 1500;
/** One look at the clock may be this late, when the machine itself is kept from running. */
const LATE_NS = 30e6;

/** What the kernel says of a thread: time on a CPU, and time in which it waited for one. */
function schedstat(tid: number): { run_ns: number; wait_ns: number } {
  const text = Deno.readTextFileSync(`/proc/self/task/${tid}/schedstat`);
  const [run_ns, wait_ns] = text.split(" ").map(Number);
  return { run_ns, wait_ns };
}

async function soak(work_share: number): Promise<void> {
  const threads = Soak.create([-1], work_share);
  assert(threads instanceof Soak, String(threads));
  const [tid] = threads.tids();
  threads.go();
  await new Promise((resolve) => setTimeout(resolve, DURATION_MS));
  const kernel = schedstat(tid);
  const runtime_ns = await threads.stop();
  const [run_ns] = threads.runNs();
  threads.free();
  const expected_ns = runtime_ns * work_share;
  // Its own count is the kernel's (the thread runs on while both are read).
  assert(run_ns >= kernel.run_ns * 0.95 - 1e6, `${run_ns}, the kernel says ${kernel.run_ns}`);
  assert(run_ns <= expected_ns * 1.005 + LATE_NS, `${run_ns} of ${expected_ns}`);
  // What is missing is time in which other threads had the CPU.
  const least_ns = (expected_ns - kernel.wait_ns) * 0.9 - LATE_NS;
  assert(run_ns >= least_ns, `${run_ns} of ${expected_ns}, waited for ${kernel.wait_ns}`);
}

Deno.test("orchestrator_test OrchestratorTests: a thread uses its share of a CPU", async (t) => {
  for (const share of [0.1, 0.25, 0.9, 1]) await t.step(`${share}`, () => soak(share));
});

Deno.test("antagonist: threads that were never let go can be stopped, and have run for nothing", async () => {
  const threads = Soak.create([-1, -1], 1);
  assert(threads instanceof Soak, String(threads));
  assertEquals(new Set(threads.tids()).size, 2);
  assertEquals(await threads.stop(), 0);
  assertEquals(threads.runNs(), [0, 0]);
  threads.free();
});

Deno.test("antagonist: a CPU that is not there is told", () => {
  const fault = Soak.create([500], 1);
  assert(fault instanceof Error && fault.message.includes("EINVAL"), String(fault));
});
