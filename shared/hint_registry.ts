/**
 * How an agent's threads get to the PrioTables of applications: the main isolate attaches them, in
 * its own time, and says in shared words where they are; the global agent asks for the tables of
 * new threads there and never waits. Until the answer comes, a thread is scheduled without hints.
 *
 * One agent asks and takes news at a time, the global one; the main isolate answers.
 *
 * @module
 */
import { HARDWARE_MEMORY, type Memory, storeU64, u64At } from "../ffi/memory.ts";
import { HINT_TABLE_COUNT, type HintNews, type HintSource, NO_HINTS } from "./hint_source.ts";
import { PrioTable, type PrioTableHandle } from "./prio_table.ts";

const REQUEST_HEAD_WORD = 0;
const REQUEST_TAIL_WORD = 16;
const NEWS_HEAD_WORD = 32;
const NEWS_TAIL_WORD = 48;
/** Moves with every table that comes or goes. */
const CHANGE_WORD = 64;
const TABLES_WORD = 80;
/** Words of a table: change at which it came or went, owner, address, size; 0 if there is none. */
const TABLE_WORDS = 8;
const TABLE_CHANGE = 0;
const TABLE_PID = 1;
const TABLE_ADDRESS = 2;
const TABLE_SIZE = 4;
const REQUEST_COUNT = 16_384;
const REQUEST_WORDS = 2;
const NEWS_COUNT = 16_384;
const NEWS_WORDS = 4;
const REQUESTS_WORD = TABLES_WORD + HINT_TABLE_COUNT * TABLE_WORDS;
const NEWS_WORD = REQUESTS_WORD + REQUEST_COUNT * REQUEST_WORDS;
const WORD_COUNT = NEWS_WORD + NEWS_COUNT * NEWS_WORDS;

/** A registry without tables; every thread of the agent process opens the same one. */
export function makeHintRegistry(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORD_COUNT * 4);
}

/** The registry as an agent sees it. */
export class RegisteredHints implements HintSource {
  /** See {@linkcode HintSource.tables}. */
  readonly tables: readonly PrioTable[];
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #seen: Int32Array = new Int32Array(HINT_TABLE_COUNT);
  #change = 0;

  /**
   * @param buffer The registry.
   * @param memory How shared words are accessed.
   */
  constructor(buffer: SharedArrayBuffer, memory: Memory = HARDWARE_MEMORY) {
    this.#memory = memory;
    this.#words = new Int32Array(buffer);
    this.tables = Array.from({ length: HINT_TABLE_COUNT }, () => new PrioTable(memory));
  }

  /** See {@linkcode HintSource.indexOf}: the answer is news. */
  indexOf(gtid_lo: number, gtid_hi: number): number {
    const words = this.#words;
    const head = words[REQUEST_HEAD_WORD];
    const tail = this.#memory.acquire(words, REQUEST_TAIL_WORD);
    // The thread is scheduled without hints then.
    if (((head - tail) | 0) >= REQUEST_COUNT) return -1;
    const at = REQUESTS_WORD + (head & (REQUEST_COUNT - 1)) * REQUEST_WORDS;
    words[at] = gtid_lo;
    words[at + 1] = gtid_hi;
    this.#memory.publish(words, REQUEST_HEAD_WORD, (head + 1) | 0);
    return -1;
  }

