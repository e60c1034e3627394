/**
 * Tasks as rows of columns in shared memory. A row has its own id; the kernel's status word is a
 * column, because the kernel may free and reuse a word before its DEAD message has been read.
 *
 * @module
 */
import type { Memory } from "../ffi/memory.ts";
import { SharedTaskMap } from "./shared_task_map.ts";
import type { SharedState } from "./shared_state.ts";

const LOCK = 0;
const FREE = 1;
const USED = 2;
const LIVE = 3;

/** The rows of one enclave; one instance per agent, all on the same memory. */
export class TaskTable {
  /** gtid of each row, low word. */
  declare readonly gtid_lo: Int32Array;
  /** gtid of each row, high word. */
  declare readonly gtid_hi: Int32Array;
  /** Counts how often a row has been reused. */
  declare readonly generation: Int32Array;
  /** Sequence number of the last message handled. */
  declare readonly seqnum: Int32Array;
  /** Index of the task's status word. */
  declare readonly status_index: Int32Array;
  /** {@linkcode AgentContext.owner_id} of the agent that may write the row; 0 for a free row. */
  declare readonly owner: Int32Array;
  /** Link column for the queue that holds the row. */
  declare readonly next: Int32Array;
  /** Link column for the queue that holds the row. */
  declare readonly prev: Int32Array;
  declare private readonly memory: Memory;
  readonly #allocator: Int32Array;
  declare private readonly map: SharedTaskMap;
  readonly #clearers: readonly Int32Array[];
  declare private readonly row_capacity: number;

  /**
   * Opens the table in the shared state.
   *
   * @param memory How shared words are accessed.
   * @param state Memory that holds the columns.
   */
  constructor(memory: Memory, state: SharedState) {
    this.memory = memory;
    this.row_capacity = state.shape.task_capacity;
    this.#allocator = state.allocatorWords();
    this.map = new SharedTaskMap(memory, state.mapWords(), this.row_capacity);
    this.#clearers = state.clearers();
    this.gtid_lo = state.task("gtid_lo");
    this.gtid_hi = state.task("gtid_hi");
    this.generation = state.task("generation");
    this.seqnum = state.task("seqnum");
    this.status_index = state.task("status_index");
    this.owner = state.task("owner");
    this.next = state.task("next");
    this.prev = state.task("prev");
  }

  /** Most rows there can be. */
  get capacity(): number {
    return this.row_capacity;
  }

  /** Rows in use. */
  liveCount(): number {
    return this.memory.acquire(this.#allocator, LIVE);
  }

  /** Rows used so far; every live row is below. */
  usedCount(): number {
    return this.memory.acquire(this.#allocator, USED);
  }

  /** The row of a gtid, or −1. */
  find(lo: number, hi: number): number {
    const slot = this.map.slotOf(lo, hi);
    if (slot < 0) return -1;
    const row = this.map.rowAt(slot);
    if (row >= 0 && this.gtid_lo[row] === lo && this.gtid_hi[row] === hi) return row;
    return this.#findContended(lo, hi);
  }

  /** The slot was changing hands while it was read. */
  #findContended(lo: number, hi: number): number {
    const row = this.map.get(lo, hi);
    if (row < 0 || this.gtid_lo[row] !== lo || this.gtid_hi[row] !== hi) return -1;
    return row;
  }

  /**
   * Makes a row for a gtid that has none.
   *
   * @param owner_id Id of the agent that may write it, ≥ 1.
   * @returns The row, or −1 if the table is full.
   */
  allocate(lo: number, hi: number, owner_id: number): number {
    const row = this.#takeRow();
    if (row < 0) return -1;
    this.gtid_lo[row] = lo;
    this.gtid_hi[row] = hi;
    this.generation[row]++;
    this.memory.publish(this.owner, row, owner_id);
    if (!this.map.insert(lo, hi, row)) {
      this.#returnRow(row);
      return -1;
    }
    return row;
  }

  /** Clears a row and gives it back. The caller frees the status word afterwards. */
  free(row: number): void {
    this.map.remove(this.gtid_lo[row], this.gtid_hi[row]);
    this.#returnRow(row);
  }

  #lock(): void {
    while (this.memory.compareExchange(this.#allocator, LOCK, 0, 1) !== 0) this.memory.pause();
  }

  #takeRow(): number {
    const words = this.#allocator;
    this.#lock();
    let row = words[FREE] - 1;
    if (row >= 0) words[FREE] = this.next[row];
    else if (words[USED] < this.row_capacity) row = words[USED]++;
    if (row >= 0) {
      this.next[row] = 0;
      words[LIVE]++;
    }
    this.memory.publish(words, LOCK, 0);
    return row;
  }

  #returnRow(row: number): void {
    for (const column of this.#clearers) {
      if (column.length === this.row_capacity) column[row] = 0;
      else {
        column[2 * row] = 0;
        column[2 * row + 1] = 0;
      }
    }
    const words = this.#allocator;
    this.#lock();
    this.next[row] = words[FREE];
    words[FREE] = row + 1;
    words[LIVE]--;
    this.memory.publish(words, LOCK, 0);
  }
}
