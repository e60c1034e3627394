/**
 * Records runs of the simulated kernel, in the format of lib/recording.ts.
 *
 * @module
 */
import { gtidValue } from "../../lib/gtid.ts";
import { type LineSink, policyHash, Recorder } from "../../lib/recording.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import type { SimKernel } from "./sim_kernel.ts";
import type { SimTrace } from "./trace.ts";

/** What a simulated run is to be recorded as. */
export interface SimRecordingOptions {
  /** The policy. */
  readonly policy: PolicyDefinition;
  /** CPUs of its enclave. */
  readonly cpu_count: number;
  /** Seed of the run. */
  readonly seed: number;
  /** Name of the program, and what it needs to repeat the run. */
  readonly config: Readonly<Record<string, unknown>> & { readonly program: string };
}

/**
 * An observer that records. Make it before the enclave has agents, so that the first message is in
 * the recording, and call {@linkcode end} when the run is over.
 *
 * ```ts
 * const recorder = new SimRecorder(kernel, file, { policy, cpu_count: 4, seed: 1, config });
 * kernel.machine.trace = recorder;
 * ```
 */
export class SimRecorder implements SimTrace {
  readonly #kernel: SimKernel;
  readonly #recorder: Recorder;
  readonly #next: SimTrace | null;
  readonly #gtids = new Map<number, string>([[-1, "0"]]);

  /**
   * Writes the header.
   *
   * @param kernel The kernel to observe.
   * @param sink Where the lines go: a file, or a RecordingComparer to replay.
   * @param options What the run is.
   * @param next Another observer, called afterwards.
   */
  constructor(
    kernel: SimKernel,
    sink: LineSink,
    options: SimRecordingOptions,
    next: SimTrace | null = null,
  ) {
    this.#kernel = kernel;
    this.#next = next;
    const { policy, cpu_count, seed, config } = options;
    this.#recorder = new Recorder(sink, {
      kernel: "sim",
      abi: kernel.abi.version,
      seed,
      policy: policy.name,
      policy_hash: policyHash(policy, cpu_count),
      config,
    });
  }

  #gtid(tid: number): string {
    let gtid = this.#gtids.get(tid);
    if (gtid === undefined) {
      const thread = this.#kernel.machine.thread(tid);
      gtid = thread === undefined ? "0" : String(gtidValue(thread.gtid_lo, thread.gtid_hi));
      this.#gtids.set(tid, gtid);
    }
    return gtid;
  }

  /** See {@linkcode SimTrace.span}; spans are not recorded, they follow from the rest. */
  span(cpu: number, mode: number, tid: number, start_ns: number, end_ns: number): void {
    this.#next?.span(cpu, mode, tid, start_ns, end_ns);
  }

  /** See {@linkcode SimTrace.message}. */
  message(
    time_ns: number,
    queue: number,
    type: number,
    tid: number,
    seq: number,
    ok: boolean,
  ): void {
    this.#recorder.message(time_ns, queue, type, this.#gtid(tid), seq, ok);
    this.#next?.message(time_ns, queue, type, tid, seq, ok);
  }

  /** See {@linkcode SimTrace.commit}. */
  commit(time_ns: number, cpu: number, tid: number, state: number): void {
    this.#recorder.commit(time_ns, cpu, this.#gtid(tid), state);
    this.#next?.commit(time_ns, cpu, tid, state);
  }

  /**
   * Ends the recording.
   *
   * @returns Number of records.
   */
  end(): number {
    return this.#recorder.end();
  }
}
