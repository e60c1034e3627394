import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { optionsText, type RocksdbOptions, rocksdbOptions } from "./options.ts";

const ONLINE = CpuList.from(Array.from({ length: 20 }, (_, cpu) => cpu));

function read(...args: string[]): RocksdbOptions {
  const options = rocksdbOptions(args, ONLINE);
  assert(options !== "help" && !(options instanceof UsageError), String(options));
  return options;
}

Deno.test("options_test PrintOptions: every option and its value, by name", () => {
  const options = read(
    ...["--print_get", "--rocksdb_db_path", "/tmp/orch_db", "--range_query_ratio", "0.005"],
    ...["--load_generator_cpus", "1", "--cfs_dispatcher_cpus", "2", "--num_workers", "2"],
    ...["--worker_cpus", "3-4", "--ghost_wait_type", "futex", "--range_duration", "5000us"],
    ...["--experiment_duration", "15s", "--ghost_qos", "2"],
  );
  const want = `batch: 1
cfs_dispatcher_cpus: 2
cfs_wait_type: spin
discard_duration: 2s
experiment_duration: 15s
get_duration: 10us
get_exponential_mean: 0
ghost_qos: 2
ghost_wait_type: futex
load_generator_cpus: 1
num_workers: 2
print_distribution: false
print_format: pretty
print_get: true
print_ns: false
print_range: false
range_duration: 5ms
range_query_ratio: 0.005000
rocksdb_db_path: /tmp/orch_db
scheduler: cfs
throughput: 20000.000000
worker_cpus: 3 4`;
  assertEquals(optionsText(options), want);
});

Deno.test("rocksdb: the defaults are upstream's", () => {
  const text = optionsText(read());
  for (
    const line of [
      "cfs_dispatcher_cpus: 11",
      "experiment_duration: inf",
      "load_generator_cpus: 10",
      "num_workers: 6",
      "range_duration: 10ms",
      "range_query_ratio: 0.000000",
      "worker_cpus: 12 13 14 15 16 17",
    ]
  ) assert(text.split("\n").includes(line), line);
});

Deno.test("rocksdb: with ghost there are no workers' CPUs, and none in the dump", () => {
  const options = read("--scheduler", "ghost", "--worker_cpus=", "--num_workers=200");
  assertEquals(options.worker_cpus, []);
  assert(!optionsText(options).includes("worker_cpus"));
  // The dispatchers' default may name CPUs that this host does not have: there are none.
  const small = rocksdbOptions(
    ["--scheduler=ghost", "--worker_cpus=", "--load_generator_cpus=1"],
    CpuList.from([0, 1]),
  );
  assert(small !== "help" && !(small instanceof UsageError));
});

Deno.test("rocksdb: booleans as upstream's scripts write them", () => {
  const options = read("--print_get", "", "--noprint_range", "", "--print_ns=false");
  assertEquals([options.print_get, options.print_range, options.print.is_ns], [true, false, false]);
});

Deno.test("rocksdb: without a seed each run has another one", () => {
  assertEquals(read("--seed", "7").seed, 7);
  assert(new Set([read().seed, read().seed, read().seed]).size > 1);
});

Deno.test("rocksdb: bad flags are told in one line", () => {
  const wrong: [string[], string][] = [
    [["--scheduler=eevdf"], '--scheduler: unknown value "eevdf"; give cfs or ghost'],
    [["--print_format=json"], "--print_format"],
    [["--get_duration=-1us"], "is negative"],
    [["--get_duration=inf"], "never over"],
    [["--range_duration=5"], "is no duration"],
    [["--range_query_ratio=1.5"], "give a number from 0 to 1"],
    [["--load_generator_cpus=0"], "CPU 0 is for background threads"],
    [["--load_generator_cpus=10,11"], "with --scheduler=cfs give one"],
    [["--cfs_dispatcher_cpus="], "names no CPU"],
    [["--worker_cpus=12-16"], "names 5 CPUs for 6 workers"],
    [["--worker_cpus=15-20"], "there is no CPU 20; this host has 0-19"],
    [["--scheduler=ghost"], "give --worker_cpus="],
    [["--batch=0"], "--batch"],
    [["--print_get=perhaps"], "bad value of --print_get"],
    [["--nonsense"], "unknown flag --nonsense"],
  ];
  for (const [args, text] of wrong) {
    const fault = rocksdbOptions(args, ONLINE);
    assertInstanceOf(fault, UsageError, args.join(" "));
    assert(fault.message.includes(text), fault.message);
    assert(!fault.message.includes("\n"));
  }
});
