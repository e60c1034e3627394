import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SCHED_BATCH } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { OperatingError } from "../lib/errors.ts";
import { spawnProgram } from "../tests/process.ts";
import { adopt, main } from "./adopt.ts";
import { agentAncestor, agentProcesses } from "./agent_tree.ts";
import {
  HOST_FILES,
  type ProcessFiles,
  type ThreadReach,
  type ThreadSource,
  threadSource,
} from "./process_files.ts";
import { batchEnclave, toolHost } from "./test_enclave.ts";

/** A process with its threads, in a table instead of /proc. */
interface FakeProcess {
  readonly parent: number;
  readonly name: string;
  /** Names of its threads beside the first one, by id. */
  readonly threads?: Readonly<Record<number, string>>;
}

function fakeFiles(
  processes: Readonly<Record<number, FakeProcess>>,
  more: Readonly<Record<string, string>> = {},
): ProcessFiles {
  const files = new Map(Object.entries(more));
  const folders = new Map<string, string[]>([["/proc", [...Object.keys(processes), "self"]]]);
  for (const [pid, { parent, name, threads = {} }] of Object.entries(processes)) {
    folders.set(`/proc/${pid}/task`, [pid, ...Object.keys(threads)]);
    for (const [tid, comm] of Object.entries({ [pid]: name, ...threads })) {
      files.set(`/proc/${tid}/comm`, `${comm}\n`);
      files.set(`/proc/${tid}/status`, `Name:\t${comm}\nTgid:\t${pid}\nPPid:\t${parent}\n`);
    }
  }
  return { read: (path) => files.get(path), list: (path) => folders.get(path) };
}

const AGENT_HOST = fakeFiles({
  1: { parent: 0, name: "init" },
  10: { parent: 1, name: "sh" },
  20: { parent: 10, name: "ghost_guard" },
  21: { parent: 20, name: "fifo_per_cpu_ag", threads: { 22: "ap_task_0", 23: "ap_task_1" } },
  24: { parent: 21, name: "helper" },
  25: { parent: 24, name: "grandchild" },
  30: { parent: 10, name: "nginx", threads: { 31: "worker" } },
});

function source(files: ProcessFiles, text: string, reach?: ThreadReach): ThreadSource {
  const found = threadSource(files, text, reach);
  if (found instanceof OperatingError) throw found;
  return found;
}

Deno.test("an agent's process, its guard and all it has started are the agent's; others are not", () => {
  const members = agentProcesses(AGENT_HOST);
  assertEquals([...members.keys()].sort(), [20, 21, 24, 25]);
  assertEquals([...new Set(members.values())], [21]);
});

