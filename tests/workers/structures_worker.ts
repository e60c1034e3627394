/**
 * A thread for the tests of task rows, mailboxes and transaction records under real contention. It
 * is told once what to do, says how many errors it saw, and ends.
 *
 * @module
 */
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { Mailbox, mailboxWords } from "../../lib/mailbox.ts";
import { Prng } from "../../lib/prng.ts";
import { SharedState, type SharedStateShape } from "../../lib/shared_state.ts";
import { SharedTaskMap, sharedTaskMapWords } from "../../lib/shared_task_map.ts";
import { TaskTable } from "../../lib/task_table.ts";
import { TransactionTable } from "../../lib/transaction.ts";

/** What the thread is told. */
export interface StructuresJob {
  /** What to do. */
  readonly action: "churn" | "crowd" | "send" | "receive" | "own";
  /** Memory of the job; each action has its own layout. */
  readonly buffer: SharedArrayBuffer;
  /** Number of this thread, from 0. */
  readonly thread: number;
  /** How many threads there are of this kind. */
  readonly thread_count: number;
  /** How often. */
  readonly round_count: number;
}

/** The state of a churn job. */
export const CHURN_SHAPE: SharedStateShape = {
  policy: "test",
  layout: { task: { mark: "i32" }, cpu: {}, global: { started: "i32" } },
  task_capacity: 256,
  cpus: [0],
};
/** gtids that live through a whole churn job: (STABLE_LO, 0 … STABLE_COUNT − 1 above 9 bits). */
export const STABLE_LO = 1000;
export const STABLE_COUNT = 16;
/** Tasks that a churn thread has at a time. */
const OWN_MAX = 40;

const NAP_WORD = new Int32Array(new SharedArrayBuffer(4));
const SPINS_MAX = 2000;
const NAP_MS = 0.05;

/**
 * Waits for another thread: spins, and lets others have the CPU when that takes long. With more
 * threads than CPUs a thread that only spins uses up its time slice while nothing can happen.
 */
class Patience {
  #spin_count = 0;

