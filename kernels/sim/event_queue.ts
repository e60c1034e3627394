/**
 * Pending events of the simulated machine, ordered by time and then by the order in which they
 * were scheduled, so that equal times do not depend on anything but the run itself.
 *
 * Most events come microseconds after they were scheduled. Those of the next {@linkcode SPAN_NS}
 * wait in buckets of a microsecond, each a short sorted list: to schedule and to take one
 * costs the same however many wait. Later ones wait in a heap, and move over when the window
 * reaches them.
 *
 * @module
 */
import { FarEvents } from "./far_events.ts";

const BUCKET_NS = 1024;
const BUCKET_COUNT = 2048;
const BUCKET_MASK = BUCKET_COUNT - 1;
const BIT_WORDS = BUCKET_COUNT / 32;
/** How far the window of the buckets reaches. */
const SPAN_NS = BUCKET_NS * BUCKET_COUNT;
const NONE = -1;

// One array of words for all, so that compiled code looks it up once per call: first and last slot
// of each bucket, a bit for each bucket that is in use, then the slots.
const FIRST = 0;
const LAST = BUCKET_COUNT;
const IN_USE = 2 * BUCKET_COUNT;
const SLOTS = IN_USE + BIT_WORDS;
/** Words of a slot: the one behind it in its bucket or among the free ones, kind, a, b. */
const SLOT_SHIFT = 2;
const SLOT_WORDS = 1 << SLOT_SHIFT;

// A first value of the right kind: V8 then knows the kind of the field for good.
const NO_WORDS = new Int32Array(0);
const NO_DOUBLES = new Float64Array(0);

/** The queue; an event is a time and three integers of 32 bits. */
export class EventQueue {
  /** Events taken so far. */
  taken_count = 0;
  /** Kind of the event taken last. */
  kind = 0;
  /** First argument of the event taken last. */
  a = 0;
  /** Second argument of the event taken last. */
  b = 0;
  /** Time of the next event in ns, or Infinity. */
  next_ns: number = Infinity;
  #capacity: number = 0;
  /** Slot of the next event if it is in a bucket, else NONE. */
  #next = NONE;
  #free = 0;
  /** Bucket of the event taken last; the window begins there. */
  #bucket = 0;
  // Not small integers at first, so that V8 keeps doubles in these fields from the start.
  #window_start_ns: number = NaN;
  #bucket_end_ns: number = NaN;
  #window_end_ns: number = NaN;
  #words: Int32Array = NO_WORDS;
  #times: Float64Array = NO_DOUBLES;
  declare private readonly far: FarEvents;

  /**
   * Makes an empty queue.
   *
   * @param capacity Events to make room for at first; the queue grows by itself.
   */
  constructor(capacity = 256) {
    this.#capacity = capacity;
    this.#words = new Int32Array(SLOTS + capacity * SLOT_WORDS);
    this.#words.fill(NONE, 0, IN_USE);
    this.#times = new Float64Array(capacity);
    this.#linkFree(0);
    this.far = new FarEvents(capacity);
    this.#moveWindow(0);
  }

