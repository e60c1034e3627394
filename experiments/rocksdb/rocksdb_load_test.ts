import { assert, assertEquals } from "@std/assert";
import { REQUEST_GET, REQUEST_RANGE } from "../../ffi/experiments.ts";
import { Gtid } from "../../lib/gtid.ts";
import { PrioTable, SchedItem } from "../../shared/prio_table.ts";
import { addThreads, makeHints } from "../shared/enclave_threads.ts";
import { Database } from "./database.ts";
import type { RocksdbOptions } from "./options.ts";
import { hasSharedCpu, loadThreads, RocksdbLoad } from "./rocksdb_load.ts";
import { testLibraries, withLibrary } from "./test_library.ts";

const ENTRY_COUNT = 20_000;
/** Every machine has it; the experiment's own flags refuse it, since other threads are there. */
const CPU = 0;

const OPTIONS: RocksdbOptions = {
  print: { is_pretty: false, is_last_only: false, has_distribution: false, is_ns: false },
  print_get: true,
  print_range: true,
  db_path: "",
  throughput_rps: 2000,
  range_query_ratio: 0,
  load_generator_cpus: [CPU],
  cfs_dispatcher_cpus: [CPU],
  worker_count: 1,
  worker_cpus: [CPU],
  cfs_wait_type: "futex",
  ghost_wait_type: "prio_table",
  get_ns: 10_000,
  range_ns: 5_000_000,
  get_exponential_ns: 0,
  batch: 1,
  experiment_ns: 1e9,
  discard_ns: 0,
  scheduler: "cfs",
  ghost_qos: 2,
  seed: 5,
  library: "",
  kernel: "auto",
  enclave: "",
};

async function withDatabase(
  t: Deno.TestContext,
  run: (database: Database) => Promise<void>,
): Promise<void> {
  for (const library of testLibraries()) {
    await t.step(library.name, () =>
      withLibrary(library, async (folder) => {
        const database = await Database.open(folder, ENTRY_COUNT);
        assert(database instanceof Database, String(database));
        assertEquals(await database.prepare(), undefined);
        await run(database);
        database.close();
      }));
  }
}

/** Runs a load for a while. Returns the rows of its results, by section. */
async function runLoad(
  options: RocksdbOptions,
  database: Database,
  duration_ms: number,
  hints_address = 0,
  onTids: (tids: number[]) => void = () => {},
): Promise<Map<string, string[][]>> {
  const load = RocksdbLoad.create(options, database, hints_address);
  assert(load instanceof RocksdbLoad, String(load));
  onTids(load.tids());
  load.go();
  await new Promise((resolve) => setTimeout(resolve, duration_ms));
  const run_ns = await load.stop();
  assert(run_ns >= (duration_ms - 50) * 1e6, `${run_ns}`);
  assertEquals(load.fault_count, 0);
  const sections = new Map<string, string[][]>();
  let rows: string[][] = [];
  for (const line of load.resultsText(run_ns).trimEnd().split("\n")) {
    if (line.endsWith(":")) sections.set(line, rows = []);
    else rows.push(line.split(","));
  }
  load.free();
  return sections;
}

/** CPU time of many requests, ascending, in ns. */
function serveTimes(load: RocksdbLoad, kind: number, count: number): number[] {
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(load.serve(kind, i * 7 % 10_000));
  return times.sort((a, b) => a - b);
}

Deno.test("orchestrator_test GetRequest: a get takes its CPU time, and little more", (t) =>
  withDatabase(t, async (database) => {
    const load = RocksdbLoad.create(OPTIONS, database);
    assert(load instanceof RocksdbLoad, String(load));
    const times = serveTimes(load, REQUEST_GET, 1000);
    await load.stop();
    load.free();
    assert(times[0] >= OPTIONS.get_ns, `${times[0]}`);
    // Upstream's bound is 2 us, on a machine with nothing else.
    assert(times[500] <= OPTIONS.get_ns + 10_000, `${times[500]}`);
  }));

Deno.test("orchestrator_test RangeQuery: a range query takes its CPU time, and little more", (t) =>
  withDatabase(t, async (database) => {
    const load = RocksdbLoad.create(OPTIONS, database);
    assert(load instanceof RocksdbLoad, String(load));
    const times = serveTimes(load, REQUEST_RANGE, 40);
    await load.stop();
    load.free();
    assert(times[0] >= OPTIONS.range_ns, `${times[0]}`);
    assert(times[20] <= OPTIONS.range_ns + 1_000_000, `${times[20]}`);
  }));

