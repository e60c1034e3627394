/**
 * `deno task fuzz`: random loads, machines and faults on the simulated kernel, with invariants
 * checked at every event. A seed is a whole run; a failure prints the command that repeats it.
 *
 * @module
 */
import { ABI_VERSIONS } from "../../ffi/abi/abi.ts";
import { FAULT_NAMES, FAULTS } from "../../kernels/sim/faults.ts";
import { SimRecorder } from "../../kernels/sim/recording.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../../lib/errors.ts";
import {
  type LineSink,
  readRecording,
  type Recording,
  RecordingComparer,
  type RecordingHeader,
} from "../../lib/recording.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "../../util/flags.ts";
import { OutputFile } from "../../util/output_file.ts";
import { countText } from "../../util/table.ts";
import { type FuzzPlan, makePlan, type PlanOptions, planText } from "./plan.ts";
import { POLICIES } from "./policies.ts";
import { type FuzzResult, type RunOptions, runPlan } from "./run.ts";

/** Number of seeds after which every fault point must have been hit. */
export const FULL_SEED_COUNT = 200;
/** Failures after which it is pointless to go on. */
const FAILURES_MAX = 5;
const PROGRAM = "deno task fuzz";
const SEED_MAX = 2 ** 48;

const FLAGS: readonly Flag[] = [
  { name: "seeds", value: "N", fallback: "200", help: "number of runs" },
  { name: "seed", value: "S", fallback: "1", help: "seed of the first run; the next one has S+1" },
  { name: "policy", value: "NAME", help: `only this policy: ${Object.keys(POLICIES).join(", ")}` },
  { name: "abi", value: "V", help: `only this ABI version: ${ABI_VERSIONS.join(", ")}` },
  { name: "record", value: "FILE", help: "write a recording of one run" },
  { name: "replay", value: "FILE", help: "repeat a recorded run and compare" },
  { name: "verbose", help: "show every plan, the state at a failure, and the hits per fault" },
  { name: "help", help: "print this" },
];

/** The process. */
export interface FuzzHost {
  /** Writes to stdout. */
  stdout(text: string): void;
  /** Writes to stderr. */
  stderr(text: string): void;
  /** True if stderr is a terminal. */
  readonly is_terminal: boolean;
}

/** What is asked for. */
interface FuzzRequest {
  readonly seed_count: number;
  readonly first_seed: number;
  readonly options: PlanOptions;
  readonly record: OutputFile | undefined;
  readonly verbose: boolean;
}

function planOptions(flags: FlagValues): PlanOptions | UsageError {
  const policy = flags.has("policy") ? flags.text("policy") : undefined;
  if (policy !== undefined && !Object.hasOwn(POLICIES, policy)) {
    return new UsageError(
      `unknown policy ${JSON.stringify(policy)}`,
      `give one of: ${Object.keys(POLICIES).join(", ")}`,
    );
  }
  const text = flags.text("abi");
  const abi = ABI_VERSIONS.find((version) => String(version) === text);
  if (flags.has("abi") && abi === undefined) {
    return new UsageError(
      `unknown ABI version ${JSON.stringify(text)}`,
      `give one of: ${ABI_VERSIONS.join(", ")}`,
    );
  }
  return { policy, abi };
}

function fuzzRequest(flags: FlagValues, args: readonly string[]): FuzzRequest | UsageError {
  const seed_count = flags.integer("seeds", 1, SEED_MAX);
  if (seed_count instanceof UsageError) return seed_count;
  const first_seed = flags.integer("seed", 0, SEED_MAX);
  if (first_seed instanceof UsageError) return first_seed;
  const options = planOptions(flags);
  if (options instanceof UsageError) return options;
  const verbose = flags.has("verbose");
  const request = { seed_count, first_seed, options, verbose, record: undefined };
  if (!flags.has("record")) return request;
  const seeds_given = args.some((arg) => /^--seeds\b/.test(arg));
  if (seeds_given && seed_count !== 1) {
    return new UsageError("--record takes one run", "add --seeds 1 and --seed S");
  }
  const record = OutputFile.open(flags.text("record"));
  if (record instanceof UsageError) {
    return new UsageError(`--record: ${record.fault}`, record.cure);
  }
  return { ...request, seed_count: 1, record };
}

