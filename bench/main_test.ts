import { assert, assertEquals } from "@std/assert";
import { rootPath, STD_SOURCE_VARIABLE, stdFlags, stdSource } from "../tools/std_source.ts";

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const source = await stdSource();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...stdFlags(source), `${rootPath()}/bench/main.ts`, ...args],
    env: { [STD_SOURCE_VARIABLE]: source, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("--help names flags and modules", async () => {
  const { code, out } = await bench("--help");
  assertEquals(code, 0);
  assert(/--json FILE.*--only NAME/s.test(out) && out.includes("pump, sim, exe"), out);
});

Deno.test("bad arguments: one line and exit status 2, and nothing is measured", async () => {
  const cases: [string[], RegExp][] = [
    [["--frobnicate"], /unknown argument "--frobnicate"/],
    [["pump"], /unknown argument "pump"/],
    [["--only", "nonesuch"], /no "nonesuch"; there are: pump, sim, exe, pump_throughput_ratio/],
    [["--only", "toString"], /no "toString"/],
    [["--json", "/proc/nonesuch/figures.json"], /cannot write \/proc\/nonesuch\/figures.json/],
    [["--json="], /--json needs a file/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await bench(...args);
    assertEquals([code, out, err.trimEnd().split("\n").length], [2, "", 1], `${args}: ${err}`);
    assert(message.test(err), err);
  }
});
