import { assertEquals, assertMatch } from "@std/assert";
import { ghostFault, probeKernel } from "../../kernels/choose.ts";
import { readTextFile } from "../../lib/host_files.ts";
import { main } from "./ghost_main.ts";

/** Runs the task with its output caught. */
async function testGhost(...args: string[]): Promise<[status: number, text: string]> {
  const { log, error } = console;
  const lines: string[] = [];
  console.log = console.error = (line: string) => void lines.push(line);
  try {
    return [await main(args), lines.join("\n")];
  } finally {
    Object.assign(console, { log, error });
  }
}

Deno.test({
  name: "test:ghost: a host without ghOSt is one line and status 0 (not on a ghOSt host)",
  ignore: ghostFault(probeKernel(readTextFile)) === undefined,
  fn: async () => {
    const [status, text] = await testGhost();
    assertEquals(status, 0);
    assertMatch(text, /^test:ghost: skipped: no ghOSt .*--kernel-image FILE[^\n]*$/);
  },
});

Deno.test("test:ghost: bad flags are one line and status 2, help is status 0", async () => {
  for (const args of [["--what"], ["--job", "nothing"], ["--job=nothing"], ["word"]]) {
    const [status, text] = await testGhost(...args);
    assertEquals([status, text.split("\n").length], [2, 1], args.join(" "));
  }
  assertEquals((await testGhost("--kernel-image", "/no/such/file"))[0], 2);
  assertEquals((await testGhost("--help"))[0], 0);
});
