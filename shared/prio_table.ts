/**
 * PrioTable: hints that an application gives the agent about its threads, in shared memory
 * (reference section 5.2). The application has a row for each thread (its sched item: thread,
 * work class, deadline, whether it has work) and tells through a small stream which rows it has
 * changed.
 *
 * The agent does not trust what it reads: rows are copied out consistently with a bounded number
 * of tries, every index is checked, and what is wrong is counted, never thrown. Nothing is
 * allocated while reading or writing.
 *
 * @module
 */
import { HARDWARE_MEMORY, type Memory, storeU64, u64At } from "../ffi/memory.ts";
import { bufferAt } from "../ffi/shim.ts";
import { SharedMemoryError } from "./errors.ts";
import {
  CLASS_EXECTIME,
  CLASS_FLAGS,
  CLASS_ID,
  CLASS_PERIOD,
  CLASS_QOS,
  formatPrioTable,
  ITEM_DEADLINE,
  ITEM_FLAGS,
  ITEM_GTID,
  ITEM_SEQCOUNT,
  ITEM_SID,
  ITEM_WCID,
  planPrioTable,
  PRIO_TABLE_LIMITS,
  PRIO_TABLE_ROW_WORDS as ROW_WORDS,
  PRIO_TABLE_SUFFIX,
  PRIO_TABLE_VERSION,
  type PrioTableLayout,
  type PrioTableLimits,
  readPrioTableLayout,
  SCHED_ITEM_RUNNABLE,
} from "./prio_table_layout.ts";
import {
  ROW_BAD,
  ROW_BUSY,
  ROW_OK,
  ROW_UNUSED,
  type SchedItem,
  type WorkClass,
} from "./prio_table_rows.ts";
import { readBegin, readEnd, writeBegin, writeEnd } from "./seqcount.ts";
import { GhostShmem, type ShmemAttachOptions } from "./shmem.ts";
import { SHMEM_HOST, type ShmemHost } from "./shmem_host.ts";
import { markUpdated, STREAM_NO_ENTRIES, STREAM_OVERFLOW, takeUpdated } from "./update_stream.ts";

export { SharedMemoryError, type SharedMemoryFault } from "./errors.ts";
export {
  type PrioTableLimits,
  SCHED_ITEM_RUNNABLE,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
} from "./prio_table_layout.ts";

export * from "./prio_table_rows.ts";
export { STREAM_NO_ENTRIES, STREAM_OVERFLOW } from "./update_stream.ts";

/** Tries to read a row while writers are at work. */
const READ_TRIES = 4;
const NO_WORDS = new Int32Array(0);

/** What went wrong in a table since it was opened. */
export class PrioTableCounters {
  /** Indexes out of range: from the stream, from a row's sid, or from the caller. */
  bad_index_count = 0;
  /** Rows whose work class is out of range. */
  bad_class_count = 0;
  /** Reads that were given up because writers were at work. */
  busy_read_count = 0;
  /** Overflows of the stream. */
  overflow_count = 0;
}

/** Enough to open a table in another isolate of this process. */
export interface PrioTableHandle {
  /** Address of the data in this process. */
  readonly address: number;
  /** Bytes of data. */
  readonly size_bytes: number;
  /** Process id of the owner. */
  readonly owner_pid: number;
}

/** Options of {@linkcode PrioTable.attach}. */
export interface PrioTableAttachOptions extends ShmemAttachOptions, Partial<PrioTableLimits> {}

/** A table of hints. Without rows and owner until it is attached; every index is then bad. */
export class PrioTable {
  /** What went wrong so far. */
  readonly counters: PrioTableCounters = new PrioTableCounters();
  readonly #memory: Memory;
  #shmem: GhostShmem | undefined;
  #words: Int32Array = NO_WORDS;
  #owner_pid = 0;
  #item_count = 0;
  #class_count = 0;
  #stream_capacity = 0;
  /** Words where the rows and the stream begin. */
  #items_at = 0;
  #classes_at = 0;
  #stream_at = 0;
  /** Next row of a sweep; `#item_count` when there is none. */
  #sweep_sid = 0;

  /**
   * A table that is not attached.
   *
   * @param memory How shared words are read and written; sim passes its own.
   */
  constructor(memory: Memory = HARDWARE_MEMORY) {
    this.#memory = memory;
  }

