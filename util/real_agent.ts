/**
 * An agent on a real kernel, from the opening of the kernel to "Done!": the main isolate's part,
 * which starts and stops the agents' threads and never schedules.
 * Source: reference sections 2.4 and 4.0.
 *
 * @module
 */
import { AgentThreads } from "../kernels/agent_threads.ts";
import { openRealKernel, type RealKernelName } from "../kernels/open.ts";
import type { RealKernel } from "../kernels/real_kernel.ts";
import { EnclaveError, PolicyEnclave } from "../lib/enclave.ts";
import { OperatingError } from "../lib/errors.ts";
import { DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES, type PolicyDefinition } from "../lib/policy.ts";
import type { AgentOptions } from "./agent_flags.ts";
import type { AgentHost, AgentProgram } from "./agent_main.ts";
import { AgentSignals } from "./agent_signals.ts";
import { coreMap } from "./core_map.ts";
import { findEnclave, makeEnclave, type OpenEnclave } from "./real_enclave.ts";

/** What to run. */
export interface RealAgentJob {
  /** The agent. */
  readonly program: AgentProgram;
  /** Its policy. */
  readonly policy: PolicyDefinition;
  /** Its common flags, checked. */
  readonly options: AgentOptions;
  /** The process. */
  readonly host: AgentHost;
  /** The kernel. */
  readonly kernel_name: RealKernelName;
}

/** Time between two dumps with `--verbose`. */
const DUMP_PERIOD_MS = 1000;
/** How often it is looked whether an old agent has left, or the enclave has gone. */
const POLL_MS = 5;
const GONE_POLL_MS = 200;

function pause(duration_ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, duration_ms));
}

/** One run of an agent in one enclave. */
class RealAgent {
  readonly #job: RealAgentJob;
  readonly #kernel: RealKernel;
  readonly #signals: AgentSignals;
  readonly #open: OpenEnclave;
  #enclave: PolicyEnclave | undefined;
  #threads: AgentThreads | undefined;

  constructor(job: RealAgentJob, kernel: RealKernel, open: OpenEnclave, signals: AgentSignals) {
    this.#job = job;
    this.#kernel = kernel;
    this.#open = open;
    this.#signals = signals;
    signals.on_dump = () => this.#dump(DUMP_ALL_TASKS);
  }

  #dump(flags: number): void {
    this.#job.host.stderr(this.#threads?.dump(flags) ?? "");
  }

  /** Waits until the old agent has left; false if the user does not want to wait any more. */
  async #awaitTurn(): Promise<boolean> {
    const { control, path } = this.#open;
    if (control.isOnline()) this.#job.host.stderr(`waiting for the agent of ${path} to leave\n`);
    while (control.isOnline() && !this.#signals.is_stopping) {
      if (control.isDestroyed()) throw new OperatingError(`${path} is gone`, "make a new enclave");
      await pause(POLL_MS);
    }
    return !this.#signals.is_stopping;
  }

  /** Starts the agents; false if the user has interrupted. */
  async #start(): Promise<boolean> {
    const { policy, host } = this.#job;
    const { control } = this.#open;
    if (!await this.#awaitTurn()) return false;
    this.#enclave = new PolicyEnclave(this.#kernel, control, policy);
    this.#threads = await AgentThreads.start({
      kernel: this.#kernel,
      control,
      enclave: this.#enclave,
      choice: { name: policy.name, options: policy.options ?? {} },
      opener: this.#kernel.opener,
    });
    host.stdout("Initialization complete, ghOSt active.\n");
    return true;
  }

  /** Waits until there is a reason to end: a signal, a failure, or an enclave that is gone. */
  async #awaitEnd(threads: AgentThreads): Promise<void> {
    let is_over = false;
    const over = threads.failed().then(() => is_over = true);
    const verbose = this.#job.options.verbose;
    let dump_ms = performance.now() + DUMP_PERIOD_MS;
    while (!is_over && !this.#signals.is_stopping && !this.#open.control.isDestroyed()) {
      await Promise.race([over, this.#signals.stopping, pause(GONE_POLL_MS)]);
      if (verbose === 0 || performance.now() < dump_ms) continue;
      dump_ms += DUMP_PERIOD_MS;
      this.#dump(verbose > 1 ? DUMP_EMPTY_RUNQUEUES : 0);
    }
  }

  /** Everything once the enclave is there; the exit status. */
  async run(): Promise<number | OperatingError> {
    const { host, program } = this.#job;
    try {
      if (!await this.#start()) return 0;
      const threads = this.#threads!;
      await this.#awaitEnd(threads);
      const is_gone = this.#open.control.isDestroyed();
      const report = await threads.stop();
      if (report.exit_status !== 0) {
        const dump = threads.dump(DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES);
        host.stderr(`${program.name}: ${report.failures[0].text}\n${dump}`);
        return report.exit_status;
      }
      if (is_gone) return new OperatingError(`${this.#open.path} was destroyed`, "make a new one");
      const final_text = program.finalText?.(this.#enclave!) ?? "";
      host.stdout(final_text + program.done_text);
      return 0;
    } finally {
      this.#enclave?.close();
      if (this.#open.is_made && !this.#open.control.isDestroyed()) this.#open.control.destroy();
    }
  }
}

/**
 * Runs an agent on a real kernel.
 *
 * @param job What to run.
 * @returns The exit status, or why it could not run.
 */
export async function runRealAgent(job: RealAgentJob): Promise<number | OperatingError> {
  const { host, options, program } = job;
  const kernel = await openRealKernel(job.kernel_name, host.kernels);
  if (kernel instanceof OperatingError) return kernel;
  const signals = new AgentSignals(host.exit, ["SIGINT", "SIGTERM", "SIGHUP"]);
  signals.listen();
  try {
    if (program.shows_core_map) host.stdout(coreMap(kernel.cpuRows()));
    host.stdout("Initializing...\n");
    const open = options.enclave === ""
      ? makeEnclave(kernel, options.cpus, options.ghost_cpus)
      : findEnclave(kernel, options.enclave);
    if (open instanceof OperatingError) return open;
    return await new RealAgent(job, kernel, open, signals).run();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    if (!(error instanceof EnclaveError)) throw error;
    return new OperatingError(error.message, "see `ghostctl doctor` and the kernel's log (dmesg)");
  } finally {
    signals.close();
    kernel.close();
  }
}
