import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { type FigurePoint, saturationRps, throughputRps } from "./figure.ts";
import { FIGURE_6A, main } from "./main.ts";
import { meanServiceNs, PAPER_LOAD, runPoint, type System } from "./model.ts";
import { FIGURE_6BC, main as shenango } from "./shenango.ts";

const TIME = { seed: 3, warmup_ns: 20_000_000, measured_ns: 100_000_000 };

function point(system: System, offered_rps: number, p99_ns: number): FigurePoint {
  return {
    line: system,
    system,
    offered_rps,
    served_rps: offered_rps,
    p50_ns: 1,
    p99_ns,
    backlog_rps: 0,
    batch_share: 0,
  };
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

Deno.test("throughputRps() is what is served of a load beyond the ideal, else unknown", () => {
  const over = { ...point("shinjuku", 445_000, 1), served_rps: 345_000 };
  assertEquals(throughputRps([point("shinjuku", 340_000, 1), over], "shinjuku"), 345_000);
  assertEquals(throughputRps([point("shinjuku", 340_000, 1)], "shinjuku"), NaN);
  assertEquals(throughputRps([over], "fifo"), NaN);
});

Deno.test("the plot has every curve, the paper's marks and the summary", () => {
  const points = [point("fifo", 100_000, 5_000), point("shinjuku", 1, 2)];
  const page = FIGURE_6A.page(points, "the summary");
  const note = "no preemption: 100 load (krps), 5 p99 (us)";
  for (const text of ["paper: ghOSt", "the summary", note, "simulated, not measured"]) {
    assert(page.includes(text), text);
  }
  assert(!page.includes("http"), "nothing from elsewhere");
});

Deno.test("shinjuku: batch threads of a lower QoS get what requests leave, and delay none", () => {
  const alone = runPoint("shinjuku", 200_000, PAPER_LOAD, TIME);
  const shared = runPoint("shinjuku", 200_000, { ...PAPER_LOAD, batch_count: 20 }, TIME);
  assertEquals(alone.batch_share, 0);
  const left = 1 - 200_000 * meanServiceNs(PAPER_LOAD) / (20 * 1e9);
  assertLess(Math.abs(shared.batch_share - left), 0.08);
  assertLess(shared.p99_ns, 2 * alone.p99_ns);
  assertLess(Math.abs(shared.served_rps / alone.served_rps - 1), 0.01);
});

Deno.test("experiment shinjuku_shenango: its table, points and plots", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const args = ["--ms=20", "--step_krps=100", "--max_krps=200", "--seed=4", `--out=${folder}`];
    assertEquals(shenango(args), 0);
    const csv = Deno.readTextFileSync(`${folder}/shinjuku_shenango.csv`);
    assertEquals(shenango(args), 0);
    assertEquals(Deno.readTextFileSync(`${folder}/shinjuku_shenango.csv`), csv, "the same again");
    const rows = csv.trimEnd().split("\n").map((row) => row.split(","));
    assertEquals(rows.map((row) => row.slice(0, 3).join()), [
      "system,seed,offered_rps",
      "alone,4,100000",
      "alone,4,200000",
      "with batch,4,100000",
      "with batch,4,200000",
    ]);
    assertGreater(Number(rows[3][6]), Number(rows[4][6]));
    const page = Deno.readTextFileSync(`${folder}/shinjuku_shenango.html`);
    assertEquals(page.match(/<svg/g)?.length, 2);
    assert(page.includes("simulated, not measured") && page.includes("seed 4"));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("figures: bad flags end with status 2 and write nothing", () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const [figure, run] of [[FIGURE_6A, main], [FIGURE_6BC, shenango]] as const) {
      assertEquals(run(["--seed=x", `--out=${folder}`]), 2, figure.name);
      assertEquals(run(["--step_krps=0", `--out=${folder}`]), 2);
      assertEquals(run(["--step_krps=9", "--max_krps=8", `--out=${folder}`]), 2);
      assertEquals(run(["--nonsense", `--out=${folder}`]), 2);
      assertEquals(run(["--out="]), 2);
    }
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
