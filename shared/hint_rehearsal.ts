/**
 * An application that gives hints to a policy which is being warmed up: a real table, in memory of
 * this process, behind a real registry, so that the code that reads hints is hot before an agent
 * goes online.
 *
 * @module
 */
import { loadShim } from "../ffi/shim.ts";
import { HintRegistry, makeHintRegistry } from "./hint_registry.ts";
import { HintNews, NEWS_TABLE_GONE, NEWS_THREAD } from "./hint_source.ts";
import {
  PrioTable,
  SCHED_ITEM_RUNNABLE,
  SchedItem,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
  WorkClass,
} from "./prio_table.ts";
import { PrioTableClient } from "./prio_table_client.ts";
import { formatPrioTable, planPrioTable } from "./prio_table_layout.ts";

/** A row for each task of a rehearsal, by its thread id. */
const ITEM_COUNT = 32;
const CLASSES: readonly Partial<WorkClass>[] = [
  { flags: WORK_CLASS_ONESHOT, qos: 1, exectime_ns: 10_000 },
  { flags: WORK_CLASS_ONESHOT, qos: 2, exectime_ns: 100_000 },
  { flags: WORK_CLASS_REPEATING, qos: 1, exectime_ns: 10_000, period_ns: 50_000 },
];
/** Few cells: the stream overflows now and then. */
const STREAM_CAPACITY = 19;
const TABLE = 0;
/** Rows that change between two steps, at most. */
const CHANGES_MAX = 2;
const DEADLINE_NS_MAX = 1_000_000;
/** The table goes, and comes back, once in so many steps. */
const TABLE_STEPS = 4096;

/** The application, and the part of the main isolate that answers for it. */
export class HintRehearsal {
  /** For the policy that is warmed up. */
  readonly buffer: SharedArrayBuffer = makeHintRegistry();
  readonly #registry = new HintRegistry(this.buffer);
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #client: PrioTableClient;
  readonly #item = new SchedItem();
  readonly #news = new HintNews();
  /** Threads that have asked for their table, by row. */
  readonly #gtid_lo = new Int32Array(ITEM_COUNT);
  readonly #gtid_hi = new Int32Array(ITEM_COUNT);
  #random = 1;
  #step_count = 0;
  #is_gone = true;

  /** Makes the table. */
  constructor() {
    const plan = planPrioTable(ITEM_COUNT, CLASSES.length, STREAM_CAPACITY);
    this.#words = new Int32Array(new ArrayBuffer(plan.table_bytes + 4 & ~3));
    formatPrioTable(this.#words, plan);
    const table = new PrioTable();
    const error = table.adopt(this.#words, Deno.pid);
    if (error !== undefined) throw error;
    this.#client = new PrioTableClient(table);
    CLASSES.forEach((work_class, id) => {
      this.#client.setWorkClass(id, Object.assign(new WorkClass(), work_class, { id }));
    });
  }

  #below(bound: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 1) % bound;
  }

  /** What happens between two steps: threads get work or have none, new threads are answered. */
  happen(): void {
    if (this.#step_count++ % TABLE_STEPS === 0) this.#toggleTable();
    while (this.#registry.takeRequest(this.#news)) this.#answer();
    for (let count = this.#below(CHANGES_MAX); count > 0; count--) this.#change();
  }

  #toggleTable(): void {
    this.#is_gone = !this.#is_gone;
    if (this.#is_gone) {
      this.#tell(NEWS_TABLE_GONE, 0, 0);
      return this.#registry.setTable(TABLE, undefined);
    }
    const address = loadShim().bufferAddress(this.#words);
    const handle = { address, size_bytes: this.#words.byteLength, owner_pid: Deno.pid };
    this.#registry.setTable(TABLE, handle);
    for (let sid = 0; sid < ITEM_COUNT; sid++) {
      if (this.#gtid_hi[sid] !== 0) {
        this.#tell(NEWS_THREAD, this.#gtid_lo[sid], this.#gtid_hi[sid]);
      }
    }
  }

  #answer(): void {
    const { gtid_lo, gtid_hi } = this.#news;
    const sid = (gtid_hi >>> 9) % ITEM_COUNT;
    this.#gtid_lo[sid] = gtid_lo;
    this.#gtid_hi[sid] = gtid_hi;
    if (!this.#is_gone) this.#tell(NEWS_THREAD, gtid_lo, gtid_hi);
  }

  #tell(kind: number, gtid_lo: number, gtid_hi: number): void {
    this.#news.kind = kind;
    this.#news.table = TABLE;
    this.#news.gtid_lo = gtid_lo;
    this.#news.gtid_hi = gtid_hi;
    this.#registry.tell(this.#news);
  }

  /** Changes one row; three of four have work. */
  #change(): void {
    const sid = this.#below(ITEM_COUNT);
    if (this.#gtid_hi[sid] === 0) return;
    const dice = this.#below(8);
    if (dice === 0) return this.#client.markIdle(sid);
    if (dice === 1) return this.#client.markRunnable(sid);
    const item = this.#item;
    item.sid = sid;
    item.gtid_lo = this.#gtid_lo[sid];
    item.gtid_hi = this.#gtid_hi[sid];
    item.wcid = this.#below(CLASSES.length);
    item.flags = dice === 2 ? 0 : SCHED_ITEM_RUNNABLE;
    item.deadline_ns = loadShim().clockMonotonicNs() + this.#below(DEADLINE_NS_MAX);
    this.#client.setSchedItem(sid, item);
  }
}
