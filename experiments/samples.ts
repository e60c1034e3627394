/**
 * Samples of a duration and their exact percentiles.
 *
 * @module
 */

/** A growing list of numbers without an object each. */
export class Samples {
  #values = new Float64Array(256);
  #count = 0;
  #is_sorted = true;

  /** Number of samples. */
  get count(): number {
    return this.#count;
  }

  /** Adds a sample. */
  add(value: number): void {
    if (this.#count === this.#values.length) {
      const grown = new Float64Array(this.#count * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#count++] = value;
    this.#is_sorted = false;
  }

  /** Forgets all samples. */
  clear(): void {
    this.#count = 0;
    this.#is_sorted = true;
  }

  /**
   * The smallest sample that at least so many percent of the samples do not exceed (nearest rank).
   *
   * @param percent Above 0, at most 100; 100 is the maximum.
   * @returns The sample; NaN if there is none.
   */
  percentile(percent: number): number {
    if (!(percent > 0 && percent <= 100)) {
      throw new RangeError(`percentile ${percent}: want above 0, at most 100`);
    }
    if (this.#count === 0) return NaN;
    const values = this.#values.subarray(0, this.#count);
    if (!this.#is_sorted) values.sort();
    this.#is_sorted = true;
    return values[Math.ceil(percent * this.#count / 100) - 1];
  }
}
