import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { OperatingError, UsageError } from "./errors.ts";
import { readTextFile } from "./host_files.ts";
import { machineRows, readerOf, sysfsFiles, testRows } from "./test_topology.ts";
import { type CpuRaw, Topology } from "./topology.ts";

function made(topology: Topology | OperatingError): Topology {
  if (topology instanceof OperatingError) throw topology;
  return topology;
}

function problem(topology: Topology | OperatingError): string {
  assertInstanceOf(topology, OperatingError);
  assert(!topology.message.includes("\n"));
  return topology.message;
}

/** The machine of four cores and eight threads with some CPUs taken offline. */
function withOffline(offline: number[]): CpuRaw[] {
  const isOnline = (cpu: number): boolean => !offline.includes(cpu);
  const rows = machineRows({
    core_count: 4,
    smt_count: 2,
    numa_node_count: 2,
    has_l3_cache: true,
    consecutive_smt_numbering: false,
  });
  return rows.filter((row) => isOnline(row.cpu)).map((row) => ({
    ...row,
    siblings: row.siblings.filter(isOnline),
    l3_siblings: row.l3_siblings.filter(isOnline),
  }));
}

Deno.test("topology: /sys written to real files is read like the kernel's", async () => {
  const root = await Deno.makeTempDir();
  try {
    for (const [path, text] of sysfsFiles(testRows(true))) {
      const file = root + path;
      await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(file, text);
    }
    const topology = made(Topology.fromSysfs((path) => readTextFile(root + path)));
    assertEquals(topology.export(), testRows(true));
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("topology: offline CPUs leave holes, and their siblings remain", () => {
  // CPU 0 and CPU 5 are offline: 4 is alone on the core it shared with 0, and 1 alone.
  const files = sysfsFiles(withOffline([0, 5]));
  const topology = made(Topology.fromSysfs(readerOf(files)));
  assertEquals(`${topology.all_cpus}`, "1-4,6-7");
  assertEquals([topology.num_cpus, topology.cpu_id_bound], [6, 8]);
  assertEquals([topology.cpu(4).core, topology.cpu(4).smt_idx], [4, 0]);
  assertEquals([topology.cpu(6).core, topology.cpu(6).smt_idx], [2, 1]);
  assertEquals(`${topology.all_cores}`, "1-4");
  assertEquals(topology.smt_count, 2);
  assert(!topology.cpu(0).valid() && !topology.cpu(5).valid() && !topology.cpu(8).valid());
  assertEquals(topology.toVector([0, 1, 5, 6]).map((cpu) => cpu.id), [1, 6]);
});

Deno.test("topology: siblings that the kernel still lists though offline are left out", () => {
  const files = sysfsFiles(withOffline([]));
  files.set("/sys/devices/system/cpu/online", "0-3\n");
  const topology = made(Topology.fromSysfs(readerOf(files)));
  assertEquals(`${topology.all_cpus}`, "0-3");
  assertEquals(topology.smt_count, 1);
  assertEquals(`${topology.cpu(3).l3_siblings}`, "2-3");
});

Deno.test("topology: a CPU list is refused if out of range, and otherwise if offline", () => {
  const topology = made(Topology.fromRaw(withOffline([5])));
  assertEquals(`${topology.parseCpuStr("0-2,7")}`, "0-2,7");
  const offline = topology.parseCpuStr("3-6");
  assertInstanceOf(offline, UsageError);
  assertEquals(offline.message, 'offline CPU 5 in CPU list "3-6"; online CPUs are 0-4,6-7');
  const outside = topology.parseCpuStr("8");
  assertInstanceOf(outside, UsageError);
  assert(outside.message.startsWith("CPU out of range"), outside.message);
});

Deno.test("topology: a host that says little has one node, no L3 and one thread per core", () => {
  const files = new Map([["/sys/devices/system/cpu/online", "0-1\n"]]);
  const topology = made(Topology.fromSysfs(readerOf(files)));
  assertEquals(
    topology.export(),
    [0, 1].map((cpu) => ({
      cpu,
      core: cpu,
      smt_idx: 0,
      siblings: [cpu],
      l3_siblings: [],
      numa_node: 0,
    })),
  );
  assertEquals([topology.smt_count, topology.num_numa_nodes], [1, 1]);
});

Deno.test("topology: the L3 cache is found by its level, not by its place", () => {
  const files = sysfsFiles(withOffline([]));
  for (const path of [...files.keys()].filter((key) => key.includes("/cache/index3/"))) {
    files.set(path.replace("index3", "index2"), files.get(path)!);
    files.set(path, path.endsWith("level") ? "4\n" : "0-7\n");
  }
  const topology = made(Topology.fromSysfs(readerOf(files)));
  assertEquals(`${topology.cpu(0).l3_siblings}`, "0-1,4-5");
});

Deno.test("topology: nodes without CPUs count as possible nodes", () => {
  const files = sysfsFiles(withOffline([]));
  files.set("/sys/devices/system/node/possible", "0-3\n");
  const topology = made(Topology.fromSysfs(readerOf(files)));
  assertEquals([topology.highest_node_idx, topology.num_numa_nodes], [3, 4]);
  assert(topology.cpusOnNode(3).isEmpty());
});

Deno.test("topology: four threads per core are no error", () => {
  const rows = machineRows({
    core_count: 2,
    smt_count: 4,
    numa_node_count: 1,
    has_l3_cache: false,
    consecutive_smt_numbering: true,
  });
  const topology = made(Topology.fromRaw(rows));
  assertEquals([topology.smt_count, topology.consecutive_smt_numbering], [4, false]);
  assertEquals(`${topology.all_cores}`, "0,4");
});

Deno.test("topology: /sys that is missing or broken is one line with the cure", () => {
  assertEquals(
    problem(Topology.fromSysfs(() => undefined)),
    "/sys/devices/system/cpu/online lists no CPU; mount sysfs on /sys",
  );
  for (
    const [path, fault] of [
      ["/sys/devices/system/cpu/online", "bad field"],
      ["/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "bad field"],
      ["/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", "bad field"],
      ["/sys/devices/system/node/possible", "bad field"],
      ["/sys/devices/system/node/node0/cpulist", "bad field"],
    ]
  ) {
    const files = sysfsFiles(withOffline([]));
    files.set(path, "hello\n");
    const message = problem(Topology.fromSysfs(readerOf(files)));
    assert(message.startsWith(`cannot read ${path}: ${fault}`), message);
  }
  const files = sysfsFiles(withOffline([])).set("/sys/devices/system/cpu/online", "0-512\n");
  assert(problem(Topology.fromSysfs(readerOf(files))).includes("CPU out of range"));
});

Deno.test("topology: rows that contradict each other are refused", () => {
  const good = withOffline([]);
  const cases: [CpuRaw[], string][] = [
    [[], "no CPU"],
    [[...good, good[0]], "a CPU appears twice"],
    [[{ ...good[0], cpu: 512 }], "CPU 512 is outside 0-511"],
    [[{ ...good[0], cpu: -1 }], "CPU -1 is outside 0-511"],
    [good.with(1, { ...good[1], numa_node: -1 }), "CPU 1 has no NUMA node"],
    [good.with(1, { ...good[1], core: 9 }), "core 9 of CPU 1 is no CPU"],
    [good.with(1, { ...good[1], siblings: [5] }), "CPU 1 is not its own sibling"],
    [good.with(1, { ...good[1], siblings: [1, 9] }), "siblings of CPU 1 hold what is no CPU"],
    [good.with(1, { ...good[1], siblings: [0, 1, 4, 5] }), "siblings of CPUs 1 and 0 differ"],
    [good.with(1, { ...good[1], l3_siblings: [1] }), "l3_siblings of CPUs 0 and 1 differ"],
    [
      good.map((row) => ({ ...row, l3_siblings: [0, 1] })),
      "CPU 2 is not its own L3 sibling",
    ],
  ];
  for (const [rows, text] of cases) {
    const message = problem(Topology.fromRaw(rows));
    assert(message.startsWith(`bad CPU topology: ${text}; `), `${message} instead of ${text}`);
  }
});
