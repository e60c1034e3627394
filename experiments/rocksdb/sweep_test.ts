import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { CpuList } from "../../lib/cpu_list.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { runProgram } from "../../tests/process.ts";
import { onlineCpus } from "../shared/host_cpus.ts";
import { rocksdbOptions } from "./options.ts";
import { parseThroughputs, pointPlan, SCRIPTS, type SweepHost } from "./sweep_plan.ts";
import {
  csvText,
  parseAntagonist,
  parseRocksdb,
  sweepPage,
  type SweepPoint,
  totalOf,
  upstreamLines,
} from "./sweep_results.ts";
import { fakeRocksdb } from "./test_library.ts";

const PROGRAM = "experiments/main.ts";
const HOST: SweepHost = {
  first_cpu: 10,
  cpu_count: 8,
  experiment_duration: "15s",
  discard_duration: "2s",
  db_path: "/dev/shm/orch_db",
  seed: 1,
  library: "",
};

Deno.test("sweeps: throughputs are numbers and ranges", () => {
  assertEquals(parseThroughputs("1000"), [1000]);
  assertEquals(parseThroughputs("10-40/10,50-52/1"), [10, 20, 30, 40, 50, 51, 52]);
  assertEquals(parseThroughputs("5-9/2"), [5, 7, 9]);
  for (const text of ["", "x", "5-", "9-5/1", "5-9/0", "1,,2", "0-999999999/1"]) {
    assertInstanceOf(parseThroughputs(text), UsageError, text);
  }
});

Deno.test("sweeps: the throughputs of upstream's scripts", () => {
  const counts = Object.entries(SCRIPTS).map(([name, { throughputs }]) => {
    const [cfs, ghost] = [throughputs.cfs, throughputs.ghost].map((text) => {
      const list = parseThroughputs(text) as number[];
      return `${list[0]}..${list.at(-1)} ${list.length}`;
    });
    return `${name}: ${cfs}, ${ghost}`;
  });
  assertEquals(counts, [
    "centralized_queuing: 10000..480000 75, 10000..460000 73",
    "shenango: 10000..120000 57, 10000..450000 99",
    "shinjuku: 10000..80000 35, 10000..150000 24",
    "shinjuku_shenango: 10000..80000 35, 10000..150000 24",
  ]);
});

Deno.test("sweeps: with cfs, on upstream's CPUs, the flags of upstream's scripts", () => {
  const plan = pointPlan("shinjuku_shenango", "cfs", HOST, 30_000);
  for (
    const flag of [
      "--throughput=30000",
      "--load_generator_cpus=10",
      "--cfs_dispatcher_cpus=11",
      "--worker_cpus=12-17",
      "--num_workers=6",
      "--cfs_wait_type=futex",
      "--range_query_ratio=0.005",
      "--range_duration=5000us",
    ]
  ) assert(plan.rocksdb.includes(flag), flag);
  assert(plan.antagonist?.includes("--cpus=11-17") && plan.antagonist.includes("--num_threads=7"));
  assertEquals([plan.agent, plan.nice], [undefined, [-20, 19]]);
  const options = rocksdbOptions(plan.rocksdb, CpuList.from(Array(18).keys()));
  assert(options !== "help" && !(options instanceof UsageError), String(options));
});

Deno.test("sweeps: with ghost an agent has the CPUs behind the load generator's", () => {
  const plan = pointPlan("shinjuku", "ghost", HOST, 30_000);
  assertEquals(plan.agent, [
    "--firstcpu=11",
    "--globalcpu=11",
    "--ncpus=7",
    "--preemption_time_slice=30us",
  ]);
  assert(plan.rocksdb.includes("--num_workers=200") && plan.rocksdb.includes("--worker_cpus="));
  assertEquals(plan.antagonist, undefined);
  assertEquals(pointPlan("shenango", "ghost", HOST, 1).antagonist?.includes("--ghost_qos=1"), true);
});

Deno.test("sweeps: on one or two CPUs the threads share them", () => {
  const cpusOf = (cpu_count: number): (string | undefined)[] => {
    const plan = pointPlan("shenango", "cfs", { ...HOST, first_cpu: 1, cpu_count }, 1);
    const find = (name: string, args: readonly string[] = plan.rocksdb): string | undefined =>
      args.find((arg) => arg.startsWith(`--${name}=`))?.split("=")[1];
    return [
      find("load_generator_cpus"),
      find("cfs_dispatcher_cpus"),
      find("worker_cpus"),
      find("cpus", plan.antagonist),
    ];
  };
  assertEquals(cpusOf(1), ["1", "1", "1", "1"]);
  assertEquals(cpusOf(2), ["1", "1", "2", "2"]);
  assertEquals(cpusOf(3), ["1", "2", "3", "2-3"]);
  assertEquals(cpusOf(4), ["1", "2", "3-4", "2-4"]);
});

