/**
 * The main function that all agents share: flags, the choice of a kernel, and errors as one line
 * with an exit status.
 *
 * @module
 */
import { ABI_VERSIONS } from "../ffi/abi/abi.ts";
import { WORKLOADS } from "../experiments/workloads.ts";
import type { Load } from "../experiments/load.ts";
import { chooseKernel, probeKernel, rootFault } from "../kernels/choose.ts";
import type { RealKernelOpeners } from "../kernels/open.ts";
import { OperatingError, UsageError } from "../lib/errors.ts";
import { type ReadText, readTextFile } from "../lib/host_files.ts";
import type { PolicyEnclave } from "../lib/enclave.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import type { Recording } from "../lib/recording.ts";
import { Topology } from "../lib/topology.ts";
import { VERSION } from "../lib/version.ts";
import {
  AGENT_FLAGS,
  type AgentOptions,
  agentOptions,
  SIM_FLAGS,
  simFlagFault,
} from "./agent_flags.ts";
import { readReplay } from "./agent_recording.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "./flags.ts";
import type { AgentSignals } from "./agent_signals.ts";
import { BoardView } from "./guard/board.ts";
import { EXITS_FOLDER, keepExitOf } from "./guard/last_exit.ts";
import { type GuardHost, type GuardLink, NATIVE_GUARD } from "./guard/launch.ts";
import { postMortem } from "./guard/post_mortem.ts";
import { REAL_FLAGS, type RealOptions, realOptions } from "./real_flags.ts";
import type { AgentRpc } from "./rpc/requests.ts";
import { runRealAgent } from "./real_agent.ts";

/** Exit status after a broken invariant, or a policy that threw. */
export const EXIT_BROKEN = 3;

/** One agent executable. */
export interface AgentProgram {
  /** Name of the executable. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** Its policy, or what makes it from the flags. */
  readonly policy:
    | PolicyDefinition
    | ((flags: FlagValues, cpus: readonly number[]) => PolicyDefinition | UsageError);
  /** Flags of its own. */
  readonly flags?: readonly Flag[];
  /** Loads for the simulated kernel; those of experiments/ unless told otherwise. */
  readonly workloads?: readonly Load[];
  /** Last words on stdout: upstream's differ from agent to agent. */
  readonly done_text: string;
  /** The list of CPUs to schedule, where the agent has other flags than `--ghost_cpus` for it. */
  readonly cpuList?: (flags: FlagValues) => string | UsageError;
  /** Prints the map of the machine's cores first, as agents with a global CPU do. */
  readonly shows_core_map?: boolean;
  /** SIGTERM ends the agent like SIGINT. */
  readonly ends_on_sigterm?: boolean;
  /**
   * Begins what the main isolate does for the policy while agents run on a real kernel.
   *
   * @param policy The policy that runs.
   * @param say Tells the operator something, on stderr.
   * @returns What ends it.
   */
  readonly serve?: (policy: PolicyDefinition, say: (text: string) => void) => () => void;
  /**
   * Answers requests of other processes beside {@linkcode RPC_DEBUG_RUNQUEUE}, which all agents do.
   */
  readonly rpc?: AgentRpc;
  /** What to say on stdout before the last words, from the policy's state. */
  readonly finalText?: (enclave: PolicyEnclave) => string;
}

/** The flags that an agent has on every kernel. */
export function commonFlags(program: AgentProgram): readonly Flag[] {
  if (program.cpuList === undefined) return AGENT_FLAGS;
  return AGENT_FLAGS.filter(({ name }) => name !== "ghost_cpus");
}

