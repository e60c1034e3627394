/**
 * Runs a policy's own step on private memory until it is hot: before its agent goes online, since
 * the first hit of a cold branch costs tens of microseconds, and for the proof that a step
 * allocates nothing.
 *
 * @module
 */
import type { Abi } from "../ffi/abi/abi.ts";
import {
  STATUS_WORD_BYTES,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
} from "../ffi/abi/constants.ts";
import type { Memory } from "../ffi/memory.ts";
import type { CpuRaw } from "../kernels/kernel.ts";
import { AgentContext, type EnclaveMappings } from "./agent_context.ts";
import { carryOut, StepMeter } from "./agent_loop.ts";
import { discoverTasks } from "./discovery.ts";
import { MAX_STATUS_WORD_COUNT } from "./limits.ts";
import type { Policy, PolicyDefinition } from "./policy.ts";
import { SharedState } from "./shared_state.ts";
import { type DryRunPort, SyntheticKernel } from "./synthetic_kernel.ts";

/** What a dry run is of. */
export interface DryRunOptions {
  /** ABI that the agent will speak. */
  readonly abi: Abi;
  /** The accessor that the agent will use. */
  readonly memory: Memory;
  /** The policy. */
  readonly policy: PolicyDefinition;
  /** CPUs of the enclave, ascending. */
  readonly cpus: readonly number[];
  /** The agent's CPU. */
  readonly cpu: number;
  /** The host's CPUs. */
  readonly cpu_rows?: readonly CpuRaw[];
  /** Makes a port of the class that the agent will use, whose calls have no effect. */
  readonly dryPort: (cpu: number, status_index: number) => DryRunPort;
  /** Makes the memory of the policy, of the kind that the agent's is; shared if left out. */
  readonly makeState?: (size_bytes: number) => ArrayBufferLike;
  /** Seed of what happens. */
  readonly seed?: number;
  /** In one of how many batches messages are lost. */
  readonly overflow_interval?: number;
}

const TASK_COUNT = 24;
const HEADER_WORDS = 16;
/** After so many the search is compiled. */
const DISCOVERY_TURNS = 5;
const OVERFLOW_INTERVAL = 1024;
const FIRST_QUEUE_ID = 3;

/** One agent's policy on a {@linkcode SyntheticKernel}. */
export class DryRun {
  /** What happens to the policy. */
  readonly kernel: SyntheticKernel;
  /** The policy instance. */
  readonly policy: Policy;
  readonly #agent: AgentContext;
  readonly #maps: EnclaveMappings;
  readonly #port: DryRunPort;
  readonly #meter: StepMeter;
  readonly #own: number;
  readonly #rehearse: () => void;

  /**
   * Makes private memory and a policy instance on it.
   *
   * @param options What is run.
   */
  constructor(options: DryRunOptions) {
    const { abi, cpus, cpu } = options;
    const policy = options.policy.rehearsal?.() ?? options.policy;
    this.#rehearse = policy.rehearse ?? (() => {});
    this.kernel = new SyntheticKernel({
      abi,
      cpus,
      cpu,
      task_count: TASK_COUNT,
      seed: options.seed,
      overflow_interval: options.overflow_interval ?? OVERFLOW_INTERVAL,
    });
    const state = new SharedState({
      policy: policy.name,
      layout: policy.layout(cpus.length),
      task_capacity: 2 * TASK_COUNT,
      cpus,
    }, options.makeState);
    this.#port = options.dryPort(cpu, this.kernel.status_index);
    const is_global = policy.queues === "global";
    this.#port.on_commit = () => this.kernel.decide(true);
    this.#maps = {
      abi,
      memory: options.memory,
      status_words: this.kernel.status_words,
      cpu_data: this.kernel.cpu_data,
      queue_words: this.kernel.queue_words,
      queue_ids: cpus.map((_, n) => FIRST_QUEUE_ID + (is_global ? 0 : n)),
      cpu_rows: options.cpu_rows,
    };
    this.#agent = new AgentContext(this.#port, this.#maps, state);
    this.#own = this.#agent.cpuIndex(cpu);
    if (is_global) this.#takeRole(state);
    this.policy = policy.create(this.#agent);
    this.#meter = new StepMeter(this.#agent);
    this.policy.discover();
  }

