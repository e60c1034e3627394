import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const SKIPPED_FOLDERS = new Set([".git", ".cache", "node_modules", "dist", "out", "cov", "build"]);
const STATUSES = ["passes", "not applicable", "not yet"];

/** Upstream's tests per file (google/ghost-userspace). */
const TEST_COUNTS: Readonly<Record<string, number>> = {
  "tests/api_test.cc": 13,
  "tests/agent_test.cc": 24,
  "tests/enclave_test.cc": 12,
  "tests/channel_test.cc": 3,
  "tests/prio_table_test.cc": 6,
  "tests/base_test.cc": 10,
  "tests/fd_server_test.cc": 9,
  "tests/topology_test.cc": 65,
  "tests/cfs_test.cc": 6,
  "tests/edf_test.cc": 5,
  "tests/biff_test.cc": 3,
  "tests/flux_test.cc": 8,
  "tests/cfs_bpf_test.cc": 3,
  "tests/capabilities_test.cc": 8,
  "tests/bpf_avl_test.cc": 18,
  "tests/bpf_queue_test.cc": 19,
  "experiments/shared/thread_pool_test.cc": 3,
  "experiments/antagonist/results_test.cc": 4,
  "experiments/antagonist/options_test.cc": 1,
  "experiments/antagonist/orchestrator_test.cc": 1,
  "experiments/rocksdb/database_test.cc": 7,
  "experiments/rocksdb/latency_test.cc": 6,
  "experiments/rocksdb/options_test.cc": 1,
  "experiments/rocksdb/orchestrator_test.cc": 2,
  "experiments/rocksdb/synthetic_network_test.cc": 8,
};

/** One test of upstream, as the page has it. */
interface Row {
  readonly file: string;
  readonly test: string;
  readonly statuses: readonly string[];
  readonly where: string;
}

function readRows(page: string): Row[] {
  const rows: Row[] = [];
  let file = "";
  for (const line of page.split("\n")) {
    file = /^## (\S+) \(\d+\)$/.exec(line)?.[1] ?? file;
    const cells = line.split("|").map((cell) => cell.trim());
    const test = /^`(.+)`$/.exec(cells[1] ?? "")?.[1];
    if (test !== undefined) rows.push({ file, test, statuses: cells.slice(2, 5), where: cells[5] });
  }
  return rows;
}

/** The tests of this project that a text names. */
function namedTests(text: string): string[] {
  return [...text.matchAll(/passes as `([^`]+)`/g)].map((match) => match[1]);
}

/** Faults of one row, given the names of this project's tests. */
function rowFaults(row: Row, names: readonly string[]): string[] {
  const { statuses, where } = row;
  const faults: string[] = [];
  if (statuses.length !== 3 || statuses.some((status) => !STATUSES.includes(status))) {
    faults.push(`has the statuses ${statuses}`);
  }
  const missing = namedTests(where).filter((named) =>
    !names.some((name) => name === named || name.startsWith(`${named}:`))
  );
  if (missing.length > 0) faults.push(`names ${missing}, which is no test`);
  if (statuses.includes("passes") && namedTests(where).length === 0) {
    faults.push("passes without a test");
  }
  if (statuses.includes("not yet") !== /not yet: \w/.test(where)) {
    faults.push("says what it waits for if and only if it is not yet");
  }
  if (statuses.includes("not applicable") !== /not applicable because \w/.test(where)) {
    faults.push("says why if and only if it is not applicable");
  }
  return faults.map((fault) => `${row.file} ${row.test} ${fault}`);
}

/** Every TypeScript file of the tree. */
async function sources(folder: URL = ROOT): Promise<string[]> {
  const texts: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory && !SKIPPED_FOLDERS.has(entry.name)) {
      texts.push(...await sources(new URL(`${entry.name}/`, folder)));
    } else if (entry.isFile && entry.name.endsWith(".ts")) {
      texts.push(await Deno.readTextFile(new URL(entry.name, folder)));
    }
  }
  return texts;
}

/** Names of tests: `Deno.test("name"` and cases of tables, `name: "name"`. */
function testNames(source: string): string[] {
  return [...source.matchAll(/(?:Deno\.test\(|\bname:)\s*"((?:[^"\\]|\\.)*)"/g)].map((m) => m[1]);
}

const PAGE = await Deno.readTextFile(new URL("docs/conformance.md", ROOT));
const ROWS = readRows(PAGE);

Deno.test("conformance page: it has every one of upstream's 245 tests, file by file", () => {
  const counts: Record<string, number> = {};
  for (const { file } of ROWS) counts[file] = (counts[file] ?? 0) + 1;
  assertEquals(counts, TEST_COUNTS);
  assertEquals(ROWS.length, 245);
  assertEquals(new Set(ROWS.map((row) => `${row.file} ${row.test}`)).size, 245);
  const heads = [...PAGE.matchAll(/^## (\S+) \((\d+)\)$/gm)].map((m) => [m[1], Number(m[2])]);
  assertEquals(Object.fromEntries(heads), TEST_COUNTS);
});

Deno.test("conformance page: every row says what holds, by tests that exist", async () => {
  const names = (await sources()).flatMap(testNames);
  assertEquals(ROWS.flatMap((row) => rowFaults(row, names)), []);
});

Deno.test("conformance page: a test named like one of upstream is named there", async () => {
  const files = new Set(Object.keys(TEST_COUNTS).map((file) => file.replace(/^.*\/|\.cc$/g, "")));
  const named = new Set(namedTests(PAGE));
  const unnamed = (await sources()).flatMap(testNames)
    .map((name) => /^(\w+_test) \w+(?=:)/.exec(name))
    .filter((match) => match !== null && files.has(match[1]) && !named.has(match[0]));
  assertEquals(unnamed.map((match) => match?.[0]), []);
});

Deno.test("conformance page: a wrong row is found", () => {
  const names = ["topology_test CheckCores: cores"];
  const row: Row = {
    file: "tests/topology_test.cc",
    test: "TopologyTest.CheckCores",
    statuses: ["passes", "passes", "passes"],
    where: "passes as `topology_test CheckCores`",
  };
  assertEquals(rowFaults(row, names), []);
  const wrong: [Partial<Row>, string][] = [
    [{ statuses: ["passes", "passes"] }, "has the statuses"],
    [{ statuses: ["passes", "passes", "skipped"] }, "has the statuses"],
    [{ where: "passes as `topology_test CheckCore`" }, "is no test"],
    [{ where: "see the tests" }, "passes without a test"],
    [{ statuses: ["passes", "passes", "not yet"] }, "what it waits for"],
    [{ where: `${row.where}; not yet: later` }, "what it waits for"],
    [{ statuses: ["passes", "passes", "not applicable"] }, "says why"],
  ];
  for (const [change, text] of wrong) {
    const faults = rowFaults({ ...row, ...change }, names);
    assert(faults.length > 0 && faults.some((fault) => fault.includes(text)), `${faults}`);
  }
});
