/**
 * Runs the code of policy.md as a reader would: the files it names, in an empty folder.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const ROOT = new URL("..", import.meta.url);
const PAGE = Deno.readTextFileSync(new URL("policy.md", import.meta.url));

/** The code blocks of the page by the file name that stands before each. */
function files(): Map<string, string> {
  const blocks = [...PAGE.matchAll(/`(\w+\.ts)`:\n\n```ts\n([\s\S]*?)```/g)];
  return new Map(blocks.map(([, name, code]) => [name, code]));
}

/** Where "@std/…" comes from in this run: the map that the tasks chose. */
function stdImports(): Record<string, string> {
  const resolved = import.meta.resolve("@std/assert");
  return { "@std/assert": resolved };
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "policy-page-" });
  try {
    for (const [name, code] of files()) await Deno.writeTextFile(`${folder}/${name}`, code);
    const imports = {
      ...stdImports(),
      "@ghost/agents": new URL("mod.ts", ROOT).href,
      "@ghost/agents/sim": new URL("kernels/sim/mod.ts", ROOT).href,
      "@ghost/agents/timeline": new URL("util/timeline/mod.ts", ROOT).href,
    };
    // The package's own sources are checked here too, and the timeline's page speaks to a browser.
    const config = { imports, compilerOptions: { lib: ["deno.window", "dom"] } };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify(config));
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function deno(folder: string, args: string[]): Promise<{ code: number; text: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test("policy.md: the policy has fewer than 100 lines", () => {
  assertEquals([...files().keys()], ["round_robin.ts", "run.ts", "round_robin_test.ts"]);
  const line_count = files().get("round_robin.ts")?.split("\n").length ?? 0;
  assert(line_count > 50 && line_count < 100, `${line_count} lines`);
});

Deno.test("policy.md: the policy runs on sim and draws its timeline", async () => {
  await inFolder(async (folder) => {
    const { code, text } = await deno(folder, [
      "run",
      "--check",
      "--no-npm",
      "--allow-write=.",
      "run.ts",
    ]);
    assertEquals(code, 0, text);
    // 30 ms of work in slices of 1 ms: about 30 commits, by hand.
    const commit_count = Number(/(\d+) commits/.exec(text)?.[1]);
    assert(commit_count >= 28 && commit_count <= 40, text);
    const page = await Deno.readTextFile(`${folder}/round_robin.html`);
    assertStringIncludes(page, "<title>Round robin</title>");
    assertStringIncludes(page, "spin 5");
  });
});

Deno.test("policy.md: the test passes, and fails when the slice is gone", async () => {
  await inFolder(async (folder) => {
    const good = await deno(folder, ["test", "--no-check", "round_robin_test.ts"]);
    assertEquals(good.code, 0, good.text);
    const policy = `${folder}/round_robin.ts`;
    const code = await Deno.readTextFile(policy);
    await Deno.writeTextFile(policy, code.replace(/^.*armTimer.*$/m, ""));
    const bad = await deno(folder, ["test", "--no-check", "round_robin_test.ts"]);
    assertEquals(bad.code, 1, bad.text);
    assertStringIncludes(bad.text, "none is ever two slices ahead");
  });
});
