import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../lib/errors.ts";
import { rootPath } from "../../tools/std_source.ts";
import { JOBS } from "./jobs.ts";
import { main, parseRequest } from "./main.ts";
import { fetchedLine } from "./packages.ts";

Deno.test("test:vm: without flags all jobs run on five CPUs", () => {
  const request = parseRequest([]);
  assertEquals(request.jobs, JOBS.filter(({ is_soak, is_ghost }) => !is_soak && !is_ghost));
  assertEquals([request.is_icount, parseRequest(["--icount"]).is_icount], [false, true]);
  assertEquals([request.cpus, request.memory_mib, request.timeout_s], [5, 4096, undefined]);
  assertEquals(request.kernel_image, undefined);
  const files = ["--kernel-image", "/bin/sh", "--overlay-module", "/bin/ls"];
  const { kernel_image, overlay_module } = parseRequest(files);
  assertEquals([kernel_image, overlay_module], ["/bin/sh", "/bin/ls"]);
});

Deno.test("test:vm: jobs are chosen by name and keep their order", () => {
  const args = ["--job", "sim_agent", "--job=kernel_facts", "--cpus", "2"];
  const { jobs, cpus } = parseRequest(args);
  assertEquals(jobs.map(({ name }) => name), ["kernel_facts", "sim_agent"]);
  assertEquals(cpus, 2);
});

Deno.test("test:vm: bad flags are usage errors", () => {
  const bad = [
    ["--job", "nothing"],
    ["--cpus", "0"],
    ["--cpus", "x"],
    ["--memory-mib", "1"],
    ["--kernel-image", "/no/such/file"],
    ["--kernel-image", "/"],
    ["--overlay-module", "/bin/sh"],
    ["--kernel-image", "/bin/sh", "--overlay-module", "/no/such/file"],
    ["--what"],
    ["word"],
  ];
  for (const args of bad) assertThrows(() => parseRequest(args), UsageError, "", args.join(" "));
});

Deno.test("test:vm: a usage error is one line and status 2, --list names every job", async () => {
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "test:vm", ...args],
      cwd: rootPath(),
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  };
  const bad = await run("--job", "nothing");
  assertEquals(bad.code, 2);
  assertEquals(bad.stderr.trim().split("\n").filter((line) => line.startsWith("vm: ")).length, 1);
  const list = await run("--list");
  assertEquals(list.code, 0);
  assertEquals(list.stdout.trim().split("\n").length, JOBS.length);
});

Deno.test("test:vm: help ends with status 0", async () => {
  assertEquals(await main(["--help"]), 0);
});

Deno.test("test:vm: apt's progress is told by package and size", () => {
  const line = "Get:3 http://mirror.example/debian bookworm/main amd64 cpio amd64 2.13 [245 kB]";
  assertEquals(fetchedLine(line), "fetch cpio (245 kB)");
  assertEquals(fetchedLine("Reading package lists..."), undefined);
  assert(!fetchedLine(line)?.includes("mirror"));
});
