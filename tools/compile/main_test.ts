import { assert, assertEquals, assertMatch } from "@std/assert";
import { VERSION } from "../../lib/version.ts";
import { PROGRAMS } from "../../util/programs.ts";
import { rootPath, stdFlags, stdSource } from "../std_source.ts";
import { run, type RunResult } from "./testdata/run.ts";

const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_compile_main_test_" });
const DIST = `${FOLDER}/dist`;
const GHOSTCTL = `${DIST}/ghostctl`;
const AGENT = `${DIST}/fifo_per_cpu_agent`;

async function compile(args: string[], env: Record<string, string> = {}): Promise<RunResult> {
  const flags = stdFlags(await stdSource());
  const entry = `${rootPath()}/tools/compile/main.ts`;
  const inherited = Deno.env.toObject();
  return await run(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...flags, entry, ...args],
    env: { ...inherited, INIT_CWD: FOLDER, ...env },
  });
}

let made: RunResult;

Deno.test.beforeAll(async () => {
  made = await compile(["--out", "dist", "--mode=patch"]);
});
Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

Deno.test("compile: without a name every program is a link to one file; each step is told", () => {
  assertEquals([made.code, made.stdout], [0, ""], made.stderr);
  for (const step of ["bundle", "shim", "pack", "links"]) {
    assert(made.stderr.split("\n").some((line) => line.startsWith(`${step} `)), step);
  }
  const files = Object.keys(PROGRAMS).filter((name) => PROGRAMS[name].has_file);
  const found = [...Deno.readDirSync(DIST)].map(({ name }) => name);
  assertEquals(found.sort(), ["ghostctl", ...files].sort());
  const inodes = found.map((name) => Deno.statSync(`${DIST}/${name}`).ino);
  assertEquals(new Set(inodes).size, 1);
});

Deno.test("ghostctl --help lists programs, --version and --licenses say what it is", async () => {
  const help = await run(GHOSTCTL, { args: ["--help"] });
  assertEquals([help.code, help.stderr], [0, ""]);
  for (const [name, { summary }] of Object.entries(PROGRAMS)) {
    assert(help.stdout.includes(name) && help.stdout.includes(summary), name);
  }
  const version = await run(GHOSTCTL, { args: ["--version"] });
  assert(version.stdout.startsWith(`ghostctl ${VERSION} (ghOSt ABI 69, 84, 90, 91; Deno `));
  for (const file of [GHOSTCTL, AGENT]) {
    const licenses = await run(file, { args: ["--licenses"] });
    assertEquals([licenses.code, licenses.stderr], [0, ""]);
    assertMatch(licenses.stdout, /Apache-2\.0[^]*MIT License[^]*V8 \(BSD-3-Clause\)[^]*tokio-1/);
  }
});

Deno.test("ghostctl without a program, with an unknown one or flag is wrong usage", async () => {
  const nothing = await run(GHOSTCTL);
  assertEquals([nothing.code, nothing.stdout], [2, ""]);
  for (const word of ["nope", "--nope", "toString", ""]) {
    const { code, stdout, stderr } = await run(GHOSTCTL, { args: [word, "--help"] });
    assertEquals([code, stdout], [2, ""]);
    assertMatch(stderr, /^ghostctl: unknown (program|flag) "[^\n]*`ghostctl --help` lists them\n$/);
  }
});

Deno.test("a program runs by its name, by ghostctl's first argument and by a link", async () => {
  const direct = await run(AGENT, { args: ["--help"] });
  assertEquals([direct.code, direct.stderr], [0, ""]);
  assert(direct.stdout.includes("--ghost_cpus"));
  await Deno.symlink(AGENT, `${FOLDER}/nickname`);
  for (
    const [file, args] of [
      [GHOSTCTL, ["fifo_per_cpu_agent", "--help"]],
      [`${FOLDER}/nickname`, ["--help"]],
    ] as const
  ) {
    assertEquals(await run(file, { args }), direct);
  }
});

Deno.test("a caller's variables for the runtime change nothing", async () => {
  const env = { DENO_V8_FLAGS: "--jitless", DENO_DIR: "/nonexistent", NODE_OPTIONS: "--x" };
  const { code, stderr } = await run(AGENT, { args: ["--help"], env });
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("compile: a named program goes to the caller's folder and may be renamed", async () => {
  const { code, stderr } = await compile(["fifo_per_cpu_agent", "--mode=patch"]);
  assertEquals(code, 0, stderr);
  await Deno.rename(`${FOLDER}/fifo_per_cpu_agent`, `${FOLDER}/renamed`);
  const { stdout } = await run(`${FOLDER}/renamed`, { args: ["--help"] });
  assert(stdout.includes("--ghost_cpus"));
});

const WRONG: [string, string[], RegExp][] = [
  ["an unknown program", ["nope"], /^compile: no program "nope"; there are: ghostctl, .*\n$/],
  ["a sub-command", ["selftest"], /^compile: no program "selftest"; there are: .*\n$/],
  ["an unknown flag", ["--nope"], /^compile: unknown flag --nope; --help lists them\n$/],
  ["an unknown mode", ["--mode=x"], /^compile: --mode=x is none of auto, compile, .*\n$/],
  ["an empty folder name", ["--out="], /^compile: --out needs a folder\n$/],
];

for (const [what, args, message] of WRONG) {
  Deno.test(`compile: ${what} is wrong usage, told in one line`, async () => {
    const { code, stdout, stderr } = await compile(args);
    assertEquals([code, stdout], [2, ""]);
    assertMatch(stderr, message);
  });
}

Deno.test("compile: without a C compiler the cure is named and nothing is written", async () => {
  const args = ["--out", "nothing", "--mode=patch"];
  const { code, stderr } = await compile(args, { CC: "/nonexistent/cc" });
  assertEquals(code, 1);
  assertMatch(
    stderr.trimEnd().split("\n").at(-1) ?? "",
    /^compile: cannot build .*install a C comp/,
  );
  assertEquals([...Deno.readDirSync(`${FOLDER}/nothing`)], []);
});

Deno.test("compile: a folder that cannot be written is told in one line", async () => {
  const { code, stderr } = await compile(["--out", "/proc/nowhere", "--mode=patch"]);
  assertEquals(code, 1);
  assertMatch(stderr, /^compile: [^\n]*\n$/);
});