/** What rocksdb prints: each kind's stages have numbers of their own. */
function printed(): string {
  const section = (name: string, first: number): string =>
    `${name}:\n` +
    [0, 1, 2, 3, 4].map((stage) =>
      `${[0, 1, 2, 3, 4, 5, 6, 7].map((i) => first + stage * 10 + i)}\n`
    ).join("");
  const dashes = "Range:\n" + `${Array(8).fill("-")}\n`.repeat(5);
  return "batch: 1\n\nTimer fired...\nStats:\n" + section("Get", 100) + dashes +
    section("All", 300);
}

function point(antagonist: string[] = []): SweepPoint {
  const rows = parseRocksdb(printed());
  assert(!(rows instanceof OperatingError));
  return { scheduler: "cfs", offered_rps: 5000, seed: 1, rows, antagonist };
}

Deno.test("sweeps: results are read section by section, a missing one is told", () => {
  assertEquals(totalOf(point(), "get", "p99_us"), 144);
  assertEquals(totalOf(point(), "all", "served_rps"), 341);
  assertEquals(totalOf(point(), "range", "p99_us"), NaN);
  const fault = parseRocksdb(printed().replace("Range:", "Rage:"));
  assertInstanceOf(fault, OperatingError);
  assertStringIncludes(fault.message, 'no results for "Range:"');
  assertInstanceOf(parseRocksdb(""), OperatingError);
});

Deno.test("sweeps: upstream's files have a line per throughput, all stages in it", () => {
  const lines = upstreamLines(point(parseAntagonist("x\nStats:\n0,900,0.9\nTotal,900,0.9\n")));
  assertEquals(Object.keys(lines), ["rocksdb_get", "rocksdb_range", "rocksdb", "antagonist"]);
  assertEquals(lines.rocksdb.split(",").length, 40);
  assert(lines.rocksdb_get.startsWith("100,101,") && lines.rocksdb_get.endsWith(",147\n"));
  assertEquals(lines.antagonist, "5000,0,900,0.9,Total,900,0.9\n");
  assertEquals(Object.keys(upstreamLines(point())).includes("antagonist"), false);
});

Deno.test("sweeps: one CSV file with every stage, and charts of what was measured", () => {
  const points = [point(["0,900,0.9", "Total,900,0.9"])];
  const csv = csvText(points).trimEnd().split("\n");
  assertEquals(csv.length, 1 + 15 + 1);
  assertEquals(new Set(csv.map((line) => line.split(",").length)), new Set([13]));
  assertEquals(csv[5], "cfs,5000,1,get,total,140,141,142,143,144,145,146,147");
  assertEquals(csv[6], "cfs,5000,1,range,ingress,,,,,,,,");
  assertEquals(csv[16], "cfs,5000,1,antagonist,share,,0.9,,,,,,");
  const page = sweepPage(points, "T", "I");
  assertEquals(page.match(/<svg/g)?.length, 3, "gets, served, antagonist; no range query");
  assertStringIncludes(page, "measured on this host");
  assertStringIncludes(page, "default scheduler: 1 points, at most 0.3 k/s served, seed 1");
});

if (onlineCpus().isSet(1)) {
  Deno.test("experiment rocksdb: a sweep runs the programs and writes its files", async () => {
    const folder = Deno.makeTempDirSync();
    try {
      const { code, stdout, stderr } = await runProgram(PROGRAM, [
        ...["rocksdb", "shinjuku_shenango", "cfs", "--first_cpu=1", "--num_cpus=1"],
        ...["--throughputs=500,1000", "--experiment_duration=1s", "--discard_duration=100ms"],
        ...[`--rocksdb_db_path=${folder}/db`, `--rocksdb_library=${fakeRocksdb()}`],
        `--out=${folder}/out`,
      ]);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, "CPU 1 of this host, shared by the threads");
      assertStringIncludes(stderr, "2/2 points: cfs done");
      const rows = Deno.readTextFileSync(`${folder}/out/rocksdb_shinjuku_shenango.csv`);
      assertEquals(rows.trimEnd().split("\n").length, 1 + 2 * 16);
      const upstream = `${folder}/out/rocksdb_shinjuku_shenango_cfs`;
      for (const name of ["rocksdb", "rocksdb_get", "rocksdb_range", "antagonist"]) {
        const lines = Deno.readTextFileSync(`${upstream}/${name}`).trimEnd().split("\n");
        assertEquals(lines.length, 3, name);
        assertEquals(JSON.parse(lines[0]).script, "shinjuku_shenango");
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
} else {
  Deno.test("experiment rocksdb: a sweep is skipped, this host has no CPU 1", () => {});
}

Deno.test("experiment rocksdb: bad arguments are one line", async () => {
  const cases: [string[], string][] = [
    [[], "no sweep named; give one of centralized_queuing"],
    [["shinjku"], 'unknown sweep "shinjku"'],
    [["shinjuku", "eevdf"], 'unknown scheduler "eevdf"'],
    [["shinjuku", "--throughputs=fast"], 'bad throughputs "fast"'],
    [["shinjuku", "--first_cpu=0"], "--first_cpu"],
  ];
  for (const [args, text] of cases) {
    const { code, stderr } = await runProgram(PROGRAM, ["rocksdb", ...args]);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, text);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  }
});
