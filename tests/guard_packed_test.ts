/**
 * The guard in one packed file, in an empty folder: it needs nothing else, and leaves nothing.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { buildExecutable } from "../tools/compile/build.ts";

const ENTRY = decodeURIComponent(new URL("agents/guarded_agent.ts", import.meta.url).pathname);
const HANG_MS = 60_000;

function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.trim().split(" ").filter((word) => word !== "").map(Number);
}

Deno.test("packed: the guard of one file watches, restarts the file, and leaves nothing on disk", async () => {
  const folder = await Deno.makeTempDir({ prefix: "guard_packed_test_" });
  await Deno.mkdir(`${folder}/empty`);
  try {
    const file = `${folder}/empty/agent`;
    await buildExecutable({ entry: ENTRY, out: file, mode: "patch" });
    const ctl = `${folder}/ctl`;
    await Deno.writeTextFile(ctl, "1");
    const child = new Deno.Command(file, {
      args: ["fifo_per_cpu", ctl, "--ghost_cpus=0-1", "--on-crash=restart", "--watchdog=1m"],
      cwd: `${folder}/empty`,
      clearEnv: true,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const killer = setTimeout(() => child.kill("SIGKILL"), HANG_MS);
    const stderr = new Response(child.stderr).text();
    let stdout = "";
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      const before = stdout.split("ghOSt active.").length;
      stdout += piece;
      if (stdout.split("ghOSt active.").length === before) continue;
      const [agent_pid] = childrenOf(child.pid);
      assertStringIncludes(Deno.readLinkSync(`/proc/${child.pid}/exe`), "memfd:ghost_guard");
      assertEquals(Deno.readLinkSync(`/proc/${agent_pid}/exe`), file);
      if (before === 1) Deno.kill(agent_pid, "SIGKILL");
      else child.kill("SIGINT");
    }
    clearTimeout(killer);
    const { code } = await child.status;
    assertEquals([code, stdout.endsWith("\nDone!\n")], [0, true], await stderr);
    assertStringIncludes(await stderr, "another agent takes");
    assertStringIncludes(await stderr, "SchedState[1]");
    const names = [...Deno.readDirSync(`${folder}/empty`)].map(({ name }) => name);
    assertEquals(names, ["agent"]);
    assert(Deno.readTextFileSync(ctl) === "1");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
