/**
 * What the simulated machine tells an observer: who had which CPU, which messages were sent, what
 * became of transactions. Timelines and recordings are observers.
 *
 * @module
 */

/** An observer; called in the order of virtual time. */
export interface SimTrace {
  /**
   * A CPU changed hands.
   *
   * @param cpu CPU.
   * @param mode MODE_* that ended.
   * @param tid Thread that ran in the modes DEFAULT and GHOST, else −1.
   * @param start_ns When the mode began.
   * @param end_ns When it ended.
   */
  span(cpu: number, mode: number, tid: number, start_ns: number, end_ns: number): void;
  /** A message was sent; `tid` is −1 for CPU messages, `ok` false if the ring was full. */
  message(
    time_ns: number,
    queue: number,
    type: number,
    tid: number,
    seq: number,
    ok: boolean,
  ): void;
  /** A transaction was decided; `tid` −1 if it named no thread. */
  commit(time_ns: number, cpu: number, tid: number, state: number): void;
}
