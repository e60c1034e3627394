import { assert, assertEquals } from "@std/assert";
import { EXPERIMENT_JOBS } from "./experiment_jobs.ts";
import type { JobContext } from "./job.ts";

const CONTEXT: JobContext = {
  deno: "/usr/bin/deno",
  std_flags: [],
  programs: "/programs",
  scx: "/scx",
  kernel_release: undefined,
};

function judge(name: string, stdout: string, stderr = ""): { faults: number; detail: string } {
  const job = EXPERIMENT_JOBS.find((one) => one.name === name)!;
  const result = { name, status: 0, is_timed_out: false, elapsed_ms: 1, stdout, stderr };
  const { faults, detail } = job.judge(result, CONTEXT);
  return { faults: faults.length, detail };
}

function around(body: string): string {
  return `loaded enabled\n${body}agent_status 0\nagent: bye\nafter disabled\n`;
}

Deno.test("jobs: both antagonists must have run", () => {
  const said = (a: number, b: number): string =>
    around(`Stats:\n0,1,${a}\n1,1,${b}\nTotal,2,0.4\nantagonist_status 0\n`);
  assertEquals(judge("scx_antagonist", said(0.5, 0.4)), {
    faults: 0,
    detail: "shares 0.50 and 0.40 of a CPU",
  });
  assertEquals(judge("scx_antagonist", said(0.9, 0.01)).faults, 1);
  assertEquals(judge("scx_antagonist", said(0.5, 0.4).replace("bled", "bling")).faults, 1);
  assert(judge("scx_antagonist", "loaded disabled\n").faults > 2);
});

Deno.test("jobs: rocksdb's requests are served, and counted", () => {
  const section = (name: string, count: number): string =>
    `${name}:\n` + `${count},1,100,200,300,400,500,600\n`.repeat(5);
  const said = (count: number): string =>
    around(
      `Stats:\n${section("Get", count)}${section("Range", 0)}${section("All", count)}` +
        "rocksdb_status 0\n",
    );
  assertEquals(judge("scx_rocksdb", said(990)), {
    faults: 0,
    detail: "990 requests, p50 200 us, p99 300 us",
  });
  assertEquals(judge("scx_rocksdb", said(20)).faults, 1);
  assertEquals(judge("scx_rocksdb", said(990).replace("rocksdb_status 0", "")).faults, 1);
});

Deno.test("jobs: an agent is started before the experiments, and stopped behind them", () => {
  for (const { script } of EXPERIMENT_JOBS) {
    const text = script(CONTEXT);
    const places = ["fifo_per_cpu_agent", "ghOSt active", "--scheduler=ghost", "kill -INT"]
      .map((word) => text.indexOf(word));
    assert(places[0] > 0);
    assertEquals(places, [...places].sort((a, b) => a - b));
  }
});
