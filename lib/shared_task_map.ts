/**
 * gtid → task row, shared by all agents of an enclave. Fixed size, open addressing with
 * tombstones. The table is cut into stripes; a key's probe sequence stays inside its stripe, so
 * that one lock per stripe orders writers and trimming is local. Readers take no lock: a live
 * key never moves, and a row found is confirmed by the caller's own key columns.
 *
 * @module
 */
import type { Memory } from "../ffi/memory.ts";

const STRIPE_COUNT = 64;
const EMPTY = 0;
const TOMBSTONE = -1;
const SLOT_WORDS = 3;

/** Words of shared memory a map for `task_capacity` rows needs. */
export function sharedTaskMapWords(task_capacity: number): number {
  return STRIPE_COUNT + STRIPE_COUNT * stripeSlots(task_capacity) * SLOT_WORDS;
}

/** At most half full on average; a stripe this large is not filled up by chance. */
function stripeSlots(task_capacity: number): number {
  let slots = 64;
  while (slots * STRIPE_COUNT < task_capacity * 2) slots *= 2;
  return slots;
}

/** Mixes a gtid; pids are consecutive, so low bits alone would cluster. */
function hash(lo: number, hi: number): number {
  let h = Math.imul(lo ^ Math.imul(hi, -1640531535), -2048144789);
  h ^= h >>> 15;
  h = Math.imul(h, -1028477387);
  return h ^ (h >>> 13);
}

/** The map; many readers and writers in different threads. */
export class SharedTaskMap {
  declare private readonly memory: Memory;
  declare private readonly words: Int32Array;
  declare private readonly stripe_mask: number;
  declare private readonly stripe_words: number;

  /**
   * Puts a map on shared words.
   *
   * @param memory How shared words are accessed.
   * @param words {@linkcode sharedTaskMapWords} words of zeroed shared memory.
   * @param task_capacity Most rows that can be mapped at a time.
   */
  constructor(memory: Memory, words: Int32Array, task_capacity: number) {
    this.memory = memory;
    this.words = words;
    const stripe_slots = stripeSlots(task_capacity);
    this.stripe_words = stripe_slots * SLOT_WORDS;
    this.stripe_mask = stripe_slots - 1;
  }

  #stripeStart(h: number): number {
    return STRIPE_COUNT + (h >>> 26) * this.stripe_words;
  }

  #lock(stripe: number): void {
    while (this.memory.compareExchange(this.words, stripe, 0, 1) !== 0) this.memory.pause();
  }

  #unlock(stripe: number): void {
    this.memory.publish(this.words, stripe, 0);
  }

  /**
   * Finds the slot that shows a gtid, by plain reads: half the time of {@linkcode get}. A live gtid
   * is always found; a slot that is reused at this very moment may show a gtid beside the row of
   * another one, so the caller confirms {@linkcode rowAt} by the row's own gtid.
   *
   * @returns The slot, or −1.
   */
  slotOf(lo: number, hi: number): number {
    const words = this.words;
    const mask = this.stripe_mask;
    const h = hash(lo, hi);
    const start = this.#stripeStart(h);
    for (let probe = 0; probe <= mask; probe++) {
      const at = start + ((h + probe) & mask) * SLOT_WORDS;
      const value = this.memory.poll(words, at);
      if (value === EMPTY) return -1;
      if (value !== TOMBSTONE && words[at + 1] === lo && words[at + 2] === hi) return at;
    }
    return -1;
  }

  /** The row in a slot that {@linkcode slotOf} returned; negative if it has been emptied since. */
  rowAt(slot: number): number {
    return this.memory.poll(this.words, slot) - 1;
  }

  /**
   * Finds the row of a gtid.
   *
   * @returns The row, or −1. The row may be freed at any time unless the caller holds the task.
   */
  get(lo: number, hi: number): number {
    const words = this.words;
    for (;;) {
      const at = this.slotOf(lo, hi);
      if (at < 0) return -1;
      const value = this.memory.acquire(words, at);
      if (value === EMPTY || value === TOMBSTONE) continue;
      if (words[at + 1] !== lo || words[at + 2] !== hi) continue;
      // Confirm after the key: the slot may have been reused between the two reads.
      if (this.memory.acquire(words, at) === value) return value - 1;
    }
  }

  /**
   * Maps a gtid to a row.
   *
   * @returns True; false if the gtid is mapped already or its stripe is full.
   */
  insert(lo: number, hi: number, row: number): boolean {
    const words = this.words;
    const h = hash(lo, hi);
    const start = this.#stripeStart(h);
    const stripe = (h >>> 26) & (STRIPE_COUNT - 1);
    this.#lock(stripe);
    let free_at = -1;
    let inserted = false;
    for (let probe = 0; probe <= this.stripe_mask; probe++) {
      const at = start + ((h + probe) & this.stripe_mask) * SLOT_WORDS;
      const value = words[at];
      if (value === EMPTY || value === TOMBSTONE) {
        if (free_at < 0) free_at = at;
        if (value === EMPTY) break;
      } else if (words[at + 1] === lo && words[at + 2] === hi) {
        free_at = -1;
        break;
      }
    }
    if (free_at >= 0) {
      words[free_at + 1] = lo;
      words[free_at + 2] = hi;
      this.memory.publish(words, free_at, row + 1);
      inserted = true;
    }
    this.#unlock(stripe);
    return inserted;
  }

  /**
   * Removes a gtid.
   *
   * @returns The row it was mapped to, or −1.
   */
  remove(lo: number, hi: number): number {
    const words = this.words;
    const h = hash(lo, hi);
    const start = this.#stripeStart(h);
    const stripe = (h >>> 26) & (STRIPE_COUNT - 1);
    let row = -1;
    this.#lock(stripe);
    for (let probe = 0; probe <= this.stripe_mask; probe++) {
      const slot = (h + probe) & this.stripe_mask;
      const at = start + slot * SLOT_WORDS;
      const value = words[at];
      if (value === EMPTY) break;
      if (value === TOMBSTONE || words[at + 1] !== lo || words[at + 2] !== hi) continue;
      row = value - 1;
      this.memory.publish(words, at, TOMBSTONE);
      this.#trim(start, slot);
      break;
    }
    this.#unlock(stripe);
    return row;
  }

  /** Turns tombstones that end a probe chain back into empty slots; the stripe is locked. */
  #trim(start: number, slot: number): void {
    const words = this.words;
    const next = start + ((slot + 1) & this.stripe_mask) * SLOT_WORDS;
    if (words[next] !== EMPTY) return;
    for (let back = 0; back <= this.stripe_mask; back++) {
      const at = start + ((slot - back) & this.stripe_mask) * SLOT_WORDS;
      if (words[at] !== TOMBSTONE) return;
      this.memory.publish(words, at, EMPTY);
    }
  }
}
