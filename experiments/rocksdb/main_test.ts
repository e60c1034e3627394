import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runProgram, startProgram } from "../../tests/process.ts";
import { onlineCpus } from "../shared/host_cpus.ts";
import { fakeRocksdb, HAS_ROCKSDB } from "./test_library.ts";

const PROGRAM = "experiments/rocksdb/main.ts";
const HAS_TWO_CPUS = onlineCpus().isSet(1);
/** One CPU for everything that is measured: enough for a test. */
const CPUS = [
  ...["--load_generator_cpus", "1", "--cfs_dispatcher_cpus", "1"],
  ...["--num_workers", "1", "--worker_cpus", "1"],
];
const SHORT = [
  "--throughput",
  "2000",
  "--experiment_duration",
  "1s",
  "--discard_duration",
  "200ms",
];

function fake(): string[] {
  return ["--rocksdb_library", fakeRocksdb()];
}

/** Folders that a run without a named database may leave behind. */
function temporaryFolders(): string[] {
  return [...Deno.readDirSync("/dev/shm")].map(({ name }) => name)
    .filter((name) => name.startsWith("rocksdb_")).sort();
}

if (HAS_TWO_CPUS) {
  Deno.test("rocksdb: a run prints options, threads and results, and leaves no folder", async () => {
    const before = temporaryFolders();
    const args = [...fake(), ...CPUS, ...SHORT, "--print_get", "--seed", "7"];
    const { code, stdout, stderr } = await runProgram(PROGRAM, args);
    assertEquals(code, 0, stderr);
    const lines = stdout.split("\n");
    assertEquals(lines[0], "batch: 1");
    const begin = lines.indexOf("Initializing...");
    assertEquals([lines[begin - 2], lines[begin - 1]], ["worker_cpus: 1", ""]);
    assertEquals(
      lines[begin + 1],
      "Each load generator generates a throughput of 2000.000000 req/s",
    );
    const threads = lines.slice(begin + 2, begin + 5).map((line) => line.replace(/\d{2,}/, "N"));
    assertEquals(threads, [
      "Load generator (SID 0, TID: N, affined to CPU 1)",
      "Dispatcher (SID 1, TID: N, affined to CPU 1)",
      "Worker (SID 2, TID: N, affined to CPU 1)",
    ]);
    const rest = lines.slice(begin + 5, begin + 9);
    assertEquals(rest, ["Initialization complete.", "Timer fired...", "Stats:", "Get:"]);
    const all = lines.slice(lines.indexOf("All:") + 1);
    assertEquals(all.slice(2, -1).map((line) => line.slice(0, 28).trimEnd()), [
      "Ingress Queue Time",
      "Repeatable Handle Time",
      "Worker Queue Time",
      "Worker Handle Time",
      "Total",
    ]);
    assert(Number(all[6].slice(29, 47)) > 50, all[6]);
    assertStringIncludes(stderr, "--seed 7");
    assertEquals(temporaryFolders().filter((name) => !before.includes(name)), []);
  });

  Deno.test("rocksdb: SIGINT ends a run with its results, a named folder stays", async () => {
    const folder = Deno.makeTempDirSync();
    try {
      const args = [...fake(), ...CPUS, "--rocksdb_db_path", `${folder}/db`, "--print_format=csv"];
      const program = await startProgram(PROGRAM, args);
      await program.waitFor("Initialization complete.");
      program.child.kill("SIGINT");
      const { code, stdout } = await program.ended();
      assertEquals(code, 0);
      assert(!stdout.includes("Timer fired"), stdout);
      assertEquals(stdout.trimEnd().split("\n").slice(-6)[0], "All:");
      assert(Deno.statSync(`${folder}/db`).isDirectory);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });

  if (HAS_ROCKSDB) {
    Deno.test("rocksdb: a run with the real library has a million entries", async () => {
      const { code, stdout, stderr } = await runProgram(PROGRAM, [...CPUS, ...SHORT]);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, "All:");
    });
  } else {
    Deno.test("rocksdb: a run with the real library: skipped, it is not installed", () => {});
  }
} else {
  Deno.test("rocksdb: runs are skipped, this host has no CPU 1", () => {});
}

Deno.test("rocksdb: what cannot be had is one line and no folder", async () => {
  const before = temporaryFolders();
  const cases: [string[], number, string][] = [
    [["--rocksdb_library=/none.so"], 1, "apt install librocksdb7.8"],
    [[...fake(), "--rocksdb_db_path=/proc/none"], 2, "cannot write the database folder"],
    [["--throughput=fast"], 2, "--throughput: bad value"],
    [["--load_generator_cpus=0"], 2, "CPU 0 is for background threads"],
  ];
  for (const [args, status, text] of cases) {
    const { code, stdout, stderr } = await runProgram(PROGRAM, [
      ...(HAS_TWO_CPUS ? CPUS : ["--load_generator_cpus="]),
      ...args,
    ]);
    if (!HAS_TWO_CPUS) continue;
    assertEquals([code, stdout], [status, ""], stderr);
    assertStringIncludes(stderr, text);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  assertEquals(temporaryFolders().filter((name) => !before.includes(name)), []);
});

Deno.test("rocksdb: --help lists the flags", async () => {
  const { code, stdout } = await runProgram(PROGRAM, ["--help"]);
  assertEquals(code, 0);
  for (const flag of ["--rocksdb_db_path", "--print_get", "--ghost_wait_type", "--seed"]) {
    assertStringIncludes(stdout, flag);
  }
});
