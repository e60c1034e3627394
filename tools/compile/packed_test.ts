import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { buildExecutable, type BuildReport } from "./build.ts";
import type { Sight, WorkerAnswer } from "./testdata/fixture.ts";
import { RUNTIME_VARIABLES } from "../../util/build.ts";
import { ask, run } from "./testdata/run.ts";

const FIXTURE = decodeURIComponent(new URL("testdata/fixture.ts", import.meta.url).pathname);
const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_packed_test_" });
const PACKED = `${FOLDER}/fixture`;
let report: BuildReport;

Deno.test.beforeAll(async () => {
  Deno.chmodSync(FOLDER, 0o755);
  const options = { entry: FIXTURE, out: PACKED, v8_flags: ["--expose-gc"] };
  report = await buildExecutable({ ...options, mode: "patch" });
});
Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

/** A new empty folder. */
function emptyFolder(): string {
  return Deno.makeTempDirSync({ dir: FOLDER });
}

/** The fixture, waiting for a signal after it has printed "ready". */
function startWaiting(status: number): Deno.ChildProcess {
  const args = ["signal", String(status)];
  return new Deno.Command(PACKED, { args, stdout: "piped", clearEnv: true }).spawn();
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}

Deno.test("packed: the program gets its arguments exactly, runtime flags included", async () => {
  const lists = [
    [],
    ["-y", "--version"],
    ["--help"],
    ["--", "-A", "--"],
    ["", " ", "a b", "\t\n", "'\"$HOME\\", "ü€😀"],
    ["--v8-flags=--jitless", "eval", "run"],
  ];
  for (const list of lists) {
    const { args, has_wasm } = await ask<Sight>(PACKED, { args: ["see", ...list] });
    assertEquals(args, ["see", ...list]);
    assert(has_wasm);
  }
});

Deno.test("packed: ps, top and the program itself see it under its own name", async () => {
  const sight = await ask<Sight>(PACKED, { args: ["see", "--flag"] });
  assertEquals(sight.cmdline, [PACKED, "see", "--flag"]);
  assertEquals(sight.comm, "fixture");
  assertEquals(sight.exe, PACKED);
  assertEquals(sight.argv0, PACKED);
});

Deno.test("packed: exit codes arrive", async () => {
  for (const status of [0, 1, 2, 3, 42, 126, 127, 128, 130, 254, 255]) {
    const { code, stdout, stderr } = await run(PACKED, { args: ["exit", String(status)] });
    assertEquals([code, stdout, stderr], [status, "", ""]);
  }
});

Deno.test("packed: four Workers run at once on own threads and share one shim", async () => {
  const answers = await ask<WorkerAnswer[]>(PACKED, { args: ["workers", "4"] });
  assertEquals(new Set(answers.map(({ tid }) => tid)).size, 4);
  assertEquals(new Set(answers.map(({ shim_address }) => shim_address)).size, 1);
  assertNotEquals(answers[0].shim_address, "");
});

Deno.test("packed: nothing is left on disk", async () => {
  const home = emptyFolder();
  const env = { HOME: home, TMPDIR: home, XDG_CACHE_HOME: home };
  const answers = await ask<WorkerAnswer[]>(PACKED, { args: ["workers", "2"], env, cwd: home });
  assertEquals(answers.length, 2);
  assertEquals(filesBelow(home), []);
});

Deno.test("packed: SIGINT reaches the program's handler, SIGTERM without one kills", async () => {
  for (const [sent, code, signal] of [["SIGINT", 42, null], ["SIGTERM", 143, "SIGTERM"]] as const) {
    const child = startWaiting(42);
    const reader = child.stdout.getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "ready\n");
    child.kill(sent);
    const status = await child.status;
    assertEquals([status.code, status.signal], [code, signal]);
    await reader.cancel();
  }
});

Deno.test("packed: nobody can change the bundle or the shim of a running program", async () => {
  const child = startWaiting(0);
  const reader = child.stdout.getReader();
  await reader.read();
  for (const fd of [100, 101]) {
    const path = `/proc/${child.pid}/fd/${fd}`;
    let outcome = "written";
    try {
      using file = Deno.openSync(path, { write: true });
      file.writeSync(new Uint8Array(1));
    } catch {
      outcome = "refused";
    }
    assertEquals(outcome, "refused");
  }
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
});

