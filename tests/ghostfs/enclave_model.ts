/**
 * One enclave of the scripted ghostfs: CPUs, agents, tasks, status words, queues. It follows the
 * rules of the reference, sections 1.2 to 1.5 and 2.3, as far as agents depend on them, and moves
 * only when it is told to.
 *
 * @module
 */
import { ABI_FACTS, type AbiFacts, ERRNO } from "./abi_facts.ts";
import type { MappedFile } from "./user_memory.ts";

const REGION_HEADER_BYTES = 64;
const WORD_BYTES = 32;
const QUEUE_RING_BYTE = 64;
const QUEUE_MESSAGES_BYTE = 76;
const SLOT_BYTES = 8;
const PAGE_BYTES = 4096;

const INUSE = 1;
const CANFREE = 2;
const ALLOCATED = 4;
const ONCPU = 0x10000;
const RUNNABLE = 0x20000;
const IS_AGENT = 0x40000;

const MSG_NOP = 0;
const MSG_TASK_DEAD = 64;
const MSG_TASK_NEW = 67;

const TXN_STATE_BYTE = 8;
const TXN_TASK_BARRIER_BYTE = 16;
const TXN_GTID_BYTE = 24;
const TXN_READY = 0x7fffffff;
const TXN_COMPLETE = -0x80000000;
const TXN_TARGET_STALE = TXN_COMPLETE + 3;
const TXN_TARGET_NOT_FOUND = TXN_COMPLETE + 4;
const TXN_NO_AGENT = TXN_COMPLETE + 13;

/** A queue. */
export interface ModelQueue {
  readonly enclave: ModelEnclave;
  readonly file: MappedFile;
  readonly elem_count: number;
  /** CPUs whose agent a message wakes. */
  wakeup: readonly number[];
}

/** A thread in an enclave, or its agent. */
export interface ModelMember {
  readonly gtid: bigint;
  readonly tid: number;
  readonly index: number;
  queue: ModelQueue | undefined;
  /** TASK_NEW has not been sent. */
  is_new: boolean;
}

/** An agent. */
export interface ModelAgent extends ModelMember {
  /** Process of the agent. */
  readonly pid: number;
  /** Ends its process. */
  readonly kill: () => void;
}

/** One enclave. */
export class ModelEnclave {
  readonly id: number;
  readonly version: number;
  readonly facts: AbiFacts;
  readonly cpus = new Set<number>();
  readonly agents = new Map<number, ModelAgent>();
  readonly tasks = new Map<bigint, ModelMember>();
  readonly tunables = new Map<string, number>();
  readonly cpu_data: MappedFile;
  /** Region 0, once it has been made. */
  status: MappedFile | undefined;
  default_queue: ModelQueue | undefined;
  /** The ctl file is gone: nothing works any more but what is open elsewhere. */
  is_dying = false;
  /** The directory is gone. */
  is_removed = false;
  /** A process has `agent_online` open for writing. */
  is_online = false;
  /** Messages that were sent, by type. */
  readonly sent: number[] = [];
  readonly #capacity: number;
  #scan = 0;

  constructor(id: number, version: number, cpu_count: number, status_capacity: number) {
    this.id = id;
    this.version = version;
    this.facts = ABI_FACTS[version];
    this.#capacity = status_capacity;
    this.cpu_data = { bytes: new ArrayBuffer(cpu_count * PAGE_BYTES) };
    for (const name of this.facts.tunables) this.tunables.set(name, 0);
  }

  // ---- status words ----

