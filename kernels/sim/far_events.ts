/**
 * Events beyond the window of the event queue: a binary heap of slots, by time and then by the
 * order in which they came.
 *
 * @module
 */

// A first value of the right kind: V8 then knows the kind of the field for good.
const NO_WORDS = new Int32Array(0);
const NO_DOUBLES = new Float64Array(0);

/** The heap. */
export class FarEvents {
  #size = 0;
  #next_order = 0;
  #slots: Int32Array = NO_WORDS;
  #times: Float64Array = NO_DOUBLES;
  #orders: Float64Array = NO_DOUBLES;

  /**
   * Makes an empty heap.
   *
   * @param capacity Events to make room for at first; the heap grows by itself.
   */
  constructor(capacity: number) {
    this.#slots = new Int32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#orders = new Float64Array(capacity);
  }

  /** Time of the first event in ns, or Infinity. */
  nextTimeNs(): number {
    return this.#size === 0 ? Infinity : this.#times[0];
  }

  /** Slot of the first event; there is one. */
  nextSlot(): number {
    return this.#slots[0];
  }

  /** Adds an event. */
  push(slot: number, time_ns: number): void {
    if (this.#size === this.#slots.length) this.#grow();
    const times = this.#times;
    let at = this.#size++;
    // Whatever came before goes first at the same time.
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (times[parent] <= time_ns) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#slots[at] = slot;
    times[at] = time_ns;
    this.#orders[at] = this.#next_order++;
  }

  /** Takes the first event; returns its slot. */
  pop(): number {
    const slot = this.#slots[0];
    const last = --this.#size;
    const time_ns = this.#times[last];
    const order = this.#orders[last];
    const last_slot = this.#slots[last];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#before(child + 1, this.#times[child], this.#orders[child])) {
        child++;
      }
      if (!this.#before(child, time_ns, order)) break;
      this.#move(child, at);
      at = child;
    }
    this.#slots[at] = last_slot;
    this.#times[at] = time_ns;
    this.#orders[at] = order;
    return slot;
  }

  #before(at: number, time_ns: number, order: number): boolean {
    const time_at = this.#times[at];
    return time_at < time_ns || (time_at === time_ns && this.#orders[at] < order);
  }

  #move(from: number, to: number): void {
    this.#slots[to] = this.#slots[from];
    this.#times[to] = this.#times[from];
    this.#orders[to] = this.#orders[from];
  }

  #grow(): void {
    const capacity = this.#slots.length * 2;
    const slots = new Int32Array(capacity);
    slots.set(this.#slots);
    this.#slots = slots;
    this.#times = grown(this.#times, capacity);
    this.#orders = grown(this.#orders, capacity);
  }
}

function grown(from: Float64Array, length: number): Float64Array {
  const to = new Float64Array(length);
  to.set(from);
  return to;
}
