import { assert, assertEquals } from "@std/assert";
import { CpuList } from "./cpu_list.ts";
import { OperatingError } from "./errors.ts";
import { readerOf, sysfsFiles, TEST_CPU_COUNT, testRows } from "./test_topology.ts";
import { Cpu, type CpuRaw, Topology } from "./topology.ts";

const CPUS = [5, 20, 87, 94, 100];

function made(topology: Topology | OperatingError): Topology {
  if (topology instanceof OperatingError) throw topology;
  return topology;
}

/** The 112-CPU machine, read from the files of /sys that a kernel would show for it. */
function testTopology(has_l3_cache = true, consecutive = false): Topology {
  return made(Topology.fromSysfs(readerOf(sysfsFiles(testRows(has_l3_cache, consecutive)))));
}

/** The same machine as rows, each field by a formula of its own. */
function customRows(has_l3_cache = true, consecutive = false): CpuRaw[] {
  const ids = Array.from({ length: TEST_CPU_COUNT }, (_, cpu) => cpu);
  const coreOf = (cpu: number): number => consecutive ? cpu >> 1 : cpu % 56;
  const nodeOf = (cpu: number): number => Math.floor(cpu / 28) % 2;
  return ids.map((cpu) => ({
    cpu,
    core: coreOf(cpu),
    smt_idx: consecutive ? cpu % 2 : Math.floor(cpu / 56),
    siblings: ids.filter((other) => coreOf(other) === coreOf(cpu)),
    l3_siblings: has_l3_cache ? ids.filter((other) => nodeOf(other) === nodeOf(cpu)) : [],
    numa_node: nodeOf(cpu),
  }));
}

function customTopology(has_l3_cache = true, consecutive = false): Topology {
  return made(Topology.fromRaw(customRows(has_l3_cache, consecutive)));
}

function hostTopology(): Topology {
  return made(Topology.fromSysfs());
}

function checkNumCpus(topology: Topology): void {
  assertEquals(topology.all_cpus.size, topology.num_cpus);
  assert(topology.num_cpus > 0);
}

function checkAllCpus(topology: Topology): void {
  assertEquals(topology.num_cpus, 112);
  for (let id = 0; id < 112; id++) assertEquals(topology.cpu(id).id, id);
  assertEquals(`${topology.all_cpus}`, "0-111");
}

function checkListContents(topology: Topology, ids: number[]): void {
  const list = CpuList.from(ids);
  assertEquals(topology.toVector(list).map((cpu) => cpu.id), ids);
  assertEquals(list.isEmpty(), ids.length === 0);
}

function checkSetContents(topology: Topology, ids: number[]): void {
  const bytes = CpuList.from(topology.toVector(ids).map((cpu) => cpu.id)).toCpuSet();
  assertEquals(bytes.length, 128);
  const found: number[] = [];
  for (let bit = 0; bit < 1024; bit++) {
    if ((bytes[Math.floor(bit / 8)] >> (bit % 8)) & 1) found.push(bit);
  }
  assertEquals(found, ids);
}

function checkCores(topology: Topology): void {
  for (let id = 0; id < 56; id++) {
    assertEquals(topology.core(topology.cpu(id)), topology.cpu(id));
    assertEquals(topology.core(topology.cpu(id + 56)), topology.cpu(id));
  }
}

function checkSiblings(topology: Topology): void {
  for (let id = 0; id < 56; id++) {
    assertEquals(topology.cpu(id).siblings.toIntVector(), [id, id + 56]);
    assertEquals(topology.cpu(id + 56).siblings.toIntVector(), [id, id + 56]);
  }
}

function checkL3Siblings(topology: Topology): void {
  for (const cpu of topology.toVector(topology.all_cpus)) {
    const expected = cpu.id % 56 < 28 ? "0-27,56-83" : "28-55,84-111";
    assertEquals(`${cpu.l3_siblings}`, expected);
  }
}

function checkEmptyL3Siblings(topology: Topology): void {
  assertEquals(topology.num_cpus, 112);
  for (const cpu of topology.toVector(topology.all_cpus)) assert(cpu.l3_siblings.isEmpty());
}