  /** `create sw_region`: 0 or −errno. */
  createRegion(region_id: number, numa_node: number): number {
    if (numa_node !== 0) return -ERRNO.ENODEV;
    if (region_id !== 0) return -ERRNO.ENOMEM;
    if (this.status !== undefined) return -ERRNO.EEXIST;
    const bytes = new ArrayBuffer(REGION_HEADER_BYTES + this.#capacity * WORD_BYTES);
    const header = new DataView(bytes);
    header.setUint32(12, REGION_HEADER_BYTES, true);
    header.setUint32(16, this.#capacity, true);
    header.setUint32(20, this.#capacity, true);
    this.status = { bytes };
    return 0;
  }

  #word(index: number): DataView {
    return new DataView(this.status!.bytes, REGION_HEADER_BYTES + index * WORD_BYTES, WORD_BYTES);
  }

  /** Flags of a status word. */
  flags(index: number): number {
    return this.#word(index).getUint32(4, true);
  }

  setFlags(index: number, flags: number): void {
    this.#word(index).setUint32(4, flags, true);
  }

  /** Barrier of a status word. */
  barrier(index: number): number {
    return this.#word(index).getUint32(0, true);
  }

  /** Moves a barrier on; returns it. */
  bump(index: number): number {
    const barrier = this.barrier(index) + 1;
    this.#word(index).setUint32(0, barrier, true);
    return barrier;
  }

  /** Takes a status word for a member: its index or −ENOMEM. */
  takeWord(gtid: bigint, flags: number): number {
    if (this.status === undefined) return -ERRNO.ENOMEM;
    for (let n = 0; n < this.#capacity; n++) {
      const index = (this.#scan + n) % this.#capacity;
      if ((this.flags(index) & ALLOCATED) !== 0) continue;
      this.#scan = index + 1;
      const word = this.#word(index);
      word.setBigUint64(8, gtid, true);
      word.setUint32(4, ALLOCATED | INUSE | flags, true);
      return index;
    }
    return -ERRNO.ENOMEM;
  }

  /** SW_FREE: 0 or −errno. */
  freeWord(region_id: number, index: number): number {
    if (region_id !== 0 || index >= this.#capacity) return -ERRNO.ENOENT;
    if ((this.flags(index) & CANFREE) === 0) return -ERRNO.EINVAL;
    new Uint8Array(this.status!.bytes, REGION_HEADER_BYTES + index * WORD_BYTES, WORD_BYTES).fill(
      0,
    );
    return 0;
  }

  // ---- members ----

  /** A thread joins: 0 or −errno. */
  join(tid: number, gtid: bigint, runnable: boolean): number {
    if (this.is_dying) return -ERRNO.EXDEV;
    const index = this.takeWord(gtid, runnable ? RUNNABLE : 0);
    if (index < 0) return index;
    const queue = this.default_queue;
    const task: ModelMember = { gtid, tid, index, queue, is_new: true };
    this.tasks.set(gtid, task);
    if (queue !== undefined) this.sendTaskNew(task);
    return 0;
  }

  /** A thread dies: its word may be freed once the message is read. */
  taskDies(gtid: bigint): void {
    const task = this.tasks.get(gtid)!;
    this.tasks.delete(gtid);
    this.setFlags(task.index, (this.flags(task.index) & ~RUNNABLE & ~ONCPU) | CANFREE);
    const payload = new DataView(new ArrayBuffer(this.facts.task_dead_bytes));
    payload.setBigUint64(0, gtid, true);
    const queue = task.queue;
    const barrier = this.bump(task.index);
    if (queue === undefined) this.freeWord(0, task.index);
    else this.#send(queue, MSG_TASK_DEAD, barrier, payload);
  }

  /** TASK_NEW in the layout of the version. */
  sendTaskNew(task: ModelMember): void {
    const { payload_bytes, runnable, sw_info } = this.facts.task_new;
    const payload = new DataView(new ArrayBuffer(payload_bytes));
    payload.setBigUint64(0, task.gtid, true);
    payload.setUint16(runnable, (this.flags(task.index) & RUNNABLE) === 0 ? 0 : 1, true);
    payload.setUint32(sw_info + 4, task.index, true);
    task.is_new = false;
    const barrier = this.bump(task.index);
    if (task.queue !== undefined) this.#send(task.queue, MSG_TASK_NEW, barrier, payload);
  }

  /** A thread becomes the agent of a CPU: 0 or −errno. */
  becomeAgent(
    cpu: number,
    queue: ModelQueue | undefined,
    agent: Pick<ModelAgent, "gtid" | "tid" | "pid" | "kill">,
  ): number {
    if (this.agents.has(cpu)) return -ERRNO.EBUSY;
    if (!this.cpus.has(cpu)) return -ERRNO.ENODEV;
    if (this.is_dying) return -ERRNO.EXDEV;
    const own = queue ?? this.default_queue;
    if (own === undefined) return -ERRNO.ENXIO;
    const index = this.takeWord(agent.gtid, IS_AGENT);
    if (index < 0) return index;
    this.agents.set(cpu, { ...agent, index, queue: own, is_new: false });
    return 0;
  }

  /** The thread of an agent has ended. */
  agentDies(cpu: number): void {
    const agent = this.agents.get(cpu)!;
    this.agents.delete(cpu);
    this.setFlags(agent.index, this.flags(agent.index) | CANFREE);
  }

  // ---- queues ----

  /** Makes a queue; `undefined` if the size is refused. */
  createQueue(elem_count: number): ModelQueue | undefined {
    const is_power = elem_count > 0 && (elem_count & (elem_count - 1)) === 0;
    if (!is_power || elem_count > 65536) return undefined;
    const used_bytes = QUEUE_MESSAGES_BYTE + elem_count * SLOT_BYTES;
    const bytes = new ArrayBuffer(Math.ceil(used_bytes / PAGE_BYTES) * PAGE_BYTES);
    const header = new DataView(bytes);
    header.setUint32(4, QUEUE_RING_BYTE, true);
    header.setUint32(8, elem_count, true);
    return { enclave: this, file: { bytes }, elem_count, wakeup: [] };
  }

  /** The last reference to a queue is gone. */
  queueReleased(queue: ModelQueue): void {
    if (this.default_queue === queue) this.default_queue = undefined;
  }

  #send(queue: ModelQueue, type: number, barrier: number, payload: DataView): void {
    const ring = new DataView(queue.file.bytes, QUEUE_RING_BYTE);
    const slots = Math.ceil((SLOT_BYTES + payload.byteLength) / SLOT_BYTES);
    const head = ring.getUint32(0, true);
    const free = queue.elem_count - (head - ring.getUint32(4, true));
    const till_end = queue.elem_count - (head & (queue.elem_count - 1));
    const filler = till_end < slots ? till_end : 0;
    if (free < slots + filler) {
      ring.setUint32(8, ring.getUint32(8, true) + 1, true);
      return;
    }
    const at = (slot: number) => 12 + (slot & (queue.elem_count - 1)) * SLOT_BYTES;
    if (filler > 0) {
      ring.setUint16(at(head), MSG_NOP, true);
      ring.setUint16(at(head) + 2, filler * SLOT_BYTES, true);
    }
    const start = at(head + filler);
    ring.setUint16(start, type, true);
    ring.setUint16(start + 2, SLOT_BYTES + payload.byteLength, true);
    ring.setUint32(start + 4, barrier, true);
    for (let n = 0; n < payload.byteLength; n++) {
      ring.setUint8(start + SLOT_BYTES + n, payload.getUint8(n));
    }
    ring.setUint32(0, head + filler + slots, true);
    this.sent[type] = (this.sent[type] ?? 0) + 1;
  }

  // ---- transactions ----

  /** Decides the open transaction of a CPU: true if it succeeded. */
  commit(cpu: number): boolean {
    const txn = new DataView(this.cpu_data.bytes, cpu * PAGE_BYTES, PAGE_BYTES);
    if (txn.getInt32(TXN_STATE_BYTE, true) !== TXN_READY) return false;
    const state = this.#outcome(cpu, txn);
    txn.setInt32(TXN_STATE_BYTE, state, true);
    if (state !== TXN_COMPLETE) return false;
    this.bump(this.agents.get(cpu)!.index);
    return true;
  }

  #outcome(cpu: number, txn: DataView): number {
    if (!this.agents.has(cpu)) return TXN_NO_AGENT;
    const gtid = txn.getBigInt64(TXN_GTID_BYTE, true);
    if (gtid === 0n) return TXN_COMPLETE;
    const task = this.tasks.get(gtid);
    if (task === undefined) return TXN_TARGET_NOT_FOUND;
    const barrier = txn.getUint32(TXN_TASK_BARRIER_BYTE, true);
    if (barrier !== this.barrier(task.index)) return TXN_TARGET_STALE;
    this.setFlags(task.index, this.flags(task.index) | ONCPU);
    return TXN_COMPLETE;
  }
}