/** Runs a plan and records it. */
function runRecorded(plan: FuzzPlan, options: PlanOptions, sink: LineSink): FuzzResult {
  let recorder: SimRecorder | undefined;
  const policy = POLICIES[plan.policy].define(plan.enclave_cpus);
  const result = runPlan(plan, {
    trace: (kernel) =>
      recorder = new SimRecorder(kernel, sink, {
        policy,
        cpu_count: plan.enclave_cpus.length,
        seed: plan.seed,
        config: { program: "fuzz", options: { ...options }, plan: planText(plan) },
      }),
  });
  recorder?.end();
  return result;
}

/** Sums over runs, and how they are shown. */
class Campaign {
  failure_count = 0;
  readonly hits = new Float64Array(FAULT_NAMES.length);
  #run_count = 0;
  #event_count = 0;
  #message_count = 0;
  #lost_count = 0;
  #commit_count = 0;
  #next_progress_ms: number;
  readonly #start_ms = performance.now();
  readonly #host: FuzzHost;
  readonly #request: FuzzRequest;

  constructor(host: FuzzHost, request: FuzzRequest) {
    this.#host = host;
    this.#request = request;
    this.#next_progress_ms = this.#start_ms + this.#progressPeriodMs();
  }

  #progressPeriodMs(): number {
    return this.#host.is_terminal ? 100 : 5_000;
  }

  add(plan: FuzzPlan, result: FuzzResult): void {
    this.#run_count++;
    this.#event_count += result.event_count;
    this.#message_count += result.message_count;
    this.#lost_count += result.lost_count;
    this.#commit_count += result.commit_count;
    result.hits.forEach((count, index) => this.hits[index] += count);
    if (this.#request.verbose) this.#say(`${planText(plan)}; ${result.event_count} events\n`);
    if (result.failure !== null) this.#fail(plan, result, result.failure);
    this.#progress();
  }

  #fail(plan: FuzzPlan, result: FuzzResult, failure: string): void {
    this.failure_count++;
    const { policy, abi } = this.#request.options;
    const fixed = (policy === undefined ? "" : ` --policy ${policy}`) +
      (abi === undefined ? "" : ` --abi ${abi}`);
    this.#clear();
    this.#say(
      `fuzz: seed ${plan.seed} FAILED at ${result.time_ns} ns, event ${result.event_count}: ` +
        `${failure}\n  again: ${PROGRAM} --seeds 1 --seed ${plan.seed}${fixed} --verbose\n` +
        (this.#request.verbose ? result.dump : ""),
    );
  }

  #say(text: string): void {
    this.#host.stdout(text);
  }

  #progress(): void {
    const now_ms = performance.now();
    if (now_ms < this.#next_progress_ms) return;
    this.#next_progress_ms = now_ms + this.#progressPeriodMs();
    const { seed_count } = this.#request;
    const text = `fuzz: ${this.#run_count}/${seed_count} seeds, ` +
      `${countText(this.#event_count)} events, ${this.failure_count} failed`;
    this.#host.stderr(this.#host.is_terminal ? `\r\x1b[K${text}` : `${text}\n`);
  }

  #clear(): void {
    if (this.#host.is_terminal) this.#host.stderr("\r\x1b[K");
  }

  /** The last words; the exit status. */
  finish(): number {
    this.#clear();
    const { verbose, seed_count, options } = this.#request;
    if (verbose) {
      FAULT_NAMES.forEach((name, index) =>
        this.#say(
          `  ${name.padEnd(20)} ${countText(this.hits[index]).padStart(9)}  ${FAULTS[name]}\n`,
        )
      );
    }
    const missed = FAULT_NAMES.filter((_, index) => this.hits[index] === 0);
    const must_hit = seed_count >= FULL_SEED_COUNT && this.failure_count === 0 &&
      options.policy === undefined && options.abi === undefined;
    const is_short = must_hit && missed.length > 0;
    if (is_short) this.#say(`fuzz: fault points never hit: ${missed.join(", ")}\n`);
    const seconds = ((performance.now() - this.#start_ms) / 1000).toFixed(1);
    this.#say(
      `fuzz: ${countText(this.#run_count)} seeds, ${this.failure_count} failed; ` +
        `${countText(this.#event_count)} events, ${countText(this.#message_count)} messages ` +
        `(${countText(this.#lost_count)} lost to full queues), ` +
        `${countText(this.#commit_count)} decisions; ` +
        `${FAULT_NAMES.length - missed.length} of ${FAULT_NAMES.length} fault points hit; ` +
        `${seconds} s\n`,
    );
    return this.failure_count > 0 || is_short ? EXIT_FAILURE : 0;
  }
}

