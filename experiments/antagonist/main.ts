/**
 * `antagonist`: threads that use a share of a CPU each and say what they got, beside a load whose
 * latency matters. Flags, texts and results are upstream's (reference section 6.2).
 *
 * ```sh
 * antagonist --num_threads 2 --cpus 1-2 --work_share 0.5 --experiment_duration 15s
 * ```
 *
 * @module
 */
import { ShimError } from "../../ffi/errors.ts";
import { loadShim } from "../../ffi/shim.ts";
import { EXIT_FAILURE, OperatingError } from "../../lib/errors.ts";
import { SCHED_ITEM_RUNNABLE } from "../../shared/prio_table.ts";
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
import {
  ANTAGONIST_FLAGS,
  type AntagonistOptions,
  antagonistOptions,
  optionsText,
} from "./options.ts";
import { resultsText } from "./results.ts";
import { Soak } from "./soak.ts";

/** The most that a work class can say: the work never ends. */
const EXECTIME_NS = 2 ** 64 - 2 ** 11;

function log(line: string): void {
  console.log(line);
}

/** Threads that are ready, and the table that tells an agent about them. */
interface Prepared {
  readonly soak: Soak;
  readonly hints: PrioTableClient | undefined;
}

/** Moves the threads into an enclave. Returns their table. */
function joinThreads(
  soak: Soak,
  options: AntagonistOptions,
  enclave: ChosenEnclave,
): PrioTableClient | OperatingError {
  const plan: HintPlan = {
    item_count: options.thread_count,
    first_sid: 0,
    qos: options.ghost_qos,
    exectime_ns: EXECTIME_NS,
    flags: SCHED_ITEM_RUNNABLE,
  };
  const hints = makeHints(plan);
  if (hints instanceof OperatingError) return hints;
  const tids = soak.tids();
  const fault = joinEnclave(enclave, tids) ??
    addThreads(hints, plan, tids, (tid) => threadGtid(enclave.kernel.kind, tid));
  if (fault === undefined) return hints;
  hints.table.close();
  return fault;
}

async function prepare(
  options: AntagonistOptions,
  enclave: ChosenEnclave | undefined,
): Promise<Prepared | OperatingError> {
  const is_cfs = enclave === undefined;
  const cpus = is_cfs ? options.cpus : new Array<number>(options.thread_count).fill(-1);
  const soak = Soak.create(cpus, options.work_share);
  if (soak instanceof OperatingError) return soak;
  for (const [sid, tid] of soak.tids().entries()) {
    const where = is_cfs ? `affined to CPU ${cpus[sid]}` : "not affined to any CPU";
    log(`Worker (SID ${sid}, TID: ${tid}, ${where})`);
  }
  if (is_cfs) return { soak, hints: undefined };
  const hints = joinThreads(soak, options, enclave);
  if (!(hints instanceof OperatingError)) return { soak, hints };
  await soak.stop();
  soak.free();
  return hints;
}

async function run(
  options: AntagonistOptions,
  host: EnclaveHost,
): Promise<number | OperatingError> {
  loadShim();
  const enclave = options.scheduler === "ghost"
    ? await chooseEnclave(options.kernel, options.enclave, host)
    : undefined;
  if (enclave instanceof OperatingError) return enclave;
  const end = new ExperimentEnd({ log });
  try {
    const fault = bindToBackgroundCpu();
    if (fault !== undefined) return fault;
    log(`${optionsText(options)}\n\nInitializing...`);
    const prepared = await prepare(options, enclave);
    if (prepared instanceof OperatingError) return prepared;
    const { soak, hints } = prepared;
    soak.go();
    await end.wait(options.experiment_ns);
    const runtime_ns = await soak.stop();
    const is_pretty = options.print_format === "pretty";
    await Deno.stdout.write(
      new TextEncoder().encode(`Stats:\n${resultsText(soak.runNs(), runtime_ns, is_pretty)}`),
    );
    soak.free();
    hints?.table.close();
    return 0;
  } finally {
    end.close();
  }
}

/**
 * Runs it.
 *
 * @param args Its arguments; `--help` explains them.
 * @param host Where enclaves are looked for.
 * @returns The exit status.
 */
export async function main(
  args: readonly string[],
  host: EnclaveHost = THIS_HOST,
): Promise<number> {
  const options = antagonistOptions(args, onlineCpus());
  if (options === "help") {
    console.log("usage: antagonist [FLAGS]\n\n" + flagsHelp(ANTAGONIST_FLAGS));
    return 0;
  }
  try {
    const result = options instanceof OperatingError ? options : await run(options, host);
    if (!(result instanceof OperatingError)) return result;
    console.error(`antagonist: ${result.message}`);
    return result.exit_status;
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    console.error(`antagonist: ${error.message}`);
    return EXIT_FAILURE;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