Deno.test("a process knows the agent process that has started it, over any number of others", () => {
  assertEquals([21, 24, 25].map((pid) => agentAncestor(AGENT_HOST, pid)), [21, 21, 21]);
  assertEquals([10, 20, 30].map((pid) => agentAncestor(AGENT_HOST, pid)), [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(agentAncestor(HOST_FILES, Deno.pid), undefined);
});

Deno.test("threads of the agent's process tree are refused with the reason, and never joined", () => {
  const joined: number[] = [];
  const enclave = batchEnclave({ taskTids: () => [], join: (tid) => joined.push(tid) * 0 });
  for (const [target, reason] of [["21", "an agent's"], ["25", "agent process 21"]]) {
    const adoption = adopt(source(AGENT_HOST, target), enclave, AGENT_HOST, 999);
    assert(!(adoption instanceof OperatingError));
    assertEquals(adoption.adopted_count, 0);
    for (const refusal of adoption.refused) assertStringIncludes(refusal.reason, reason);
    assertEquals(adoption.refused.length, target === "21" ? 3 : 1);
  }
  assertEquals(joined, []);
});

Deno.test("the tool does not adopt itself", () => {
  const enclave = batchEnclave({ taskTids: () => [], join: () => 0 });
  const adoption = adopt(source(AGENT_HOST, "30"), enclave, AGENT_HOST, 30);
  assert(!(adoption instanceof OperatingError));
  assertEquals(adoption.refused.map(({ tid }) => tid), [30, 31]);
});

Deno.test("a number is a process, or a thread that is not its first; --thread: one in any case", () => {
  assertEquals(source(AGENT_HOST, "30").tids(), [30, 31]);
  assertEquals(source(AGENT_HOST, "31").tids(), [31]);
  assertEquals(source(AGENT_HOST, "30", "thread").tids(), [30]);
});

Deno.test("--tree: a process and all it has started, directly or not", () => {
  assertEquals(source(AGENT_HOST, "21", "tree").tids(), [21, 22, 23, 24, 25]);
  assertEquals(source(AGENT_HOST, "30", "tree").tids(), [30, 31]);
});

Deno.test("threads of the kernel are refused: whatever they start would be inside", () => {
  const files = fakeFiles({
    2: { parent: 0, name: "kthreadd" },
    7: { parent: 2, name: "kworker/0:1" },
  });
  const enclave = batchEnclave({ taskTids: () => [], join: () => 0 });
  for (const pid of ["2", "7"]) {
    const adoption = adopt(source(files, pid), enclave, files, 999);
    assert(!(adoption instanceof OperatingError));
    assertEquals(adoption.adopted_count, 0);
    assertEquals(adoption.refused[0].reason, "it is a thread of the kernel");
  }
});

Deno.test("a cgroup is its folder, with those below it, in either version's file", () => {
  const root = "/sys/fs/cgroup";
  const text = { [`${root}/a/cgroup.threads`]: "5\n6\n", [`${root}/a/b/cgroup.threads`]: "7\n" };
  const files: ProcessFiles = {
    read: (path) =>
      (text as Record<string, string>)[path] ?? (path === "/old/tasks" ? "8\n" : undefined),
    list: (path) => path === `${root}/a` ? ["b", "cgroup.threads"] : [],
  };
  assertEquals(source(files, `${root}/a/`).tids(), [5, 6, 7]);
  assertEquals(source(files, "/a").tids(), [5, 6, 7]);
  assertEquals(source(files, "/old").tids(), [8]);
  assert(threadSource(files, "/none") instanceof OperatingError);
});

Deno.test("threads that are started meanwhile are found; those born inside are not refused", () => {
  // Thread 2 comes after the first list; 3 was born inside between its listing and its join.
  const lists = [[1], [1, 2, 3], [1, 2, 3]];
  const inside = new Set<number>();
  const enclave = batchEnclave({
    taskTids: () => [...inside],
    join: (tid) => {
      if (tid === 3) inside.add(3);
      if (inside.has(tid)) return -1;
      inside.add(tid);
      return 0;
    },
  });
  const threads: ThreadSource = { name: "test", tids: () => lists.shift() ?? [1, 2, 3] };
  assertEquals(adopt(threads, enclave, AGENT_HOST, 999), {
    adopted_count: 2,
    inside_count: 1,
    refused: [],
    is_stable: true,
  });
});

Deno.test("threads that the kernel refuses are told with its reason, those that are gone are not", () => {
  const enclave = batchEnclave({ taskTids: () => [], join: (tid) => tid === 30 ? -1 : -3 });
  const adoption = adopt(source(AGENT_HOST, "30"), enclave, AGENT_HOST, 999);
  assert(!(adoption instanceof OperatingError));
  assertEquals(adoption.refused.map(({ tid, name }) => [tid, name]), [[30, "nginx"]]);
  assertMatch(adoption.refused[0].reason, /^EPERM: /);
});

Deno.test("an enclave that goes away ends it, with the number of threads moved so far", () => {
  const lists = [[1], [1, 2]];
  const enclave = batchEnclave({
    taskTids: () => lists.length === 1 ? [] : -19,
    join: () => 0,
  });
  const threads: ThreadSource = { name: "test", tids: () => lists.shift() ?? [1, 2] };
  const result = adopt(threads, enclave, AGENT_HOST, 999);
  assert(result instanceof OperatingError);
  assertStringIncludes(result.message, "is gone (ENODEV) after 1 threads");
});

Deno.test("a process that never stops starting threads is reported as such", () => {
  let next = 1;
  const enclave = batchEnclave({ taskTids: () => [], join: () => 0 });
  const threads: ThreadSource = { name: "test", tids: () => [next++] };
  const adoption = adopt(threads, enclave, AGENT_HOST, 999);
  assert(!(adoption instanceof OperatingError) && !adoption.is_stable);
});

Deno.test("a real process whose threads start threads all the while is adopted whole", async () => {
  const child = await spawnProgram("util/testdata/forking_threads.ts", [], undefined, "piped");
  const stdin = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  await reader.read();
  try {
    const host = toolHost([batchEnclave()]);
    assertEquals(await main([String(child.pid)], host), 0);
    assertMatch(host.out[0], /^\S+enclave_1: process \d+: \d+ adopted/);
    // Later ones inherit it: the tree of threads is complete after about 60 ms on an idle host.
    let tids: number[] = [];
    for (let turn = 0; turn < 300 && tids.length < 200; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      tids = source(HOST_FILES, String(child.pid)).tids() ?? [];
    }
    assert(tids.length >= 200, `${tids.length} threads`);
    const { schedGetscheduler } = loadShim();
    assertEquals(tids.filter((tid) => schedGetscheduler(tid) !== SCHED_BATCH), []);
  } finally {
    await stdin.close();
    await child.status;
    await reader.cancel();
    await child.stderr.cancel();
  }
});

Deno.test("bad input is one line and status 2; what is not there is status 1", async () => {
  const cases: [string[], number, string][] = [
    [[], 2, "adopt what?"],
    [["0"], 2, 'bad PID "0"'],
    [["12x"], 2, 'bad PID "12x"'],
    [["99999999"], 2, "bad PID"],
    [[""], 2, 'bad argument ""'],
    [["1", "--nonsense"], 2, "unknown flag --nonsense"],
    [["1", "--tree", "--thread"], 2, "exclude each other"],
    [["--kernel=sim", "1"], 2, "--kernel=sim has no enclave"],
    [["no/such/cgroup"], 1, "no cgroup no/such/cgroup"],
    [["4194303"], 1, "no process or thread 4194303"],
    [["--enclave", "7", "1"], 1, "no enclave 7"],
  ];
  for (const [args, status, text] of cases) {
    const host = toolHost([batchEnclave({ join: () => -1 })]);
    assertEquals([args, await main(args, host)], [args, status]);
    assertStringIncludes(host.err[0], text);
    assertEquals(host.err[0].includes("\n"), false);
  }
});

Deno.test("--json reports with a schema version", async () => {
  const host = toolHost([batchEnclave({ taskTids: () => [], join: () => 0 })]);
  assertEquals(await main(["30", "--json"], host, AGENT_HOST), 0);
  const report = JSON.parse(host.out[0]);
  assertEquals([report.schema, report.adopted_count, report.source], [1, 2, "process 30"]);
});
