/**
 * What an agent hands to its policy instance: the views of the enclave's shared memory and the
 * port to the kernel. Built the same way in the simulator and in an agent's Worker.
 *
 * @module
 */
import type { Abi } from "../ffi/abi/abi.ts";
import type { Memory } from "../ffi/memory.ts";
import type { AgentPort, CpuRaw } from "../kernels/kernel.ts";
import { Mailbox } from "./mailbox.ts";
import { MessageRing } from "./ring.ts";
import type { SharedState } from "./shared_state.ts";
import { StatusWordTable } from "./status_word.ts";
import { TaskTable } from "./task_table.ts";
import { TransactionTable } from "./transaction.ts";

/** Where the parts of an enclave are mapped. */
export interface EnclaveMappings {
  /** ABI of the enclave. */
  readonly abi: Abi;
  /** How shared words are accessed. */
  readonly memory: Memory;
  /** Status word region 0. */
  readonly status_words: Int32Array;
  /** Transaction records. */
  readonly cpu_data: Int32Array;
  /** The agent's own queue. */
  readonly queue_words: Int32Array;
  /** Queue id of each CPU of the enclave, in the order of its CPU list. */
  readonly queue_ids: readonly number[];
  /** The host's CPUs; empty if a policy does not need to know which are near each other. */
  readonly cpu_rows?: readonly CpuRaw[];
}

/** One agent's view of its enclave; constant to the compiler, as lib/agent_loop.ts says. */
export class AgentContext {
  /** CPU of the agent. */
  declare readonly cpu: number;
  /** CPUs of the enclave, ascending. */
  declare readonly cpus: readonly number[];
  /** Calls into the kernel. */
  declare readonly port: AgentPort;
  /** ABI of the enclave. */
  declare readonly abi: Abi;
  /** How shared words are accessed. */
  declare readonly memory: Memory;
  /** The agent's own queue. */
  declare readonly ring: MessageRing;
  /** Status words of tasks and agents. */
  declare readonly status: StatusWordTable;
  /** Transaction records by CPU. */
  declare readonly txns: TransactionTable;
  /** Shared memory of the policy. */
  declare readonly state: SharedState;
  /** Task rows. */
  declare readonly tasks: TaskTable;
  /** Mailboxes by position in {@linkcode cpus}. */
  declare readonly mailboxes: readonly Mailbox[];
  /** Queue ids by position in {@linkcode cpus}. */
  declare readonly queue_ids: readonly number[];
  /** The host's CPUs, or none. */
  declare readonly cpu_rows: readonly CpuRaw[];
  /** Who may write a task row: 1 + the first position with this agent's queue. */
  declare readonly owner_id: number;

  /**
   * Brings together what the kernel and the policy's layout give one agent.
   *
   * @param port Port of the agent.
   * @param maps Where the enclave is mapped.
   * @param state Shared memory of the policy.
   */
  constructor(port: AgentPort, maps: EnclaveMappings, state: SharedState) {
    this.port = port;
    this.cpu = port.cpu;
    this.cpus = state.shape.cpus;
    this.abi = maps.abi;
    this.memory = maps.memory;
    this.ring = new MessageRing(maps.memory, maps.queue_words);
    this.status = new StatusWordTable(maps.memory, maps.status_words);
    this.txns = new TransactionTable(maps.memory, maps.cpu_data);
    this.state = state;
    this.tasks = new TaskTable(maps.memory, state);
    this.queue_ids = maps.queue_ids;
    this.cpu_rows = maps.cpu_rows ?? [];
    // Agents that share a queue share its tasks: only one of them acts at a time.
    this.owner_id = this.ownerIdAt(this.cpuIndex(port.cpu));
    this.mailboxes = state.shape.cpus.map((cpu) =>
      new Mailbox(maps.memory, state.mailboxWords(cpu), state.mailbox_slot_count)
    );
  }

  /** {@linkcode owner_id} of the agent at a position in {@linkcode cpus}. */
  ownerIdAt(index: number): number {
    return 1 + this.queue_ids.indexOf(this.queue_ids[index]);
  }

  /** Position of a CPU in the enclave's list, or −1. */
  cpuIndex(cpu: number): number {
    return this.cpus.indexOf(cpu);
  }
}
