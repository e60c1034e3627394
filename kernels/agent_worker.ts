/**
 * The thread of an agent on real kernels, from its first message to its last: prepares the thread,
 * warms the policy up, becomes the agent, waits until all are there, and runs the loop. Whatever is
 * thrown here becomes one message.
 *
 * @module
 */
import { type Abi, abiOf } from "../ffi/abi/abi.ts";
import { check } from "../ffi/errors.ts";
import { CPU_MASK_BYTES } from "../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { bufferAt, loadShim } from "../ffi/shim.ts";
import { cString } from "../ffi/symbols.ts";
import { AgentContext } from "../lib/agent_context.ts";
import { CONTROL_PHASE_WORD, runAgent } from "../lib/agent_loop.ts";
import { EnclaveError } from "../lib/enclave.ts";
import { EXIT_FAILURE, OperatingError } from "../lib/errors.ts";
import { AgentRefusal } from "./agent_refusal.ts";
import { hurry } from "./hurry.ts";
import { type AgentPort, EBUSY } from "./kernel.ts";
import { assertInvariant } from "../lib/invariant.ts";
import type { Policy, PolicyDefinition } from "../lib/policy.ts";
import { SharedState } from "../lib/shared_state.ts";
import { warmUp } from "../lib/warm_up.ts";
import {
  type AgentMessage,
  type AgentSpec,
  type MemoryRegion,
  PHASE_DISCOVER,
  PHASE_OPEN,
  PHASE_RUN,
  PHASE_WARM_UP,
  type PolicyTable,
  type PortOpener,
  type PortTable,
} from "./agent_spec.ts";

/** Pause between two tries to become the agent in place of another one. */
const BUSY_PAUSE_MS = 0.1;
/** Exit status after a broken invariant, or a policy that threw. */
const EXIT_BROKEN = 3;

/** What an agent's thread can be told to be. */
export interface AgentTables {
  /** The policies of the program. */
  readonly policies: PolicyTable;
  /** The kernels of the program. */
  readonly ports: PortTable;
}

function prepareThread(spec: AgentSpec): void {
  const { blockSignals, setThreadName } = loadShim();
  check("prctl", setThreadName(cString(spec.thread_name)));
  check("pthread_sigmask", blockSignals());
  if (!spec.pins_late) pinThread(spec);
}

/** Sets the thread's CPUs to what they are: the next time, when others wait for it, is quicker. */
function rehearsePin(): void {
  const { schedGetaffinity, schedSetaffinity } = loadShim();
  const mask = new Uint8Array(CPU_MASK_BYTES);
  const bytes = schedGetaffinity(0, mask, mask.length);
  if (bytes > 0) schedSetaffinity(0, mask, bytes);
}

function pinThread(spec: AgentSpec): void {
  const { schedSetaffinity } = loadShim();
  if (spec.pin_cpu < 0) return;
  const mask = new Uint8Array(Math.max(CPU_MASK_BYTES, (spec.pin_cpu >> 3) + 1));
  mask[spec.pin_cpu >> 3] = 1 << (spec.pin_cpu & 7);
  check("sched_setaffinity", schedSetaffinity(0, mask, mask.length));
}

function view(region: MemoryRegion): Int32Array {
  return new Int32Array(bufferAt(region.address, region.size_bytes));
}

/** Waits until the main isolate says that the agents have come further. */
function awaitPhase(control: Int32Array, present: number): number {
  let phase = Atomics.load(control, CONTROL_PHASE_WORD);
  while (phase === present) {
    Atomics.wait(control, CONTROL_PHASE_WORD, present);
    phase = Atomics.load(control, CONTROL_PHASE_WORD);
  }
  return phase;
}

