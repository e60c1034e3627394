/**
 * A binary min-heap of task rows with decrease-key and removal. The heap and each row's position
 * are columns in shared memory; the order is a rank and a Float64 key per row, then a sequence
 * number, so that equal rows leave in the order in which they came.
 *
 * @module
 */

/** Rows ordered by a key column; one owner at a time. */
export class IndexedHeap {
  readonly #size: Int32Array;
  readonly #heap: Int32Array;
  readonly #position: Int32Array;
  readonly #key: Float64Array;
  readonly #order: Int32Array;
  readonly #rank: Int32Array | null;

  /**
   * Puts a heap on columns of the task table.
   *
   * @param size Two words of zeroed memory: length and next sequence number.
   * @param heap As many zeroed words as there are rows.
   * @param position Column: position + 1 of each row in the heap, 0 if absent.
   * @param key Column: the key of each row; smallest first.
   * @param order Column: insertion number of each row.
   * @param rank Column: smaller goes first, whatever the keys; change it for rows outside only.
   */
  constructor(
    size: Int32Array,
    heap: Int32Array,
    position: Int32Array,
    key: Float64Array,
    order: Int32Array,
    rank: Int32Array | null = null,
  ) {
    this.#size = size;
    this.#heap = heap;
    this.#position = position;
    this.#key = key;
    this.#order = order;
    this.#rank = rank;
  }

  /** Number of rows in the heap. */
  get length(): number {
    return this.#size[0];
  }

  /** True if the row is in the heap. */
  has(row: number): boolean {
    return this.#position[row] !== 0;
  }

  /** The row with the smallest key, or −1. */
  top(): number {
    return this.#size[0] === 0 ? -1 : this.#heap[0];
  }

  /** Inserts a row that is not in the heap. */
  push(row: number, key: number): void {
    const at = this.#size[0]++;
    this.#key[row] = key;
    this.#order[row] = this.#size[1];
    this.#size[1] = (this.#size[1] + 1) | 0;
    this.#place(row, at);
    this.#up(at);
  }

  /** Takes the row with the smallest key, or −1. */
  pop(): number {
    const row = this.top();
    if (row >= 0) this.remove(row);
    return row;
  }

  /** Changes the key of a row in the heap. */
  update(row: number, key: number): void {
    this.#key[row] = key;
    const at = this.#position[row] - 1;
    if (this.#up(at) === at) this.#down(at);
  }

  /** Takes a row that is in the heap. */
  remove(row: number): void {
    const at = this.#position[row] - 1;
    this.#position[row] = 0;
    const last = --this.#size[0];
    if (at === last) return;
    this.#place(this.#heap[last], at);
    if (this.#up(at) === at) this.#down(at);
  }

  #place(row: number, at: number): void {
    this.#heap[at] = row;
    this.#position[row] = at + 1;
  }

  #before(a: number, b: number): boolean {
    const rank = this.#rank;
    if (rank !== null && rank[a] !== rank[b]) return rank[a] < rank[b];
    const key_a = this.#key[a];
    const key_b = this.#key[b];
    return key_a < key_b || (key_a === key_b && ((this.#order[a] - this.#order[b]) | 0) < 0);
  }

  #up(from: number): number {
    let at = from;
    const row = this.#heap[at];
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#heap[parent];
      if (!this.#before(row, above)) break;
      this.#place(above, at);
      at = parent;
    }
    this.#place(row, at);
    return at;
  }

  #down(from: number): void {
    let at = from;
    const size = this.#size[0];
    const row = this.#heap[at];
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(this.#heap[child + 1], this.#heap[child])) child++;
      if (!this.#before(this.#heap[child], row)) break;
      this.#place(this.#heap[child], at);
      at = child;
    }
    this.#place(row, at);
  }
}
