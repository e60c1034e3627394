/**
 * The main function of load executables such as simple_exp: their sub-tests, on pthreads in an
 * enclave of a real kernel or on the simulated one. Lines are upstream's, reference section 8.14.
 *
 * @module
 */
import { CPU_MASK_BYTES } from "../ffi/linux.ts";
import { SimEnclave } from "../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../kernels/sim/host.ts";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../lib/errors.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import { type HintSource, NO_HINTS } from "../shared/hint_source.ts";
import { VERSION } from "../lib/version.ts";
import { chooseEnclaveToJoin, type ChosenEnclave, ENCLAVE_FLAGS } from "../util/enclave_choice.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "../util/flags.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "../util/tool_host.ts";
import { type HintTablePlan, LoadHints } from "./load_hints.ts";
import { RealLoad } from "./real_load.ts";
import { SimHints } from "./shinjuku/sim_hints.ts";
import { SimLoadRun } from "./sim_load.ts";
import type { SteppedLoad, SteppedSubTest } from "./sim_steps.ts";

const NS_PER_MS = 1e6;
const NS_PER_S = 1e9;
/** CPUs of the simulated machine, and sizes that fit a thousand threads and their children. */
const SIM_CPU_COUNT = 2;
const STATUS_WORD_CAPACITY = 8192;
const TASK_CAPACITY = 4096;
const QUEUE_ELEM_COUNT = 16_384;
const BATCH_EVENTS = 10_000;

/** Flags of every load executable. */
const LOAD_FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "auto", help: "auto, ghost, scx or sim" },
  ...ENCLAVE_FLAGS,
  { name: "only", value: "NAME", fallback: "", help: "run this sub-test only" },
  { name: "seed", value: "N", fallback: "1", help: "seed of the random times" },
  {
    name: "timeout",
    value: "S",
    fallback: "120",
    help: "seconds after which a sub-test counts as stuck",
  },
  { name: "version", help: "print the version" },
  { name: "help", help: "print this" },
];

/** One load executable. */
export interface LoadProgram {
  /** Its load; a function if flags of its own change it. */
  readonly load: SteppedLoad | ((flags: FlagValues) => SteppedLoad | UsageError);
  /** Its name. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** The policy that `--kernel=sim` runs it under; a function if it takes the load's hints. */
  readonly sim_policy: PolicyDefinition | ((hints: HintSource) => PolicyDefinition);
  /** What to look at when its threads get stuck. */
  readonly stuck_cure?: string;
  /** CPUs of the simulated machine; 2 unless the policy needs more. */
  readonly sim_cpu_count?: number;
  /** The table by which its threads tell the agent about their work, if they do. */
  readonly hints?: HintTablePlan;
  /** Flags of its own. */
  readonly flags?: readonly Flag[];
}

/** What the flags ask for. */
interface Request {
  readonly load: SteppedLoad;
  readonly sub_tests: readonly SteppedSubTest[];
  readonly seed: number;
  readonly timeout_ns: number;
}

/** CPUs as the mask that the kernel takes; empty without any. */
export function cpuMask(cpus: readonly number[]): Uint8Array<ArrayBuffer> {
  if (cpus.length === 0) return new Uint8Array();
  const mask = new Uint8Array(CPU_MASK_BYTES);
  for (const cpu of cpus) mask[cpu >> 3] |= 1 << (cpu & 7);
  return mask;
}

function requestOf(program: LoadProgram, flags: FlagValues): Request | UsageError {
  const load = typeof program.load === "function" ? program.load(flags) : program.load;
  if (load instanceof UsageError) return load;
  const seed = flags.integer("seed", 0, 2 ** 32 - 1);
  if (seed instanceof UsageError) return seed;
  const timeout_s = flags.integer("timeout", 1, 86_400);
  if (timeout_s instanceof UsageError) return timeout_s;
  const only = flags.text("only");
  const sub_tests = load.sub_tests.filter(({ name }) => only === "" || name === only);
  if (sub_tests.length === 0) {
    const names = load.sub_tests.map(({ name }) => name).join(", ");
    return new UsageError(`no sub-test ${JSON.stringify(only)} in --only`, `there are: ${names}`);
  }
  return { load, sub_tests, seed, timeout_ns: timeout_s * NS_PER_S };
}

/** Runs it in an enclave of a real kernel. */
async function runReal(
  program: LoadProgram,
  request: Request,
  chosen: ChosenEnclave,
  host: ToolHost,
): Promise<number> {
  const { kind } = chosen.kernel;
  const hints = program.hints === undefined ? undefined : new LoadHints(program.hints, kind);
  try {
    const status = await runSubTests(request, chosen, hints, host);
    if (status !== 0 && program.stuck_cure !== undefined) host.stderr(program.stuck_cure);
    return status;
  } finally {
    hints?.close();
  }
}

