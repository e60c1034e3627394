import { assert, assertEquals, assertGreater, assertInstanceOf, assertLess } from "@std/assert";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { cpuOrder } from "./cpu_order.ts";
import { main, scalabilityPoints } from "./main.ts";
import { headText, rowText, type ScalabilityOptions, scalabilityOptions } from "./options.ts";
import { agentArgs } from "./real_point.ts";
import { simElapsedNs, smtCpus } from "./sim_point.ts";
import { main as peerSweep, peerPoint } from "./peer_sweep.ts";
import { main as sweep, spread } from "./sweep.ts";

function read(host_cpus: number, ...args: string[]): ScalabilityOptions {
  const options = scalabilityOptions(args, host_cpus);
  assert(options !== "help" && !(options instanceof UsageError), String(options));
  return options;
}

Deno.test("scalability: packed, both threads of a core come before the next core", () => {
  const options = { cpu_count: 8, global_cpu: 1, skips_cpu0: true, packs_smt: true };
  assertEquals(cpuOrder(options), [1, 4, 5, 2, 6, 3, 7]);
  assertEquals(cpuOrder({ ...options, skips_cpu0: false }), [1, 0, 4, 5, 2, 6, 3, 7]);
  assertEquals(cpuOrder({ ...options, cpu_count: 5, global_cpu: 4 }), [4, 2, 1, 3]);
});

Deno.test("scalability: sparse, a socket's cores, their siblings, then the other socket", () => {
  const options = { cpu_count: 8, global_cpu: 1, skips_cpu0: true, packs_smt: false };
  assertEquals(cpuOrder(options), [1, 4, 5, 2, 3, 6, 7]);
  assertEquals(cpuOrder({ ...options, global_cpu: 5, skips_cpu0: false }), [
    ...[5, 0, 1, 4, 2, 3, 6, 7],
  ]);
  const odd = cpuOrder({ ...options, cpu_count: 7 });
  assertEquals([...odd].sort(), [1, 2, 3, 4, 5, 6], "every CPU once");
});

Deno.test("scalability: a point has threads and yields for its CPUs, the agent's not counted", () => {
  const points = scalabilityPoints(read(6, "sol", "--total_loops=1000"));
  assertEquals(points.map((point) => point.task_cpu_count), [1, 2, 3, 4]);
  assertEquals(points.map((point) => point.cpus.length), [2, 3, 4, 5]);
  assertEquals(points.map((point) => point.thread_count), [5, 10, 15, 20]);
  assertEquals(points.map((point) => point.loop_count), [200, 100, 66, 50]);
  assert(points.every((point) => point.cpus[0] === 1 && !point.cpus.includes(0)));
  const all = scalabilityPoints(read(3, "--noskip_cpu0", "edf", "--threads_per_cpu=2"));
  assertEquals(all.map((point) => point.task_cpu_count), [1, 2]);
});

Deno.test("scalability: lines before the results, and a row of them, as upstream prints them", () => {
  const options = read(8, "shinjuku", "--total_loops", "600");
  assertEquals(
    headText(options),
    "testing sched shinjuku\nglobal agent on cpu 1\ntesting up to 6 worker cpus\n" +
      "nr_loops total: 600\nnr_threads per cpu: 5\nskipping cpu 0\n\n" +
      "nr_task_cpus,scheds_per_sec,loops_per_thread\n",
  );
  assert(headText(read(8, "sol", "--noskip_cpu0")).includes("\nnot skipping cpu 0\n"));
  const point = { task_cpu_count: 2, cpus: [1, 2, 3], thread_count: 10, loop_count: 60 };
  assertEquals(rowText(point, 300_000), "2,2000000.000000,60\n");
  assertEquals(rowText({ ...point, loop_count: 0 }, 0), "2,0.000000,0\n");
});

Deno.test("scalability: bad arguments are told in one line", () => {
  const wrong: [number, string[], string][] = [
    [8, [], "Need a scheduler type"],
    [8, ["fifo"], "Unrecognized scheduler 'fifo'"],
    [2, ["sol"], "this host has 2 CPUs, and 3 are needed"],
    [8, ["sol", "--max_cpus=9"], "--max_cpus"],
    [8, ["sol", "--min_cpus=7", "--max_cpus=6"], "--min_cpus"],
    [8, ["sol", "--global_cpu=0"], "--global_cpu"],
    [8, ["sol", "--global_cpu=4", "--max_cpus=4"], "--global_cpu"],
    [8, ["sol", "--threads_per_cpu=0"], "--threads_per_cpu"],
    [8, ["sol", "edf"], "unexpected argument edf"],
  ];
  for (const [host_cpus, args, text] of wrong) {
    const fault = scalabilityOptions(args, host_cpus);
    assertInstanceOf(fault, UsageError, args.join(" "));
    assert(fault.message.includes(text), fault.message);
  }
  assertEquals(read(2, "sol", "--kernel=sim", "--max_cpus=64").max_cpus, 64);
});

