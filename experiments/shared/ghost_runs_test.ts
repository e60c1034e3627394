/** rocksdb and antagonist with --scheduler=ghost: all but the agent. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { startProgram } from "../../tests/process.ts";
import { PrioTable, SchedItem, WorkClass } from "../../shared/prio_table.ts";
import { fakeRocksdb } from "../rocksdb/test_library.ts";
import { onlineCpus } from "./host_cpus.ts";

const PROGRAM = "experiments/shared/testdata/in_batch_enclave.ts";
const SCHED_BATCH = "3";

/** Scheduling policy of a thread, from /proc/TID/stat. */
function policyOf(pid: number, tid: string): string {
  const stat = Deno.readTextFileSync(`/proc/${pid}/task/${tid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38];
}

/** Thread ids of the workers that a program has told. */
function workersOf(stdout: string): string[] {
  return [...stdout.matchAll(/^Worker \(SID \d+, TID: (\d+), not affined to any CPU\)$/gm)]
    .map((match) => match[1]);
}

/** What a program says until a line, and its table as an agent sees it. */
async function lookAt(
  args: readonly string[],
  line: string,
): Promise<{ items: SchedItem[]; work_class: WorkClass; policies: string[]; stdout: string }> {
  const program = await startProgram(PROGRAM, args);
  await program.waitFor(line);
  const pid = program.child.pid;
  const table = new PrioTable();
  const rows = (): SchedItem[] =>
    Array.from({ length: table.item_count }, (_, sid) => {
      const item = new SchedItem();
      table.readItem(sid, item);
      return item;
    });
  // The last row is written last.
  for (let tries = 0; !rows().at(-1)?.gtid_hi; tries++) {
    assert(tries < 1000, "no table");
    if (table.owner_pid === 0) table.attach(pid);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const items = rows();
  const work_class = new WorkClass();
  table.readClass(0, work_class);
  table.close();
  const tids = [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => name);
  const policies = tids.map((tid) => `${tid} ${policyOf(pid, tid)}`);
  program.child.kill("SIGINT");
  const { code, stdout, stderr } = await program.ended();
  assertEquals(code, 0, stderr);
  const workers = workersOf(stdout);
  const inside = policies.filter((one) => one.endsWith(` ${SCHED_BATCH}`)).map((one) =>
    one.split(" ")[0]
  );
  assertEquals(inside.sort(), workers.sort(), "the workers are in the enclave, and no one else");
  return { items, work_class, policies, stdout };
}

if (onlineCpus().isSet(1)) {
  Deno.test("rocksdb with ghost: workers are in the enclave and in the table", async () => {
    const { items, work_class, stdout } = await lookAt([
      ...["rocksdb", "--scheduler=ghost", "--load_generator_cpus=1", "--worker_cpus="],
      ...["--num_workers=2", "--throughput=200", "--ghost_qos=7", "--print_format=csv"],
      ...["--rocksdb_library", fakeRocksdb()],
    ], "Initialization complete.");
    assert(stdout.includes("Load generator (SID 0, TID: "), stdout);
    assert(!stdout.includes("Dispatcher"));
    assertEquals([work_class.qos, work_class.exectime_ns], [7, 100]);
    assertEquals(items.length, 3);
    const workers = workersOf(stdout).map(Number);
    assertEquals(items.slice(1).map((item) => item.gtid_hi >>> 9), workers);
    assertEquals([items[0].gtid_lo, items[0].gtid_hi], [0, 0], "the generator has no row");
    assertStringIncludes(stdout, "All:");
  });

  Deno.test("antagonist with ghost: every thread has work, of the lower QoS", async () => {
    const { items, work_class, stdout } = await lookAt([
      ...["antagonist", "--scheduler=ghost", "--cpus=", "--num_threads=2", "--work_share=0.1"],
      ...["--ghost_qos=1", "--print_format=csv"],
    ], "Worker (SID 1");
    assertEquals(work_class.qos, 1);
    assert(work_class.exectime_ns > 2 ** 63, "work that never ends");
    assertEquals(items.map((item) => item.flags), [1, 1]);
    assertStringIncludes(stdout, "\nTotal,");
  });

  Deno.test("rocksdb and antagonist: a thread that cannot join is told, and all end", async () => {
    const cases = [
      ["antagonist", "--scheduler=ghost", "--cpus=", "--num_threads=2"],
      [
        ...["rocksdb", "--scheduler=ghost", "--load_generator_cpus=1", "--worker_cpus="],
        ...["--rocksdb_library", fakeRocksdb()],
      ],
    ];
    Deno.env.set("REFUSE_JOIN", "1");
    try {
      for (const args of cases) {
        const { code, stderr } = await (await startProgram(PROGRAM, args)).ended();
        assertEquals(code, 1);
        assertStringIncludes(stderr, "cannot join /sys/fs/ghost/enclave_1 (EXDEV)");
      }
    } finally {
      Deno.env.delete("REFUSE_JOIN");
    }
  });
} else {
  Deno.test("rocksdb and antagonist with ghost: skipped, this host has no CPU 1", () => {});
}
