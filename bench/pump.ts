/**
 * The message pump with the library's own classes: look a message's task up, queue it, take the
 * next one off the run queue and open a transaction. The other consumer is the same loop in C on
 * the same memory (native/pump_bench.c).
 *
 * @module
 */
import { LATEST_ABI } from "../ffi/abi/abi.ts";
import {
  COMMIT_AT_TXN_COMMIT,
  CPU_DATA_BYTES,
  MSG_TASK_DEAD,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  RING_MSGS_WORD,
} from "../ffi/abi/constants.ts";
import { check } from "../ffi/errors.ts";
import {
  MAP_ANONYMOUS,
  MAP_POPULATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  SCHED_FIFO,
  SCHED_OTHER,
} from "../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { bufferAt, loadShim } from "../ffi/shim.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../lib/fifo_queue.ts";
import { MessageCursor } from "../lib/message.ts";
import { MessageRing } from "../lib/ring.ts";
import { SharedState } from "../lib/shared_state.ts";
import { TaskTable } from "../lib/task_table.ts";
import { TransactionTable } from "../lib/transaction.ts";
import { PUMP_NATIVE } from "./pump_native.ts";

/** Messages as fast as there is room for them. */
export const THROUGHPUT = 0;
/** One message at a time, until its transaction is there. */
export const ROUND_TRIP = 1;

const TASK_COUNT = 1024;
/** Rows that stay in the run queue. */
const DEPTH = 64;
const ELEM_COUNT = 16384;
const RING_START_WORD = 16;
const STRIPE_COUNT = 64;
const MAP_SLOT_WORDS = 3;
const RESULT_LENGTH = 6;
const RT_PRIORITY = 1;
const TURNS_PER_CALL = 256;

/** What a run measured. */
export interface PumpResult {
  /** Time per message in ns. */
  readonly message_ns: number;
  /** Times the producer or the consumer lost its CPU to another thread. */
  readonly disturbed_count: number;
  /** Median round trip in ns; 0 unless asked for. */
  readonly p50_ns: number;
  /** 99th percentile of the round trip in ns; 0 unless asked for. */
  readonly p99_ns: number;
}

const shim = loadShim();

/** Memory as a kernel maps it: on pages of its own. */
function mapWords(size_bytes: number): Int32Array {
  const flags = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;
  const address = check("mmap", shim.mmap(0, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0));
  return new Int32Array(bufferAt(address, size_bytes));
}

/** Ring, tasks, run queue and transaction record, and both consumers. */
export class Pump {
  readonly #handle: number;
  readonly #words: Int32Array;
  readonly #state: SharedState;
  readonly #tasks: TaskTable;
  readonly #queue: FifoQueue;
  readonly #txns: TransactionTable;
  readonly #message = new MessageCursor(LATEST_ABI);
  readonly #result = new Float64Array(RESULT_LENGTH);

