/**
 * Time: absolute CLOCK_MONOTONIC nanoseconds in a double on real kernels, virtual nanoseconds in
 * the simulator.
 *
 * @module
 */

/** A source of absolute time. */
export interface Clock {
  /** Nanoseconds since the clock's start; never less than before. */
  nowNs(): number;
}

/** A clock that moves when it is told to, for tests and for the simulator. */
export class ManualClock implements Clock {
  /** The time it shows, in nanoseconds. */
  now_ns: number;

  /**
   * A clock that stands still.
   *
   * @param now_ns The time it starts at, in nanoseconds.
   */
  constructor(now_ns = 0) {
    this.now_ns = now_ns;
  }

  /** See {@linkcode Clock.nowNs}. */
  nowNs(): number {
    return this.now_ns;
  }

  /**
   * Moves on.
   *
   * @param duration_ns Nanoseconds, 0 or more.
   */
  advance(duration_ns: number): void {
    if (!(duration_ns >= 0)) {
      throw new RangeError(`a clock cannot go back: advance(${duration_ns})`);
    }
    this.now_ns += duration_ns;
  }
}

/** The process's own monotonic clock, for control and tests; agents use the shim's clock. */
export class ProcessClock implements Clock {
  /** See {@linkcode Clock.nowNs}. */
  nowNs(): number {
    return Math.round(performance.now() * 1e6);
  }
}
