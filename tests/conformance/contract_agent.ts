/**
 * The Worker "contract_agent": an agent of the contract suite on a real kernel. It finds its case
 * by name, becomes the agent of a CPU and runs the case's step until it is told to stop.
 *
 * @module
 */
import { abiOf } from "../../ffi/abi/abi.ts";
import { CPU_MASK_BYTES } from "../../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import type { MemoryRegion } from "../../kernels/agent_spec.ts";
import { becomeGhostAgent } from "../../kernels/ghost/ghost_port.ts";
import { shimHost } from "../../kernels/ghost/shim_host.ts";
import { ScxAgentPort } from "../../kernels/scx/scx_port.ts";
import { type AgentPort, ENODEV, type KernelKind } from "../../kernels/kernel.ts";
import { carryOut } from "../../lib/agent_loop.ts";
import { MessageRing } from "../../lib/ring.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { TransactionTable } from "../../lib/transaction.ts";
import type { WorkerMessage } from "../../util/programs.ts";
import { cpuMaskBytes } from "./actor_script.ts";
import { commandStep } from "./agent_commands.ts";
import { ContractFailure } from "./contract.ts";
import type { ContractAgent } from "./host.ts";
import { CASES } from "./suite.ts";

// Words of an agent's control block.

/** 0 at first, then {@linkcode AGENT_STARTED} and {@linkcode AGENT_LEFT}, or AGENT_REFUSED. */
export const STATE_WORD = 0;
/** Index of the status word, or −errno. */
export const RESULT_WORD = 1;
/** Not 0: the agent is to leave. */
export const STOP_WORD = 2;
/** Thread id. */
export const TID_WORD = 3;
/** Bytes of the text of an error, which follows. */
export const ERROR_BYTES_WORD = 4;
const ERROR_TEXT_WORD = 5;
/** Words of a control block. */
export const AGENT_CONTROL_WORDS = 256;

/** The thread is an agent. */
export const AGENT_STARTED = 1;
/** The thread is none. */
export const AGENT_REFUSED = 2;
/** The thread was one, and is none any more. */
export const AGENT_LEFT = 3;

/** What an agent of a case is told. */
export interface ContractAgentSpec extends WorkerMessage {
  /** Name of the Worker's code. */
  readonly entry: "contract_agent";
  /** Which kernel. */
  readonly kernel: KernelKind;
  /** Name of the case. */
  readonly case_name: string;
  /** ABI of the enclave. */
  readonly abi_version: number;
  /** CPU to be the agent of. */
  readonly cpu: number;
  /** By what the enclave is reached. */
  readonly port_handles: Readonly<Record<string, number>>;
  /** Queue given to `become agent`. */
  readonly queue_id: number;
  /** Queues that the agent drains. */
  readonly queues: readonly { readonly id: number; readonly region: MemoryRegion }[];
  /** Status words. */
  readonly status_region: MemoryRegion;
  /** Transaction records. */
  readonly cpu_data_region: MemoryRegion;
  /** Memory of the case. */
  readonly words: SharedArrayBuffer;
  /** Control block. */
  readonly control: SharedArrayBuffer;
  /** The thread takes another such message after this one, when it has left. */
  readonly is_kept: boolean;
}

function view({ address, size_bytes }: MemoryRegion): Int32Array {
  return new Int32Array(bufferAt(address, size_bytes));
}

function writeError(control: Int32Array, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  const mark = error instanceof ContractFailure ? "" : "broken: ";
  const bytes = new TextEncoder().encode(mark + text).slice(0, (AGENT_CONTROL_WORDS - 8) * 4);
  new Uint8Array(control.buffer, ERROR_TEXT_WORD * 4).set(bytes);
  HARDWARE_MEMORY.publish(control, ERROR_BYTES_WORD, bytes.length);
}

/** The text of an agent's error; undefined if there is none. */
export function readError(control: Int32Array): string | undefined {
  const size_bytes = HARDWARE_MEMORY.acquire(control, ERROR_BYTES_WORD);
  if (size_bytes === 0) return undefined;
  const bytes = new Uint8Array(control.buffer, ERROR_TEXT_WORD * 4, size_bytes);
  return new TextDecoder().decode(bytes.slice());
}

/** The port as the step sees it; `leave` ends the loop, and with the thread the agent. */
class LeavablePort {
  has_left = false;
  readonly port: AgentPort;