  /** Makes the memory and fills the task table. */
  constructor() {
    this.#state = new SharedState({
      policy: "pump",
      layout: { task: {}, cpu: { run_queue: FIFO_QUEUE_WORDS }, global: {} },
      task_capacity: TASK_COUNT,
      cpus: [0],
    });
    this.#words = mapWords((RING_START_WORD + RING_MSGS_WORD + 2 * ELEM_COUNT) * 4);
    this.#words[QUEUE_START_WORD] = RING_START_WORD * 4;
    this.#words[QUEUE_NELEMS_WORD] = ELEM_COUNT;
    this.#tasks = new TaskTable(HARDWARE_MEMORY, this.#state);
    const { next, prev } = this.#tasks;
    this.#queue = new FifoQueue(this.#state.cpu("run_queue", 0), next, prev);
    this.#txns = new TransactionTable(HARDWARE_MEMORY, mapWords(CPU_DATA_BYTES));
    for (let row = 0; row < TASK_COUNT; row++) this.#tasks.allocate(1, (1000 + row) << 9, 1);
    this.#handle = PUMP_NATIVE.pump_open(this.#config());
  }

  /** Where everything is, in the order of `enum config_field` in pump_bench.c. */
  #config(): Float64Array<ArrayBuffer> {
    const { gtid_lo, gtid_hi, next, prev } = this.#tasks;
    const ends = this.#state.cpu("run_queue", 0);
    const gtids = this.#state.mapWords();
    const stripe_slots = (gtids.length / STRIPE_COUNT - 1) / MAP_SLOT_WORDS;
    return Float64Array.of(
      shim.bufferAddress(this.#words.subarray(RING_START_WORD)),
      ELEM_COUNT,
      shim.bufferAddress(gtids),
      stripe_slots,
      ...[gtid_lo, gtid_hi, next, prev, ends, this.#txns.words].map(shim.bufferAddress),
      TASK_COUNT,
      DEPTH,
    );
  }

  /** The run queue as each run begins with it: the rows that the producer names last. */
  #reset(): void {
    while (this.#queue.popFront() >= 0);
    for (let row = TASK_COUNT - DEPTH; row < TASK_COUNT; row++) this.#queue.pushBack(row);
  }

  /** Consumes messages until the one that ends the run. Returns the time in ns. */
  #consume(): number {
    const ring = new MessageRing(HARDWARE_MEMORY, this.#words);
    const begin_ns = shim.clockMonotonicNs();
    while (this.#consumeSome(ring));
    return shim.clockMonotonicNs() - begin_ns;
  }

  /**
   * A call that ends now and then, as in lib/agent_loop.ts. The waiting is apart from the draining:
   * in code that mostly finds an empty ring V8 does not inline the handling of a message.
   */
  #consumeSome(ring: MessageRing): boolean {
    for (let turn = 0; turn < TURNS_PER_CALL; turn++) {
      if (ring.hasMessage() && !this.#drain(ring)) return false;
    }
    return true;
  }

  /** Handles what waits, as an agent's step does; false at the end of the run. */
  #drain(ring: MessageRing): boolean {
    const message = this.#message;
    let is_running = true;
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      message.set(ring.words, at);
      if (message.type === MSG_TASK_DEAD) is_running = false;
      else this.#handleMessage();
      ring.consume(at);
    }
    ring.release();
    return is_running;
  }

  #handleMessage(): void {
    const message = this.#message;
    const tasks = this.#tasks;
    const queue = this.#queue;
    queue.pushBack(tasks.find(message.gtidLo(), message.gtidHi()));
    if (queue.length <= DEPTH) return;
    const row = queue.popFront();
    const { gtid_lo, gtid_hi } = tasks;
    this.#txns.open(0, gtid_lo[row], gtid_hi[row], message.seqnum, 0, COMMIT_AT_TXN_COMMIT, 0);
  }

  /**
   * Runs producer and consumer.
   *
   * @param mode {@linkcode THROUGHPUT} or {@linkcode ROUND_TRIP}.
   * @param duration_ns How long the producer sends.
   * @param producer_cpu The producer's CPU; the caller has pinned itself to another one.
   * @param options `in_c`: which consumer; `real_time`: both outrank all other threads, as an
   * agent does, where that is allowed.
   */
  run(
    mode: number,
    duration_ns: number,
    producer_cpu: number,
    options: { in_c: boolean; real_time: boolean },
  ): PumpResult {
    const result = this.#result;
    this.#reset();
    const rank = options.real_time ? RT_PRIORITY : 0;
    check("pump_start", PUMP_NATIVE.pump_start(this.#handle, mode, duration_ns, producer_cpu));
    if (rank > 0) shim.schedSetscheduler(0, SCHED_FIFO, rank, 1);
    const switches = PUMP_NATIVE.pump_switches();
    const ns = options.in_c ? PUMP_NATIVE.pump_consume(this.#handle) : this.#consume();
    const own_disturbed_count = PUMP_NATIVE.pump_switches() - switches;
    if (rank > 0) shim.schedSetscheduler(0, SCHED_OTHER, 0, 0);
    PUMP_NATIVE.pump_join(this.#handle, result);
    const [message_count, , failed_count, disturbed_count, p50_ns, p99_ns] = result;
    if (failed_count > 0) throw new Error(`the C consumer missed ${failed_count} gtids`);
    return {
      message_ns: ns / message_count,
      disturbed_count: disturbed_count + own_disturbed_count,
      p50_ns: mode === ROUND_TRIP ? p50_ns : 0,
      p99_ns: mode === ROUND_TRIP ? p99_ns : 0,
    };
  }
}