Deno.test("rocksdb load: requests go through generator, dispatcher and worker", (t) =>
  withDatabase(t, async (database) => {
    for (const cfs_wait_type of ["spin", "futex"] as const) {
      const options = { ...OPTIONS, cfs_wait_type, range_query_ratio: 0.01 };
      const sections = await runLoad(options, database, 500);
      assertEquals([...sections.keys()], ["Stats:", "Get:", "Range:", "All:"]);
      const count = (name: string): number => Number(sections.get(name)![4][0]);
      assert(count("All:") > 100, `${count("All:")} requests`);
      assertEquals(count("Get:") + count("Range:"), count("All:"));
      assert(count("Range:") > 0);
      for (const row of sections.get("Get:")!) {
        assertEquals(row.length, 8);
        const values = row.slice(2).map(Number);
        assertEquals(values, [...values].sort((a, b) => a - b), row.join());
      }
      assert(Number(sections.get("Get:")![3][2]) >= 10, "a get is served in 10 us or more");
      assert(Number(sections.get("Range:")![3][2]) >= 5000, "a range query in 5 ms or more");
    }
  }));

Deno.test("rocksdb load: batches, and gets that take longer at random", (t) =>
  withDatabase(t, async (database) => {
    const options = { ...OPTIONS, batch: 8, get_exponential_ns: 20_000, throughput_rps: 10_000 };
    const rows = (await runLoad(options, database, 400)).get("All:")!;
    const [min_us, median_us] = rows[3].slice(2, 4).map(Number);
    assert(min_us >= 10 && median_us > 14, `${min_us}, ${median_us}`);
  }));

Deno.test("rocksdb load: what comes before the discard time does not count", (t) =>
  withDatabase(t, async (database) => {
    const all = await runLoad({ ...OPTIONS, discard_ns: 60e9 }, database, 200);
    assertEquals(all.get("All:")![4], Array(8).fill("-"));
  }));

Deno.test("rocksdb load: workers with a PrioTable serve what their rows say", (t) =>
  withDatabase(t, async (database) => {
    const options: RocksdbOptions = {
      ...OPTIONS,
      scheduler: "ghost",
      worker_count: 2,
      worker_cpus: [],
      throughput_rps: 500,
    };
    const plan = { item_count: 3, first_sid: 1, qos: 7, exectime_ns: 100, flags: 0 };
    const hints = makeHints(plan);
    assert(!(hints instanceof Error), String(hints));
    const agent = new PrioTable();
    assertEquals(agent.adoptHandle(hints.table.handle!), undefined);
    // Without an agent nobody takes the CPU from a worker that waits: it spins.
    const rows = await runLoad(options, database, 1000, hints.table.handle!.address, (tids) => {
      const fault = addThreads(hints, plan, tids.slice(1), (tid) => Gtid.make(tid, 9));
      assertEquals(fault, undefined);
    });
    const count = Number(rows.get("All:")![4][0]);
    assert(count >= 5, `${count} requests`);
    // No agent takes the updates: the stream overflows, and says so.
    assertEquals(agent.nextUpdatedIndex(), -2);
    const item = new SchedItem();
    agent.readItem(1, item);
    assertEquals([item.sid, item.gtid_lo, item.seqcount & 1], [1, 9, 0]);
    assert(item.deadline_ns > 0 && item.seqcount > 4, "the load generator wrote the row");
    hints.table.close();
  }));

Deno.test("rocksdb load: with ghost, workers may wait on a futex", (t) =>
  withDatabase(t, async (database) => {
    const options: RocksdbOptions = {
      ...OPTIONS,
      scheduler: "ghost",
      ghost_wait_type: "futex",
      worker_count: 3,
      worker_cpus: [],
    };
    const count = Number((await runLoad(options, database, 300)).get("All:")![4][0]);
    assert(count > 50, `${count} requests`);
  }));

Deno.test("rocksdb load: a load that was never let go can be stopped", (t) =>
  withDatabase(t, async (database) => {
    const load = RocksdbLoad.create(OPTIONS, database);
    assert(load instanceof RocksdbLoad, String(load));
    assertEquals(await load.stop(), 0);
    load.free();
  }));

Deno.test("rocksdb load: a CPU that is not there is told", (t) =>
  withDatabase(t, (database) => {
    const fault = RocksdbLoad.create({ ...OPTIONS, worker_cpus: [500] }, database);
    assert(fault instanceof Error && fault.message.includes("EINVAL"), String(fault));
    return Promise.resolve();
  }));

Deno.test("rocksdb load: threads in the order of their numbers", () => {
  const roles = loadThreads({ ...OPTIONS, worker_count: 2, worker_cpus: [3, 4] });
  assertEquals(roles.map(({ role, cpu }) => `${role} ${cpu}`), [
    "Load generator 0",
    "Dispatcher 0",
    "Worker 3",
    "Worker 4",
  ]);
  assert(hasSharedCpu(roles), "generator and dispatcher share CPU 0");
  assert(!hasSharedCpu(loadThreads({ ...OPTIONS, cfs_dispatcher_cpus: [1], worker_cpus: [2] })));
  const ghost = loadThreads({ ...OPTIONS, scheduler: "ghost", worker_count: 2, worker_cpus: [] });
  assertEquals(ghost.map(({ cpu }) => cpu), [0, -1, -1]);
});
