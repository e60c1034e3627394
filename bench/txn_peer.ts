/**
 * A global agent against native/txn_bench.c: an enclave in memory, whose kernel side checks every
 * transaction and answers with messages, in the agent's own thread.
 *
 * @module
 */
import { LATEST_ABI } from "../ffi/abi/abi.ts";
import {
  CPU_DATA_BYTES,
  GHOST_SW_CPU_AVAIL,
  GHOST_SW_F_ALLOCATED,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_MSGS_WORD,
  STATUS_WORD_BYTES,
  SW_FLAGS_WORD,
  SW_GTID_WORD,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
  SYNC_GROUP_NOT_OWNED,
  TXN_CPU_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} from "../ffi/abi/constants.ts";
import { check } from "../ffi/errors.ts";
import { MAP_ANONYMOUS, MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { openNativeLibrary } from "../ffi/native_library.ts";
import { bufferAt, loadShim } from "../ffi/shim.ts";
import type { AgentPort } from "../kernels/kernel.ts";
import { AgentContext } from "../lib/agent_context.ts";
import { StepMeter } from "../lib/agent_loop.ts";
import type { Policy, PolicyDefinition } from "../lib/policy.ts";
import { SharedState } from "../lib/shared_state.ts";

const NATIVE = openNativeLibrary({ name: "ghost_txn_bench", sources: ["txn_bench.c"] }, {
  txn_open: { parameters: ["buffer"], result: "f64" },
  txn_commit: { parameters: ["f64", "buffer"], result: "void" },
  txn_results: { parameters: ["f64", "buffer"], result: "void" },
});

const RESULT_COUNT = 6;
const ELEM_COUNT = 65_536;
const RING_WORD = 16;
const SW_START_WORD = 16;
const SW_WORDS = STATUS_WORD_BYTES / 4;
const TXN_WORDS = CPU_DATA_BYTES / 4;
const FIRST_TID = 1000;

interface MappedWords {
  readonly words: Int32Array;
  readonly address: number;
}

/** Memory as a kernel maps it: on pages of its own. */
function mapWords(size_bytes: number): MappedWords {
  const flags = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;
  const protection = PROT_READ | PROT_WRITE;
  const address = check("mmap", loadShim().mmap(0, size_bytes, protection, flags, -1, 0));
  return { words: new Int32Array(bufferAt(address, size_bytes)), address };
}

/** The port of the one agent that acts. */
class TxnPort implements AgentPort {
  readonly cpu = 0;
  readonly status_index = 0;
  readonly #handle: number;
  readonly #commit: (handle: number, mask: Int32Array<ArrayBuffer>) => void;
  readonly #clock: () => number;
  readonly #mask = new Int32Array(16);

  constructor(handle: number) {
    this.#handle = handle;
    this.#commit = NATIVE.txn_commit;
    this.#clock = loadShim().clockMonotonicNs;
  }

  nowNs(): number {
    return this.#clock();
  }

  commit(cpu: number): void {
    this.#mask[cpu >> 5] = 1 << (cpu & 31);
    this.#commit(this.#handle, this.#mask);
    this.#mask[cpu >> 5] = 0;
  }

  commitGroup(mask: Int32Array): void {
    this.#commit(this.#handle, mask as Int32Array<ArrayBuffer>);
  }

  commitSyncGroup(): number {
    return 0;
  }

  ping(): number {
    return 0;
  }

  cpuTimeNs(): number {
    return 0;
  }

  armTimer(): number {
    return 0;
  }

  localCommit(): number {
    return 0;
  }

  localYield(): number {
    return 0;
  }

  leave(): number {
    return 0;
  }

  associate(): number {
    return 0;
  }

  freeStatusWord(): number {
    return 0;
  }
}

/** What happened since the last look. */
export interface TxnCounts {
  /** Transactions that were committed. */
  readonly committed: number;
  /** Transactions that were refused because their task had changed. */
  readonly stale: number;
  /** Transactions that were refused for another reason: the policy is wrong. */
  readonly refused: number;
  /** Calls into the kernel. */
  readonly calls: number;
  /** Time inside these calls. */
  readonly kernel_ns: number;
  /** Messages that found no room. */
  readonly overflows: number;
}

/** What is measured. */
export interface TxnBenchOptions {
  /** The policy; its global CPU is 0. */
  readonly policy: PolicyDefinition;
  /** CPUs of the enclave, the agent's included. */
  readonly cpu_count: number;
  /** Tasks that can run. */
  readonly task_count: number;
  /** Transactions made stale, in 1/10000. */
  readonly stale_per_10000: number;
  /** Tasks run until another takes their CPU; else they yield at once. */
  readonly runs_on: boolean;
}

/** The agent and its enclave. */
export class TxnBench {
  readonly #handle: number;
  readonly #policy: Policy;
  readonly #meter: StepMeter;
  readonly #results = new Float64Array(RESULT_COUNT);

  /** Makes the memory, finds the tasks and is ready to step. */
  constructor(options: TxnBenchOptions) {
    const { cpu_count, task_count, policy } = options;
    const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    const queue = mapWords((RING_WORD + RING_MSGS_WORD + 2 * ELEM_COUNT) * 4);
    queue.words[QUEUE_START_WORD] = RING_WORD * 4;
    queue.words[QUEUE_NELEMS_WORD] = ELEM_COUNT;
    const word_count = cpu_count + task_count;
    const status = mapWords((SW_START_WORD + word_count * SW_WORDS) * 4);
    status.words[SW_REGION_START_WORD] = SW_START_WORD * 4;
    status.words[SW_REGION_CAPACITY_WORD] = word_count;
    for (let index = 0; index < word_count; index++) {
      const at = SW_START_WORD + index * SW_WORDS;
      const is_agent = index < cpu_count;
      status.words[at + SW_FLAGS_WORD] = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED |
        (is_agent ? GHOST_SW_TASK_IS_AGENT | GHOST_SW_CPU_AVAIL : GHOST_SW_TASK_RUNNABLE);
      status.words[at + SW_GTID_WORD] = is_agent ? index : 1;
      status.words[at + SW_GTID_WORD + 1] = is_agent ? -1 : (FIRST_TID + index - cpu_count) << 9;
    }
    const txns = mapWords(cpu_count * CPU_DATA_BYTES);
    for (const cpu of cpus) {
      txns.words[cpu * TXN_WORDS + TXN_CPU_WORD] = cpu;
      txns.words[cpu * TXN_WORDS + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
      txns.words[cpu * TXN_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
    }
    this.#handle = NATIVE.txn_open(Float64Array.of(
      queue.address + RING_WORD * 4,
      ELEM_COUNT,
      status.address + SW_START_WORD * 4,
      cpu_count,
      txns.address,
      task_count,
      options.stale_per_10000,
      options.runs_on ? 1 : 0,
    ));
    const layout = policy.layout(cpu_count);
    const shape = { policy: policy.name, layout, task_capacity: task_count + 1, cpus };
    const state = new SharedState(shape);
    for (const cpu of cpus) state.cpu("agent_status_index", cpu)[0] = cpu + 1;
    state.global("role_taken")[0] = 1;
    const agent = new AgentContext(new TxnPort(this.#handle), {
      abi: LATEST_ABI,
      memory: HARDWARE_MEMORY,
      status_words: status.words,
      cpu_data: txns.words,
      queue_words: queue.words,
      queue_ids: cpus.map(() => 3),
    }, state);
    this.#policy = policy.create(agent);
    this.#meter = new StepMeter(agent);
    this.#policy.discover();
  }

  /** Runs steps; in pieces, so that no frame stays in code of an early tier. */
  run(step_count: number): void {
    const [meter, policy] = [this.#meter, this.#policy];
    for (let step = 0; step < step_count; step++) meter.step(policy);
  }

  /** What happened since the last call. */
  counts(): TxnCounts {
    NATIVE.txn_results(this.#handle, this.#results);
    const [committed, stale, refused, calls, kernel_ns, overflows] = this.#results;
    return { committed, stale, refused, calls, kernel_ns, overflows };
  }
}
