/**
 * `rocksdb`: a closed process that makes requests for a real RocksDB database and serves them, with
 * its workers under the default scheduler or in an agent's enclave. Flags, texts and results are
 * upstream's (reference section 6.1).
 *
 * ```sh
 * rocksdb --load_generator_cpus 1 --cfs_dispatcher_cpus 2 --num_workers 2 --worker_cpus 3-4 \
 *   --experiment_duration 15s
 * ```
 *
 * @module
 */
import { ShimError } from "../../ffi/errors.ts";
import { loadRocksdb, ROCKSDB_NAMES } from "../../ffi/rocksdb.ts";
import { loadShim } from "../../ffi/shim.ts";
import { EXIT_FAILURE, OperatingError } from "../../lib/errors.ts";
import type { PrioTableClient } from "../../shared/prio_table_client.ts";
import {
  chooseEnclave,
  type ChosenEnclave,
  type EnclaveHost,
  THIS_HOST,
} from "../../util/enclave_choice.ts";
import { flagsHelp } from "../../util/flags.ts";
import { threadGtid } from "../../util/thread_gtid.ts";
import { addThreads, type HintPlan, joinEnclave, makeHints } from "../shared/enclave_threads.ts";
import { ExperimentEnd } from "../shared/experiment_end.ts";
import { bindToBackgroundCpu, onlineCpus } from "../shared/host_cpus.ts";
import { Database, prepareFolder } from "./database.ts";
import { optionsText, ROCKSDB_FLAGS, type RocksdbOptions, rocksdbOptions } from "./options.ts";
import { RocksdbLoad } from "./rocksdb_load.ts";

/** Written into the work class, for agents that go by deadlines. */
const EXECTIME_NS = 100;

function log(line: string): void {
  console.log(line);
}

/** How far the database is, on a terminal only. */
function showProgress(what: string, done: number, all: number): void {
  if (!Deno.stderr.isTerminal()) return;
  const text = `\r\x1b[Krocksdb: ${what} the database, ${Math.floor(done / all * 100)} %`;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

function clearProgress(): void {
  if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
}

/** The folder of the database, made if none was named. */
function databaseFolder(options: RocksdbOptions): string {
  if (options.db_path !== "") return options.db_path;
  const memory_folder = "/dev/shm";
  try {
    return Deno.makeTempDirSync({ dir: memory_folder, prefix: "rocksdb_" });
  } catch {
    return Deno.makeTempDirSync({ prefix: "rocksdb_" });
  }
}

/** What runs, and what must be undone in the end. */
class Run {
  readonly #options: RocksdbOptions;
  readonly #end: ExperimentEnd;
  readonly #enclave: ChosenEnclave | undefined;
  #database: Database | undefined;
  #hints: PrioTableClient | undefined;
  #load: RocksdbLoad | undefined;

  constructor(
    options: RocksdbOptions,
    end: ExperimentEnd,
    enclave: ChosenEnclave | undefined,
  ) {
    this.#options = options;
    this.#end = end;
    this.#enclave = enclave;
  }

  /** Makes everything ready; the threads wait. */
  async prepare(path: string): Promise<OperatingError | undefined> {
    const options = this.#options;
    const database = await Database.open(path);
    if (database instanceof OperatingError) return database;
    this.#database = database;
    const fault = await database.prepare(showProgress);
    clearProgress();
    if (fault !== undefined) return fault;
    const per_generator = options.throughput_rps / options.load_generator_cpus.length;
    log(`Each load generator generates a throughput of ${per_generator.toFixed(6)} req/s`);
    return this.#start(database);
  }

  #start(database: Database): OperatingError | undefined {
    const options = this.#options;
    const enclave = this.#enclave;
    const first_sid = options.load_generator_cpus.length;
    const item_count = first_sid + options.worker_count;
    const plan: HintPlan = {
      item_count,
      first_sid,
      qos: options.ghost_qos,
      exectime_ns: EXECTIME_NS,
      flags: 0,
    };
    if (enclave !== undefined && options.ghost_wait_type === "prio_table") {
      const hints = makeHints(plan);
      if (hints instanceof OperatingError) return hints;
      this.#hints = hints;
    }
    const load = RocksdbLoad.create(options, database, this.#hints?.table.handle?.address);
    if (load instanceof OperatingError) return load;
    this.#load = load;
    const tids = load.tids();
    for (const [sid, { role, cpu }] of load.threads.entries()) {
      const where = cpu < 0 ? "not affined to any CPU" : `affined to CPU ${cpu}`;
      log(`${role} (SID ${sid}, TID: ${tids[sid]}, ${where})`);
    }
    if (enclave === undefined) return undefined;
    const workers = tids.slice(first_sid);
    const fault = joinEnclave(enclave, workers);
    if (fault !== undefined || this.#hints === undefined) return fault;
    return addThreads(this.#hints, plan, workers, (tid) => threadGtid(enclave.kernel.kind, tid));
  }

  /** Runs until the end and prints the results. Returns the exit status. */
  async measure(): Promise<number> {
    const load = this.#load as RocksdbLoad;
    log("Initialization complete.");
    load.go();
    await this.#end.wait(this.#options.experiment_ns);
    const run_ns = await load.stop();
    await Deno.stdout.write(new TextEncoder().encode(load.resultsText(run_ns)));
    if (load.fault_count === 0) return 0;
    console.error(`rocksdb: ${load.fault_count} requests got a wrong answer or were lost`);
    return EXIT_FAILURE;
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    await this.#load?.stop();
    this.#load?.free();
    this.#hints?.table.close();
    this.#database?.close();
  }
}

async function run(
  options: RocksdbOptions,
  host: EnclaveHost,
): Promise<number | OperatingError> {
  loadShim();
  const library_fault = loadRocksdb(options.library === "" ? ROCKSDB_NAMES : [options.library]);
  if (library_fault !== undefined) throw library_fault;
  const enclave = options.scheduler === "ghost"
    ? await chooseEnclave(options.kernel, options.enclave, host)
    : undefined;
  if (enclave instanceof OperatingError) return enclave;
  const path = databaseFolder(options);
  const is_temporary = options.db_path === "";
  const removeFolder = (): void => {
    if (is_temporary) Deno.removeSync(path, { recursive: true });
  };
  const folder_fault = prepareFolder(path);
  if (folder_fault !== undefined) return folder_fault;
  const end = new ExperimentEnd({ log, onAbort: removeFolder });
  const experiment = new Run(options, end, enclave);
  try {
    const fault = bindToBackgroundCpu();
    if (fault !== undefined) return fault;
    log(`${optionsText({ ...options, db_path: path })}\n\nInitializing...`);
    console.error(`rocksdb: --seed ${options.seed} makes these requests again`);
    return await experiment.prepare(path) ?? await experiment.measure();
  } finally {
    await experiment.close();
    end.close();
    removeFolder();
  }
}

/**
 * Runs the experiment.
 *
 * @param args Its arguments; `--help` explains them.
 * @param host Where enclaves are looked for.
 * @returns The exit status.
 */
export async function main(
  args: readonly string[],
  host: EnclaveHost = THIS_HOST,
): Promise<number> {
  const options = rocksdbOptions(args, onlineCpus());
  if (options === "help") {
    console.log("usage: rocksdb [FLAGS]\n\n" + flagsHelp(ROCKSDB_FLAGS));
    return 0;
  }
  try {
    const result = options instanceof OperatingError ? options : await run(options, host);
    if (!(result instanceof OperatingError)) return result;
    console.error(`rocksdb: ${result.message}`);
    return result.exit_status;
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    console.error(`rocksdb: ${error.message}`);
    return EXIT_FAILURE;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