  /** See {@linkcode HintSource.takeNews}. */
  takeNews(into: HintNews): boolean {
    const words = this.#words;
    if (this.#memory.poll(words, CHANGE_WORD) !== this.#change) this.#openTables();
    const tail = words[NEWS_TAIL_WORD];
    if (this.#memory.poll(words, NEWS_HEAD_WORD) === tail) return false;
    if (this.#memory.acquire(words, NEWS_HEAD_WORD) === tail) return false;
    // A table that the news is about may have come since.
    this.#openTables();
    const at = NEWS_WORD + (tail & (NEWS_COUNT - 1)) * NEWS_WORDS;
    into.kind = words[at];
    into.table = words[at + 1];
    into.gtid_lo = words[at + 2];
    into.gtid_hi = words[at + 3];
    this.#memory.publish(words, NEWS_TAIL_WORD, (tail + 1) | 0);
    return true;
  }

  /** Opens and closes tables as the registry says. */
  #openTables(): void {
    const words = this.#words;
    this.#change = this.#memory.acquire(words, CHANGE_WORD);
    for (let index = 0; index < HINT_TABLE_COUNT; index++) {
      const at = TABLES_WORD + index * TABLE_WORDS;
      const change = this.#memory.acquire(words, at + TABLE_CHANGE);
      if (change === this.#seen[index]) continue;
      this.#seen[index] = change;
      this.tables[index].close();
      const size_bytes = words[at + TABLE_SIZE];
      if (size_bytes === 0) continue;
      const address = u64At(words, at + TABLE_ADDRESS);
      this.tables[index].adoptHandle({ address, size_bytes, owner_pid: words[at + TABLE_PID] });
    }
  }
}

/** The registry as the main isolate sees it. */
export class HintRegistry {
  readonly #words: Int32Array;
  readonly #memory: Memory = HARDWARE_MEMORY;

  /** @param buffer The registry. */
  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /**
   * The next thread whose table an agent asks for.
   *
   * @param into Receives its gtid.
   * @returns False if there is none.
   */
  takeRequest(into: HintNews): boolean {
    const words = this.#words;
    const tail = words[REQUEST_TAIL_WORD];
    if (this.#memory.acquire(words, REQUEST_HEAD_WORD) === tail) return false;
    const at = REQUESTS_WORD + (tail & (REQUEST_COUNT - 1)) * REQUEST_WORDS;
    into.gtid_lo = words[at];
    into.gtid_hi = words[at + 1];
    this.#memory.publish(words, REQUEST_TAIL_WORD, (tail + 1) | 0);
    return true;
  }

  /**
   * Tells the global agent something.
   *
   * @param news What.
   * @returns False if there is no room: the agent has not looked for long.
   */
  tell(news: HintNews): boolean {
    const words = this.#words;
    const head = words[NEWS_HEAD_WORD];
    if (((head - this.newsTaken()) | 0) >= NEWS_COUNT) return false;
    const at = NEWS_WORD + (head & (NEWS_COUNT - 1)) * NEWS_WORDS;
    words[at] = news.kind;
    words[at + 1] = news.table;
    words[at + 2] = news.gtid_lo;
    words[at + 3] = news.gtid_hi;
    this.#memory.publish(words, NEWS_HEAD_WORD, (head + 1) | 0);
    return true;
  }

  /** News told so far; wraps. */
  newsTold(): number {
    return this.#words[NEWS_HEAD_WORD];
  }

  /** News taken so far; wraps. Who has taken it has left what is gone. */
  newsTaken(): number {
    return this.#memory.acquire(this.#words, NEWS_TAIL_WORD);
  }

  /**
   * Puts a table into a place, or takes it away.
   *
   * @param index The place.
   * @param handle The table; undefined for none.
   */
  setTable(index: number, handle: PrioTableHandle | undefined): void {
    const words = this.#words;
    const at = TABLES_WORD + index * TABLE_WORDS;
    const change = (words[CHANGE_WORD] + 1) | 0;
    words[at + TABLE_PID] = handle?.owner_pid ?? 0;
    storeU64(words, at + TABLE_ADDRESS, handle?.address ?? 0);
    words[at + TABLE_SIZE] = handle?.size_bytes ?? 0;
    this.#memory.publish(words, at + TABLE_CHANGE, change);
    this.#memory.publish(words, CHANGE_WORD, change);
  }
}

/** Where a policy that heeds hints has them from. */
export interface HintOptions {
  /** Where applications' hints are; none if left out, unless there is a registry. */
  readonly hints?: HintSource;
  /** Registry of tables that the main isolate attaches, see {@linkcode RegisteredHints}. */
  readonly hint_registry?: SharedArrayBuffer;
}

/** The hints that these options mean. */
export function hintsOf({ hints, hint_registry }: HintOptions): HintSource {
  if (hints !== undefined) return hints;
  return hint_registry === undefined ? NO_HINTS : new RegisteredHints(hint_registry);
}
