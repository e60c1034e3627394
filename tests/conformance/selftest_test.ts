import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "./selftest.ts";

interface Run {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the program in this process with its output caught. */
async function selftest(...args: string[]): Promise<Run> {
  const { log, error } = console;
  const out: string[] = [];
  const err: string[] = [];
  console.log = (text: string) => void out.push(text);
  console.error = (text: string) => void err.push(text);
  try {
    return { status: await main(args), out: out.join("\n"), err: err.join("\n") };
  } finally {
    console.log = log;
    console.error = error;
  }
}

Deno.test("selftest: it prints a line per case and the sum, and ends with 0", async () => {
  const { status, out, err } = await selftest("--filter", "ping:");
  assertEquals([status, err], [0, ""]);
  const lines = out.split("\n");
  assertEquals(lines.slice(0, -1).every((line) => line.startsWith("ok  ping: ")), true);
  assertEquals(lines.at(-1), `${lines.length - 1} passed, 0 failed, 0 skipped`);
  assert(lines.length > 3);
});

Deno.test("selftest: --json prints one object with a schema version", async () => {
  const { status, out } = await selftest("--json", "--filter", "tunable", "--kernel=sim");
  assertEquals(status, 0);
  const report = JSON.parse(out);
  assertEquals([report.schema, report.kernel, report.failed], [1, "sim", 0]);
  assertEquals(report.cases.length, report.passed + report.skipped);
  assertEquals(report.cases[0].outcome, "ok");
});

Deno.test("selftest: --help explains the flags", async () => {
  const { status, out } = await selftest("--help");
  assertEquals(status, 0);
  for (const flag of ["--kernel NAME", "--filter TEXT", "--json", "--help"]) {
    assertStringIncludes(out, flag);
  }
});

Deno.test("selftest: bad input is one line that says what and how to mend it", async () => {
  const wrong: [string[], number, string][] = [
    [["--kernel", "hurd"], 2, 'unknown kernel "hurd"'],
    [["--kernel=ghost"], 1, "ghost"],
    [["--filter", "no such case"], 2, 'no case contains "no such case"'],
    [["--nonsense"], 2, "--nonsense"],
    [["extra"], 2, "extra"],
  ];
  for (const [args, status, text] of wrong) {
    const run = await selftest(...args);
    assertEquals([run.status, run.out], [status, ""], args.join(" "));
    assertStringIncludes(run.err, text);
    assertEquals(run.err.split("\n").length, 1);
  }
});
