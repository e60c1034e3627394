import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { main, saturationRps } from "./main.ts";
import { type LoadPoint, meanServiceNs, PAPER_LOAD, runPoint, type System } from "./model.ts";
import { plotPage } from "./plot.ts";

const TIME = { seed: 3, warmup_ns: 20_000_000, measured_ns: 100_000_000 };

function point(system: System, offered_rps: number, p99_ns: number): LoadPoint {
  return { system, offered_rps, served_rps: offered_rps, p50_ns: 1, p99_ns, backlog_rps: 0 };
}

Deno.test("shinjuku: the same seed gives the same numbers, another seed others", () => {
  const first = runPoint("shinjuku", 200_000, PAPER_LOAD, TIME);
  assertEquals(runPoint("shinjuku", 200_000, PAPER_LOAD, TIME), first);
  const other = runPoint("shinjuku", 200_000, PAPER_LOAD, { ...TIME, seed: 4 });
  assert(other.p99_ns !== first.p99_ns || other.served_rps !== first.served_rps);
});

Deno.test("shinjuku: at 300 krps preemption keeps p99 in microseconds, FIFO does not", () => {
  const fifo = runPoint("fifo", 300_000, PAPER_LOAD, TIME);
  const preemptive = runPoint("shinjuku", 300_000, PAPER_LOAD, TIME);
  assertLess(preemptive.p99_ns, 100_000);
  assertGreater(fifo.p99_ns, 10 * preemptive.p99_ns);
  // Both serve what arrives: the difference is who waits for whom.
  assertLess(Math.abs(preemptive.served_rps / 300_000 - 1), 0.05);
});

Deno.test("shinjuku: without a slice the policy is as bad as FIFO", () => {
  const endless = { ...PAPER_LOAD, slice_ns: Infinity };
  assertGreater(runPoint("shinjuku", 300_000, endless, TIME).p99_ns, 500_000);
});

Deno.test("shinjuku: more than the ideal load is not served", () => {
  const even = { ...PAPER_LOAD, short_ns: 100_000, long_ns: 100_000 };
  const ideal_rps = even.worker_cpu_count * 1e9 / meanServiceNs(even);
  assertEquals(ideal_rps, 200_000);
  const over = runPoint("shinjuku", 250_000, even, TIME);
  assertLess(over.served_rps, ideal_rps);
  assertGreater(over.served_rps, 0.9 * ideal_rps);
  assertGreater(over.backlog_rps, 40_000);
});

Deno.test("saturationRps() is the last load before the queue grows", () => {
  const points = [
    point("fifo", 100, 5_000),
    point("fifo", 200, 400_000),
    point("fifo", 300, 2_000_000),
    point("fifo", 400, 5_000),
    point("shinjuku", 300, 5_000),
  ];
  assertEquals(saturationRps(points, "fifo"), 200);
  assertEquals(saturationRps(points, "shinjuku"), 300);
  assertEquals(saturationRps(points, "default"), 0);
});

Deno.test("the plot has every curve, the paper's marks and the summary", () => {
  const page = plotPage([point("fifo", 100_000, 5_000), point("shinjuku", 1, 2)], "the summary");
  for (const text of ["paper: ghOSt", "the summary", "100 krps, p99 5.0 us", "no preemption"]) {
    assert(page.includes(text), text);
  }
  assert(!page.includes("http"), "nothing from elsewhere");
});

Deno.test("experiment shinjuku: bad flags end with status 2 and write nothing", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const files = [`--csv=${folder}/a.csv`, `--html=${folder}/a.html`];
    assertEquals(main(["--seed=x", ...files]), 2);
    assertEquals(main(["--step_krps=0", ...files]), 2);
    assertEquals(main(["--nonsense", ...files]), 2);
    assertEquals(main([`--csv=${folder}/none/a.csv`, files[1]]), 2);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