Deno.test("scalability: arguments of the agents; Shinjuku's takes a range of CPUs only", () => {
  assertEquals(agentArgs("edf", [1, 4, 2], "ghost"), [
    "--ghost_cpus=1-2,4",
    "--globalcpu=1",
    "--kernel=ghost",
  ]);
  assertEquals(agentArgs("shinjuku", [2, 3, 1], "auto"), [
    "--firstcpu=1",
    "--ncpus=3",
    "--preemption_time_slice=50us",
    "--globalcpu=2",
    "--kernel=auto",
  ]);
  assertInstanceOf(agentArgs("shinjuku", [1, 4], "auto"), OperatingError);
});

Deno.test("scalability: simulated, more CPUs give more until the agent is the limit", () => {
  const cpus = cpuOrder({ cpu_count: 64, global_cpu: 1, skips_cpu0: true, packs_smt: false });
  for (const policy of ["edf", "shinjuku", "sol"] as const) {
    const rate = (count: number): number => {
      const thread_count = 5 * count;
      const loop_count = Math.ceil(5000 / thread_count);
      const point = {
        task_cpu_count: count,
        cpus: cpus.slice(0, count + 1),
        thread_count,
        loop_count,
      };
      const elapsed_ns = simElapsedNs(policy, point, 64, 1);
      assertEquals(simElapsedNs(policy, point, 64, 1), elapsed_ns, "the same again");
      return thread_count * loop_count / elapsed_ns * 1e9;
    };
    const [one, four, forty] = [rate(1), rate(4), rate(40)];
    assertGreater(four, 2 * one, policy);
    assertGreater(forty, 1_000_000, policy);
    // Groups of ten take 3964 ns of the agent: no policy can be above this by much.
    assertLess(forty, 3_000_000, policy);
  }
});

Deno.test("scalability: simulated CPUs have siblings as Linux numbers them", () => {
  const rows = smtCpus(5);
  assertEquals(rows.map(({ siblings }) => siblings), [[0, 2], [1, 3], [0, 2], [1, 3], [4]]);
  assertEquals(rows.map(({ core }) => core), [0, 1, 0, 1, 4]);
  assertEquals(rows.map(({ smt_idx }) => smt_idx), [0, 0, 1, 1, 0]);
});

async function withFolder(run: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("global_scalability: results on sim, in a file", () =>
  withFolder(async (folder) => {
    const args = ["sol", "--kernel=sim", "--max_cpus=4", "--total_loops=1000"];
    assertEquals(await main([...args, `--o=${folder}/out`]), 0);
    const lines = Deno.readTextFileSync(`${folder}/out`).trimEnd().split("\n");
    assertEquals(lines[0], "testing sched sol");
    assertEquals(lines.slice(-2).map((line) => line.split(",")[0]), ["1", "2"]);
    assertEquals(await main([...args, `--o=${folder}/none/out`]), 2);
    assertEquals(await main(["none", "--kernel=sim", `--o=${folder}/out`]), 2);
  }));

Deno.test("experiment global_scalability: points and a plot that says it is simulated", () =>
  withFolder((folder) => {
    const args = ["--max_cpus=34", "--points=3", "--total_loops=2560", "--seed=9"];
    assertEquals(sweep([...args, `--out=${folder}`]), 0);
    const rows = Deno.readTextFileSync(`${folder}/global_scalability.csv`).trimEnd().split("\n");
    assertEquals(rows.length, 1 + 3 * 4);
    assert(rows[1].startsWith("edf,9,1,"), rows[1]);
    const page = Deno.readTextFileSync(`${folder}/global_scalability.html`);
    assert(page.includes("simulated, not measured") && page.includes("paper, Haswell"));
    assert(!page.includes("paper, Skylake"), "that is beyond this machine");
    assertEquals(sweep(["--points=0", `--out=${folder}`]), 2);
  }));

Deno.test("scalability: against the native peer, groups are faster than single transactions", () => {
  const [one, many] = [peerPoint(1, 50e6), peerPoint(16, 50e6)];
  assertGreater(one.rate, 10_000);
  assertGreater(many.rate, one.rate);
  assertGreater(many.agent_ns, 0);
});

Deno.test("experiment global_scalability_peer: says what it is measured against", () =>
  withFolder((folder) => {
    assertEquals(peerSweep(["--ms=0", `--out=${folder}`]), 2);
    assertEquals(peerSweep(["--max_cpus=9", "--points=2", "--ms=20", `--out=${folder}`]), 0);
    const rows = Deno.readTextFileSync(`${folder}/global_scalability_peer.csv`).trimEnd();
    assertEquals(rows.split("\n").map((row) => row.split(",")[1]), ["nr_task_cpus", "1", "2", "8"]);
    const page = Deno.readTextFileSync(`${folder}/global_scalability_peer.html`);
    assert(page.includes("which is no kernel") && !page.includes("simulated"));
  }));

Deno.test("spread() gives many small numbers, 1 and the most among them", () => {
  assertEquals(spread(110, 4), [1, 7, 28, 62, 110]);
  assertEquals(spread(1, 16), [1]);
});