  /** Nothing has happened yet. */
  wait(): void {
    if (++this.#spin_count < SPINS_MAX) return;
    this.#spin_count = 0;
    Atomics.wait(NAP_WORD, 0, 0, NAP_MS);
  }
}

/** Waits until all threads are there, so that they contend. */
function assemble(words: Int32Array, index: number, thread_count: number): void {
  HARDWARE_MEMORY.add(words, index, 1);
  const patience = new Patience();
  while (HARDWARE_MEMORY.acquire(words, index) < thread_count) patience.wait();
}

/** Allocates and frees rows, and looks at its own and at stable ones all the time. */
function churn(job: StructuresJob): number {
  const state = new SharedState(CHURN_SHAPE, job.buffer);
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const mark = state.task("mark");
  const prng = new Prng(job.thread + 1);
  const lo = job.thread + 1;
  const rows = new Map<number, number>();
  const stable = Array.from({ length: STABLE_COUNT }, (_, n) => tasks.find(STABLE_LO, n << 9));
  assemble(state.global("started"), 0, job.thread_count);
  let error_count = 0;
  const expect = (holds: boolean): void => {
    if (!holds) error_count++;
  };
  for (let round = 0; round < job.round_count; round++) {
    const n = prng.below(OWN_MAX);
    const row = rows.get(n);
    if (row === undefined) {
      const fresh = tasks.allocate(lo, n << 9, lo);
      expect(fresh >= 0 && mark[fresh] === 0);
      mark[fresh] = lo * 1000 + n;
      rows.set(n, fresh);
    } else {
      expect(tasks.find(lo, n << 9) === row && mark[row] === lo * 1000 + n);
      expect(tasks.owner[row] === lo);
      tasks.free(row);
      rows.delete(n);
      expect(tasks.find(lo, n << 9) === -1);
    }
    const one = prng.below(STABLE_COUNT);
    expect(tasks.find(STABLE_LO, one << 9) === stable[one]);
  }
  for (const row of rows.values()) tasks.free(row);
  return error_count;
}

/** Words of a crowd job: a start word, then the map. */
const CROWD_MAP = 32;
/** gtids per thread: together with three others they all but fill the map. */
const CROWD_KEYS = 950;

/** Words of memory that a crowd job needs. */
export function crowdWords(): number {
  return CROWD_MAP + sharedTaskMapWords(1);
}

/** Fills a small map almost to the last slot and empties it, again and again. */
function crowd(job: StructuresJob): number {
  const words = new Int32Array(job.buffer);
  const map = new SharedTaskMap(HARDWARE_MEMORY, words.subarray(CROWD_MAP), 1);
  const lo = job.thread + 1;
  const has = new Uint8Array(CROWD_KEYS);
  assemble(words, 0, job.thread_count);
  let error_count = 0;
  for (let round = 0; round < job.round_count; round++) {
    // A stripe may be full: then the gtid is simply not there.
    for (let n = 0; n < CROWD_KEYS; n++) has[n] = map.insert(lo, n << 9, n) ? 1 : 0;
    for (let n = 0; n < CROWD_KEYS; n++) {
      if (map.get(lo, n << 9) !== (has[n] !== 0 ? n : -1)) error_count++;
    }
    for (let n = 0; n < CROWD_KEYS; n++) {
      if (map.remove(lo, n << 9) !== (has[n] !== 0 ? n : -1)) error_count++;
    }
  }
  return error_count;
}

/** Words of a mailbox job: a start word, the column of the rows, the mailbox. */
const ROWS_PER_SENDER = 16;
const MAIL_COLUMN = 32;
/** Words before the mailbox, and its slots, for a number of senders. */
function mailLayout(sender_count: number): { column: number; mailbox: number; slots: number } {
  const slots = sender_count * ROWS_PER_SENDER;
  return { column: MAIL_COLUMN, mailbox: MAIL_COLUMN + slots, slots };
}

/** Words of memory that a mailbox job needs; the number of senders is a power of two. */
export function mailWords(sender_count: number): number {
  const { mailbox, slots } = mailLayout(sender_count);
  return mailbox + mailboxWords(slots);
}

function mailboxOf(job: StructuresJob): { words: Int32Array; mailbox: Mailbox } {
  const words = new Int32Array(job.buffer);
  const layout = mailLayout(job.thread_count);
  const own = words.subarray(layout.mailbox);
  return { words, mailbox: new Mailbox(HARDWARE_MEMORY, own, layout.slots) };
}

/** Sends its rows again and again; a row's column says the how manieth message of ours it is. */
function send(job: StructuresJob): number {
  const { words, mailbox } = mailboxOf(job);
  assemble(words, 0, job.thread_count + 1);
  const patience = new Patience();
  for (let count = 1; count <= job.round_count; count++) {
    const row = job.thread * ROWS_PER_SENDER + (count % ROWS_PER_SENDER);
    // A row is in one mailbox at a time: wait until the receiver has done with it.
    while (HARDWARE_MEMORY.acquire(words, MAIL_COLUMN + row) !== 0) patience.wait();
    words[MAIL_COLUMN + row] = count;
    mailbox.send(row);
  }
  return 0;
}

/** Counts messages that are out of order for their sender, which lost and double ones are. */
function receive(job: StructuresJob): number {
  const { words, mailbox } = mailboxOf(job);
  const last_count = new Int32Array(job.thread_count);
  assemble(words, 0, job.thread_count + 1);
  const patience = new Patience();
  let error_count = 0;
  for (let left = job.thread_count * job.round_count; left > 0;) {
    const row = mailbox.receive();
    if (row < 0) {
      patience.wait();
      continue;
    }
    left--;
    const sender = Math.floor(row / ROWS_PER_SENDER);
    const count = words[MAIL_COLUMN + row];
    if (count !== ++last_count[sender]) error_count++;
    HARDWARE_MEMORY.publish(words, MAIL_COLUMN + row, 0);
  }
  return mailbox.receive() < 0 ? error_count : error_count + 1;
}

/** Word of an ownership job where a plain count stands, and where threads assemble. */
export const OWNED_COUNT_WORD = 100;
const OWN_START_WORD = 101;

/** Adds to a plain count whenever it owns record 0. */
function own(job: StructuresJob): number {
  const words = new Int32Array(job.buffer);
  const txns = new TransactionTable(HARDWARE_MEMORY, words);
  assemble(words, OWN_START_WORD, job.thread_count);
  let error_count = 0;
  for (let left = job.round_count; left > 0;) {
    if (!txns.takeOwnership(0, job.thread)) continue;
    words[OWNED_COUNT_WORD]++;
    if (txns.owner(0) !== job.thread) error_count++;
    txns.releaseOwnership(0);
    left--;
  }
  return error_count;
}

const ACTIONS = { churn, crowd, send, receive, own } as const;

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<StructuresJob>) => void) | null;
  postMessage(value: number): void;
  close(): void;
};
scope.onmessage = (event) => {
  scope.postMessage(ACTIONS[event.data.action](event.data));
  scope.close();
};
