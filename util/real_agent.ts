/**
 * An agent on a real kernel, from the opening of the kernel to "Done!": the main isolate's part,
 * which starts and stops the agents' threads and never schedules.
 * Source: reference sections 2.4 and 4.0.
 *
 * @module
 */
import { loadShim } from "../ffi/shim.ts";
import { cString } from "../ffi/symbols.ts";
import type { AgentSpec } from "../kernels/agent_spec.ts";
import { AgentThreads } from "../kernels/agent_threads.ts";
import { endHurry, hurry } from "../kernels/hurry.ts";
import { ENOENT } from "../kernels/kernel.ts";
import { openRealKernel, type RealKernelName } from "../kernels/open.ts";
import type { RealKernel } from "../kernels/real_kernel.ts";
import { EnclaveError, PolicyEnclave } from "../lib/enclave.ts";
import { OperatingError, type UsageError } from "../lib/errors.ts";
import { DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES, type PolicyDefinition } from "../lib/policy.ts";
import type { AgentOptions } from "./agent_flags.ts";
import { type AgentHost, type AgentProgram, EXIT_BROKEN } from "./agent_main.ts";
import { AgentSignals, redirectDumpSignal } from "./agent_signals.ts";
import { coreMap } from "./core_map.ts";
import * as guard_board from "./guard/board.ts";
import { AgentBoard, BoardView } from "./guard/board.ts";
import { beatPeriodMs, Heartbeat } from "./guard/heartbeat.ts";
import { boundedDump, type ExitKind, keepExitOf } from "./guard/last_exit.ts";
import type { GuardLink } from "./guard/launch.ts";
import { keptBy } from "./guard/predecessor.ts";
import { destroyActions, findEnclave, makeEnclave, type OpenEnclave } from "./real_enclave.ts";
import type { RealOptions } from "./real_flags.ts";
import { agentRpcHandler } from "./rpc/requests.ts";
import { AgentRpcServer } from "./rpc/server.ts";
import { leaveCpus } from "./spare_cpus.ts";
import { limitsFault } from "./start_limits.ts";
import { Interrupted, pause, TakeOver } from "./take_over.ts";

/** What to run. */
export interface RealAgentJob {
  /** The agent. */
  readonly program: AgentProgram;
  /** Makes its policy for the CPUs of the enclave. */
  readonly makePolicy: (cpus: readonly number[]) => PolicyDefinition | UsageError;
  /** Its common flags, checked. */
  readonly options: AgentOptions;
  /** Its flags for real kernels, checked. */
  readonly real: RealOptions;
  /** The process. */
  readonly host: AgentHost;
  /** The kernel. */
  readonly kernel_name: RealKernelName;
  /** What the guard has told; undefined without a guard. */
  readonly link: GuardLink | undefined;
}

/** Time between two dumps with `--verbose`. */
const DUMP_PERIOD_MS = 1000;
/** How often it is looked whether the enclave has gone. */
const GONE_POLL_MS = 200;
/** How long agents whose threads go back to the default scheduler may finish what they queued. */
const DRAIN_MS = 200;
/** How long the old agents' threads may take to end once their process is offline. */
const BUSY_MS = 10_000;
/** What the kernel keeps of a thread's name. */
const THREAD_NAME_BYTES = 15;
const STOP_SIGNALS: readonly Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"];
const FULL_DUMP = DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES;