async function runSubTests(
  { sub_tests, seed, timeout_ns }: Request,
  chosen: ChosenEnclave,
  hints: LoadHints | undefined,
  host: ToolHost,
): Promise<number> {
  const { kernel, enclave } = chosen;
  const self_join = enclave.selfJoin();
  const cpus = enclave.cpus();
  let status = 0;
  for (const { name, root, thread_count, report } of sub_tests) {
    host.stdout(name);
    const run = new RealLoad(root, {
      join: (tid) => enclave.join(tid),
      self_join,
      policy: host.policyOf(kernel.kind),
      thread_capacity: thread_count + 1,
      cpu_mask: cpuMask(typeof cpus === "number" ? [] : cpus),
      hints: hints?.take(thread_count + 1),
      seed,
      timeout_ns,
    });
    const { time_ns, faults, totals, stages } = await run.finish();
    for (const line of report?.(stages) ?? []) host.stdout(line);
    host.stdout(` took ${(time_ns / NS_PER_MS).toFixed(2)} ms`);
    for (const fault of faults) host.stderr(`${name}: ${fault}`);
    if (faults.length > 0) status = EXIT_FAILURE;
    if (totals.ended_count < totals.started_count) return status;
  }
  return status;
}

function simHints({ hints }: LoadProgram, kernel: SimKernel): SimHints | null {
  if (hints === undefined) return null;
  return new SimHints(kernel.memory, hints.item_count, hints.classes, hints.stream_capacity);
}

/** Runs it on the simulated kernel, and says so. */
function runSim(program: LoadProgram, request: Request, host: ToolHost): number {
  const { load, sub_tests, seed } = request;
  const cpu_count = program.sim_cpu_count ?? SIM_CPU_COUNT;
  const kernel = new SimKernel({
    cpus: cpu_count,
    seed,
    status_word_capacity: STATUS_WORD_CAPACITY,
  });
  const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
  const enclave = kernel.createEnclave(cpus, kernel.abi.version);
  if (!(enclave instanceof SimEnclave)) throw new TypeError("the simulated kernel has an enclave");
  const hints = simHints(program, kernel);
  const { sim_policy } = program;
  const policy = typeof sim_policy === "function" ? sim_policy(hints ?? NO_HINTS) : sim_policy;
  host.stdout(
    `simulated: ${cpu_count} CPUs, policy ${policy.name}; times are virtual, nothing was ` +
      "measured on this host",
  );
  const options = { task_capacity: TASK_CAPACITY, queue_elem_count: QUEUE_ELEM_COUNT };
  const policy_host = new SimPolicyHost(kernel, enclave, policy, options);
  const run = new SimLoadRun(kernel.machine, enclave, { ...load, sub_tests }, seed);
  run.hints = hints;
  while (run.advance(BATCH_EVENTS));
  let status = 0;
  for (const [index, { name, time_ns, faults }] of run.results.entries()) {
    host.stdout(name);
    for (const line of sub_tests[index].report?.(run.stages[index]) ?? []) host.stdout(line);
    host.stdout(` took ${(time_ns / NS_PER_MS).toFixed(2)} ms (simulated)`);
    for (const fault of faults) host.stderr(`${name}: ${fault}`);
    if (faults.length > 0) status = EXIT_FAILURE;
  }
  if (policy_host.failure === null) return status;
  host.stderr(`${program.name}: policy ${policy.name}: ${policy_host.failure}`);
  return EXIT_FAILURE;
}

async function run(
  program: LoadProgram,
  args: readonly string[],
  host: ToolHost,
): Promise<number | OperatingError> {
  const table = [...LOAD_FLAGS, ...program.flags ?? []];
  const flags = parseFlags(table, args, program.name);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(
      `usage: ${program.name} [FLAGS]   ${program.summary}\n\n${flagsHelp(table)}\n` +
        "Exit status: 0 ok, 1 a sub-test failed or nothing to run on, 2 usage.",
    );
    return 0;
  }
  if (flags.has("version")) {
    host.stdout(`${program.name} ${VERSION}`);
    return 0;
  }
  const request = requestOf(program, flags);
  if (request instanceof UsageError) return request;
  if (flags.text("kernel") === "sim") {
    if (flags.text("enclave") === "") return runSim(program, request, host);
    return new UsageError("--enclave: the simulated kernel has none of another process", "drop it");
  }
  const chosen = await chooseEnclaveToJoin(flags.text("kernel"), flags.text("enclave"), host);
  return chosen instanceof OperatingError ? chosen : await runReal(program, request, chosen, host);
}

/**
 * Runs a load executable.
 *
 * @param program The executable.
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export function loadMain(
  program: LoadProgram,
  args: readonly string[],
  host: ToolHost = PROCESS_TOOL_HOST,
): Promise<number> {
  return toolMain(program.name, host, () => run(program, args, host));
}
