/**
 * `microbench`: yields and wake-ups per second of real threads, and how long a woken thread waits
 * for its CPU; in an enclave, whoever its agent is, or with the kernel's own scheduler.
 *
 * @module
 */
import { parseCpuStr } from "../../lib/cpu_list.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { VERSION } from "../../lib/version.ts";
import {
  chooseEnclave,
  chooseEnclaveToJoin,
  type ChosenEnclave,
  ENCLAVE_FLAGS,
} from "../../util/enclave_choice.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "../../util/flags.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "../../util/tool_host.ts";
import { cpuMask } from "../load_program.ts";
import { wordFlag } from "../shared/absl_flags.ts";
import { allGood, countsFlag, wordsFlag } from "../shared/flag_checks.ts";
import { RealLoad } from "../real_load.ts";
import type { ThreadKind } from "../load_steps.ts";
import { pingPongLoad, yieldLoad } from "./load.ts";
import { FORMATS, type MicrobenchRow, reportText } from "./report.ts";

const PROGRAM = "microbench";
const NS_PER_S = 1e9;
const NS_PER_MS = 1e6;
const CLASSES = ["auto", "ghost", "scx", "default"];
const BENCHES = ["yield", "pingpong"];
/** Most threads, or pairs, of a measurement. */
const COUNT_MAX = 9999;
const TIME_MAX_MS = 3_600_000;
/** How long threads may take to start, and to end. */
const START_NS_MAX = 60e9;
/** How often it is looked whether they have started. */
const START_TURN_NS = 5e6;

const FLAGS: readonly Flag[] = [
  {
    name: "class",
    value: "NAME",
    fallback: "auto",
    help: "ghost, scx, auto (an enclave of either), or default (SCHED_OTHER, no enclave)",
  },
  ...ENCLAVE_FLAGS,
  {
    name: "cpus",
    value: "LIST",
    fallback: "",
    help: "bind the threads; --class default needs it, or an --enclave whose CPUs it takes",
  },
  { name: "bench", value: "LIST", fallback: "yield,pingpong", help: "what to measure" },
  { name: "threads", value: "LIST", fallback: "2,30", help: "numbers of threads that yield" },
  { name: "pairs", value: "LIST", fallback: "1,10", help: "numbers of pairs that wake each other" },
  { name: "duration_ms", value: "N", fallback: "2000", help: "length of each measurement" },
  { name: "warm_up_ms", value: "N", fallback: "300", help: "time before each measurement" },
  { name: "format", value: "NAME", fallback: "text", help: `output: ${FORMATS.join(", ")}` },
  { name: "label", value: "TEXT", fallback: "", help: "written to every row, such as the agent" },
  { name: "version", help: "print the version" },
  { name: "help", help: "print this" },
];

/** One measurement. */
interface Bench {
  readonly name: string;
  readonly thread_count: number;
  readonly root: (in_enclave: boolean) => ThreadKind;
}

interface Request {
  readonly benches: readonly Bench[];
  readonly duration_ns: number;
  readonly warm_up_ns: number;
  readonly cpus: readonly number[];
  readonly label: string;
  readonly format: string;
}

function benchesOf(flags: FlagValues): Bench[] | UsageError {
  const read = allGood({
    names: wordsFlag(flags, "bench", BENCHES),
    threads: countsFlag(flags, "threads", COUNT_MAX),
    pairs: countsFlag(flags, "pairs", COUNT_MAX),
  });
  if (read instanceof UsageError) return read;
  const { names, threads, pairs } = read;
  return names.flatMap((name): Bench[] => {
    if (name === "yield") {
      return threads.map((thread_count) => ({
        name,
        thread_count,
        root: (in_enclave) => yieldLoad(thread_count, in_enclave),
      }));
    }
    return pairs.map((pair_count) => ({
      name,
      thread_count: 2 * pair_count,
      root: (in_enclave) => pingPongLoad(pair_count, in_enclave),
    }));
  });
}

function requestOf(flags: FlagValues): Request | UsageError {
  const list = parseCpuStr(flags.text("cpus"), MAX_CPU_COUNT);
  const read = allGood({
    benches: benchesOf(flags),
    duration_ms: flags.integer("duration_ms", 1, TIME_MAX_MS),
    warm_up_ms: flags.integer("warm_up_ms", 0, TIME_MAX_MS),
    list: list instanceof UsageError ? new UsageError(`--cpus: ${list.fault}`, list.cure) : list,
    format: wordFlag(flags, "format", FORMATS),
    class_name: wordFlag(flags, "class", CLASSES),
  });
  if (read instanceof UsageError) return read;
  return {
    benches: read.benches,
    duration_ns: read.duration_ms * NS_PER_MS,
    warm_up_ns: read.warm_up_ms * NS_PER_MS,
    cpus: read.list.toIntVector(),
    label: flags.text("label"),
    format: read.format,
  };
}