  /**
   * Creates the table of this process; agents can attach at once.
   *
   * @param item_count Sched items, all unused.
   * @param class_count Work classes, all zeros.
   * @param stream_capacity Cells of the stream: 11, 19, 31, 43, 53, 67, 83 or 97.
   * @param host The machine's calls.
   * @returns The table.
   * @throws {SharedMemoryError} If a number is out of range, or this process has a table.
   * @throws {SystemError} If the machine refuses.
   */
  static create(
    item_count: number,
    class_count: number,
    stream_capacity = 83,
    host: ShmemHost = SHMEM_HOST,
  ): PrioTable {
    const plan = planPrioTable(item_count, class_count, stream_capacity);
    const shmem = GhostShmem.create(PRIO_TABLE_SUFFIX, plan.table_bytes, PRIO_TABLE_VERSION, host);
    formatPrioTable(shmem.words, plan);
    shmem.markReady();
    const table = new PrioTable();
    table.#shmem = shmem;
    table.#use(shmem.words, plan, shmem.owner_pid);
    return table;
  }

  /**
   * Attaches to the table of a process. Not for the scheduling path, see
   * {@linkcode GhostShmem.attach}; pass the {@linkcode PrioTable.handle} to the agent's isolate.
   *
   * @param pid Process id (tgid) of the application.
   * @param options Limits.
   * @param host The machine's calls.
   * @returns Undefined, or why the table is refused; this table is then as it was.
   */
  attach(
    pid: number,
    options: PrioTableAttachOptions = {},
    host: ShmemHost = SHMEM_HOST,
  ): SharedMemoryError | undefined {
    const shmem = GhostShmem.attach(pid, PRIO_TABLE_SUFFIX, options, host);
    if (shmem instanceof SharedMemoryError) return shmem;
    const error = this.adopt(shmem.words, pid, options);
    if (error !== undefined) {
      shmem.close();
      return error;
    }
    this.#shmem?.close();
    this.#shmem = shmem;
    shmem.lock(this.#stream_at * 4 + 4 + this.#stream_capacity * 4);
    return undefined;
  }

  /**
   * Uses a table that is in memory of this process already: another isolate attached it, or the
   * simulated machine made it.
   *
   * @param words The table, from its header on.
   * @param owner_pid Process id of its owner.
   * @param limits Most rows to accept.
   * @returns Undefined, or why the table is refused; this table is then as it was.
   */
  adopt(
    words: Int32Array,
    owner_pid: number,
    limits: Partial<PrioTableLimits> = {},
  ): SharedMemoryError | undefined {
    const found = readPrioTableLayout(words, { ...PRIO_TABLE_LIMITS, ...limits });
    if (found instanceof SharedMemoryError) return found;
    this.#use(words, found, owner_pid);
    return undefined;
  }

  /**
   * {@linkcode PrioTable.adopt} for a table that another isolate of this process holds open.
   *
   * @param handle From the other isolate.
   * @param limits Most rows to accept.
   * @returns Undefined, or why the table is refused.
   */
  adoptHandle(
    handle: PrioTableHandle,
    limits: Partial<PrioTableLimits> = {},
  ): SharedMemoryError | undefined {
    const words = new Int32Array(bufferAt(handle.address, handle.size_bytes));
    return this.adopt(words, handle.owner_pid, limits);
  }

  /** For {@linkcode PrioTable.adoptHandle} elsewhere; undefined unless this holds the memory. */
  get handle(): PrioTableHandle | undefined {
    if (this.#shmem === undefined) return undefined;
    const { address, size_bytes, owner_pid } = this.#shmem;
    return { address, size_bytes, owner_pid };
  }

  /** Process id of the owner; 0 while not attached. */
  get owner_pid(): number {
    return this.#owner_pid;
  }

  /** Number of sched items. */
  get item_count(): number {
    return this.#item_count;
  }

  /** Number of work classes. */
  get class_count(): number {
    return this.#class_count;
  }

  /** Cells of the stream; a step reads the stream at most this often. */
  get stream_capacity(): number {
    return this.#stream_capacity;
  }

  /** Ends the use of the memory; the table is then as one that was never attached. */
  close(): void {
    this.#words = NO_WORDS;
    this.#owner_pid = 0;
    this.#item_count =
      this.#class_count =
      this.#stream_capacity =
      this.#sweep_sid =
        0;
    this.#shmem?.close();
    this.#shmem = undefined;
  }

  /**
   * Copies a sched item, consistently.
   *
   * @param sid Index of the row.
   * @param into Receives the copy; unchanged unless the result is ROW_OK or ROW_UNUSED.
   * @returns {@linkcode ROW_OK}, {@linkcode ROW_UNUSED}, {@linkcode ROW_BUSY} or
   * {@linkcode ROW_BAD}.
   */
  readItem(sid: number, into: SchedItem): number {
    if (sid >>> 0 >= this.#item_count) return this.#badIndex();
    const words = this.#words;
    const at = this.#items_at + sid * ROW_WORDS;
    for (let tries = 0; tries < READ_TRIES; tries++) {
      const begin = readBegin(this.#memory, words, at + ITEM_SEQCOUNT);
      const found_sid = words[at + ITEM_SID];
      const wcid = words[at + ITEM_WCID];
      const gtid_lo = words[at + ITEM_GTID];
      const gtid_hi = words[at + ITEM_GTID + 1];
      const flags = words[at + ITEM_FLAGS];
      const deadline_ns = u64At(words, at + ITEM_DEADLINE);
      if (readEnd(this.#memory, words, at + ITEM_SEQCOUNT, begin)) {
        const is_unused = (gtid_lo | gtid_hi) === 0;
        if (!is_unused && found_sid !== sid) return this.#badIndex();
        if (!is_unused && wcid >>> 0 >= this.#class_count) {
          this.counters.bad_class_count++;
          return ROW_BAD;
        }
        into.sid = sid;
        into.wcid = is_unused ? 0 : wcid;
        into.gtid_lo = gtid_lo;
        into.gtid_hi = gtid_hi;
        into.flags = flags;
        into.seqcount = begin;
        into.deadline_ns = deadline_ns;
        return is_unused ? ROW_UNUSED : ROW_OK;
      }
      this.#memory.pause();
    }
    this.counters.busy_read_count++;
    return ROW_BUSY;
  }

  /**
   * Writes a sched item under its sequence counter, and nothing into the stream. For the owner.
   *
   * @param sid Index of the row.
   * @param from Its new content; `sid` and `seqcount` of it are not used.
   * @returns False if the index is out of range.
   */
  writeItem(sid: number, from: SchedItem): boolean {
    if (sid >>> 0 >= this.#item_count) return this.#badIndex() === ROW_OK;
    const words = this.#words;
    const at = this.#items_at + sid * ROW_WORDS;
    const begin = writeBegin(this.#memory, words, at + ITEM_SEQCOUNT);
    words[at + ITEM_SID] = sid;
    words[at + ITEM_WCID] = from.wcid;
    words[at + ITEM_GTID] = from.gtid_lo;
    words[at + ITEM_GTID + 1] = from.gtid_hi;
    words[at + ITEM_FLAGS] = from.flags;
    storeU64(words, at + ITEM_DEADLINE, from.deadline_ns);
    writeEnd(this.#memory, words, at + ITEM_SEQCOUNT, begin);
    return true;
  }

  /**
   * Sets or clears flags of a sched item under its sequence counter. For the owner.
   *
   * @param sid Index of the row.
   * @param set Flags to set.
   * @param clear Flags to clear.
   * @returns False if the index is out of range.
   */
  changeItemFlags(sid: number, set: number, clear: number): boolean {
    if (sid >>> 0 >= this.#item_count) return this.#badIndex() === ROW_OK;
    const words = this.#words;
    const at = this.#items_at + sid * ROW_WORDS;
    const begin = writeBegin(this.#memory, words, at + ITEM_SEQCOUNT);
    words[at + ITEM_FLAGS] = words[at + ITEM_FLAGS] & ~clear | set;
    writeEnd(this.#memory, words, at + ITEM_SEQCOUNT, begin);
    return true;
  }

  /**
   * The flags of a sched item as they are now, whether or not a writer is at work.
   *
   * @param sid Index of the row.
   * @returns The flags; 0 if the index is out of range.
   */
  itemFlags(sid: number): number {
    if (sid >>> 0 >= this.#item_count) {
      this.#badIndex();
      return 0;
    }
    const at = this.#items_at + sid * ROW_WORDS;
    return this.#memory.acquire(this.#words, at + ITEM_FLAGS);
  }

  /**
   * Makes a repeating sched item runnable, as the agent does once in each period: outside the
   * sequence counter, since an agent never waits for an application.
   *
   * @param sid Index of the row.
   * @returns False if the index is out of range.
   */
  makeItemRunnable(sid: number): boolean {
    if (sid >>> 0 >= this.#item_count) return this.#badIndex() === ROW_OK;
    const at = this.#items_at + sid * ROW_WORDS + ITEM_FLAGS;
    const flags = this.#memory.acquire(this.#words, at);
    this.#memory.publish(this.#words, at, flags | SCHED_ITEM_RUNNABLE);
    return true;
  }

  /**
   * Copies a work class. Applications write these before they use them and not again.
   *
   * @param wcid Index of the row.
   * @param into Receives the copy; unchanged if the result is false.
   * @returns False if the index is out of range.
   */
  readClass(wcid: number, into: WorkClass): boolean {
    if (wcid >>> 0 >= this.#class_count) return this.#badIndex() === ROW_OK;
    const words = this.#words;
    const at = this.#classes_at + wcid * ROW_WORDS;
    into.id = wcid;
    into.flags = words[at + CLASS_FLAGS];
    into.qos = words[at + CLASS_QOS] >>> 0;
    into.exectime_ns = u64At(words, at + CLASS_EXECTIME);
    into.period_ns = u64At(words, at + CLASS_PERIOD);
    return true;
  }

  /**
   * Writes a work class. For the owner, before the first sched item uses it.
   *
   * @param wcid Index of the row.
   * @param from Its content; `id` of it is not used.
   * @returns False if the index is out of range.
   */
  writeClass(wcid: number, from: WorkClass): boolean {
    if (wcid >>> 0 >= this.#class_count) return this.#badIndex() === ROW_OK;
    const words = this.#words;
    const at = this.#classes_at + wcid * ROW_WORDS;
    words[at + CLASS_ID] = wcid;
    words[at + CLASS_FLAGS] = from.flags;
    words[at + CLASS_QOS] = from.qos;
    storeU64(words, at + CLASS_EXECTIME, from.exectime_ns);
    storeU64(words, at + CLASS_PERIOD, from.period_ns);
    return true;
  }

  /**
   * Tells the agent that a row has changed. Call it after the row is written.
   *
   * @param index Index of the sched item.
   * @param retry_count How many more cells to try when the first is taken, before the agent is
   * told to look at every row.
   */
  markUpdatedIndex(index: number, retry_count: number): void {
    if (this.#stream_capacity === 0) return;
    markUpdated(
      this.#memory,
      this.#words,
      this.#stream_at,
      this.#stream_capacity,
      index,
      retry_count,
    );
  }

  /**
   * Takes the next entry out of the stream. One caller at a time. A hostile application can keep
   * the stream full for ever: call this at most `stream_capacity` times in a step.
   *
   * @returns The index of a row, {@linkcode STREAM_NO_ENTRIES} or {@linkcode STREAM_OVERFLOW}.
   */
  nextUpdatedIndex(): number {
    return this.#stream_capacity === 0 ? STREAM_NO_ENTRIES : takeUpdated(
      this.#memory,
      this.#words,
      this.#stream_at,
      this.#stream_capacity,
      this.#item_count,
      this.counters,
    );
  }

  /**
   * Like {@linkcode PrioTable.nextUpdatedIndex}, but an overflow becomes a sweep that gives every
   * row once, one with each call. So a step that looks at a fixed number of rows misses none in
   * the end, whatever the application does.
   *
   * @returns The index of a row to read, or {@linkcode STREAM_NO_ENTRIES}.
   */
  nextUpdate(): number {
    if (this.#sweep_sid < this.#item_count) return this.#sweep_sid++;
    const index = this.nextUpdatedIndex();
    if (index !== STREAM_OVERFLOW) return index;
    if (this.#item_count === 0) return STREAM_NO_ENTRIES;
    this.#sweep_sid = 1;
    return 0;
  }

  /** Makes {@linkcode PrioTable.nextUpdate} give every row once; an agent that attaches does. */
  sweep(): void {
    this.#sweep_sid = 0;
  }

  #badIndex(): number {
    this.counters.bad_index_count++;
    return ROW_BAD;
  }

  #use(words: Int32Array, found: PrioTableLayout, owner_pid: number): void {
    this.#words = words;
    this.#owner_pid = owner_pid;
    this.#item_count = found.item_count;
    this.#class_count = found.class_count;
    this.#stream_capacity = found.stream_capacity;
    this.#items_at = found.items_offset_bytes / 4;
    this.#classes_at = found.classes_offset_bytes / 4;
    this.#stream_at = found.stream_offset_bytes / 4;
    this.#sweep_sid = found.item_count;
  }
}
