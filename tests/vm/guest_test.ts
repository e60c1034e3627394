import { assert, assertEquals } from "@std/assert";
import {
  initScript,
  isTimedOut,
  kernelFaults,
  parseGuestLine,
  runnerScript,
  shellWord,
} from "./guest.ts";

/** True if sh takes a text as a script. */
async function isShell(script: string): Promise<boolean> {
  const child = new Deno.Command("sh", { args: ["-n"], stdin: "piped", stderr: "null" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  return (await child.status).success;
}

Deno.test("guest: the runner's lines are told from the kernel's", () => {
  assertEquals(parseGuestLine("@vm up"), { kind: "up" });
  assertEquals(parseGuestLine("[    3.1] usb @vm start one\r"), { kind: "start", name: "one" });
  assertEquals(parseGuestLine("@vm end one 124"), { kind: "end", name: "one", status: 124 });
  assertEquals(parseGuestLine("@vm done"), { kind: "done" });
  assertEquals(parseGuestLine("@vm fail no overlay"), { kind: "fail", reason: "no overlay" });
});

Deno.test("guest: a line that was cut or never sent says nothing", () => {
  for (const line of ["", "vm up", "@vm", "@vm end one", "@vm end one x", "@vm start", "@vm go"]) {
    assertEquals(parseGuestLine(line), undefined, line);
  }
});

Deno.test("guest: both scripts are well-formed", async () => {
  assert(await isShell(initScript()));
  assert(await isShell(runnerScript([{ name: "a", script: "", timeout_s: 1.5 }], "/it's/here")));
  assert(!await isShell("run() { echo"));
});

Deno.test("guest: the host's files are mounted read-only, and every step has its failure", () => {
  const script = initScript();
  assert(script.includes("mount -t virtiofs -o ro host /mnt/host || fail"));
  assert(script.includes("the kernel has no overlayfs built in"));
  assert(script.includes("the kernel has no virtiofs built in"));
});

Deno.test("guest: jobs run in their order, under their limits in whole seconds", () => {
  const jobs = [
    { name: "first", script: "", timeout_s: 1.5 },
    { name: "second", script: "", timeout_s: 20 },
  ];
  const calls = runnerScript(jobs, "/x").split("\n").filter((line) => /^run \w/.test(line));
  assertEquals(calls, ["run first 2", "run second 20"]);
});

Deno.test("guest: the runner runs jobs, keeps their output and tells their ends", async () => {
  const out = await Deno.makeTempDir({ prefix: "guest_test_" });
  try {
    for (const [name, script] of [["good", "echo hi"], ["bad", "echo no >&2; exit 4"]]) {
      await Deno.mkdir(`${out}/${name}`);
      await Deno.writeTextFile(`${out}/${name}/script.sh`, script);
    }
    await Deno.mkdir(`${out}/slow`);
    await Deno.writeTextFile(`${out}/slow/script.sh`, "exec sleep 30");
    const jobs = [["good", 5], ["bad", 5], ["slow", 1]] as const;
    const script = runnerScript(
      jobs.map(([name, timeout_s]) => ({ name, timeout_s, script: "" })),
      out,
    ).replaceAll("/out/", `${out}/`).replace(/^dmesg[^]*?@vm done"$[^]*/m, 'echo "@vm done"\n');
    const args = ["-c", script];
    const { stdout } = await new Deno.Command("sh", { args, stdin: "null" }).output();
    assertEquals(new TextDecoder().decode(stdout).trim().split("\n"), [
      "@vm up",
      "@vm start good",
      "@vm end good 0",
      "@vm start bad",
      "@vm end bad 4",
      "@vm start slow",
      "@vm end slow 124",
      "@vm done",
    ]);
    assertEquals(await Deno.readTextFile(`${out}/good/stdout`), "hi\n");
    assertEquals(await Deno.readTextFile(`${out}/bad/stderr`), "no\n");
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});

Deno.test("guest: statuses of timeout(1) are told from a job's own", () => {
  assert(isTimedOut(124) && isTimedOut(137));
  assert(!isTimedOut(0) && !isTimedOut(1) && !isTimedOut(undefined));
});

Deno.test("guest: a path with a quote stays one word of the shell", () => {
  assertEquals(shellWord("a'b c"), `'a'\\''b c'`);
});

Deno.test("guest: warnings of the kernel are found, other lines are not", () => {
  const dmesg = "[ 1.0] Linux version\n[ 2.0] WARNING: CPU: 1 PID: 7 at kernel/sched/ext.c:1\n" +
    "[ 2.1] BUG: unable to handle page fault\n[ 3.0] sched_ext: BPF scheduler enabled\n";
  assertEquals(kernelFaults(dmesg).length, 2);
});
