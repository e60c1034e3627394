/**
 * An agent on the simulated kernel: makes the machine, runs a load on it under the agent's policy,
 * shows progress, and writes the figures and the timeline.
 *
 * @module
 */
import { LOAD_COLUMNS, loadCells, loadTable } from "../experiments/load_table.ts";
import { SimLoadRun } from "../experiments/sim_load.ts";
import { SimEnclave } from "../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../kernels/sim/host.ts";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { simTopology } from "../kernels/sim/sim_topology.ts";
import { EnclaveError } from "../lib/enclave.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../lib/errors.ts";
import { DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES, type PolicyDefinition } from "../lib/policy.ts";
import { type LineSink, type Recording, RecordingComparer } from "../lib/recording.ts";
import { SimRecorder } from "../kernels/sim/recording.ts";
import { recordedConfig } from "./agent_recording.ts";
import { encodeSnapshot } from "../lib/snapshot.ts";
import type { AgentOptions } from "./agent_flags.ts";
import { type AgentHost, type AgentProgram, EXIT_BROKEN } from "./agent_main.ts";
import { AgentSignals } from "./agent_signals.ts";
import { coreMap } from "./core_map.ts";
import type { OutputFile } from "./output_file.ts";
import { Progress } from "./progress.ts";
import { type SimRequest, simRequest } from "./sim_request.ts";
import { writeHtml } from "./timeline/html.ts";
import { writePerfetto } from "./timeline/perfetto.ts";
import { SpanLog } from "./timeline/span_log.ts";
import type { TextSink, Timeline } from "./timeline/timeline.ts";

/** Sizes that fit the loads of experiments/ and keep the process small. */
const TASK_CAPACITY = 4096;
const STATUS_WORD_CAPACITY = 8192;
const QUEUE_ELEM_COUNT = 16_384;
/** A runnable thread that waits so long was forgotten: the kernel destroys the enclave. */
const RUNNABLE_TIMEOUT_MS = 3_000;
/** Lines of a policy's stack trace that are shown. */
const STACK_LINES = 6;
/** Events between two looks at the clock, and ms between two looks at signals. */
const BATCH_EVENTS = 1000;
const TURN_MS = 20;
/** Virtual time between two dumps with `--verbose`. */
const DUMP_PERIOD_NS = 1_000_000_000;

/** What to run. */
export interface SimAgentJob {
  /** The agent. */
  readonly program: AgentProgram;
  /** Its policy, made from its flags. */
  readonly policy: PolicyDefinition;
  /** Its common flags, checked. */
  readonly options: AgentOptions;
  /** The process. */
  readonly host: AgentHost;
  /** The recording that is repeated, if one is. */
  readonly recording: Recording | undefined;
}

/** How a run ended. */
interface Outcome {
  readonly status: number;
  /** What to say on stderr, and the state to dump. */
  readonly complaint: string;
  readonly dump: string;
}

const ENDED_WELL: Outcome = { status: 0, complaint: "", dump: "" };

/** One agent process's simulated machine with its policy and its load. */
class SimAgentRun {
  readonly #job: SimAgentJob;
  readonly #request: SimRequest;
  readonly #signals: AgentSignals;
  readonly #log = new SpanLog();
  readonly #kernel: SimKernel;
  readonly #policy_host: SimPolicyHost;
  readonly #run: SimLoadRun;
  readonly #comparer: RecordingComparer | undefined;
  readonly #recorder: SimRecorder | undefined;
  #destroyed_because = "";