function describe(error: unknown): AgentMessage {
  if (error instanceof OperatingError) {
    const { fault, cure, exit_status } = error;
    return { kind: "failed", text: fault, cure, exit_status };
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const is_operating = error instanceof EnclaveError;
  return {
    kind: "failed",
    text: (is_operating ? (error as Error).message : text).replaceAll("\n", " "),
    exit_status: is_operating ? EXIT_FAILURE : EXIT_BROKEN,
  };
}

/** One agent in its own thread. */
class AgentThread {
  readonly #spec: AgentSpec;
  readonly #definition: PolicyDefinition;
  readonly #opener: PortOpener;
  readonly #abi: Abi;

  constructor(spec: AgentSpec, { policies, ports }: AgentTables) {
    this.#spec = spec;
    const makePolicy = policies[spec.policy.name];
    const opener = ports[spec.kernel];
    const abi = abiOf(spec.abi_version);
    assertInvariant(makePolicy !== undefined, `no policy "${spec.policy.name}" in this program`);
    assertInvariant(opener !== undefined, `no kernel "${spec.kernel}" in this program`);
    assertInvariant(abi !== undefined, `no table for ABI ${spec.abi_version}`);
    this.#definition = makePolicy(spec.policy.options);
    this.#opener = opener;
    this.#abi = abi;
  }

  /** Makes the policy's code hot; returns the time it took in ms. */
  #warmUp(): number {
    const { cpu, cpus, cpu_rows, warm_up, state } = this.#spec;
    if (warm_up === "none") return 0;
    const { clockMonotonicNs } = loadShim();
    const report = warmUp(
      {
        abi: this.#abi,
        memory: HARDWARE_MEMORY,
        policy: this.#definition,
        cpus,
        cpu,
        cpu_rows,
        dryPort: this.#opener.dry,
        makeState: "address" in state ? (size_bytes) => new ArrayBuffer(size_bytes) : undefined,
      },
      clockMonotonicNs,
      warm_up,
    );
    return report.duration_ns / 1e6;
  }

  /** A port, as soon as the agent of before has left. */
  #openPort(control: Int32Array): AgentPort | number {
    const { clockMonotonicNs } = loadShim();
    const end_ns = clockMonotonicNs() + this.#spec.busy_ms * 1e6;
    for (;;) {
      const port = this.#opener.open(this.#spec);
      if (port !== -EBUSY || clockMonotonicNs() >= end_ns) return port;
      // An order to leave ends the wait.
      if (Atomics.load(control, CONTROL_PHASE_WORD) !== PHASE_OPEN) return port;
      Atomics.wait(control, CONTROL_PHASE_WORD, PHASE_OPEN, BUSY_PAUSE_MS);
    }
  }

  /** The memory that the policy's instances share. */
  #mapState(): SharedState {
    const { cpus, task_capacity, state: memory } = this.#spec;
    const layout = this.#definition.layout(cpus.length);
    const shape = { policy: this.#definition.name, layout, task_capacity, cpus };
    const buffer = "address" in memory ? bufferAt(memory.address, memory.size_bytes) : memory;
    return new SharedState(shape, buffer);
  }

  /** Becomes the agent. */
  #open(control: Int32Array, state: SharedState): { agent: AgentContext; policy: Policy } {
    const spec = this.#spec;
    const port = this.#openPort(control);
    if (typeof port === "number") throw new AgentRefusal(spec.cpu, port);
    state.cpu("agent_status_index", spec.cpu)[0] = port.status_index + 1;
    const agent = new AgentContext(port, {
      abi: this.#abi,
      memory: HARDWARE_MEMORY,
      status_words: view(spec.status_region),
      cpu_data: view(spec.cpu_data_region),
      queue_words: view(spec.queue_region),
      queue_ids: spec.queue_ids,
      cpu_rows: spec.cpu_rows,
    }, state);
    return { agent, policy: this.#definition.create(agent) };
  }

  /** From the start to the end of the agent. */
  run(post: (message: AgentMessage) => void): void {
    const control = new Int32Array(this.#spec.control);
    prepareThread(this.#spec);
    const warm_up_ms = this.#warmUp();
    const state = this.#mapState();
    if (this.#spec.pins_late) {
      rehearsePin();
      // Until becoming an agent changes its class.
      hurry();
    }
    post({ kind: "warm", tid: loadShim().gettid(), warm_up_ms });
    if (awaitPhase(control, PHASE_WARM_UP) === PHASE_RUN) return;
    if (this.#spec.pins_late) pinThread(this.#spec);
    const { agent, policy } = this.#open(control, state);
    try {
      post({ kind: "ready" });
      if (awaitPhase(control, PHASE_OPEN) === PHASE_DISCOVER) {
        policy.discover();
        post({ kind: "discovered" });
        awaitPhase(control, PHASE_DISCOVER);
      }
      runAgent(agent, policy, control);
    } finally {
      agent.port.leave();
    }
  }
}

/**
 * Runs an agent in the calling Worker; returns when the agent has ended.
 *
 * @param spec What it is told.
 * @param tables What there is in this program.
 * @param post Sends a message to the main isolate.
 */
export function runAgentWorker(
  spec: AgentSpec,
  tables: AgentTables,
  post: (message: AgentMessage) => void,
): void {
  try {
    new AgentThread(spec, tables).run(post);
    post({ kind: "left" });
  } catch (error) {
    post(describe(error));
  }
}
