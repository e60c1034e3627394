/**
 * Pending events of the simulated machine, ordered by time and then by the order in which they
 * were scheduled, so that equal times do not depend on anything but the run itself.
 *
 * @module
 */

/** A binary heap over typed arrays; events are three integers and a time. */
export class EventQueue {
  /** Events taken so far. */
  taken_count = 0;
  /** Kind of the event taken last. */
  kind = 0;
  /** First argument of the event taken last. */
  a = 0;
  /** Second argument of the event taken last. */
  b = 0;
  #capacity: number;
  #size = 0;
  #next_order = 0;
  #free: Int32Array;
  #heap: Int32Array;
  #time: Float64Array;
  #order: Float64Array;
  #kinds: Int32Array;
  #as: Int32Array;
  #bs: Int32Array;

  /**
   * Makes an empty queue.
   *
   * @param capacity Events to make room for at first; the queue grows by itself.
   */
  constructor(capacity = 256) {
    this.#capacity = capacity;
    this.#heap = new Int32Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, index) => index);
    this.#time = new Float64Array(capacity);
    this.#order = new Float64Array(capacity);
    this.#kinds = new Int32Array(capacity);
    this.#as = new Int32Array(capacity);
    this.#bs = new Int32Array(capacity);
  }

  /** Number of pending events. */
  get size(): number {
    return this.#size;
  }

  /** Time of the next event in ns, or Infinity. */
  nextTimeNs(): number {
    return this.#size === 0 ? Infinity : this.#time[this.#heap[0]];
  }

  /** Kind of the next event, or −1. */
  nextKind(): number {
    return this.#size === 0 ? -1 : this.#kinds[this.#heap[0]];
  }

  /** Schedules an event. */
  push(time_ns: number, kind: number, a: number, b: number): void {
    if (this.#size === this.#capacity) this.#grow();
    const slot = this.#free[this.#size];
    this.#time[slot] = time_ns;
    this.#order[slot] = this.#next_order++;
    this.#kinds[slot] = kind;
    this.#as[slot] = a;
    this.#bs[slot] = b;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#heap[parent];
      if (!this.#before(slot, above)) break;
      this.#heap[at] = above;
      at = parent;
    }
    this.#heap[at] = slot;
  }

  /** Takes the next event into {@linkcode kind}, {@linkcode a} and {@linkcode b}. */
  pop(): void {
    const slot = this.#heap[0];
    this.kind = this.#kinds[slot];
    this.a = this.#as[slot];
    this.b = this.#bs[slot];
    this.taken_count++;
    const last = this.#heap[--this.#size];
    this.#free[this.#size] = slot;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (right < this.#size && this.#before(this.#heap[right], this.#heap[child])) child = right;
      if (!this.#before(this.#heap[child], last)) break;
      this.#heap[at] = this.#heap[child];
      at = child;
    }
    this.#heap[at] = last;
  }

  #before(a: number, b: number): boolean {
    const time_a = this.#time[a];
    const time_b = this.#time[b];
    return time_a < time_b || (time_a === time_b && this.#order[a] < this.#order[b]);
  }

  #grow(): void {
    const old = this.#capacity;
    this.#capacity = old * 2;
    this.#heap = copyInt32(this.#heap, this.#capacity);
    this.#free = copyInt32(this.#free, this.#capacity);
    for (let slot = old; slot < this.#capacity; slot++) this.#free[slot] = slot;
    this.#kinds = copyInt32(this.#kinds, this.#capacity);
    this.#as = copyInt32(this.#as, this.#capacity);
    this.#bs = copyInt32(this.#bs, this.#capacity);
    this.#time = copyFloat64(this.#time, this.#capacity);
    this.#order = copyFloat64(this.#order, this.#capacity);
  }
}

function copyInt32(from: Int32Array, length: number): Int32Array {
  const to = new Int32Array(length);
  to.set(from);
  return to;
}

function copyFloat64(from: Float64Array, length: number): Float64Array {
  const to = new Float64Array(length);
  to.set(from);
  return to;
}