/** Where the threads run; without an enclave in the default class. */
interface Place {
  readonly chosen: ChosenEnclave | undefined;
  readonly policy: number;
  readonly cpus: readonly number[];
}

async function measure(
  bench: Bench,
  request: Request,
  place: Place,
): Promise<MicrobenchRow | OperatingError> {
  const { chosen, cpus, policy } = place;
  const load = new RealLoad(bench.root(chosen !== undefined), {
    join: (tid) => chosen?.enclave.join(tid) ?? 0,
    self_join: chosen?.enclave.selfJoin(),
    policy,
    thread_capacity: bench.thread_count + 1,
    cpu_mask: cpuMask(cpus),
    is_bound: true,
    seed: 1,
    timeout_ns: START_NS_MAX,
  });
  let waited_ns = 0;
  for (; waited_ns < START_NS_MAX; waited_ns += START_TURN_NS) {
    const { yield_count, wake_count } = await load.measure(START_TURN_NS);
    if (yield_count + wake_count > 0) break;
  }
  await load.advance(request.warm_up_ns);
  const figures = await load.measure(request.duration_ns);
  load.stop();
  const { faults } = await load.finish();
  if (faults.length > 0 || waited_ns >= START_NS_MAX) {
    return new OperatingError(
      `${bench.name} with ${bench.thread_count} threads: ${faults[0] ?? "they never began to run"}`,
      "see whether the agent is well",
    );
  }
  const is_yield = bench.name === "yield";
  const count = is_yield ? figures.yield_count : figures.wake_count;
  return {
    label: request.label,
    class: chosen?.kernel.kind ?? "default",
    bench: bench.name,
    thread_count: bench.thread_count,
    seconds: figures.time_ns / NS_PER_S,
    per_second: count / (figures.time_ns / NS_PER_S),
    wake_p50_ns: figures.latencies.percentile(50),
    wake_p99_ns: figures.latencies.percentile(99),
    wake_max_ns: figures.latencies.percentile(100),
  };
}

/** CPUs and enclave that the flags ask for. */
async function placeOf(
  flags: FlagValues,
  request: Request,
  host: ToolHost,
): Promise<Place | OperatingError> {
  const name = flags.text("class");
  if (name === "default") {
    if (request.cpus.length > 0) {
      return { chosen: undefined, policy: -1, cpus: request.cpus };
    }
    const chosen = await chooseEnclave("auto", flags.text("enclave"), host);
    const cpus = chosen instanceof OperatingError ? -1 : chosen.enclave.cpus();
    if (typeof cpus !== "number") return { chosen: undefined, policy: -1, cpus };
    return new UsageError("--class default needs CPUs", "give --cpus LIST, or an --enclave");
  }
  const chosen = await chooseEnclaveToJoin(name, flags.text("enclave"), host);
  if (chosen instanceof OperatingError) return chosen;
  const policy = host.policyOf(chosen.kernel.kind);
  return { chosen, policy, cpus: request.cpus };
}

async function run(args: readonly string[], host: ToolHost): Promise<number | OperatingError> {
  const flags = parseFlags(FLAGS, args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(
      `usage: ${PROGRAM} [FLAGS]   yields and wake-ups per second of real threads\n\n` +
        flagsHelp(FLAGS),
    );
    return 0;
  }
  if (flags.has("version")) {
    host.stdout(`${PROGRAM} ${VERSION}`);
    return 0;
  }
  const request = requestOf(flags);
  if (request instanceof UsageError) return request;
  const place = await placeOf(flags, request, host);
  if (place instanceof OperatingError) return place;
  const rows: MicrobenchRow[] = [];
  for (const bench of request.benches) {
    const row = await measure(bench, request, place);
    if (row instanceof OperatingError) return row;
    rows.push(row);
  }
  host.stdout(reportText(rows, request.format).trimEnd());
  return 0;
}

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export function main(
  args: readonly string[],
  host: ToolHost = PROCESS_TOOL_HOST,
): Promise<number> {
  return toolMain(PROGRAM, host, () => run(args, host));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
