import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { stdFlags, stdSource } from "../tools/std_source.ts";
import { spawnProgram, startProgram } from "../tests/process.ts";
import { SCHED_BATCH } from "../ffi/linux.ts";
import { callerEnvironment, main, startFileLimit } from "./run.ts";
import { RUNTIME_VARIABLES } from "./build.ts";
import { batchEnclave, toolHost } from "./test_enclave.ts";

const PROGRAM = "util/testdata/run_program.ts";

async function runCommand(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await (await startProgram(PROGRAM, args)).ended();
  return { code, out: stdout, err: stderr };
}

Deno.test("the command is in the enclave, and so are its children", async () => {
  const policy = "cut -d ' ' -f 41 /proc/self/stat";
  const { code, out, err } = await runCommand("--", "sh", "-c", `${policy}; (${policy}; :)`);
  assertEquals([code, err], [0, ""]);
  assertEquals(out, `${SCHED_BATCH}\n${SCHED_BATCH}\n`);
});

Deno.test("the exit status is the command's", async () => {
  assertEquals((await runCommand("sh", "-c", "exit 7")).code, 7);
});

Deno.test("a command that is not there gives 127, one that is no program 126, in one line", async () => {
  const missing = await runCommand("--", "/no/such/program");
  assertEquals(missing.code, 127);
  assertEquals(missing.err, "ghostctl run: cannot run /no/such/program (ENOENT)\n");
  assertEquals((await runCommand("/proc/self/status")).code, 126);
});

Deno.test("the command has the id of the process, so that signals reach it, and its death shows", async () => {
  const child = await spawnProgram(PROGRAM, ["--", "sh", "-c", "echo $$; exec sleep 60"]);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(new TextDecoder().decode(value).trim(), String(child.pid));
  child.kill("SIGTERM");
  const { signal } = await child.status;
  assertEquals(signal, "SIGTERM");
  await reader.cancel();
  await child.stderr.cancel();
});

Deno.test("no signal is blocked or ignored in the command, and no descriptor is left open", async () => {
  const args = ["/proc/self/status", "/proc/self/fdinfo", "-rhE", "-e", "^Sig(Blk|Ign|Cgt)|^pos"];
  const { out } = await runCommand("grep", ...args);
  assertStringIncludes(out, "SigBlk:\t0000000000000000");
  // As a program sees it that is started without the detour.
  const plain = new Deno.Command("grep", { args, stdin: "null" });
  // 32 and 33, which posix_spawn of the C library ignores, are no signals of anybody's.
  const known = (text: string): string => text.replace(/(SigIgn:\t0{7})[01]8/, "$100");
  assertEquals(known(out), known(new TextDecoder().decode((await plain.output()).stdout)));
});

Deno.test("the limit of open files is that of the caller, not the one the runtime has raised", async () => {
  const flags = stdFlags(await stdSource());
  const program = new URL("./testdata/run_program.ts", import.meta.url).pathname;
  // The shell stays as the parent, since something follows.
  const script = 'ulimit -Sn 217; "$0" "$@"; exit $?';
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "--quiet", ...flags, program];
  const { code, stdout } = await new Deno.Command("sh", {
    args: ["-c", script, ...deno, "sh", "-c", "ulimit -n"],
    stdin: "null",
  }).output();
  assertEquals([code, new TextDecoder().decode(stdout)], [0, "217\n"]);
});

Deno.test("the caller's limit is read from /proc, and left if it cannot be", () => {
  const limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   524288   files \n";
  assertEquals(startFileLimit(5, (path) => path === "/proc/5/limits" ? limits : undefined), 1024);
  assertEquals(startFileLimit(5, () => undefined), -1);
});

Deno.test("flags behind the command are the command's", async () => {
  const { code, out } = await runCommand("echo", "--help", "--", "-x");
  assertEquals([code, out], [0, "--help -- -x\n"]);
});

Deno.test("what a packed executable adds to the environment is not handed on", () => {
  const [added] = RUNTIME_VARIABLES;
  assert(added !== undefined);
  assertEquals(callerEnvironment(`A=1\0${added}\0B=x y\0`), ["A=1", "B=x y"]);
});

Deno.test("no command, or a wrong flag, is one line and status 2", async () => {
  for (const args of [[], ["--"], ["--nonsense", "--", "true"]]) {
    const host = toolHost([batchEnclave()]);
    assertEquals(await main(args, host), 2);
    assertEquals(host.err.length, 1);
    assertEquals(host.err[0].includes("\n"), false);
  }
});

Deno.test("an enclave that refuses is told with the reason, and the command does not run", async () => {
  const { code, out, err } = await runCommand("refuse", "--", "echo", "it ran");
  assertEquals([code, out], [1, ""]);
  assertStringIncludes(err, "ghostctl run: cannot join /sys/fs/ghost/enclave_1 (EPERM); ");
});

Deno.test("what an agent has started is refused with the reason, and does not run", async () => {
  const host = toolHost([batchEnclave()], { ownAgent: () => 77 });
  assertEquals(await main(["--", "true"], host), 1);
  assertStringIncludes(host.err[0], "this process belongs to agent process 77, which must not");
});

Deno.test("where no agent is online the command does not run", async () => {
  const host = toolHost([batchEnclave({ isOnline: () => false })]);
  assertEquals(await main(["--", "true"], host), 1);
  assertStringIncludes(host.err[0], "has no agent online");
});
