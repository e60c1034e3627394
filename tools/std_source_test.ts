import { assert, assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { startStubRegistry } from "./std_offline/stub_registry.ts";
import {
  probe,
  PROBE_TIMEOUT_MS,
  REMEMBER_JSR_MS,
  REMEMBER_OFFLINE_MS,
  rememberedProbe,
  rootPath,
  STD_SOURCE_VARIABLE,
  stdFlags,
} from "./std_source.ts";

const TABLE = "tools/std_offline/std_table_test.ts";

/** Runs a task as a user does, with a Deno cache of its own and nothing decided by a parent. */
async function runTask(
  args: string[],
  jsr_url: string,
  deno_dir: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = Deno.env.toObject();
  delete env[STD_SOURCE_VARIABLE];
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", ...args],
    cwd: rootPath(),
    clearEnv: true,
    env: { ...env, JSR_URL: jsr_url, DENO_DIR: deno_dir, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

/** Base URL of a loopback port on which nothing listens. */
function closedUrl(): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.addr.port}/`;
  listener.close();
  return url;
}

async function withTempDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("tasks: with a registry @std comes from there, not from adapters", async () => {
  const registry = await startStubRegistry();
  try {
    await withTempDir(async (dir) => {
      const { code, stdout, stderr } = await runTask(["test", TABLE], registry.url, dir);
      assertEquals(code, 0, stdout + stderr);
      assertMatch(stdout, /\b9 passed \(2 steps\) \| 0 failed/);
      assert(!stderr.includes("adapters"), stderr);
      for (const name of ["assert", "cli", "testing"]) {
        assert(registry.requests.includes(`/@std/${name}/meta.json`), name);
      }
    });
  } finally {
    await registry.close();
  }
});

Deno.test("tasks: without one the adapters pass the same table, said in one line", async () => {
  await withTempDir(async (dir) => {
    const { code, stdout, stderr } = await runTask(["test", "--", TABLE], closedUrl(), dir);
    assertEquals(code, 0, stdout + stderr);
    assertMatch(stdout, /\b9 passed \(2 steps\) \| 0 failed/);
    const [notice, ...more] = stderr.trim().split("\n");
    assertStringIncludes(notice, "adapters in tools/std_offline");
    assertEquals(more, []);
  });
});

Deno.test("tasks: an unknown task is a usage error that lists the tasks", async () => {
  const args = ["run", "-A", "--no-prompt", "tools/task.ts", "tset"];
  const command = new Deno.Command(Deno.execPath(), { args, cwd: rootPath(), stdin: "null" });
  const { code, stderr } = await command.output();
  assertEquals(code, 2);
  assertMatch(new TextDecoder().decode(stderr), /no task "tset"; there are: demo, .*check\n$/);
});

Deno.test("probe: a registry is jsr; errors, portals and silence are offline", async () => {
  const registry = await startStubRegistry();
  assertEquals(await probe(registry.url), "jsr");
  assertEquals(await probe(`${registry.url}nothing/`), "offline");
  await registry.close();
  assertEquals(await probe(closedUrl()), "offline");

  for (const page of ["<html>please log in</html>", '{"login": true}', "null"]) {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    const portal = Deno.serve(options, () => new Response(page));
    assertEquals(await probe(`http://127.0.0.1:${portal.addr.port}/`), "offline", page);
    await portal.shutdown();
  }

  const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const start_ms = performance.now();
  assertEquals(await probe(`http://127.0.0.1:${silent.addr.port}/`), "offline");
  assertLess(performance.now() - start_ms, PROBE_TIMEOUT_MS + 1000);
  silent.close();
});

Deno.test("probe: answers are remembered by registry, each for its time", async () => {
  await withTempDir(async (dir) => {
    const memory = new URL(`file://${dir}/deep/std_source.json`);
    const registry = await startStubRegistry();
    const url = registry.url;
    assertEquals(await rememberedProbe(url, memory, 0), "jsr");
    await registry.close();
    assertEquals(await rememberedProbe(url, memory, REMEMBER_JSR_MS - 1), "jsr");
    assertEquals(await rememberedProbe(closedUrl(), memory, REMEMBER_JSR_MS - 1), "offline");
    assertEquals(await rememberedProbe(url, memory, REMEMBER_JSR_MS), "offline");
    const back = await startStubRegistry();
    const back_url = back.url;
    const offline_at_5 = JSON.stringify({ [back_url]: { source: "offline", checked_ms: 5 } });
    const expected = [[4 + REMEMBER_OFFLINE_MS, "offline"], [5 + REMEMBER_OFFLINE_MS, "jsr"]];
    for (const [now_ms, source] of [...expected, [4, "jsr"]] as [number, string][]) {
      Deno.writeTextFileSync(memory, offline_at_5); // now_ms 4: the clock was set back
      assertEquals(await rememberedProbe(back_url, memory, now_ms), source);
    }
    Deno.writeTextFileSync(memory, '{"damaged');
    assertEquals(await rememberedProbe(back_url, memory, 0), "jsr");
    await back.close();
  });
});

Deno.test("probe: an answer that cannot be remembered is still given", async () => {
  const memory = new URL("file:///dev/null/std_source.json");
  assertEquals(await rememberedProbe(closedUrl(), memory, 0), "offline");
});

Deno.test("stdFlags: an import map only where the adapters stand in", () => {
  assertEquals(stdFlags("jsr"), []);
  assertMatch(stdFlags("offline").join(), /^--import-map=.*import_map\.json$/);
});
