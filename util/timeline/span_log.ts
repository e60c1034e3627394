/**
 * Keeps what a timeline shows: who had which CPU when, and which transactions were refused. Memory
 * is bounded; what comes after the bound is counted and not kept.
 *
 * @module
 */
import { MODE_IDLE } from "../../kernels/sim/thread.ts";
import type { SimTrace } from "../../kernels/sim/trace.ts";
import { txnSucceeded } from "../../lib/transaction.ts";

const CHUNK_SPANS = 4096;
/** Spans kept unless told otherwise: about 6 MB. */
export const SPANS_MAX = 262_144;
/** Refused transactions kept. */
export const REFUSALS_MAX = 16_384;

/** Spans in the order in which they ended. */
class SpanChunk {
  readonly start_ns = new Float64Array(CHUNK_SPANS);
  readonly end_ns = new Float64Array(CHUNK_SPANS);
  readonly tid = new Int32Array(CHUNK_SPANS);
  readonly cpu = new Uint16Array(CHUNK_SPANS);
  readonly mode = new Uint8Array(CHUNK_SPANS);
}

/** A transaction that the kernel refused. */
export interface Refusal {
  /** When, in ns. */
  readonly time_ns: number;
  /** CPU of the transaction. */
  readonly cpu: number;
  /** Thread that it named, or −1. */
  readonly tid: number;
  /** GHOST_TXN_* state. */
  readonly state: number;
}

/** Gets one span; see {@linkcode SimTrace.span}. */
export type SpanVisitor = (
  cpu: number,
  mode: number,
  tid: number,
  start_ns: number,
  end_ns: number,
) => void;

/** An observer that keeps spans and refusals. */
export class SpanLog implements SimTrace {
  /** Spans kept. */
  span_count = 0;
  /** Spans and refusals that were not kept. */
  dropped_count = 0;
  /** When the first one was not kept, in ns; Infinity if all were. */
  truncated_ns: number = Infinity;
  /** Refused transactions in the order of time. */
  readonly refusals: Refusal[] = [];
  readonly #span_max: number;
  readonly #chunks: SpanChunk[] = [];

  /**
   * Makes an empty log.
   *
   * @param span_max Spans to keep.
   */
  constructor(span_max: number = SPANS_MAX) {
    this.#span_max = span_max;
  }

  /** See {@linkcode SimTrace.span}; times without work are not kept. */
  span(cpu: number, mode: number, tid: number, start_ns: number, end_ns: number): void {
    if (mode === MODE_IDLE) return;
    if (this.span_count >= this.#span_max) return this.#drop(start_ns);
    const at = this.span_count % CHUNK_SPANS;
    if (at === 0) this.#chunks.push(new SpanChunk());
    const chunk = this.#chunks[this.#chunks.length - 1];
    chunk.cpu[at] = cpu;
    chunk.mode[at] = mode;
    chunk.tid[at] = tid;
    chunk.start_ns[at] = start_ns;
    chunk.end_ns[at] = end_ns;
    this.span_count++;
  }

  #drop(time_ns: number): void {
    this.dropped_count++;
    if (time_ns < this.truncated_ns) this.truncated_ns = time_ns;
  }

  /** See {@linkcode SimTrace.message}; timelines do not show messages. */
  message(): void {}

  /** See {@linkcode SimTrace.commit}. */
  commit(time_ns: number, cpu: number, tid: number, state: number): void {
    if (txnSucceeded(state)) return;
    if (this.refusals.length >= REFUSALS_MAX) return this.#drop(time_ns);
    this.refusals.push({ time_ns, cpu, tid, state });
  }

  /** Visits all spans in the order in which they ended; on each CPU that is the order of time. */
  forEach(visit: SpanVisitor): void {
    for (let index = 0; index < this.span_count; index++) {
      const chunk = this.#chunks[Math.floor(index / CHUNK_SPANS)];
      const at = index % CHUNK_SPANS;
      visit(chunk.cpu[at], chunk.mode[at], chunk.tid[at], chunk.start_ns[at], chunk.end_ns[at]);
    }
  }
}