function checkSmtIdx(topology: Topology): void {
  assertEquals(topology.smt_count, 2);
  for (const cpu of topology.toVector(topology.all_cpus)) {
    const siblings = cpu.siblings.toIntVector();
    assert(siblings.every((id, i) => i === 0 || id > siblings[i - 1]));
    assertEquals(siblings[cpu.smt_idx], cpu.id);
    assertEquals(cpu.smt_idx, cpu.id < 56 ? 0 : 1);
  }
}

function checkConsecutive(topology: Topology): void {
  assertEquals(topology.smt_count, 2);
  assert(topology.consecutive_smt_numbering);
  for (const cpu of topology.toVector(topology.all_cpus)) {
    const first = cpu.id - cpu.id % 2;
    assertEquals(cpu.siblings.toIntVector(), [first, first + 1]);
  }
}

/** Walks a set by hand: every CPU in order, then one that is not valid. */
function checkIterator(topology: Topology, ids: number[]): void {
  const list = CpuList.from(ids);
  let id = list.next(0);
  for (const expected of ids) {
    assertEquals(topology.cpu(id).id, expected);
    id = list.next(id + 1);
  }
  assert(!topology.cpu(id).valid());
}

function checkIteratorRange(topology: Topology, ids: number[]): void {
  const visited: number[] = [];
  for (const id of CpuList.from(ids)) visited.push(topology.cpu(id).id);
  assertEquals(visited, ids);
}

function checkIteratorEnds(topology: Topology): void {
  const end = topology.all_cpus.next(topology.cpu_id_bound);
  assertEquals(end, -1);
  assert(!topology.cpu(end).valid());
}

Deno.test("topology_test CpuValid: every CPU of the host is valid", () => {
  const topology = hostTopology();
  for (const id of topology.all_cpus) assert(topology.cpu(id).valid());
});

Deno.test("topology_test UninitializedCpu: a CPU made of nothing is not valid", () => {
  assert(!new Cpu().valid());
});

Deno.test("topology_test CpuNumaNode: every CPU of the host has a NUMA node", () => {
  const topology = hostTopology();
  for (const id of topology.all_cpus) assert(topology.cpu(id).numa_node >= 0);
});

Deno.test("topology_test CpuToString: a CPU prints as its number", () => {
  const topology = testTopology();
  for (const id of [0, 3, 19]) assertEquals(`${topology.cpu(id)}`, String(id));
});

Deno.test("topology_test UninitializedCpuToString: a CPU made of nothing prints as -1", () => {
  assertEquals(`${new Cpu()}`, "-1");
});

Deno.test("topology_test TopologyNumCpus: the set of all CPUs has as many as counted", () => {
  checkNumCpus(hostTopology());
  checkNumCpus(testTopology());
});

Deno.test("topology_test TopologyAllCpus: CPU i of the test machine has number i", () => {
  checkAllCpus(testTopology());
});

Deno.test("topology_test CpuListContentsEmpty: the list of no CPUs is empty", () => {
  checkListContents(testTopology(), []);
});

Deno.test("topology_test CpuListContents: a list holds the CPUs it was made of", () => {
  checkListContents(testTopology(), [0, 1, 2]);
});

Deno.test("topology_test CpuSetContentEmpty: the cpu_set_t of no CPUs has no bit", () => {
  checkSetContents(testTopology(), []);
});

Deno.test("topology_test CpuSetContents: a cpu_set_t has one bit per CPU", () => {
  checkSetContents(testTopology(), [0, 1, 2]);
});

Deno.test("topology_test CheckAllCores: the cores of the test machine are CPUs 0-55", () => {
  assertEquals(`${testTopology().all_cores}`, "0-55");
});

Deno.test("topology_test CheckCores: CPUs i and i + 56 run on core i", () => {
  checkCores(testTopology());
});

Deno.test("topology_test CheckSiblings: both threads of a core name each other", () => {
  checkSiblings(testTopology());
});