  #linkFree(from: number): void {
    for (let slot = from; slot < this.#capacity; slot++) {
      this.#words[SLOTS + slot * SLOT_WORDS] = slot + 1;
    }
  }

  /** Number of pending events; counted, since nothing on the way of an event needs it. */
  get size(): number {
    let size = this.#capacity;
    for (let slot = this.#free; slot < this.#capacity; size--) {
      slot = this.#words[SLOTS + slot * SLOT_WORDS];
    }
    return size;
  }

  /** Time of the next event in ns, or Infinity. */
  nextTimeNs(): number {
    return this.next_ns;
  }

  /** Kind of the next event, or −1. */
  nextKind(): number {
    if (this.next_ns === Infinity) return -1;
    const slot = this.#next >= 0 ? this.#next : this.far.nextSlot();
    return this.#words[SLOTS + slot * SLOT_WORDS + 1];
  }

  /** Schedules an event. */
  push(time_ns: number, kind: number, a: number, b: number): void {
    const slot = this.#free;
    if (slot === this.#capacity) this.#grow();
    const words = this.#words;
    const at = (SLOTS + (slot << SLOT_SHIFT)) | 0;
    this.#free = words[at];
    words[at + 1] = kind | 0;
    words[at + 2] = a | 0;
    words[at + 3] = b | 0;
    this.#times[slot] = time_ns;
    if (time_ns < this.#window_end_ns) {
      this.#insert(slot, time_ns);
      // Of equal times the one that is there already comes first.
      if (time_ns < this.next_ns) {
        this.next_ns = time_ns;
        this.#next = slot;
      }
      return;
    }
    this.far.push(slot, time_ns);
    if (time_ns < this.next_ns) this.next_ns = time_ns;
  }

  /**
   * Puts an event into its bucket, behind those of the same time: it was scheduled after them. An
   * event that is late already belongs to the first bucket.
   */
  #insert(slot: number, time_ns: number): void {
    const words = this.#words;
    const times = this.#times;
    const bucket = time_ns < this.#window_start_ns
      ? this.#bucket
      : (time_ns / BUCKET_NS) & BUCKET_MASK;
    const last = words[LAST + bucket];
    const at = (SLOTS + (slot << SLOT_SHIFT)) | 0;
    if (last < 0) {
      words[FIRST + bucket] = slot;
      words[LAST + bucket] = slot;
      words[at] = NONE;
      words[IN_USE + (bucket >> 5)] |= 1 << (bucket & 31);
    } else if (times[last] <= time_ns) {
      words[(SLOTS + (last << SLOT_SHIFT)) | 0] = slot;
      words[LAST + bucket] = slot;
      words[at] = NONE;
    } else {
      // Before the first one that is later.
      let link = FIRST + bucket;
      let after = words[link];
      while (times[after] <= time_ns) {
        link = (SLOTS + (after << SLOT_SHIFT)) | 0;
        after = words[link];
      }
      words[link] = slot;
      words[at] = after;
    }
  }

  /** Takes the next event into {@linkcode kind}, {@linkcode a} and {@linkcode b}. */
  pop(): void {
    if (this.#next < 0 || this.next_ns >= this.#bucket_end_ns) {
      this.#moveWindow(this.next_ns);
    }
    const words = this.#words;
    const slot = this.#next;
    const bucket = this.#bucket;
    const at = (SLOTS + (slot << SLOT_SHIFT)) | 0;
    this.kind = words[at + 1];
    this.a = words[at + 2];
    this.b = words[at + 3];
    this.taken_count++;
    const after = words[at];
    words[at] = this.#free;
    this.#free = slot;
    words[FIRST + bucket] = after;
    let next = after;
    if (after < 0) {
      words[LAST + bucket] = NONE;
      words[IN_USE + (bucket >> 5)] &= ~(1 << (bucket & 31));
      next = this.#firstFrom(bucket);
    }
    this.#next = next;
    // Not one expression: its value would be boxed on the way.
    if (next >= 0) this.next_ns = this.#times[next];
    else this.next_ns = this.far.nextTimeNs();
  }

  /** Lets the window begin with the bucket of a time; what is before its new end moves over. */
  #moveWindow(time_ns: number): void {
    const start = Math.floor(time_ns / BUCKET_NS);
    const end_ns = start * BUCKET_NS + SPAN_NS;
    this.#window_start_ns = start * BUCKET_NS;
    this.#bucket_end_ns = start * BUCKET_NS + BUCKET_NS;
    this.#window_end_ns = end_ns;
    this.#bucket = start & BUCKET_MASK;
    const far = this.far;
    for (let far_ns = far.nextTimeNs(); far_ns < end_ns; far_ns = far.nextTimeNs()) {
      const slot = far.pop();
      this.#insert(slot, far_ns);
      // Those in buckets come before all that were beyond the window.
      if (this.#next < 0) this.#next = slot;
    }
  }

  /** First slot of the first bucket in use, from one on and around; NONE if all are empty. */
  #firstFrom(bucket: number): number {
    const words = this.#words;
    let index = bucket >> 5;
    let bits = words[IN_USE + index] & (-1 << (bucket & 31));
    for (let count = 0; bits === 0; count++) {
      if (count === BIT_WORDS) return NONE;
      index = (index + 1) & (BIT_WORDS - 1);
      bits = words[IN_USE + index];
    }
    return words[FIRST + ((index << 5) | (31 - Math.clz32(bits & -bits)))];
  }

  #grow(): void {
    const old = this.#capacity;
    this.#capacity = old * 2;
    const words = new Int32Array(SLOTS + this.#capacity * SLOT_WORDS);
    words.set(this.#words);
    this.#words = words;
    this.#linkFree(old);
    const times = new Float64Array(this.#capacity);
    times.set(this.#times);
    this.#times = times;
  }
}
