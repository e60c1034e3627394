/**
 * A kernel that does nothing by itself: tests say which messages come and what calls return, and
 * read which calls were made. Queues, status words and transaction records have their real layout.
 *
 * @module
 */
import { type Abi, LATEST_ABI } from "../../ffi/abi/abi.ts";
import {
  CPU_DATA_BYTES,
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_IS_AGENT,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_NEW,
  SYNC_GROUP_NOT_OWNED,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY, type Memory } from "../../ffi/memory.ts";
import { type AgentPort, EINVAL, ENOENT, ESTALE } from "../../kernels/kernel.ts";
import { SimQueue } from "../../kernels/sim/producer_ring.ts";
import { StatusRegion } from "../../kernels/sim/status_region.ts";
import { AgentContext } from "../../lib/agent_context.ts";
import { type PolicyLayout, SharedState } from "../../lib/shared_state.ts";
import { TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import { encodeMessage, type MessageFields } from "./encode_message.ts";

/** A task of the fake kernel. */
export interface FakeTask {
  /** Low word of its gtid. */
  readonly lo: number;
  /** High word of its gtid. */
  readonly hi: number;
  /** Its status word. */
  readonly index: number;
  /** Position of the queue that gets its messages. */
  queue: number;
}

/** Parameters; a machine of two CPUs for 16 tasks if left out. */
export interface FakeKernelOptions {
  /** CPUs of the enclave. */
  readonly cpus?: readonly number[];
  /** Declared by the policy. */
  readonly layout?: PolicyLayout;
  /** Most tasks. */
  readonly task_capacity?: number;
  /** Slots per queue. */
  readonly elem_count?: number;
  /** How shared words are accessed. */
  readonly memory?: Memory;
  /** Gives the state memory of another kind. */
  readonly makeState?: (shape: ConstructorParameters<typeof SharedState>[0]) => SharedState;
}

const NO_COLUMNS: PolicyLayout = { task: {}, cpu: {}, global: {} };

/** The kernel. */
export class FakeKernel {
  /** ABI of everything here. */
  readonly abi: Abi = LATEST_ABI;
  /** Status words of agents and tasks. */
  readonly status: StatusRegion = new StatusRegion(64);
  /** Queue per CPU; their ids are 10, 11 and so on. */
  readonly queues: readonly SimQueue[];
  /** Transaction records. */
  readonly cpu_data: Int32Array;
  /** Memory of the policy. */
  readonly state: SharedState;
  /** Calls that agents made, as text. */
  readonly calls: string[] = [];
  /** Result of the next associations, whatever they ask for; null for what a kernel would say. */
  associate_result: number | null = null;
  /** Called inside an association before it is decided: what happens meanwhile. */
  on_associate: (() => void) | null = null;
  /** Called inside the freeing of a status word, before it is freed. */
  on_free: ((index: number) => void) | null = null;
  /** Called inside a ping: the other agent may run at once. */
  on_ping: ((cpu: number) => void) | null = null;
  /** Time in ns. */
  now_ns = 0;
  /** Result of calls that give the CPU away. */
  run_result = 0;
  readonly #cpus: readonly number[];
  readonly #memory: Memory;
  readonly #agents: readonly number[];
  readonly #tasks: FakeTask[] = [];

  /** @param options Parameters. */
  constructor(options: FakeKernelOptions = {}) {
    this.#cpus = options.cpus ?? [0, 1];
    this.#memory = options.memory ?? HARDWARE_MEMORY;
    const elem_count = options.elem_count ?? 256;
    this.queues = this.#cpus.map((_cpu, index) => new SimQueue(10 + index, elem_count));
    const record_count = Math.max(...this.#cpus) + 1;
    this.cpu_data = new Int32Array(new SharedArrayBuffer(record_count * CPU_DATA_BYTES));
    for (const cpu of this.#cpus) {
      this.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
      this.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
    }
    this.#agents = this.#cpus.map((cpu) => this.status.allocate(cpu, -1, GHOST_SW_TASK_IS_AGENT));
    const shape = {
      policy: "test",
      layout: options.layout ?? NO_COLUMNS,
      task_capacity: options.task_capacity ?? 16,
      cpus: this.#cpus,
    };
    this.state = options.makeState?.(shape) ?? new SharedState(shape);
  }

  /** What the agent of a CPU lends to its policy. */
  context(cpu: number): AgentContext {
    return new AgentContext(this.#port(cpu), {
      abi: this.abi,
      memory: this.#memory,
      status_words: this.status.words,
      cpu_data: this.cpu_data,
      queue_words: this.queues[this.#cpus.indexOf(cpu)].words,
      queue_ids: this.queues.map((queue) => queue.id),
    }, this.state);
  }

  /** Status word of the agent of a CPU. */
  agentIndex(cpu: number): number {
    return this.#agents[this.#cpus.indexOf(cpu)];
  }

  #port(cpu: number): AgentPort {
    const say = <T>(text: string, result: T): T => {
      this.calls.push(text);
      return result;
    };
    return {
      cpu,
      status_index: this.agentIndex(cpu),
      nowNs: () => this.now_ns,
      commit: (target) => say(`commit ${target}`, undefined),
      commitGroup: () => say("commitGroup", undefined),
      commitSyncGroup: () => say("commitSyncGroup", 1),
      ping: (target) => {
        this.on_ping?.(target);
        return say(`ping ${target}`, 0);
      },
      cpuTimeNs: () => 0,
      armTimer: (deadline_ns) => say(`armTimer ${deadline_ns}`, 0),
      localCommit: () => say("localCommit", this.run_result),
      localYield: (barrier, flags) => say(`localYield ${barrier} ${flags}`, this.run_result),
      leave: () => 0,
      associate: (queue_id, lo, hi, barrier) => this.#associate(queue_id, lo, hi, barrier),
      freeStatusWord: (index) => this.#freeStatusWord(index),
    };
  }

  #associate(queue_id: number, lo: number, hi: number, barrier: number): number {
    this.calls.push(`associate ${queue_id} ${hi >> 9} ${barrier}`);
    this.on_associate?.();
    if (this.associate_result !== null) return this.associate_result;
    const task = this.#tasks.findLast((one) => one.lo === lo && one.hi === hi);
    if (task === undefined) return -ENOENT;
    if (this.status.barrier(task.index) !== barrier) return -ESTALE;
    const already = this.queues[task.queue].id === queue_id;
    task.queue = this.queues.findIndex((queue) => queue.id === queue_id);
    return already ? 1 : 0;
  }

  #freeStatusWord(index: number): number {
    this.calls.push(`free ${index}`);
    this.on_free?.(index);
    if (!this.status.isAllocated(index)) return -ENOENT;
    if (!this.status.canFree(index)) return -EINVAL;
    this.status.free(index);
    return 0;
  }

  /** A task that no message has told of. */
  addTask(pid: number, runnable: boolean, queue = 0): FakeTask {
    const hi = pid << 9;
    const flags = runnable ? GHOST_SW_TASK_RUNNABLE : 0;
    const task = { lo: 1, hi, index: this.status.allocate(1, hi, flags), queue };
    this.#tasks.push(task);
    this.status.bump(task.index);
    return task;
  }

  /** A task that enters: TASK_NEW in the default queue. */
  enter(pid: number, runnable: boolean): FakeTask {
    const task = this.addTask(pid, runnable);
    const fields = { runnable: runnable ? 1 : 0, sw_index: task.index };
    this.put(0, MSG_TASK_NEW, this.status.barrier(task.index), task, fields);
    return task;
  }

  /**
   * Sends a message about a task.
   *
   * @returns False if the ring was full.
   */
  send(task: FakeTask, type: number, fields: MessageFields = {}): boolean {
    const seqnum = this.status.bump(task.index);
    if (type === MSG_TASK_DEAD || type === MSG_TASK_DEPARTED) {
      this.status.change(task.index, GHOST_SW_F_CANFREE, GHOST_SW_TASK_RUNNABLE);
    }
    return this.put(task.queue, type, seqnum, task, fields);
  }

  /** Sends a message about a CPU to the queue of its agent. */
  sendCpu(cpu: number, type: number): boolean {
    const seqnum = this.status.bump(this.agentIndex(cpu));
    return this.put(this.#cpus.indexOf(cpu), type, seqnum, { lo: 0, hi: 0 }, { cpu });
  }

  /** Puts a message into a queue, right or wrong. */
  put(
    queue: number,
    type: number,
    seqnum: number,
    gtid: { readonly lo: number; readonly hi: number },
    fields: MessageFields = {},
  ): boolean {
    const words = encodeMessage(this.abi, type, seqnum, gtid, fields);
    return this.queues[queue].produce(words, words[0] >>> 16);
  }
}