/** One run of an agent in one enclave. */
class RealAgent {
  readonly #job: RealAgentJob;
  readonly #kernel: RealKernel;
  readonly #signals: AgentSignals;
  readonly #open: OpenEnclave;
  readonly #policy: PolicyDefinition;
  readonly #board: AgentBoard;
  readonly #take_over: TakeOver;
  #enclave: PolicyEnclave | undefined;
  #threads: AgentThreads | undefined;
  #has_published = false;
  readonly #guard_pid = Deno.ppid;
  #endService: (() => void) | undefined;
  #rpc: AgentRpcServer | undefined;
  #beat_timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    job: RealAgentJob,
    kernel: RealKernel,
    signals: AgentSignals,
    found: { open: OpenEnclave; policy: PolicyDefinition; old: BoardView | undefined },
  ) {
    this.#job = job;
    this.#kernel = kernel;
    this.#signals = signals;
    this.#open = found.open;
    this.#policy = found.policy;
    this.#board = job.link === undefined ? AgentBoard.create() : new AgentBoard(job.link.board_fd);
    const host = {
      say: (text: string) => this.#say(text),
      isStopping: () => signals.is_stopping,
      nowNs: () => kernel.nowNs(),
    };
    this.#take_over = new TakeOver(found.open, host, found.old);
    signals.on_dump = () => this.#dump(DUMP_ALL_TASKS);
  }

  #say(text: string): void {
    this.#job.host.stderr(`${this.#job.program.name}: ${text}\n`);
  }

  #dump(flags: number): void {
    this.#job.host.stderr(this.#threads?.dump(flags) ?? "");
  }

  /** From here on the guard answers for the enclave. */
  #publish(enclave: PolicyEnclave): void {
    const { path, is_made, control } = this.#open;
    const { state } = enclave;
    const { kind, abi } = this.#kernel;
    const facts = { kernel: kind, path, is_made, abi_version: abi.version, shape: state.shape };
    this.#board.publish(facts, state, destroyActions(this.#kernel, control.id));
    this.#has_published = true;
  }

  /** The kernel's own watchdog, for the case that the guard dies too. */
  #limitRunnable(): void {
    const { runnable_timeout_ms } = this.#job.real;
    const result = this.#open.control.writeTunable("runnable_timeout", runnable_timeout_ms);
    if (result === -ENOENT) {
      this.#say("this kernel has no runnable_timeout: only the guard watches");
    } else if (result < 0) throw new EnclaveError("set runnable_timeout", result);
  }

  /** Starts the agents; they are warm before another agent's place is taken. */
  async #start(): Promise<AgentThreads> {
    const { control, is_made } = this.#open;
    const enclave = new PolicyEnclave(this.#kernel, control, this.#policy, {
      makeState: (size_bytes) => this.#board.makeState(size_bytes),
      is_early: true,
    });
    this.#enclave = enclave;
    if (is_made && this.#take_over.old === undefined) this.#publish(enclave);
    const threads = await this.#startThreads(enclave);
    this.#threads = threads;
    this.#endService = this.#job.program.serve?.(this.#policy, (text) => this.#say(text));
    this.#startRpc(enclave);
    this.#board.phase = guard_board.PHASE_ACTIVE;
    leaveCpus(control.cpus(), threads.tids());
    return threads;
  }

  /** How warm the agents are to be when they begin. */
  #warmUp(): AgentSpec["warm_up"] {
    const { link } = this.#job;
    // The threads of a dead agent wait: rather slow at first than later.
    if (link !== undefined && link.old_fd >= 0) return "none";
    // While another agent schedules, nobody waits for this one. In a new enclave somebody does;
    // but one agent of a global policy spins for all CPUs.
    return this.#open.is_made && this.#policy.queues === "per_cpu" ? "brief" : "full";
  }

  /** The threads of the agents; they and this one hurry while they take the place of others. */
  async #startThreads(enclave: PolicyEnclave): Promise<AgentThreads> {
    const { control, is_made } = this.#open;
    const threads = AgentThreads.start({
      kernel: this.#kernel,
      control,
      enclave,
      choice: { name: this.#policy.name, options: this.#policy.options ?? {} },
      opener: this.#kernel.opener,
      worker_url: this.#job.host.worker_url,
      state_region: this.#board.state_region,
      busy_ms: BUSY_MS,
      pins_late: !is_made,
      warm_up: this.#warmUp(),
      awaitTurn: async () => {
        if (!is_made) hurry();
        await this.#take_over.awaitTurn();
        await this.#take_over.claim(enclave);
        this.#publish(enclave);
        this.#limitRunnable();
      },
      beforeOnline: (threads) => this.#restore(threads),
    });
    return await threads.finally(endHurry);
  }

  /** From here on other processes can ask the agent something. */
  #startRpc(enclave: PolicyEnclave): void {
    try {
      this.#rpc = new AgentRpcServer({
        handler: agentRpcHandler(enclave, () => this.#dump(DUMP_ALL_TASKS), this.#job.program.rpc),
        isOnline: () => enclave.control.isOnline(),
        say: (text) => this.#say(text),
      });
    } catch (error) {
      // Agents schedule without it.
      this.#say(`no requests of other processes are answered: ${(error as Error).message}`);
    }
  }

  /** Gives the policy what its predecessor kept. */
  #restore(threads: AgentThreads): void {
    const { old } = this.#take_over;
    const snapshot = old === undefined ? undefined : keptBy(old, this.#policy.name);
    if (snapshot !== undefined) threads.restore(snapshot);
  }

  /** What is not locked may be swapped out or dropped: a step waits for the disk then. */
  #sayUnlocked(threads: AgentThreads): void {
    const failed_bytes = threads.lock_report?.failed_bytes ?? 0;
    if (failed_bytes === 0) return;
    const mib = Math.ceil(failed_bytes / 2 ** 20);
    this.#say(`${mib} MiB could not be locked in memory; see memlock in \`ghostctl doctor\``);
  }

  #startBeat(enclave: PolicyEnclave): void {
    const mayRun = (index: number) => this.#threads?.mayRun(index) ?? true;
    const heartbeat = new Heartbeat(this.#kernel.memory, enclave.queues, mayRun);
    this.#beat_timer = setInterval(
      () => this.#board.beat(heartbeat.look()),
      beatPeriodMs(this.#job.real.watchdog_ns),
    );
  }

  /** Waits until there is a reason to end: a signal, a failure, or an enclave that is gone. */
  async #awaitEnd(threads: AgentThreads): Promise<void> {
    let is_over = false;
    const over = threads.failed().then(() => is_over = true);
    const verbose = this.#job.options.verbose;
    let dump_ms = performance.now() + DUMP_PERIOD_MS;
    while (!is_over && !this.#signals.is_stopping && !this.#open.control.isDestroyed()) {
      await Promise.race([over, this.#signals.stopping, pause(GONE_POLL_MS)]);
      threads.checkSatellites();
      if (verbose === 0 || performance.now() < dump_ms) continue;
      dump_ms += DUMP_PERIOD_MS;
      this.#dump(verbose > 1 ? DUMP_EMPTY_RUNQUEUES : 0);
    }
  }

  /** True if the enclave outlives this process when all goes well. */
  #staysAfterwards(): boolean {
    return !this.#open.is_made || this.#signals.keeps_enclave;
  }

  /** What to do with the enclave when an agent has failed and no guard is there to do it. */
  #settleFailure(): void {
    this.#board.phase = guard_board.PHASE_FAILED;
    if (this.#job.link !== undefined || this.#job.real.on_crash === "leave") return;
    this.#open.control.destroy();
    this.#say(`${this.#open.path} destroyed, its threads are with the default scheduler`);
  }

  /** Writes the state of all agents on stderr, and keeps it with how they ended. */
  #tellEnd(kind: ExitKind, reason: string, state: string): void {
    const dump = boundedDump(state);
    const { host, program } = this.#job;
    const { path, control } = this.#open;
    const exit = {
      time_ms: Date.now(),
      program: program.name,
      pid: Deno.pid,
      kernel: this.#kernel.kind,
      enclave: path,
      cpus: this.#enclave?.state.shape.cpus ?? control.cpus(),
      kind,
      reason,
    };
    keepExitOf(host, exit, dump);
    host.stderr(dump);
  }

  /** Ends the agents; the exit status. */
  async #end(threads: AgentThreads): Promise<number | OperatingError> {
    const { host, program } = this.#job;
    this.#board.phase = guard_board.PHASE_LEAVING;
    if (this.#job.link !== undefined && Deno.ppid !== this.#guard_pid) {
      const reason = "the guard has died, so the agents leave";
      this.#say(reason);
      this.#tellEnd("unguarded", reason, "");
    }
    clearInterval(this.#beat_timer);
    const is_gone = this.#open.control.isDestroyed();
    const hands_over = this.#staysAfterwards() && this.#job.link !== undefined;
    const drain_ms = this.#staysAfterwards() ? 0 : DRAIN_MS;
    await this.#rpc?.close();
    const report = await threads.stop({ drain_ms, process_ends: hands_over });
    this.#endService?.();
    if (report.exit_status !== 0) {
      const { text } = report.failures[0];
      this.#say(text);
      const kind = report.exit_status === EXIT_BROKEN ? "thrown" : "failed";
      this.#tellEnd(kind, text, threads.dump(FULL_DUMP));
      // Agents that were told to leave end with the process; the enclave is a successor's by now.
      if (hands_over && this.#signals.is_stopping) return this.#exit("", report.exit_status);
      this.#enclave?.close();
      this.#settleFailure();
      return report.exit_status;
    }
    const final_text = program.finalText?.(this.#enclave!) ?? "";
    // A successor waits for the end of our threads, and all end at once with the process.
    if (hands_over && !is_gone) return this.#exit(final_text);
    this.#enclave?.close();
    if (!is_gone && !this.#staysAfterwards()) this.#open.control.destroy();
    this.#board.phase = guard_board.PHASE_ENDED;
    if (is_gone) {
      const cure = "its threads are with the default scheduler; start the agent again";
      const why = this.#kernel.endText?.();
      const what = `${this.#open.path} was destroyed`;
      const text = why === undefined ? what : `${what}: ${why}`;
      const dump = threads.dump(FULL_DUMP) + (this.#kernel.endDump?.() ?? "");
      this.#tellEnd(why === undefined ? "destroyed" : "ejected", text, dump);
      return new OperatingError(text, cure);
    }
    host.stdout(final_text + program.done_text);
    return 0;
  }

  #exit(final_text: string, status = 0): number {
    const { host, program } = this.#job;
    this.#board.phase = guard_board.PHASE_ENDED;
    if (status === 0) host.stdout(final_text + program.done_text);
    (host.exit ?? Deno.exit)(status);
    return status;
  }

  /** Leaves nothing half-made when the agents could not start. */
  #abandon(): void {
    this.#enclave?.close();
    const { control, is_made } = this.#open;
    const has_followed = !is_made || this.#take_over.old !== undefined;
    // The old agents have gone, and nobody is there for their threads.
    if (has_followed && this.#has_published) return this.#settleFailure();
    if (is_made && !control.isDestroyed()) control.destroy();
    this.#board.phase = guard_board.PHASE_ENDED;
  }

  /** Everything once the enclave is there; the exit status. */
  async run(): Promise<number | OperatingError> {
    const { host, program } = this.#job;
    let threads: AgentThreads;
    try {
      threads = await this.#start();
    } catch (error) {
      this.#abandon();
      if (!(error instanceof Interrupted)) throw error;
      host.stdout(program.done_text);
      return 0;
    }
    this.#startBeat(this.#enclave!);
    this.#sayUnlocked(threads);
    host.stdout("Initialization complete, ghOSt active.\n");
    if (!this.#open.is_made || this.#take_over.old !== undefined) {
      await this.#take_over.report(this.#enclave!);
    }
    await this.#awaitEnd(threads);
    return await this.#end(threads);
  }
}

/** The enclave: that of a dead agent, the one that the user names, or a new one. */
function openEnclave(
  job: RealAgentJob,
  kernel: RealKernel,
  old: BoardView | undefined,
): OpenEnclave | OperatingError {
  const { enclave, cpus, ghost_cpus } = job.options;
  if (old !== undefined) {
    const found = findEnclave(kernel, old.facts.path);
    return found instanceof OperatingError ? found : { ...found, is_made: old.facts.is_made };
  }
  return enclave === "" ? makeEnclave(kernel, cpus, ghost_cpus) : findEnclave(kernel, enclave);
}

async function runOn(
  job: RealAgentJob,
  kernel: RealKernel,
  signals: AgentSignals,
): Promise<number | OperatingError> {
  const { host, program, link } = job;
  const old = link === undefined || link.old_fd < 0
    ? undefined
    : BoardView.open(link.old_fd, "view");
  if (program.shows_core_map) host.stdout(coreMap(kernel.cpuRows()));
  host.stdout("Initializing...\n");
  const open = openEnclave(job, kernel, old);
  if (open instanceof OperatingError) return open;
  const policy = job.makePolicy(open.control.cpus());
  const fault = policy instanceof OperatingError
    ? policy
    : limitsFault(host.read, open.control.cpus().length);
  if (fault === undefined) {
    leaveCpus(open.control.cpus(), []);
    const found = { open, policy: policy as PolicyDefinition, old };
    return await new RealAgent(job, kernel, signals, found).run();
  }
  if (open.is_made && old === undefined) open.control.destroy();
  return fault;
}

/** The guard starts the agent through a descriptor, whose number would be its name. */
function nameProcess(name: string): void {
  loadShim().setThreadName(cString(name.slice(0, THREAD_NAME_BYTES)));
}

/**
 * Runs an agent on a real kernel.
 *
 * @param job What to run.
 * @returns The exit status, or why it could not run.
 */
export async function runRealAgent(job: RealAgentJob): Promise<number | OperatingError> {
  const { host } = job;
  // An order to end is heard while the kernel is opened, which takes seconds where programs load.
  const signals = host.signals ??
    new AgentSignals(host.exit, STOP_SIGNALS, redirectDumpSignal());
  if (host.signals === undefined) signals.listen();
  try {
    const kernel = await openRealKernel(job.kernel_name, host.kernels);
    if (kernel instanceof OperatingError) return kernel;
    if (job.link !== undefined) nameProcess(job.program.name);
    try {
      return await runOn(job, kernel, signals);
    } finally {
      kernel.close();
    }
  } catch (error) {
    if (error instanceof OperatingError) return error;
    if (!(error instanceof EnclaveError)) throw error;
    return new OperatingError(error.message, "see `ghostctl doctor` and the kernel's log (dmesg)");
  } finally {
    if (host.signals === undefined) signals.close();
  }
}
