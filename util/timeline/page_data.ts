/**
 * The form in which a timeline travels inside its page: JSON, with the spans packed into base64.
 *
 * @module
 */

/** What the page's script gets. */
export interface PageData {
  /** CPUs, ascending. */
  readonly cpus: readonly number[];
  /** End of the run in ns. */
  readonly end_ns: number;
  /** Sub-tests: name, begin and end in ns. */
  readonly marks: readonly (readonly [string, number, number])[];
  /** Number of spans. */
  readonly span_count: number;
  /** Spans as {@linkcode SpanPacker} writes them. */
  readonly spans: string;
  /** Threads by number in the spans: tid and name. */
  readonly threads: readonly (readonly [number, string])[];
  /** Refused transactions: time in ns, CPU, name of the state. */
  readonly refusals: readonly (readonly [number, number, string])[];
}

/** Bytes that become base64 at a time; a multiple of 3, so that no padding stands inside. */
const CHUNK_BYTES = 6144;

/**
 * Packs spans: per span five numbers of 7 bits a byte, low bits first, as LEB128: position of the
 * CPU, scheduling class, number of the thread, ns since the CPU's span before, length in ns.
 */
export class SpanPacker {
  readonly #bytes = new Uint8Array(CHUNK_BYTES);
  readonly #write: (base64: string) => void;
  readonly #last_end_ns: Float64Array;
  #length = 0;

  /**
   * @param cpu_count Number of CPUs.
   * @param write Takes the text.
   */
  constructor(cpu_count: number, write: (base64: string) => void) {
    this.#last_end_ns = new Float64Array(cpu_count);
    this.#write = write;
  }

  /** Adds a span; spans of one CPU come in the order of time and do not overlap. */
  add(
    cpu_index: number,
    mode: number,
    thread: number,
    start_ns: number,
    end_ns: number,
  ): void {
    this.#number(cpu_index);
    this.#number(mode);
    this.#number(thread);
    this.#number(start_ns - this.#last_end_ns[cpu_index]);
    this.#number(end_ns - start_ns);
    this.#last_end_ns[cpu_index] = end_ns;
  }

  #number(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#byte(rest % 128 + 128);
      rest = Math.floor(rest / 128);
    }
    this.#byte(rest);
  }

  #byte(value: number): void {
    this.#bytes[this.#length++] = value;
    if (this.#length === CHUNK_BYTES) this.end();
  }

  /** Writes what is left. */
  end(): void {
    this.#write(btoa(String.fromCharCode(...this.#bytes.subarray(0, this.#length))));
    this.#length = 0;
  }
}
