import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { LatencyBuckets } from "../../ffi/load.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { batchEnclave, toolHost } from "../../util/test_enclave.ts";
import { SimLoadRun } from "../sim_load.ts";
import { steppedSubTest } from "../sim_steps.ts";
import { pingPongLoad, yieldLoad } from "./load.ts";
import { main } from "./main.ts";
import { reportText } from "./report.ts";

const QUICK = ["--duration_ms=100", "--warm_up_ms=5"];

Deno.test("yields and wake-ups are counted in an enclave and in the default class", async () => {
  for (const [name, ...place] of [["scx"], ["default", "--cpus=0"], ["default"]]) {
    const host = toolHost([batchEnclave({ cpus: () => [0] })]);
    const args = ["--class", name, ...place, "--threads=2,3", "--pairs=2", "--format=json"];
    assertEquals([await main([...QUICK, ...args], host), host.err], [0, []]);
    const { schema, rows } = JSON.parse(host.out[0]);
    assertEquals(schema, 1);
    const facts = rows.map((row: Record<string, unknown>) =>
      [row.class, row.bench, row.thread_count].join(" ")
    );
    assertEquals(facts, [`${name} yield 2`, `${name} yield 3`, `${name} pingpong 4`]);
    for (const { per_second, seconds } of rows) assert(per_second > 10 && seconds >= 0.1);
    assert(rows[2].wake_p50_ns > 0 && rows[2].wake_p50_ns <= rows[2].wake_p99_ns);
  }
});

Deno.test("threads that the enclave refuses end the run with the reason", async () => {
  const host = toolHost([batchEnclave({ join: () => -1 })]);
  assertEquals(await main([...QUICK, "--bench=yield", "--threads=2"], host), 1);
  assertMatch(host.err[0], /^microbench: yield with 2 threads: .*can enter ghOSt \(EPERM\); /);
});

Deno.test("the output is a table, CSV with quotes where needed, or JSON", () => {
  const row = {
    label: 'ours, "new"',
    class: "ghost",
    bench: "pingpong",
    thread_count: 2,
    seconds: 1,
    per_second: 123456.7,
    wake_p50_ns: 1500,
    wake_p99_ns: 20000,
    wake_max_ns: NaN,
  };
  assertEquals(
    reportText([row], "csv").split("\n")[1],
    '"ours, ""new""",ghost,pingpong,2,1,123456.7,1500,20000,',
  );
  assertStringIncludes(reportText([row], "text"), "123,457   1.50 us  20.0 us    -");
  assertEquals(JSON.parse(reportText([row], "json")).rows[0].per_second, 123456.7);
});

Deno.test("bad input is one line and status 2", async () => {
  const cases = [
    ["--class=nonsense"],
    ["--bench=nonsense"],
    ["--threads=0"],
    ["--pairs=1,,2"],
    ["--duration_ms=0"],
    ["--format=nonsense"],
    ["--cpus=x"],
    ["--nonsense"],
  ];
  for (const args of cases) {
    const host = toolHost([batchEnclave()]);
    assertEquals([args, await main(args, host)], [args, 2]);
    assertEquals([host.out, host.err.length, host.err[0].includes("\n")], [[], 1, false]);
  }
  const host = toolHost([]);
  assertEquals(await main(["--class=default"], host), 2);
  assertStringIncludes(host.err[0], "--class default needs CPUs");
});

Deno.test("a percentile of buckets is within 1.6 % above the sample", () => {
  const buckets = new LatencyBuckets();
  assertEquals(buckets.percentile(50), NaN);
  buckets.sums[5] = 98;
  // 1,000,000 ns: 2^19 and more; 64 buckets of 8192 ns each to 2^20.
  buckets.sums[(19 - 6 + 1) * 64 + Math.floor((1_000_000 - 2 ** 19) / 8192)] = 2;
  assertEquals([buckets.percentile(50), buckets.percentile(98)], [5, 5]);
  const p99 = buckets.percentile(99);
  assert(p99 >= 1_000_000 && p99 < 1_016_000, `${p99}`);
});

Deno.test("the same loads run on the simulated kernel until they are stopped", () => {
  const kernel = new SimKernel({ cpus: 2, seed: 1, status_word_capacity: 256 });
  const enclave = kernel.createEnclave([0, 1], kernel.abi.version) as SimEnclave;
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { task_capacity: 64, queue_elem_count: 1024 });
  const sub_tests = [
    steppedSubTest(yieldLoad(4, true), 4, 2_000_000),
    steppedSubTest(pingPongLoad(3, true), 6, 2_000_000),
  ];
  const run = new SimLoadRun(kernel.machine, enclave, { name: "t", summary: "", sub_tests }, 1);
  while (run.advance(1000));
  assertEquals(run.results.map(({ name, faults }) => [name, faults]), [
    ["yield", []],
    ["pingpong", []],
  ]);
  const [yields, pairs] = run.results;
  for (const { time_ns } of [yields, pairs]) {
    assert(time_ns >= 2_000_000 && time_ns < 2_200_000, `${time_ns}`);
  }
  assert(yields.commit_count > 500, `${yields.commit_count} commits`);
  assert(pairs.wake_count > 200, `${pairs.wake_count} wake-ups`);
});
