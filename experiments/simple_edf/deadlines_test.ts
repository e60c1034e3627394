import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { deadlinePoint, MEAN_NS, SOON_NS } from "./deadline_model.ts";
import { main } from "./sweep.ts";

const MEASURED_NS = 2_000_000_000;

Deno.test("simple_edf: the same seed gives the same numbers, another seed others", () => {
  const first = deadlinePoint("edf", 0.9, 1, MEASURED_NS / 10);
  assertEquals(deadlinePoint("edf", 0.9, 1, MEASURED_NS / 10), first);
  assert(deadlinePoint("edf", 0.9, 2, MEASURED_NS / 10).job_count !== first.job_count);
});

Deno.test("simple_edf: at 95 % load EDF is late with jobs that take too long, FIFO with more", () => {
  const edf = deadlinePoint("edf", 0.95, 3, MEASURED_NS);
  const fifo = deadlinePoint("fifo", 0.95, 3, MEASURED_NS);
  assertEquals(edf.job_count, fifo.job_count, "the same jobs for both");
  // A job in e^5 takes longer than its deadline: nobody can be better than that.
  const hopeless = Math.exp(-SOON_NS / MEAN_NS);
  assertGreater(edf.soon_late, hopeless / 2);
  assertLess(edf.soon_late, 3 * hopeless);
  assertGreater(fifo.soon_late, 2 * edf.soon_late);
});

Deno.test("simple_edf: at half load nobody waits, and all are as good", () => {
  for (const system of ["edf", "fifo"] as const) {
    const point = deadlinePoint(system, 0.5, 3, MEASURED_NS);
    assertLess(point.soon_late, 0.02, system);
    assertEquals(point.later_late, 0, system);
    assertLess(Math.abs(point.job_count / (0.5 * 8 * MEASURED_NS / MEAN_NS) - 1), 0.2);
  }
});

Deno.test("experiment simple_edf: its points and plots; bad flags write nothing", () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const flag of ["--ms=0", "--min_percent=200", "--seed=-1", "--step_percent=x"]) {
      assertEquals(main([flag, `--out=${folder}`]), 2, flag);
    }
    assertEquals([...Deno.readDirSync(folder)], []);
    const args = ["--ms=300", "--min_percent=80", "--max_percent=90", "--step_percent=10"];
    assertEquals(main([...args, "--seed=4", `--out=${folder}`]), 0);
    const rows = Deno.readTextFileSync(`${folder}/simple_edf.csv`).trimEnd().split("\n");
    assertEquals(rows.map((row) => row.split(",").slice(0, 3).join()), [
      "sched,seed,load",
      "edf,4,0.8",
      "edf,4,0.9",
      "fifo,4,0.8",
      "fifo,4,0.9",
    ]);
    const page = Deno.readTextFileSync(`${folder}/simple_edf.html`);
    assertEquals(page.match(/<svg/g)?.length, 2);
    assert(page.includes("simulated, not measured"));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