  /** A global policy decides in one agent: here it is this one, and all CPUs are as free as its. */
  #takeRole(state: SharedState): void {
    const { cpu, cpus } = this.#agent;
    for (const other of cpus) {
      state.cpu("agent_status_index", other)[0] = this.kernel.status_index + 1;
    }
    if (!("global_cpu" in state.shape.layout.global)) return;
    state.global("global_cpu")[0] = cpu + 1;
    state.global("role_taken")[0] = 1;
  }

  /**
   * Runs steps until the kernel has sent that many messages more.
   *
   * @param message_count Messages.
   */
  run(message_count: number): void {
    const end = this.kernel.message_count + message_count;
    while (this.kernel.message_count < end) this.#turn();
  }

  /**
   * Looks for tasks among as many status words as a kernel has, none of which is in use: the search
   * at a take-over, while nobody schedules, takes 6 ms when it is cold and 1 ms when it is hot.
   */
  discoverAtFullSize(): void {
    const words = new Int32Array(HEADER_WORDS + MAX_STATUS_WORD_COUNT * STATUS_WORD_BYTES / 4);
    words[SW_REGION_START_WORD] = HEADER_WORDS * 4;
    words[SW_REGION_CAPACITY_WORD] = MAX_STATUS_WORD_COUNT;
    const maps = { ...this.#maps, status_words: words };
    const agent = new AgentContext(this.#port, maps, this.#agent.state);
    for (let turn = 0; turn < DISCOVERY_TURNS; turn++) discoverTasks(agent, { found: () => {} });
  }

  /** A method of its own: code that is called often is compiled better than a loop that is long. */
  #turn(): void {
    const { kernel, policy } = this;
    kernel.produce();
    this.#rehearse();
    this.#port.associate_result = kernel.associateResult();
    carryOut(this.#meter.step(policy), policy, this.#port);
    kernel.decide();
    this.#giveBack();
  }

  /** The other agents hand every task back. */
  #giveBack(): void {
    const { mailboxes } = this.#agent;
    for (let n = 0; n < mailboxes.length; n++) {
      if (n === this.#own) continue;
      for (let row = mailboxes[n].receive(); row >= 0; row = mailboxes[n].receive()) {
        this.#agent.tasks.owner[row] = -this.#agent.owner_id;
        mailboxes[this.#own].send(row);
      }
    }
  }
}

const CHUNK_MESSAGES = 4000;
/** The end of a brief warm-up is looked for more often. */
const BRIEF_CHUNK_MESSAGES = 1000;
const MESSAGES_MIN = 100_000;
/** Messages to the second instance of a global policy. */
const SECOND_MESSAGES = 48_000;
/** Together more than the young generation, which is 1 MB in every executable. */
const YOUNG_ARRAYS = 4096;
const YOUNG_ARRAY_LENGTH = 64;
/** So many chunks without a faster one: it does not get better. */
const STEADY_CHUNKS = 10;
const DURATION_MAX_NS = 2e9;
/** Of a brief warm-up: by then nearly nothing is interpreted any more. */
const BRIEF_MESSAGES_MIN = 10_000;
const SECOND_DURATION_MAX_NS = 0.5e9;

/** What a warm-up did. */
export interface WarmUpReport {
  /** Messages that went through the step. */
  readonly message_count: number;
  /** Time it took in ns. */
  readonly duration_ns: number;
  /** Time per message at the end in ns, the making of the message included. */
  readonly message_ns: number;
}

/**
 * Runs a second instance, as the agent's own will be one more: code that took the first one for the
 * only one, or has never seen a new one, is thrown away here and not in the agent's first second.
 */
function runSecond(options: DryRunOptions, nowNs: () => number): void {
  const run = new DryRun(options);
  const end_ns = nowNs() + SECOND_DURATION_MAX_NS;
  while (run.kernel.message_count < SECOND_MESSAGES && nowNs() < end_ns) run.run(CHUNK_MESSAGES);
}

/**
 * Has V8 collect now what was allocated while the code was cold; with that left in the young
 * generation, the few allocations until the last function is compiled would make it collect.
 *
 * @returns The last of what was allocated: it has to be then.
 */
export function emptyYoungGeneration(): readonly number[] {
  let last: number[] = [];
  for (let n = 0; n < YOUNG_ARRAYS; n++) last = new Array(YOUNG_ARRAY_LENGTH).fill(n);
  return last;
}

/**
 * How far a policy is warmed up. `full`: until it is hot. `brief`: until all messages and outcomes
 * were seen and the cold code is no longer interpreted; V8 compiles it better under the first load.
 */
export type WarmUpExtent = "full" | "brief";

/**
 * Runs a policy until it is hot, all messages and outcomes seen and no longer getting faster; or
 * for a moment only.
 *
 * @param options What is run.
 * @param nowNs Time in ns.
 * @param extent How far.
 * @returns What it took.
 */
export function warmUp(
  options: DryRunOptions,
  nowNs: () => number,
  extent: WarmUpExtent = "full",
): WarmUpReport {
  const run = new DryRun(options);
  const begin_ns = nowNs();
  const chunk_messages = extent === "brief" ? BRIEF_CHUNK_MESSAGES : CHUNK_MESSAGES;
  let best_ns = Infinity;
  let steady = 0;
  for (;;) {
    const chunk_ns = nowNs();
    run.run(chunk_messages);
    const message_ns = (nowNs() - chunk_ns) / chunk_messages;
    steady = message_ns < best_ns * 0.98 ? 0 : steady + 1;
    best_ns = Math.min(best_ns, message_ns);
    const { message_count } = run.kernel;
    const duration_ns = nowNs() - begin_ns;
    const is_hot = message_count >= MESSAGES_MIN && steady >= STEADY_CHUNKS &&
      run.kernel.hasShownAll();
    const is_enough = extent === "brief" && message_count >= BRIEF_MESSAGES_MIN &&
      run.kernel.hasShownAll();
    if (is_hot || is_enough || duration_ns > DURATION_MAX_NS) {
      if (extent === "full") run.discoverAtFullSize();
      // One agent spins for all CPUs. Those of one CPU each share the start, and it must be short.
      if (options.policy.queues === "global") runSecond(options, nowNs);
      emptyYoungGeneration();
      return { message_count, duration_ns: nowNs() - begin_ns, message_ns: best_ns };
    }
  }
}
