import { assertEquals, assertMatch } from "@std/assert";
import { stdFlags, stdSource } from "../tools/std_source.ts";
import { workerModuleUrl } from "../lib/worker_module.ts";

const MAIN = decodeURIComponent(new URL("main.ts", import.meta.url).pathname);

async function runMain(args: string[]): Promise<[number, string, string]> {
  const flags = [...stdFlags(await stdSource()), "--no-check"];
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...flags, MAIN, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  return [code, text.decode(stdout), text.decode(stderr)];
}

Deno.test("from the sources the first argument chooses the program", async () => {
  const [code, stdout] = await runMain(["fifo_per_cpu_agent", "--help"]);
  assertEquals(code, 0);
  assertMatch(stdout, /--ghost_cpus/);
});

Deno.test("from the sources the flags of the executable work as well", async () => {
  assertMatch((await runMain(["--version"]))[1], /^ghostctl \d+\.\d+\.\d+ \(/);
  assertMatch((await runMain(["--licenses"]))[1], /Apache-2\.0/);
  assertEquals((await runMain(["nope"]))[0], 2);
});

Deno.test("a Worker whose first message names nothing known fails with that name", async () => {
  const worker = new Worker(workerModuleUrl(), { type: "module" });
  const message = await new Promise<string>((resolve) => {
    worker.onerror = (event) => {
      event.preventDefault();
      resolve(event.message);
    };
    worker.postMessage({ entry: "nobody" });
  });
  worker.terminate();
  assertMatch(message, /no Worker "nobody"; util\/programs\.ts lists them/);
});