Deno.test("topology_test CheckL3Siblings: the CPUs of a node share its L3 cache", () => {
  checkL3Siblings(testTopology());
});

Deno.test("topology_test CheckEmptyL3Siblings: no L3 cache, no L3 siblings", () => {
  checkEmptyL3Siblings(testTopology(false));
});

Deno.test("topology_test CheckHighestNodeIdx: two nodes, the highest is 1", () => {
  assertEquals(testTopology().highest_node_idx, 1);
  assertEquals(testTopology().num_numa_nodes, 2);
});

Deno.test("topology_test CheckSmtIdx: a CPU's place among its siblings is its smt_idx", () => {
  checkSmtIdx(testTopology());
});

Deno.test("topology_test TestConsecutiveSmtNumbering: siblings are neighbours", () => {
  checkConsecutive(testTopology(true, true));
  assert(!testTopology().consecutive_smt_numbering);
});

Deno.test("topology_test BitmapSetCpu: CPUs are set, found and cleared as objects", () => {
  const topology = testTopology();
  const cpus = CPUS.map((id) => topology.cpu(id));
  const list = new CpuList();
  for (const cpu of cpus) list.set(cpu.id);
  for (const cpu of topology.toVector(topology.all_cpus)) {
    assertEquals(list.isSet(cpu.id), cpus.includes(cpu));
  }
  for (const [n, cpu] of cpus.entries()) assertEquals(topology.cpu(list.nthCpu(n)), cpu);
  for (const [i, cpu] of cpus.entries()) {
    list.clear(cpu.id);
    assertEquals(topology.cpu(list.nthCpu(0)).id, cpus[i + 1]?.id ?? -1);
  }
  assert(list.isEmpty());
});

Deno.test("topology_test IteratorBegin: the walk over all CPUs begins at CPU 0", () => {
  assertEquals(testTopology().all_cpus.front(), 0);
});

Deno.test("topology_test IteratorEnd: what comes after the last CPU is not valid", () => {
  checkIteratorEnds(testTopology());
});

Deno.test("topology_test Iterator: a loop by hand visits exactly the CPUs set, in order", () => {
  checkIterator(testTopology(), CPUS);
});

Deno.test("topology_test IteratorRange: a for loop visits exactly the CPUs set, in order", () => {
  checkIteratorRange(testTopology(), CPUS);
});

Deno.test("topology_test IteratorBoundary: first and last CPU are visited", () => {
  checkIterator(testTopology(), [0, 20, 111]);
});

Deno.test("topology_test CpuInNodeTest: the nodes share no CPU and together have all", () => {
  const topology = testTopology();
  const node_0 = topology.cpusOnNode(0);
  const node_1 = topology.cpusOnNode(1);
  assertEquals(`${node_0}`, "0-27,56-83");
  assert(node_0.clone().intersection(node_1).isEmpty());
  assert(node_0.plus(node_1).equals(topology.all_cpus));
  assert(topology.cpusOnNode(2).isEmpty());
});

Deno.test("topology_test CpuSetToCpuList: a cpu_set_t and back gives the same set", () => {
  const list = new CpuList();
  for (let id = 0, stride = 1; id < 112; id += stride++) list.set(id);
  assert(list.size > 10);
  assert(CpuList.fromCpuSet(list.toCpuSet()).equals(list));
});

Deno.test("topology_test CustomTopologyNumCpus: as many CPUs as rows", () => {
  checkNumCpus(customTopology());
});

Deno.test("topology_test CustomTopologyAllCpus: CPU i has number i", () => {
  checkAllCpus(customTopology());
});

Deno.test("topology_test CustomCpuListContentsEmpty: the list of no CPUs is empty", () => {
  checkListContents(customTopology(), []);
});

Deno.test("topology_test CustomCpuListContents: a list holds the CPUs it was made of", () => {
  checkListContents(customTopology(), [0, 1, 2]);
});

Deno.test("topology_test CustomCpuSetContentEmpty: the cpu_set_t of no CPUs has no bit", () => {
  checkSetContents(customTopology(), []);
});

