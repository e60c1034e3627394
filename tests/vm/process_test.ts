import { assert, assertEquals, assertRejects } from "@std/assert";
import { runProcess } from "./process.ts";

/** True while a process of that id is there and no zombie. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

async function waitForEnd(pid: number): Promise<boolean> {
  for (let i = 0; i < 100 && isAlive(pid); i++) await new Promise((done) => setTimeout(done, 20));
  return !isAlive(pid);
}

Deno.test("process: status, stdout and stderr are handed back", async () => {
  const result = await runProcess({
    command: ["sh", "-c", "echo out; echo err >&2; exit 3"],
    timeout_s: 10,
  });
  assertEquals(result, { code: 3, is_timed_out: false, stdout: "out\n", stderr: "err\n" });
});

Deno.test("process: lines come one by one, the last without its line break too", async () => {
  const lines: string[] = [];
  const command = ["printf", "one\\r\\ntwo\\nthree"];
  await runProcess({ command, timeout_s: 10, on_line: (line) => lines.push(line) });
  assertEquals(lines, ["one", "two", "three"]);
});

Deno.test("process: one that takes too long is ended with its children", async () => {
  const lines: string[] = [];
  const { is_timed_out } = await runProcess({
    command: ["sh", "-c", "sleep 60 & echo $!; wait"],
    timeout_s: 1,
    on_line: (line) => lines.push(line),
  });
  assert(is_timed_out);
  assert(await waitForEnd(Number(lines[0])));
});

/** Runs a command, aborts after its first line, which is a process id, and returns that. */
async function abortAfterLine(command: string[], delay_ms: number): Promise<number> {
  const abort = new AbortController();
  let pid = 0;
  await assertRejects(() =>
    runProcess({
      command,
      timeout_s: 60,
      signal: abort.signal,
      on_line: (line) => {
        pid = Number(line);
        setTimeout(() => abort.abort(), delay_ms);
      },
    })
  );
  return pid;
}

Deno.test("process: an abort ends it with its children", async () => {
  const started_ms = performance.now();
  const pid = await abortAfterLine(["sh", "-c", "sleep 60 & echo $!; wait"], 200);
  assert(performance.now() - started_ms < 20_000);
  assert(await waitForEnd(pid));
});

Deno.test("process: an abort in the moment of its start ends it", async () => {
  const pid = await abortAfterLine(["sh", "-c", "echo $$; exec sleep 60"], 0);
  assert(await waitForEnd(pid));
});

Deno.test("process: it ends when its parent is killed", async () => {
  const parent = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { runProcess } from ${JSON.stringify(import.meta.resolve("./process.ts"))};
       await runProcess({ command: ["sh", "-c", "echo $$; exec sleep 60"], timeout_s: 60,
         on_line: (line) => console.log(line) });`,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const { value } = await parent.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value));
  assert(isAlive(pid));
  parent.kill("SIGKILL");
  await parent.status;
  assert(await waitForEnd(pid));
});

Deno.test("process: a program that is missing ends with 127", async () => {
  const { code } = await runProcess({ command: ["./no_such_program"], timeout_s: 5 });
  assertEquals(code, 127);
});