Deno.test("packed: it runs anywhere, with no environment, no HOME or an unusable one", async () => {
  const { environment } = await ask<Sight>(PACKED);
  const added = Object.fromEntries(RUNTIME_VARIABLES.map((line) => line.split("=", 2)));
  assertEquals(environment, added);
  for (const variable of ["HOME=/nonexistent", "HOME=", "PATH=", "TMPDIR=/proc"]) {
    const env = Object.fromEntries([variable.split("=", 2)]);
    const sight = await ask<Sight>(PACKED, { env });
    assertEquals(sight.environment, { ...env, ...added });
  }
  for (const cwd of ["/", "/proc", emptyFolder()]) {
    assertEquals((await ask<Sight>(PACKED, { cwd })).cwd, cwd);
  }
});

Deno.test("packed: a copy in another folder and another user's start work", async () => {
  const folder = emptyFolder();
  Deno.chmodSync(folder, 0o755);
  await Deno.copyFile(PACKED, `${folder}/other_name`);
  const uid = Deno.uid() === 0 ? 65534 : undefined;
  const sight = await ask<Sight>(`${folder}/other_name`, { cwd: folder, uid });
  assertEquals([sight.exe, sight.comm], [`${folder}/other_name`, "other_name"]);
  const answers = await ask<WorkerAnswer[]>(`${folder}/other_name`, {
    args: ["workers", "1"],
    // The folder of the tests may be closed to that user.
    cwd: folder,
    uid,
  });
  assertEquals(answers.length, 1);
});

Deno.test("packed: hard links and symbolic links show the name they were called by", async () => {
  await Deno.link(PACKED, `${FOLDER}/hard`);
  await Deno.symlink(PACKED, `${FOLDER}/soft`);
  for (const name of ["hard", "soft"]) {
    const sight = await ask<Sight>(`${FOLDER}/${name}`);
    assertEquals([sight.argv0, sight.comm], [`${FOLDER}/${name}`, name]);
  }
});

Deno.test("packed: V8 flags that were built in hold, a caller's do not", async () => {
  const env = { DENO_V8_FLAGS: "--jitless,--no-expose-gc" };
  const { has_gc, has_wasm } = await ask<Sight>(PACKED, { env });
  assertEquals([has_gc, has_wasm], [true, true]);
  // The control: the same variable does change the runtime that the file was made from.
  const args = ["run", "-A", "--no-config", FIXTURE];
  const control = await ask<Sight>(Deno.execPath(), { args, env: { ...env, HOME: FOLDER } });
  assertEquals([control.has_gc, control.has_wasm], [false, false]);
});

Deno.test("packed: no variable of the runtime's own changes anything", async () => {
  const cache = `${emptyFolder()}/cache`;
  const env = {
    DENO_DIR: cache,
    DENO_CERT: "/nonexistent",
    DENO_COVERAGE_DIR: cache,
    DENO_LOG: "trace",
    DENO_NO_PROMPT: "",
    DENO_TLS_CA_STORE: "nonsense",
    DENO_TRACE_PERMISSIONS: "1",
    DENO_UNSTABLE_CONTROL_SOCK: "tcp:127.0.0.1:9",
    NODE_CHANNEL_FD: "77",
    NODE_OPTIONS: "--require /nonexistent",
    NODE_V8_COVERAGE: cache,
    OTEL_DENO: "true",
    RUST_LOG: "trace",
    RUST_MIN_STACK: "1",
  };
  const sight = await ask<Sight>(PACKED, { env: { ...env, KEPT: "1" } });
  const added = Object.fromEntries(RUNTIME_VARIABLES.map((line) => line.split("=", 2)));
  assertEquals(sight.environment, { KEPT: "1", ...added });
  const answers = await ask<WorkerAnswer[]>(PACKED, { env, args: ["workers", "1"] });
  assertEquals(answers.length, 1);
  assertEquals(filesBelow(cache.slice(0, -"/cache".length)), []);
});

Deno.test("packed: files of a project in the working folder change nothing", async () => {
  const cwd = emptyFolder();
  for (
    const name of ["deno.json", "package.json", "deno.lock", ".npmrc", ".env", "tsconfig.json"]
  ) {
    await Deno.writeTextFile(`${cwd}/${name}`, "{ broken");
  }
  assertEquals((await ask<Sight>(PACKED, { cwd })).cwd, cwd);
});

Deno.test("packed: the file is at most 1.02 times the runtime and 2 MB", () => {
  assertEquals(report.mode, "patch");
  assertEquals(report.base_bytes, Deno.statSync(Deno.realPathSync(Deno.execPath())).size);
  assert(report.file_bytes <= report.base_bytes * 1.02 + 2e6);
});
