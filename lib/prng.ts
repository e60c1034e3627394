/**
 * A small seeded pseudo-random number generator on 32-bit integers (sfc32, public domain, by Chris
 * Doty-Humphrey). It uses only additions, shifts, comparisons and exact double arithmetic, so a
 * seed gives the same numbers on every machine.
 *
 * @module
 */

const TWO_32 = 4294967296;
const TWO_53 = 9007199254740992;
/** Words of {@linkcode Prng.state}: four of the generator, two of the seed it started from. */
const STATE_WORD_COUNT = 6;

/** One step of splitmix32's output function; spreads a counter over 32 bits. */
function mix32(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
}

/** FNV-1a over the UTF-16 units of a label. */
function hashLabel(label: string, basis: number): number {
  let hash = basis | 0;
  for (let i = 0; i < label.length; i++) {
    hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
  }
  return hash;
}

/**
 * value mod divisor of integers below 2^32; `%` takes ten times as long for those from 2^31 on. A
 * quotient is never rounded up to the next integer: it is at least 1 / divisor below that, and its
 * error is less than 2^-20 / divisor.
 */
function remainder(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor;
}

/** A pseudo-random number generator with named, independent branches. */
export class Prng {
  readonly #words = new Int32Array(STATE_WORD_COUNT);

  /**
   * A generator at the start of a seed's numbers.
   *
   * @param seed Any integer from 0 to 2^53 - 1.
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(
        `bad seed ${seed}: give an integer from 0 to ${Number.MAX_SAFE_INTEGER}`,
      );
    }
    this.#start(seed % TWO_32 | 0, Math.floor(seed / TWO_32) | 0);
  }

  #start(seed_lo: number, seed_hi: number): void {
    const words = this.#words;
    words[0] = mix32(seed_lo);
    words[1] = mix32(seed_hi ^ 0x9e3779b9);
    words[2] = seed_lo;
    words[3] = 1;
    words[4] = seed_lo;
    words[5] = seed_hi;
    for (let i = 0; i < 12; i++) this.nextU32();
  }

  /** The next 32 random bits, 0 to 2^32 - 1. */
  nextU32(): number {
    const words = this.#words;
    const a = words[0];
    const b = words[1];
    const c = words[2];
    const counter = words[3];
    const result = (a + b | 0) + counter | 0;
    words[3] = counter + 1;
    words[0] = b ^ (b >>> 9);
    words[1] = c + (c << 3);
    words[2] = (c << 21 | c >>> 11) + result;
    return result >>> 0;
  }

  /**
   * A number without bias.
   *
   * @param n How many numbers there are to choose from, 1 to 2^53 - 1.
   * @returns 0 to n - 1.
   */
  below(n: number): number {
    const divisor = n >>> 0;
    if (divisor === n && n !== 0) {
      let value = this.nextU32();
      if (value < divisor) {
        // The lowest 2^32 mod n numbers are drawn again, so that every remainder is as likely.
        const unfair = (-divisor >>> 0) % divisor;
        while (value < unfair) value = this.nextU32();
      }
      return remainder(value, divisor);
    }
    if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`below(${n}): n must be 1 or more`);
    const fair = TWO_53 - TWO_53 % n;
    for (;;) {
      const high = this.nextU32() >>> 11;
      const value = high * TWO_32 + this.nextU32();
      if (value < fair) return value % n;
    }
  }

  /** True with probability numerator / denominator (denominator at least 1). */
  chance(numerator: number, denominator: number): boolean {
    return this.below(denominator) < numerator;
  }

  /**
   * An exponentially distributed sample by von Neumann's comparison method, which needs no
   * logarithm: the length of a falling run of uniform numbers has a Poisson-like law whose parity
   * is 1 with probability e^-x. About six 32-bit numbers per sample.
   *
   * @param mean The mean, in any unit.
   * @returns A whole number of that unit, 0 or more.
   */
  exponential(mean: number): number {
    for (let whole = 0;; whole++) {
      const first = this.nextU32();
      let previous = first;
      let is_accepted = false;
      for (;;) {
        const next = this.nextU32();
        is_accepted = !is_accepted;
        if (next > previous) break;
        previous = next;
      }
      if (is_accepted) return Math.floor((whole + first / TWO_32) * mean);
    }
  }

  /**
   * A branch for one purpose. It depends on the seed and the label alone, not on how much was drawn
   * before, so a new draw in one part of a program does not change another part's numbers. The same
   * label gives the same branch again.
   *
   * @param label The purpose, such as "faults".
   */
  fork(label: string): Prng {
    const branch = new Prng(0);
    const seed_lo = mix32(hashLabel(label, 0x811c9dc5) ^ this.#words[4]);
    const seed_hi = mix32(hashLabel(label, seed_lo) ^ this.#words[5]);
    branch.#start(seed_lo, seed_hi);
    return branch;
  }

  /** A copy of the state, for a snapshot: six words. */
  get state(): Int32Array {
    return this.#words.slice();
  }

  /** Goes back to a state read earlier. */
  set state(state: Int32Array) {
    if (state.length !== STATE_WORD_COUNT) {
      throw new RangeError(`a Prng state has ${STATE_WORD_COUNT} words, not ${state.length}`);
    }
    this.#words.set(state);
  }
}