Deno.test("topology_test CustomCpuSetContents: a cpu_set_t has one bit per CPU", () => {
  checkSetContents(customTopology(), [0, 1, 2]);
});

Deno.test("topology_test CustomCheckAllCores: the cores are CPUs 0-55", () => {
  assertEquals(`${customTopology().all_cores}`, "0-55");
});

Deno.test("topology_test CustomCheckCores: CPUs i and i + 56 run on core i", () => {
  checkCores(customTopology());
});

Deno.test("topology_test CustomCheckSiblings: both threads of a core name each other", () => {
  checkSiblings(customTopology());
});

Deno.test("topology_test CustomCheckL3Siblings: the CPUs of a node share its L3 cache", () => {
  checkL3Siblings(customTopology());
});

Deno.test("topology_test CustomCheckEmptyL3Siblings: no L3 cache, no L3 siblings", () => {
  checkEmptyL3Siblings(customTopology(false));
});

Deno.test("topology_test CustomCheckHighestNodeIdx: two nodes, the highest is 1", () => {
  assertEquals(customTopology().highest_node_idx, 1);
});

Deno.test("topology_test CustomCheckSmtIdx: smt_idx is the place among the siblings", () => {
  checkSmtIdx(customTopology());
});

Deno.test("topology_test CustomConsecutiveSmtNumbering: siblings are neighbours", () => {
  const topology = customTopology(true, true);
  checkConsecutive(topology);
  for (const cpu of topology.toVector(topology.all_cpus)) {
    assertEquals([cpu.core, cpu.smt_idx], [cpu.id >> 1, cpu.id & 1]);
  }
});

Deno.test("topology_test CustomIteratorBegin: the walk over all CPUs begins at CPU 0", () => {
  assertEquals(customTopology().all_cpus.front(), 0);
});

Deno.test("topology_test CustomIteratorEnd: what comes after the last CPU is not valid", () => {
  checkIteratorEnds(customTopology());
});

Deno.test("topology_test CustomIterator: a loop by hand visits the CPUs set, in order", () => {
  checkIterator(customTopology(), CPUS);
});

Deno.test("topology_test CustomIteratorRange: a for loop visits the CPUs set, in order", () => {
  checkIteratorRange(customTopology(), CPUS);
});

Deno.test("topology_test CustomIteratorBoundary: first and last CPU are visited", () => {
  checkIterator(customTopology(), [0, 20, 111]);
});

Deno.test("topology_test CpuListToVector: the CPUs of a list as objects, in order", () => {
  const cpus = customTopology().toVector(CpuList.from([2, 0, 1]));
  assertEquals(cpus.map((cpu) => [cpu.id, cpu.valid()]), [[0, true], [1, true], [2, true]]);
});

Deno.test("topology_test CpuListToIntVector: the CPUs of a list as numbers, in order", () => {
  assertEquals(CpuList.from([2, 0, 1]).toIntVector(), [0, 1, 2]);
});

Deno.test("topology_test ExportTopology: export gives the rows it was made from", () => {
  assertEquals(customTopology().export(), customRows());
});

Deno.test("topology_test ExportTopologyWithNoL3Cache: likewise without an L3 cache", () => {
  assertEquals(customTopology(false).export(), customRows(false));
});

Deno.test("topology_test ExportTestTopology: export of what was read from /sys", () => {
  assertEquals(testTopology().export(), customRows());
});

Deno.test("topology_test ExportTestTopologyWithNoL3Cache: likewise without an L3 cache", () => {
  assertEquals(testTopology(false).export(), customRows(false));
});

Deno.test("topology_test CpusOnNode: four nodes with one CPU each", () => {
  const rows = [0, 1, 2, 3].map((cpu) => ({
    cpu,
    core: cpu,
    smt_idx: 0,
    siblings: [cpu],
    l3_siblings: [cpu],
    numa_node: cpu,
  }));
  const topology = made(Topology.fromRaw(rows));
  for (const node of [0, 1, 2, 3]) assertEquals(topology.cpusOnNode(node).toIntVector(), [node]);
});
