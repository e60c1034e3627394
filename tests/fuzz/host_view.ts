/**
 * What the harness reads of a running policy: the memory its instances share, and its queues.
 *
 * @module
 */
import {
  GHOST_SW_TASK_IS_AGENT,
  QUEUE_START_WORD,
  RING_HEAD_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
} from "../../ffi/abi/constants.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import type { SimPolicyHost } from "../../kernels/sim/host.ts";
import type { SimMachine } from "../../kernels/sim/machine.ts";
import type { SimThread } from "../../kernels/sim/thread.ts";
import { MessageRing } from "../../lib/ring.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { SimMemory } from "../../kernels/sim/sim_memory.ts";
import { TaskTable } from "../../lib/task_table.ts";

/** Reads without faults: the machine stands still while an observer looks. */
const PLAIN_MEMORY = new SimMemory();

/** What the states of a simulated thread are called. */
export const THREAD_STATE_NAMES: readonly string[] = [
  "sleeping",
  "ready",
  "latched",
  "running",
  "dead",
];

/** One host. */
export class HostView {
  readonly machine: SimMachine;
  readonly enclave: SimEnclave;
  readonly host: SimPolicyHost;
  /** The task rows. */
  readonly tasks: TaskTable;
  readonly #columns = new Map<string, Int32Array>();
  readonly #cpus: readonly number[];

  /** Looks at a host. */
  constructor(machine: SimMachine, enclave: SimEnclave, host: SimPolicyHost) {
    this.machine = machine;
    this.enclave = enclave;
    this.host = host;
    this.tasks = new TaskTable(PLAIN_MEMORY, host.enclave.state);
    this.#cpus = host.enclave.state.shape.cpus;
  }

  /** A task column of the policy's layout. */
  task(name: string): Int32Array {
    return this.#column(`task ${name}`, () => this.host.enclave.state.task(name));
  }

  /** A CPU column of the policy's layout. */
  cpu(name: string, cpu: number): Int32Array {
    return this.#column(`${cpu} ${name}`, () => this.host.enclave.state.cpu(name, cpu));
  }

  /** A column of the enclave in the policy's layout. */
  global(name: string): Int32Array {
    return this.#column(`global ${name}`, () => this.host.enclave.state.global(name));
  }

  #column(key: string, make: () => Int32Array): Int32Array {
    let column = this.#columns.get(key);
    if (column === undefined) this.#columns.set(key, column = make());
    return column;
  }

  /** Sum of a counter over the CPUs. */
  sum(name: string): number {
    return this.#cpus.reduce((sum, cpu) => sum + this.cpu(name, cpu)[0], 0);
  }

  /** Position of a CPU in the enclave's list. */
  cpuIndex(cpu: number): number {
    return this.#cpus.indexOf(cpu);
  }

  /** Owner id of the agent of a CPU. */
  ownerId(cpu: number): number {
    const { queues } = this.host.enclave;
    return 1 + queues.indexOf(queues[this.cpuIndex(cpu)]);
  }

  /** The ring of a CPU's agent: words and where the ring starts. */
  #ring(cpu: number): { readonly words: Int32Array; readonly ring: number } {
    const { words } = this.host.enclave.queues[this.cpuIndex(cpu)];
    return { words, ring: words[QUEUE_START_WORD] >>> 2 };
  }

  /** True if an agent knows all that it was told: queue and mailbox are empty, nothing was lost. */
  isCaughtUp(cpu: number): boolean {
    const { words, ring } = this.#ring(cpu);
    if (words[ring + RING_HEAD_WORD] !== words[ring + RING_TAIL_WORD]) return false;
    const seen = this.cpu("overflow_count", cpu)[0];
    if (words[ring + RING_OVERFLOW_WORD] !== seen) return false;
    return this.cpu("rescan_wanted", cpu)[0] === 0 && this.#mailboxIsEmpty(cpu);
  }

  #mailboxIsEmpty(cpu: number): boolean {
    const mailbox = this.#column(
      `${cpu} mailbox`,
      () => this.host.enclave.state.mailboxWords(cpu),
    );
    return mailbox[0] === mailbox[1];
  }

  /** Messages that wait in all queues of the host. */
  unreadCount(): number {
    let count = 0;
    for (const queue of new Set(this.host.enclave.queues)) {
      const ring = new MessageRing(PLAIN_MEMORY, queue.words);
      for (let at = ring.peek(); at >= 0; at = ring.peek()) {
        ring.consume(at);
        count++;
      }
    }
    return count;
  }

  /** The live thread that a row is about, or undefined. */
  threadOf(row: number): SimThread | undefined {
    return this.enclave.find(this.tasks.gtid_lo[row], this.tasks.gtid_hi[row]);
  }

  /** Status words in use by tasks. */
  taskWordCount(): number {
    const status = new StatusWordTable(PLAIN_MEMORY, this.enclave.status_words);
    let count = 0;
    for (let index = 0; index < status.capacity; index++) {
      const flags = status.flags(index);
      if (flags !== 0 && (flags & GHOST_SW_TASK_IS_AGENT) === 0) count++;
    }
    return count;
  }
}
