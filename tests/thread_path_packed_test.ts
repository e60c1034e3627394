/**
 * The agents' threads in one file: the bundle is the main program and every Worker's module.
 */
import { assertEquals } from "@std/assert";
import { buildExecutable } from "../tools/compile/build.ts";
import { ask } from "../tools/compile/testdata/run.ts";
import type { ThreadProgramResult } from "./agents/thread_program.ts";

Deno.test("packed: four agents in Workers of the one file run every task to its end", async () => {
  const folder = await Deno.makeTempDir({ prefix: "ghost_threads_test_" });
  try {
    const entry = decodeURIComponent(new URL("agents/thread_program.ts", import.meta.url).pathname);
    await buildExecutable({ entry, out: `${folder}/threads`, mode: "patch" });
    assertEquals(await ask<ThreadProgramResult>(`${folder}/threads`), {
      gone_count: 60,
      broken_count: 0,
      left_count: 4,
      failures: [],
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