function runCampaign(
  request: FuzzRequest,
  host: FuzzHost,
  variant: RunOptions["variant"],
): number | OperatingError {
  const campaign = new Campaign(host, request);
  const { first_seed, seed_count, options, record } = request;
  for (let number = 0; number < seed_count; number++) {
    const plan = makePlan(first_seed + number, options);
    const result = record === undefined
      ? runPlan(plan, { variant })
      : runRecorded(plan, options, record);
    campaign.add(plan, result);
    if (campaign.failure_count === FAILURES_MAX) break;
  }
  try {
    record?.commit();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return new OperatingError(`cannot write ${record?.path}: ${why}`, "free space, or move it");
  }
  return campaign.finish();
}

/** The options of a recorded fuzz run, or undefined if it is none. */
function recordedOptions(header: RecordingHeader): PlanOptions | undefined {
  const { program, options } = header.config;
  if (header.kernel !== "sim" || program !== "fuzz") return undefined;
  if (typeof options !== "object" || options === null) return undefined;
  const { policy, abi } = options as { policy?: unknown; abi?: unknown };
  return {
    policy: typeof policy === "string" && Object.hasOwn(POLICIES, policy) ? policy : undefined,
    abi: ABI_VERSIONS.find((version) => version === abi),
  };
}

function replay(path: string, host: FuzzHost): number | UsageError {
  const recording: Recording | UsageError = readRecording(path);
  if (recording instanceof UsageError) return recording;
  const { header } = recording;
  const options = recordedOptions(header);
  if (options === undefined) {
    return new UsageError(
      `${path} is a recording of ${header.config.program} on ${header.kernel}`,
      "repeat it with that program",
    );
  }
  const comparer = new RecordingComparer(recording);
  const plan = makePlan(header.seed, options);
  const result = runRecorded(plan, options, comparer);
  host.stdout(`fuzz: ${path}: ${comparer.verdict()}\n`);
  if (result.failure !== null) host.stdout(`fuzz: the run fails: ${result.failure}\n`);
  return comparer.difference === null ? 0 : EXIT_FAILURE;
}

function run(
  args: readonly string[],
  host: FuzzHost,
  variant: RunOptions["variant"],
): number | OperatingError {
  const flags = parseFlags(FLAGS, args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(`usage: ${PROGRAM} [FLAGS]\n\n${flagsHelp(FLAGS)}`);
    return 0;
  }
  if (flags.has("replay")) {
    const others = args.filter((arg) => /^--(seed|seeds|policy|abi|record)\b/.test(arg));
    if (others.length === 0) return replay(flags.text("replay"), host);
    return new UsageError(
      `--replay and ${others[0].split("=")[0]} exclude each other`,
      "the recording says what to run",
    );
  }
  const request = fuzzRequest(flags, args);
  if (request instanceof UsageError) return request;
  try {
    return runCampaign(request, host, variant);
  } finally {
    request.record?.abandon();
  }
}

/**
 * Runs the fuzzer.
 *
 * @param args Command line arguments; `--help` explains them.
 * @param host The process.
 * @param variant A variant of the policies, for tests of the fuzzer.
 * @returns The exit status: 0, 1 if a run failed or a fault point was never hit, 2 for usage.
 */
export function fuzzMain(
  args: readonly string[],
  host: FuzzHost,
  variant?: RunOptions["variant"],
): number {
  const result = run(args, host, variant);
  if (typeof result === "number") return result;
  host.stderr(`fuzz: ${result.message}\n`);
  return result.exit_status;
}

if (import.meta.main) {
  const encoder = new TextEncoder();
  Deno.exit(fuzzMain(Deno.args, {
    stdout: (text) => Deno.stdout.writeSync(encoder.encode(text)),
    stderr: (text) => Deno.stderr.writeSync(encoder.encode(text)),
    is_terminal: Deno.stderr.isTerminal(),
  }));
}