  constructor(port: AgentPort) {
    const leave = (): number => {
      this.has_left = true;
      return 0;
    };
    this.port = new Proxy(port, {
      get: (target, key) => {
        if (key === "leave") return leave;
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }
}

function makeAgent(spec: ContractAgentSpec, port: AgentPort): ContractAgent {
  const { futexWait, bufferAddress } = loadShim();
  const nobody = new Int32Array(new ArrayBuffer(64));
  return {
    cpu: spec.cpu,
    port,
    memory: HARDWARE_MEMORY,
    abi: abiOf(spec.abi_version)!,
    rings: spec.queues.map(({ region }) => new MessageRing(HARDWARE_MEMORY, view(region))),
    queue_ids: spec.queues.map(({ id }) => id),
    status: new StatusWordTable(HARDWARE_MEMORY, view(spec.status_region)),
    txns: new TransactionTable(HARDWARE_MEMORY, view(spec.cpu_data_region)),
    words: new Int32Array(spec.words),
    yield_barrier: 0,
    yield_flags: 0,
    sleep: (ns) => void futexWait(bufferAddress(nobody), 0, ns),
    destroyEnclave: () => {
      throw new ContractFailure("an agent that destroys its enclave ends its process");
    },
  };
}

/** Makes the calling thread an agent; its port, or −errno. */
function become(spec: ContractAgentSpec): AgentPort | number {
  const { cpu, port_handles: handles, queue_id, kernel } = spec;
  if (kernel === "scx") {
    const mask = cpuMaskBytes([cpu]);
    loadShim().schedSetaffinity(0, mask, mask.length);
    const status_address = spec.status_region.address;
    const cpu_data_address = spec.cpu_data_region.address;
    return ScxAgentPort.become({ handles, cpu, queue_id, status_address, cpu_data_address });
  }
  const abi = abiOf(spec.abi_version)!;
  return becomeGhostAgent(shimHost(), { ctl_fd: handles.ctl_fd, abi, cpu, queue_fd: queue_id });
}

function setState(control: Int32Array, state: number): void {
  Atomics.store(control, STATE_WORD, state);
  Atomics.notify(control, STATE_WORD);
}

function runAgent(spec: ContractAgentSpec, control: Int32Array): void {
  const { setThreadName, blockSignals, gettid, schedGetaffinity, schedSetaffinity } = loadShim();
  setThreadName(cString(`contract_${spec.cpu}`));
  blockSignals();
  control[TID_WORD] = gettid();
  const mask = new Uint8Array(CPU_MASK_BYTES);
  schedGetaffinity(0, mask, mask.length);
  const port = become(spec);
  control[RESULT_WORD] = typeof port === "number" ? port : port.status_index;
  if (typeof port === "number") {
    schedSetaffinity(0, mask, mask.length);
    setState(control, AGENT_REFUSED);
    return;
  }
  setState(control, AGENT_STARTED);
  const leavable = new LeavablePort(port);
  try {
    const agent = makeAgent(spec, leavable.port);
    const contract_case = CASES.find(({ name }) => name === spec.case_name);
    const step = contract_case?.step ?? commandStep;
    while (!leavable.has_left && HARDWARE_MEMORY.acquire(control, STOP_WORD) === 0) {
      const verdict = step(agent);
      if (leavable.has_left) break;
      if (carryOut(verdict, agent, port) === -ENODEV) break;
    }
  } catch (error) {
    writeError(control, error);
  } finally {
    port.leave();
    if (spec.is_kept) {
      schedSetaffinity(0, mask, mask.length);
      setState(control, AGENT_LEFT);
    }
  }
}

const scope = globalThis as unknown as {
  close(): void;
  onmessage: (event: MessageEvent<ContractAgentSpec>) => void;
};

function runSpec(spec: ContractAgentSpec): void {
  const control = new Int32Array(spec.control);
  try {
    runAgent(spec, control);
  } catch (error) {
    writeError(control, error);
    setState(control, AGENT_REFUSED);
  }
}

/**
 * Runs an agent until it has left, and then those that later messages tell of.
 *
 * @param message What it is told.
 */
export function workerMain(message: WorkerMessage): void {
  const spec = message as ContractAgentSpec;
  runSpec(spec);
  if (spec.is_kept) scope.onmessage = ({ data }) => runSpec(data);
  else scope.close();
}
