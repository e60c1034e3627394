import { assert, assertEquals, assertMatch } from "@std/assert";
import { buildExecutable } from "./build.ts";
import type { Sight, WorkerAnswer } from "./testdata/fixture.ts";
import { ask, run } from "./testdata/run.ts";

const FIXTURE = decodeURIComponent(new URL("testdata/fixture.ts", import.meta.url).pathname);
const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_launcher_test_" });
const FILE = `${FOLDER}/fixture`;
const CACHE = `${FOLDER}/cache`;
const ENV = { XDG_CACHE_HOME: CACHE };

Deno.test.beforeAll(async () => {
  Deno.mkdirSync(CACHE);
  await buildExecutable({ entry: FIXTURE, out: FILE, mode: "launcher" });
});
Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

/** The unpacked runtime below a cache folder; there must be nothing else. */
function unpacked(cache: string): string {
  const names = [...Deno.readDirSync(`${cache}/ghost-agents`)].map(({ name }) => name);
  assertEquals(names.length, 1);
  return `${cache}/ghost-agents/${names[0]}`;
}

Deno.test("launcher: arguments, exit codes and Workers are as in a patched runtime", async () => {
  const list = ["see", "-y", "--version", "", "a b"];
  const sight = await ask<Sight>(FILE, { args: list, env: { ...ENV, DENO_V8_FLAGS: "--jitless" } });
  assertEquals([sight.args, sight.argv0, sight.has_wasm], [list, FILE, true]);
  for (const status of [0, 1, 42, 255]) {
    assertEquals((await run(FILE, { args: ["exit", String(status)], env: ENV })).code, status);
  }
  const answers = await ask<WorkerAnswer[]>(FILE, { args: ["workers", "2"], env: ENV });
  assertEquals(new Set(answers.map(({ shim_address }) => shim_address)).size, 1);
});

Deno.test("launcher: the runtime is unpacked once, and again if it is damaged", async () => {
  await ask(FILE, { env: ENV });
  const path = unpacked(CACHE);
  assertMatch(path, /\/deno-[0-9a-f]{64}$/);
  const first = Deno.statSync(path);
  assertEquals((first.mode ?? 0) & 0o777, 0o700);
  await ask(FILE, { env: ENV });
  assertEquals(Deno.statSync(path).ino, first.ino);
  Deno.truncateSync(path, 1000);
  await ask(FILE, { env: ENV });
  assertEquals(Deno.statSync(unpacked(CACHE)).size, first.size);
});

Deno.test("launcher: a cache folder that others can write to is not used", async () => {
  const home = `${FOLDER}/home`;
  const shared = `${FOLDER}/shared/ghost-agents`;
  Deno.mkdirSync(home);
  Deno.mkdirSync(shared, { recursive: true });
  Deno.chmodSync(shared, 0o777);
  const env = { XDG_CACHE_HOME: `${FOLDER}/shared`, HOME: home };
  const { exe } = await ask<Sight>(FILE, { env });
  assertEquals([...Deno.readDirSync(shared)], []);
  assert(exe.startsWith(`${home}/.cache/ghost-agents/`));
});

Deno.test("launcher: a file that is cut short is reported in one line", async () => {
  const damaged = `${FOLDER}/damaged`;
  await Deno.copyFile(FILE, damaged);
  Deno.truncateSync(damaged, Deno.statSync(damaged).size - 4096);
  const { code, stderr } = await run(damaged, { env: ENV });
  assertEquals(code, 1);
  assertMatch(stderr, /^launcher: .*copy it again\n$/);
});
