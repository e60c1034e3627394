import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { rootPath, STD_SOURCE_VARIABLE, stdFlags, stdSource } from "../tools/std_source.ts";
import { chooseBenches, figureTable, machineText } from "./main.ts";
import { TARGETS, verdict } from "./targets.ts";

function target(name: string) {
  const found = TARGETS.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no target ${name}`);
  return found;
}

Deno.test("a figure is ok at its bound, and a missed one says by how much", () => {
  const ratio = target("pump_throughput_ratio");
  assertEquals(verdict(ratio, 0.6), "ok");
  assertEquals(verdict(ratio, 0.3), "missed by 50 %");
  const rss = target("demo_rss_mib");
  assertEquals(verdict(rss, 65), "ok");
  assertEquals(verdict(rss, 78), "missed by 20 %");
  assertEquals(verdict(target("pump_gc_count"), 1), "missed by 1");
});

Deno.test("the table shows what was measured, figures without a target last", () => {
  const table = figureTable({ other: 12.345, demo_rss_mib: 61.25, sim_events_per_s: 2_345_678.9 });
  const lines = table.trim().split("\n").slice(2);
  assertEquals(lines.map((line) => line.split(" ")[0]), [
    "sim_events_per_s",
    "demo_rss_mib",
    "other",
  ]);
  assertStringIncludes(lines[0], "2,345,679");
  assertMatch(lines[1], /61\.3 +<= 65 +ok/);
});

Deno.test("the machine is named with its CPU, kernel and runtime", () => {
  const files: Record<string, string> = {
    "/proc/cpuinfo": "processor : 0\nmodel name\t: Some CPU @ 2 GHz\n",
    "/proc/sys/kernel/osrelease": "6.1.2\n",
  };
  assertMatch(machineText((path) => files[path]), /Some CPU @ 2 GHz, Linux 6\.1\.2, Deno \d/);
});

Deno.test("one bench is chosen by its name or by that of a figure", () => {
  assertEquals(chooseBenches(""), ["pump", "txn", "sim", "exe", "start"]);
  assertEquals(chooseBenches("sim"), ["sim"]);
  assertEquals(chooseBenches("pump_gc_count"), ["pump"]);
  assertEquals(chooseBenches("demo_rss_mib"), ["exe"]);
  assertEquals(chooseBenches("toString"), []);
});

Deno.test("every figure names a bench that is there", () => {
  for (const { bench } of TARGETS) {
    assert(Deno.statSync(new URL(`./${bench}_bench.ts`, import.meta.url)).isFile);
  }
});

Deno.test("bad arguments: one line and exit status 2, and nothing is measured", async () => {
  const source = await stdSource();
  const run = [...stdFlags(source), `${rootPath()}/bench/main.ts`];
  const cases: [string[], RegExp][] = [
    [["--frobnicate"], /--frobnicate/],
    [["--only", "nonesuch"], /unknown bench "nonesuch"; give one of: pump, txn, sim, exe/],
    [["--json", "/proc/nonesuch/figures.json"], /--json: .*\/proc\/nonesuch\/figures.json/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", ...run, ...args],
      env: { [STD_SOURCE_VARIABLE]: source, NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stderr).trimEnd();
    assertEquals([code, stdout.length, text.split("\n").length], [2, 0, 1], text);
    assertMatch(text, message);
  }
});
