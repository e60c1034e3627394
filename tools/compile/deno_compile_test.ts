import { assert, assertEquals, assertRejects } from "@std/assert";
import { runCc } from "../../ffi/build.ts";
import { buildExecutable } from "./build.ts";
import { CompileError } from "./cc.ts";
import { BASE_V8_FLAGS } from "./payload.ts";
import { baseRuntime, PROBE_TIMEOUT_MS, REMEMBER_MS } from "./deno_compile.ts";

const FIXTURE = decodeURIComponent(new URL("testdata/fixture.ts", import.meta.url).pathname);
const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_deno_compile_test_" });
const OUT = `${FOLDER}/fixture`;

Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

/** Runs with DENORT_BIN set, or unset. */
async function withDenort<T>(path: string | undefined, run: () => Promise<T>): Promise<T> {
  const before = Deno.env.get("DENORT_BIN");
  const set = (value: string | undefined): void =>
    value === undefined ? Deno.env.delete("DENORT_BIN") : Deno.env.set("DENORT_BIN", value);
  set(path);
  try {
    return await run();
  } finally {
    set(before);
  }
}

function memoryFile(): URL {
  return new URL(`file://${Deno.makeTempDirSync({ dir: FOLDER })}/memory.json`);
}

Deno.test("deno compile: the payload holds bundle, Worker, shim and V8 flags", async () => {
  const dummy = `${FOLDER}/denort`;
  await Deno.writeTextFile(`${dummy}.c`, "int main(void) { return 0; }");
  runCc(["-o", dummy, `${dummy}.c`]);
  const options = { entry: FIXTURE, out: OUT, mode: "auto", v8_flags: ["--expose-gc"] } as const;
  const { mode } = await withDenort(dummy, () => buildExecutable(options));
  assertEquals(mode, "compile");
  const text = new TextDecoder("latin1").decode(await Deno.readFile(OUT));
  assert(text.includes("async function runWorkers("), "bundle");
  assert(text.includes("new Worker(import.meta.url"), "Worker");
  assert(text.includes('"WorkerGlobalScope" in globalThis'), "the Worker's side");
  assert(text.includes('"n":"libghost_shim.so"'), "shim");
  assert(text.includes("\0shim_version\0"), "the shim's symbols");
  const [, v8_flags] = /"v8_flags":(\[[^\]]*\])/.exec(text) ?? [];
  assertEquals(JSON.parse(v8_flags).slice(-1 - BASE_V8_FLAGS.length), [
    ...BASE_V8_FLAGS,
    "--expose-gc",
  ]);
});

Deno.test("deno compile: a failure is an error with another way on", async () => {
  const options = { entry: FIXTURE, out: `${FOLDER}/none`, mode: "compile" } as const;
  await assertRejects(
    () => withDenort("/nonexistent/denort", () => buildExecutable(options)),
    CompileError,
    "--mode=patch",
  );
});

Deno.test("deno compile: when it fails, auto packs the installed deno and says so", async () => {
  const lines: string[] = [];
  const progress = (line: string): void => void lines.push(line);
  const options = { entry: FIXTURE, out: OUT, mode: "auto", progress } as const;
  const { mode } = await withDenort("/nonexistent/denort", () => buildExecutable(options));
  assertEquals(mode, "patch");
  assertEquals(lines.filter((line) => line.startsWith("note: deno compile failed")).length, 1);
});

Deno.test("the base runtime: a reachable server means download, and is remembered", async () => {
  let requests = 0;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () => {
    requests++;
    return new Response("");
  });
  const options = { memory: memoryFile(), url: `http://127.0.0.1:${server.addr.port}/x.zip` };
  for (let i = 0; i < 3; i++) {
    assertEquals(await withDenort(undefined, () => baseRuntime(options)), "download");
  }
  assertEquals(requests, 1);
  const later = { ...options, now_ms: Date.now() + REMEMBER_MS + 1 };
  assertEquals(await withDenort(undefined, () => baseRuntime(later)), "download");
  assertEquals(requests, 2);
  await server.shutdown();
  assertEquals(await withDenort("/x", () => baseRuntime(options)), "DENORT_BIN");
});

Deno.test("the base runtime: a server without it, a silent one or none means none", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("", { status: 404 }),
  );
  const silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const closed = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const closed_port = (closed.addr as Deno.NetAddr).port;
  closed.close();
  const ports = [server.addr.port, closed_port, (silent.addr as Deno.NetAddr).port];
  const start_ms = performance.now();
  for (const port of ports) {
    const options = { memory: memoryFile(), url: `http://127.0.0.1:${port}/x.zip` };
    assertEquals(await withDenort(undefined, () => baseRuntime(options)), "none");
  }
  assert(performance.now() - start_ms < 3 * PROBE_TIMEOUT_MS);
  silent.close();
  await server.shutdown();
});
