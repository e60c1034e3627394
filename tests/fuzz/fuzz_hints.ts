/**
 * An application whose hints change all the time: threads get work and lose it, change their class,
 * and the table itself goes and comes back. Every thread has work again after a while, by a word of
 * the application or by what the agent has to know, so that a run can end.
 *
 * @module
 */
import { SimMemory } from "../../kernels/sim/sim_memory.ts";
import { Prng } from "../../lib/prng.ts";
import {
  type HintNews,
  type HintSource,
  NEWS_TABLE_GONE,
  NEWS_THREAD,
} from "../../shared/hint_source.ts";
import { PrioTable, SCHED_ITEM_RUNNABLE, SchedItem, WorkClass } from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";
import { formatPrioTable, planPrioTable } from "../../shared/prio_table_layout.ts";

const ITEM_COUNT = 256;
const STREAM_CAPACITY = 19;
const PID = 4242;
/** One look in so many changes something. */
const CHANGE_ODDS = 8;
const GONE_ODDS = 400;
/** Looks that a thread is without work, at most. */
const IDLE_LOOKS_MAX = 60;

const ONESHOT = 1;
const REPEATING = 2;
const CLASSES: readonly Partial<WorkClass>[] = [
  { flags: ONESHOT, qos: 1, exectime_ns: 20_000 },
  { flags: ONESHOT, qos: 3, exectime_ns: 5_000 },
  { flags: REPEATING, qos: 2, exectime_ns: 10_000, period_ns: 30_000 },
  { flags: ONESHOT, qos: 0xffffffff },
];

interface KnownThread {
  readonly lo: number;
  readonly hi: number;
}

/** The hints. */
export class FuzzHints implements HintSource {
  /** See {@linkcode HintSource.tables}. */
  readonly tables: readonly PrioTable[];
  readonly #client: PrioTableClient;
  readonly #prng = new Prng(1);
  readonly #item = new SchedItem();
  readonly #threads: KnownThread[] = [];
  readonly #returning: number[] = [];
  readonly #left = new Set<number>();
  /** Row and look at which it has work again. */
  #idle: { sid: number; until: number }[] = [];
  #look_count = 0;

  constructor() {
    const memory = new SimMemory();
    const plan = planPrioTable(ITEM_COUNT, CLASSES.length, STREAM_CAPACITY);
    const words = new Int32Array(new SharedArrayBuffer(plan.table_bytes + 4 & ~3));
    formatPrioTable(words, plan);
    const [agent, client] = [new PrioTable(memory), new PrioTable(memory)];
    for (const table of [agent, client]) table.adopt(words, PID);
    this.tables = [agent];
    this.#client = new PrioTableClient(client);
    CLASSES.forEach((work_class, id) => {
      this.#client.setWorkClass(id, Object.assign(new WorkClass(), work_class, { id }));
    });
  }

  /** Half of the threads are known at once, the others later; some have no row at all. */
  indexOf(lo: number, hi: number): number {
    let sid = this.#threads.findIndex((thread) => thread.lo === lo && thread.hi === hi);
    if (sid < 0) sid = this.#threads.push({ lo, hi }) - 1;
    if (sid >= ITEM_COUNT || this.#left.has(sid)) return -1;
    if (this.#prng.chance(1, 2)) return 0;
    this.#returning.push(sid);
    return -1;
  }

  /** See {@linkcode HintSource.takeNews}; each look lets the application run a little. */
  takeNews(into: HintNews): boolean {
    this.#look_count++;
    this.#endIdle();
    if (this.#threads.length > 0 && this.#prng.chance(1, CHANGE_ODDS)) this.#change();
    const sid = this.#returning.pop();
    if (sid !== undefined) {
      into.kind = NEWS_THREAD;
      into.table = 0;
      into.gtid_lo = this.#threads[sid].lo;
      into.gtid_hi = this.#threads[sid].hi;
      return true;
    }
    if (this.#threads.length === 0 || !this.#prng.chance(1, GONE_ODDS)) return false;
    into.kind = NEWS_TABLE_GONE;
    into.table = 0;
    // Some threads find the table again; of the others nobody says any more when they have work.
    for (let known = 0; known < Math.min(this.#threads.length, ITEM_COUNT); known++) {
      if (this.#left.has(known)) continue;
      if (this.#prng.chance(1, 2)) this.#returning.push(known);
      else this.#left.add(known);
    }
    this.#idle = this.#idle.filter(({ sid }) => !this.#left.has(sid));
    return true;
  }

  #endIdle(): void {
    const over = this.#idle.filter(({ until }) => until <= this.#look_count);
    if (over.length === 0) return;
    this.#idle = this.#idle.filter(({ until }) => until > this.#look_count);
    for (const { sid } of over) this.#client.markRunnable(sid);
  }

  #change(): void {
    const sid = this.#prng.below(Math.min(this.#threads.length, ITEM_COUNT));
    if (this.#left.has(sid)) return;
    const item = this.#item;
    item.sid = sid;
    item.wcid = this.#prng.below(CLASSES.length);
    item.gtid_lo = this.#threads[sid].lo;
    item.gtid_hi = this.#threads[sid].hi;
    item.deadline_ns = this.#prng.below(50_000_000);
    const is_idle = this.#prng.chance(1, 2);
    item.flags = is_idle ? 0 : SCHED_ITEM_RUNNABLE;
    this.#client.setSchedItem(sid, item);
    // Repeating work is begun by the agent.
    if (!is_idle || CLASSES[item.wcid].flags === REPEATING) return;
    const until = this.#look_count + 1 + this.#prng.below(IDLE_LOOKS_MAX);
    this.#idle.push({ sid, until });
  }
}
