import { assert, assertEquals, assertMatch } from "@std/assert";
import { runCc } from "../../ffi/build.ts";
import { inspectElf } from "./elf.ts";
import { packStub } from "./pack.ts";
import { RUNTIME_VARIABLES } from "../../util/build.ts";
import { runtimeArgs } from "./payload.ts";

const SOURCE = decodeURIComponent(new URL("testdata/runtime.c", import.meta.url).pathname);
const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_stub_test_" });
const PROGRAM = { bundle: "the bundle", shim: new TextEncoder().encode("the shim"), v8_flags: [] };

/** A small program in place of deno, packed; so the stub's edges can be tested in milliseconds. */
async function packRuntime(name: string, cc_flags: string[]): Promise<string> {
  const plain = `${FOLDER}/${name}_plain`;
  runCc([...cc_flags, "-o", plain, SOURCE]);
  const packed = await packStub(await Deno.readFile(plain), PROGRAM);
  if ("refusal" in packed) throw new Error(packed.refusal);
  await Deno.writeFile(`${FOLDER}/${name}`, packed.bytes, { mode: 0o755 });
  return `${FOLDER}/${name}`;
}

let runtime = "";

async function run(
  args: string[],
  env: Record<string, string> = {},
  file = runtime,
): Promise<{ code: number; lines: string[]; stderr: string }> {
  const output = await new Deno.Command(file, { args, env, clearEnv: true }).output();
  const text = new TextDecoder();
  return {
    code: output.code,
    lines: text.decode(output.stdout).trimEnd().split("\n"),
    stderr: text.decode(output.stderr),
  };
}

function values(lines: string[], key: string): string[] {
  return lines.filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));
}

Deno.test.beforeAll(async () => {
  runtime = await packRuntime("runtime", ["-fPIC", "-pie"]);
});
Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

Deno.test("the runtime's arguments stand between the program's name and the user's", async () => {
  const { code, lines } = await run(["-y", "--version", "", "a b", "ü"]);
  const inserted = runtimeArgs([]).with(-1, "/proc/self/fd/100");
  assertEquals(values(lines, "arg"), [runtime, ...inserted, "-y", "--version", "", "a b", "ü"]);
  assertEquals(code, 7);
});

Deno.test("the runtime finds bundle and shim in sealed descriptors, children do not", async () => {
  const { lines } = await run([]);
  assertEquals(values(lines, "bundle"), ["the bundle"]);
  assertEquals(values(lines, "shim"), ["the shim"]);
  assertEquals(values(lines, "close-on-exec"), ["11"]);
  assertEquals(values(lines, "writable"), ["0"]);
});

Deno.test("the runtime does not see variables that change how it behaves", async () => {
  const hostile = {
    DENO_V8_FLAGS: "--jitless",
    DENO_DIR: "/x",
    NODE_OPTIONS: "-r x",
    RUST_LOG: "a",
  };
  const { lines } = await run([], {
    FIRST: "1",
    ...hostile,
    LAST: "a=b",
    DENO: "kept",
    XDENO_Y: "",
  });
  const kept = ["DENO=kept", "FIRST=1", "LAST=a=b", "XDENO_Y="];
  assertEquals(values(lines, "env").sort(), [...kept, ...RUNTIME_VARIABLES].sort());
  assertEquals(values(lines, "same environ"), ["1"]);
  assertEquals(values(lines, "getenv"), ["/dev/null/none"]);
});

Deno.test("where environ cannot be replaced, the variables are still taken out of it", async () => {
  // Without -fPIC the program has its own copy of environ and no slot with its address.
  const file = await packRuntime("fixed", ["-no-pie", "-fno-pic"]);
  const elf = inspectElf(await Deno.readFile(`${file}_plain`));
  assert(typeof elf !== "string");
  assertEquals(elf.environ_slot, 0);
  const { code, lines } = await run(["x"], { A: "1", DENO_DIR: "/x", DENO_V8_FLAGS: "y" }, file);
  assertEquals(values(lines, "arg").at(-1), "x");
  assertEquals(values(lines, "env"), ["A=1"]);
  assertEquals(values(lines, "getenv"), [""]);
  assertEquals(code, 7);
});

Deno.test("the auxiliary vector and exit handlers are as without a stub", async () => {
  const { lines } = await run([]);
  assertEquals(values(lines, "page"), ["4096"]);
  assertEquals(lines.at(-1), "exit handlers run");
});

Deno.test("three thousand arguments and variables arrive", async () => {
  const args = Array.from({ length: 3000 }, (_, i) => `argument ${i}`);
  const env = Object.fromEntries(args.map((value, i) => [`VARIABLE_${i}`, value]));
  const { lines } = await run(args, env);
  assertEquals(values(lines, "arg").slice(-3000), args);
  assertEquals(values(lines, "env").length, 3000 + RUNTIME_VARIABLES.length);
});

for (const taken of ["100", "101"]) {
  Deno.test(`a caller's own descriptor ${taken} is left alone`, async () => {
    const script = `exec ${taken}</dev/null; exec "$0"`;
    const { lines } = await run(["-c", script, runtime], {}, "/bin/bash");
    const path = values(lines, "arg").at(-1);
    assertEquals(path, `/proc/self/fd/${taken === "100" ? 101 : 102}`);
    assertEquals(values(lines, "bundle"), ["the bundle"]);
    assertEquals(values(lines, "shim"), ["the shim"]);
  });
}

Deno.test("too few descriptors are reported in one line with the cure", async () => {
  const { code, stderr } = await run(["-c", `ulimit -n 64; exec "$0"`, runtime], {}, "/bin/bash");
  assertEquals(code, 1);
  assertMatch(stderr, /^start stub: fcntl\(F_DUPFD\) failed \(errno 22\); .*ulimit -n\)\n$/);
});

Deno.test("a runtime without its own C library is refused", async () => {
  runCc(["-static", "-o", `${FOLDER}/static`, SOURCE]);
  const packed = await packStub(await Deno.readFile(`${FOLDER}/static`), PROGRAM);
  assertEquals(packed, { refusal: "it is not dynamically linked" });
});