/** What an agent's main function uses of its process. */
export interface AgentHost {
  /** Writes text to stdout, at once. */
  stdout(text: string): void;
  /** Writes text to stderr, at once. */
  stderr(text: string): void;
  /** True if stderr is a terminal, where a line may be rewritten. */
  readonly is_terminal: boolean;
  /** Reads small files of the host. */
  readonly read: ReadText;
  /** The effective user; null where the host has none. */
  uid(): number | null;
  /** Kernels that can be driven; those of kernels/open.ts unless a test says otherwise. */
  readonly kernels?: RealKernelOpeners;
  /** Module of agents' Workers; the program's own unless a test says otherwise. */
  readonly worker_url?: string;
  /** The guard of agents on real kernels; none if left out. */
  readonly guard?: GuardHost;
  /** The signals of agents on real kernels; those of the process unless a test says otherwise. */
  readonly signals?: AgentSignals;
  /** Where abnormal ends are kept; nowhere if left out. */
  readonly exits_folder?: string;
  /** Ends the process at once; Deno.exit unless a test says otherwise. */
  readonly exit?: (status: number) => void;
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch (error) {
    // Whoever read our output has gone; the work itself goes on.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** The process itself. */
export const PROCESS_HOST: AgentHost = {
  stdout: (text) => writeAll(Deno.stdout, text),
  stderr: (text) => writeAll(Deno.stderr, text),
  get is_terminal() {
    return Deno.stderr.isTerminal();
  },
  read: readTextFile,
  uid: () => Deno.uid(),
  guard: NATIVE_GUARD,
  exits_folder: EXITS_FOLDER,
};

function helpText(program: AgentProgram): string {
  const own = program.flags ?? [];
  const workloads = (program.workloads ?? WORKLOADS)
    .map(({ name, summary }) => `  ${name}  ${summary}\n`).join("");
  return `usage: ${program.name} [FLAGS]   ${program.summary}\n\n` +
    flagsHelp([...commonFlags(program), ...own]) +
    "\non a real kernel, where a guard process watches the agent:\n" +
    flagsHelp(REAL_FLAGS) +
    "\nwith --kernel=sim, the simulated kernel:\n" +
    flagsHelp(SIM_FLAGS) +
    `\nworkloads:\n${workloads}` +
    "\nSIGINT ends the agent, a second one ends it at once; SIGUSR1 dumps its state on stderr.\n" +
    "SIGUSR2 ends the agent and keeps the enclave, for one that waits with --enclave.\n" +
    "Exit status: 0 ok, 1 operating failure, 2 usage, 3 broken invariant or policy, 130 after a\n" +
    "second SIGINT.\n";
}

function versionText(program: AgentProgram): string {
  return `${program.name} ${VERSION}\n` +
    `ghOSt ABI ${ABI_VERSIONS.join(", ")}: 69 was shown on a real kernel; 84, 90 and 91 by\n` +
    "  layout tests and a scripted ghostfs until a kernel of theirs is at hand\n";
}

/** What keeps an agent from a real kernel, as far as that needs no kernel; undefined if nothing. */
function realFault(options: AgentOptions, host: AgentHost): OperatingError | undefined {
  const sim_flag = simFlagFault(options.flags);
  if (sim_flag !== undefined) return sim_flag;
  const topology = Topology.fromSysfs(host.read);
  if (topology instanceof OperatingError) return topology;
  // An enclave that is there has its CPUs.
  const cpus = options.enclave === "" ? topology.parseCpuStr(options.ghost_cpus) : undefined;
  if (cpus instanceof UsageError) return new UsageError(`--ghost_cpus: ${cpus.fault}`, cpus.cure);
  return rootFault(host.uid());
}

/** Tells and keeps what a dead agent knew and how it ended. */
function dumpDead(
  { name }: AgentProgram,
  makePolicy: (cpus: readonly number[]) => PolicyDefinition | UsageError,
  host: AgentHost,
  { board_fd, end }: GuardLink,
): void {
  const board = BoardView.open(board_fd, "copy");
  const dump = postMortem(board, makePolicy);
  if (end !== undefined) {
    const exit = {
      ...end,
      program: name,
      kernel: board?.facts.kernel ?? null,
      enclave: board?.facts.path ?? null,
      cpus: board?.facts.shape.cpus ?? [],
    };
    keepExitOf(host, exit, dump);
  }
  host.stderr(dump);
}

/** Makes this process the guard of an agent process to come; returns if there can be none. */
function startGuard(program: AgentProgram, real: RealOptions, host: AgentHost): void {
  if (host.guard === undefined) return;
  const { watchdog_ns, on_crash } = real;
  const why = host.guard.become({ name: program.name, watchdog_ns, on_crash });
  host.stderr(`${program.name}: no guard (${why}): only the kernel's runnable_timeout watches\n`);
}

async function run(
  program: AgentProgram,
  args: readonly string[],
  host: AgentHost,
): Promise<number | OperatingError> {
  const table = [...commonFlags(program), ...REAL_FLAGS, ...SIM_FLAGS, ...program.flags ?? []];
  // As upstream, where this token alone counts, wherever it stands.
  if (args.includes("--ghost_version")) {
    host.stderr(`${ABI_VERSIONS.join(" ")}\n`);
    return 0;
  }
  const flags = parseFlags(table, args, program.name);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(helpText(program));
    return 0;
  }
  if (flags.has("version")) {
    host.stdout(versionText(program));
    return 0;
  }
  if (flags.has("replay") && flags.text("kernel") === "sim") {
    const own = program.flags ?? [];
    const replay = readReplay(program.name, own, args, flags.text("replay"));
    if (replay instanceof UsageError) return replay;
    const replayed = parseFlags(table, replay.args, program.name);
    if (replayed instanceof UsageError) return replayed;
    return await runWith(program, replayed, host, replay.recording);
  }
  return await runWith(program, flags, host);
}

/** Runs with these flags; with a recording to compare with, if there is one. */
async function runWith(
  program: AgentProgram,
  flags: FlagValues,
  host: AgentHost,
  recording?: Recording,
): Promise<number | OperatingError> {
  const list = program.cpuList?.(flags);
  if (list instanceof UsageError) return list;
  const options = agentOptions(flags, list);
  if (options instanceof UsageError) return options;
  const real = realOptions(flags);
  if (real instanceof UsageError) return real;
  const makePolicy = (cpus: readonly number[]): PolicyDefinition | UsageError =>
    typeof program.policy === "function" ? program.policy(flags, cpus) : program.policy;
  const policy = makePolicy(options.cpus);
  // An enclave that is there has other CPUs: its policy is made once these are known.
  if (policy instanceof UsageError && options.enclave === "") return policy;
  const link = options.kernel === "sim" ? undefined : host.guard?.link();
  if (link?.mode === "dump") {
    dumpDead(program, makePolicy, host, link);
    return 0;
  }
  const facts = probeKernel(host.read);
  const kernel = chooseKernel(options.kernel, facts);
  if (kernel instanceof UsageError) return kernel;
  if (kernel === "sim") {
    if (policy instanceof UsageError) return policy;
    // Agents of real kernels start without the simulator.
    const { runSimAgent } = await import("./sim_agent.ts");
    return await runSimAgent({ program, policy, options, host, recording });
  }
  if (kernel instanceof OperatingError) return simFlagFault(flags) ?? kernel;
  const fault = realFault(options, host);
  if (fault !== undefined) return fault;
  if (link === undefined) startGuard(program, real, host);
  return await runRealAgent({
    program,
    makePolicy,
    options,
    real,
    host,
    kernel_name: kernel,
    link,
  });
}

/**
 * Runs an agent.
 *
 * @param program The agent.
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export async function agentMain(
  program: AgentProgram,
  args: readonly string[],
  host: AgentHost = PROCESS_HOST,
): Promise<number> {
  const result = await run(program, args, host);
  if (typeof result === "number") return result;
  host.stderr(`${program.name}: ${result.message}\n`);
  return result.exit_status;
}