  /** @throws {EnclaveError} If the simulated kernel refuses the enclave. */
  constructor(job: SimAgentJob, request: SimRequest, signals: AgentSignals) {
    this.#job = job;
    this.#request = request;
    this.#signals = signals;
    const { policy, options } = job;
    const { machine_cpus, seed } = request;
    this.#kernel = new SimKernel({
      cpus: machine_cpus,
      seed,
      status_word_capacity: STATUS_WORD_CAPACITY,
    });
    const { machine, abi } = this.#kernel;
    const enclave = this.#kernel.createEnclave(options.cpus, abi.version);
    if (!(enclave instanceof SimEnclave)) {
      throw new EnclaveError(`make an enclave of CPUs ${options.ghost_cpus}`, enclave);
    }
    if (request.trace !== undefined || request.html !== undefined) machine.trace = this.#log;
    if (job.recording !== undefined) this.#comparer = new RecordingComparer(job.recording);
    this.#recorder = this.#observeWith(this.#comparer ?? request.record);
    this.#policy_host = new SimPolicyHost(this.#kernel, enclave, policy, {
      task_capacity: TASK_CAPACITY,
      queue_elem_count: QUEUE_ELEM_COUNT,
      snapshot: request.kept,
    });
    enclave.writeTunable("runnable_timeout", RUNNABLE_TIMEOUT_MS);
    this.#run = new SimLoadRun(machine, enclave, request.load, seed);
    enclave.on_destroyed = (reason) => {
      this.#destroyed_because = reason;
      this.#run.endEarly();
    };
    if (this.#policy_host.failure !== null) this.#run.endEarly();
    signals.on_dump = () => this.dump(DUMP_ALL_TASKS);
    if (options.verbose > 0) this.#dumpEachSecond();
  }

  /** Gives everything to record to a sink, if there is one. */
  #observeWith(sink: LineSink | undefined): SimRecorder | undefined {
    if (sink === undefined) return undefined;
    const { policy, program, options } = this.#job;
    const { machine } = this.#kernel;
    const recorder = new SimRecorder(this.#kernel, sink, {
      policy,
      cpu_count: options.cpus.length,
      seed: this.#request.seed,
      config: recordedConfig(program.name, program.flags ?? [], options.flags),
    }, machine.trace);
    machine.trace = recorder;
    return recorder;
  }

  /**
   * Ends the recording, or the comparison with one.
   *
   * @returns True if the run is another one than was recorded.
   */
  endRecording(): boolean {
    const { host, options } = this.#job;
    const { record } = this.#request;
    if (this.#recorder === undefined) return false;
    if (this.#signals.is_stopping) {
      host.stderr(
        `${this.#job.program.name}: interrupted, so there is nothing to compare or keep\n`,
      );
      record?.abandon();
      return false;
    }
    const record_count = this.#recorder.end();
    if (this.#comparer !== undefined) {
      host.stdout(`${options.flags.text("replay")}: ${this.#comparer.verdict()}\n`);
      return this.#comparer.difference !== null;
    }
    record?.commit();
    host.stdout(`wrote ${record?.path}: ${record_count} records; repeat it with --replay\n`);
    return false;
  }

  /** State of the policy on stderr. */
  dump(flags: number): void {
    this.#job.host.stderr(this.#policy_host.dump(flags));
  }

  /** Upstream's rule: with `--verbose`, once a second on the agents' clock. */
  #dumpEachSecond(): void {
    const { machine } = this.#kernel;
    machine.at(machine.now_ns + DUMP_PERIOD_NS, () => {
      this.dump(this.#job.options.verbose > 1 ? DUMP_EMPTY_RUNQUEUES : 0);
      this.#dumpEachSecond();
    });
  }

  /** Runs the load to its end, or until a signal or a failure. */
  async drive(): Promise<Outcome> {
    const progress = new Progress(this.#job.host);
    let turn_end_ms = performance.now() + TURN_MS;
    try {
      while (!this.#signals.is_stopping && this.#run.advance(BATCH_EVENTS)) {
        progress.ended(this.#run.results);
        if (performance.now() < turn_end_ms) continue;
        progress.show(this.#run.progress());
        // Signal handlers run between two turns.
        await new Promise((resolve) => setTimeout(resolve, 0));
        turn_end_ms = performance.now() + TURN_MS;
      }
    } catch (error) {
      this.#run.stop();
      return this.#broken(error instanceof Error ? error.message : String(error));
    } finally {
      progress.ended(this.#run.results);
      progress.clear();
    }
    this.#run.stop();
    return this.#outcome();
  }

  #broken(complaint: string): Outcome {
    const flags = DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES;
    return { status: EXIT_BROKEN, complaint, dump: this.#policy_host.dump(flags) };
  }

  #outcome(): Outcome {
    const { failure } = this.#policy_host;
    const { live_count } = this.#kernel.machine;
    const ended = live_count === 0
      ? "its threads went back to the default scheduler and finished"
      : `${live_count} of its threads are left with the default scheduler`;
    if (failure !== null) {
      const { cpu, error, dump } = failure;
      const text = error instanceof Error ? error.message : String(error);
      const complaint = `policy failed on CPU ${cpu}: ${text}; ${ended}`;
      const stack = error instanceof Error ? error.stack ?? "" : "";
      const trace = stack.split("\n").filter((line) => /^\s+at /.test(line)).slice(0, STACK_LINES);
      return { status: EXIT_BROKEN, complaint, dump: [...trace, dump].join("\n") };
    }
    if (this.#destroyed_because !== "") {
      return this.#broken(`enclave destroyed: ${this.#destroyed_because}; ${ended}`);
    }
    const bad = this.#run.results.filter((result) => result.faults.length > 0);
    if (bad.length === 0) return ENDED_WELL;
    return this.#broken(`${bad.map((result) => result.name).join(", ")}: not as expected`);
  }

  /** The run as far as it has come. */
  timeline(): Timeline {
    const { machine, abi } = this.#kernel;
    machine.flushSpans();
    const { results } = this.#run;
    const { seed, machine_cpus, load } = this.#request;
    return {
      title: `${this.#job.program.name}: ${load.name}`,
      subtitle: `simulated machine of ${machine_cpus} CPUs, ghOSt on CPUs ` +
        `${this.#job.options.ghost_cpus}, ABI ${abi.version}, seed ${seed}`,
      cpus: machine.cpus.map((cpu) => cpu.id),
      log: this.#log,
      threadName: (tid) => machine.thread(tid)?.name ?? `thread ${tid}`,
      marks: results.map(({ name, start_ns, time_ns }) => ({
        name,
        start_ns,
        end_ns: start_ns + time_ns,
      })),
      end_ns: machine.now_ns,
      table: {
        heads: LOAD_COLUMNS.map(({ head }) => head.trim().replace("-\n", "-").replace("\n", " ")),
        rows: results.map(loadCells),
      },
    };
  }

  /** Writes the files and says which. */
  writeFiles(): void {
    const { trace, html } = this.#request;
    if (trace === undefined && html === undefined) return;
    const timeline = this.timeline();
    const write = (
      file: OutputFile | undefined,
      writer: (timeline: Timeline, sink: TextSink) => void,
      cure: string,
    ): void => {
      if (file === undefined) return;
      writer(timeline, file);
      file.commit();
      this.#job.host.stdout(`wrote ${file.path}: ${cure}\n`);
    };
    write(trace, writePerfetto, "open it in ui.perfetto.dev or chrome://tracing");
    write(html, writeHtml, "open it in a browser");
  }

  /** Keeps what the next run may take over. */
  keepState(): void {
    const { state } = this.#request;
    if (state === undefined) return;
    state.write(encodeSnapshot(this.#policy_host.snapshot()));
    state.commit();
    this.#job.host.stdout(`wrote ${state.path}: the next run with --state takes it over\n`);
  }

  /** What the agent has to say in the end. */
  finalText(): string {
    return this.#job.program.finalText?.(this.#policy_host.enclave) ?? "";
  }

  /** The table of the sub-tests so far. */
  table(): string {
    return loadTable(this.#run.results);
  }
}

/** Everything from "Initializing..." to "Done!". */
async function runRequest(
  job: SimAgentJob,
  request: SimRequest,
  signals: AgentSignals,
): Promise<number | OperatingError> {
  const { host, program } = job;
  if (program.shows_core_map) host.stdout(coreMap(simTopology(request.machine_cpus)));
  host.stdout("Initializing...\n");
  let run: SimAgentRun;
  try {
    run = new SimAgentRun(job, request, signals);
  } catch (error) {
    if (!(error instanceof EnclaveError)) throw error;
    return new OperatingError(error.message, "choose other CPUs");
  }
  host.stdout("Initialization complete, ghOSt active.\n");
  const outcome = await run.drive();
  if (signals.is_stopping) host.stdout("interrupted: the figures so far\n");
  host.stdout(`\n${run.table()}\n`);
  if (outcome.status !== 0) {
    host.stderr(`${program.name}: ${outcome.complaint}\n${outcome.dump}`);
  }
  let differs = false;
  try {
    run.writeFiles();
    if (outcome.status === 0) run.keepState();
    differs = run.endRecording();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return new OperatingError(`cannot write: ${why}`, "free space, or give another path");
  }
  host.stdout(run.finalText() + program.done_text);
  return outcome.status === 0 && differs ? EXIT_FAILURE : outcome.status;
}

/**
 * Runs an agent on the simulated kernel.
 *
 * @param job What to run.
 * @returns The exit status, or why it could not run.
 */
export async function runSimAgent(job: SimAgentJob): Promise<number | OperatingError> {
  const request = simRequest(job.program, job.options, job.policy.name);
  if (request instanceof UsageError) return request;
  const abandon = (): void => {
    request.trace?.abandon();
    request.html?.abandon();
    request.record?.abandon();
    request.state?.abandon();
  };
  const signals = new AgentSignals(
    Deno.exit,
    job.program.ends_on_sigterm ? ["SIGINT", "SIGTERM"] : ["SIGINT"],
  );
  signals.on_abort = abandon;
  signals.listen();
  try {
    return await runRequest(job, request, signals);
  } finally {
    signals.close();
    abandon();
  }
}
