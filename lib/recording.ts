/**
 * Recordings: what a kernel told the agents of an enclave, and what they decided. One format for
 * every kernel, JSON lines, described in docs/recording.md. A recording of a simulated run can be
 * repeated and compared record by record; one from a real host can be looked at.
 *
 * @module
 */
import type { KernelKind } from "../kernels/kernel.ts";
import { UsageError } from "./errors.ts";
import { ioReason } from "./host_files.ts";
import type { PolicyDefinition } from "./policy.ts";

const MAGIC = "ghost-agents-recording";
/** Version of the format. */
export const RECORDING_FORMAT = 1;

/** Where and how a run took place: the first line of a recording. */
export interface RecordingHeader {
  /** Kernel of the run. */
  readonly kernel: KernelKind;
  /** ABI version. */
  readonly abi: number;
  /** Seed of a simulated run; 0 on real kernels. */
  readonly seed: number;
  /** Name of the policy. */
  readonly policy: string;
  /** {@linkcode policyHash} of the policy. */
  readonly policy_hash: string;
  /** Name of the program that recorded, and what it needs to repeat the run. */
  readonly config: Readonly<Record<string, unknown>> & { readonly program: string };
}

/** Takes the lines of a recording, one per call, each with its line end. */
export interface LineSink {
  /** Adds one line. */
  write(line: string): void;
}

/** A checksum of text, fed piece by piece: two FNV-1a hashes of 32 bits over UTF-16 units. */
class Checksum {
  #a = 0x811c9dc5 | 0;
  #b = 0x2545f491 | 0;

  add(text: string): void {
    let a = this.#a;
    let b = this.#b;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      a = Math.imul(a ^ unit, 0x01000193);
      b = Math.imul(b ^ unit, 0x01000193) + 1;
    }
    this.#a = a;
    this.#b = b | 0;
  }

  /** 16 hexadecimal digits. */
  text(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#a) + hex(this.#b);
  }
}

/**
 * Tells policies apart: a hash over what a policy declares, that is name, requirements, queues and
 * layout. It is the same from the sources and from an executable. It does not cover the code: code
 * that decides otherwise shows as the first difference of a replay.
 *
 * @param policy The policy.
 * @param cpu_count CPUs of the enclave.
 * @returns 16 hexadecimal digits.
 */
export function policyHash(policy: PolicyDefinition, cpu_count: number): string {
  const { policyApi, name, requires, queues } = policy;
  const checksum = new Checksum();
  checksum.add(JSON.stringify([policyApi, name, requires, queues, policy.layout(cpu_count)]));
  return checksum.text();
}

/** Writes a recording, record by record. */
export class Recorder {
  readonly #sink: LineSink;
  readonly #checksum = new Checksum();
  #record_count = 0;

  /**
   * Begins a recording with its header.
   *
   * @param sink Where the lines go: a file, or a {@linkcode RecordingComparer}.
   * @param header What the recording is of.
   */
  constructor(sink: LineSink, header: RecordingHeader) {
    this.#sink = sink;
    const { kernel, abi, seed, policy, policy_hash, config } = header;
    this.#write(JSON.stringify({
      magic: MAGIC,
      format: RECORDING_FORMAT,
      kernel,
      abi,
      seed,
      policy,
      policy_hash,
      config,
    }));
  }

  #write(text: string): void {
    const line = `${text}\n`;
    this.#checksum.add(line);
    this.#sink.write(line);
  }

  /**
   * Records a message from the kernel.
   *
   * @param time_ns When it was sent.
   * @param queue Id of the queue.
   * @param type MSG_*.
   * @param gtid The task as a decimal number; "0" in a message about a CPU.
   * @param seq Sequence number.
   * @param ok False if the queue was full and the message was lost.
   */
  message(
    time_ns: number,
    queue: number,
    type: number,
    gtid: string,
    seq: number,
    ok: boolean,
  ): void {
    this.#record_count++;
    this.#write(`["m",${time_ns},${queue},${type},"${gtid}",${seq}${ok ? "" : ',"lost"'}]`);
  }

  /**
   * Records what the kernel made of an agent's decision.
   *
   * @param time_ns When the transaction was decided.
   * @param cpu Its CPU.
   * @param gtid Its task as a decimal number, "0" for none.
   * @param state GHOST_TXN_*.
   */
  commit(time_ns: number, cpu: number, gtid: string, state: number): void {
    this.#record_count++;
    this.#write(`["c",${time_ns},${cpu},"${gtid}",${state}]`);
  }

  /**
   * Ends the recording; without this it counts as cut off.
   *
   * @returns Number of records.
   */
  end(): number {
    this.#write(`["end",${this.#record_count},"${this.#checksum.text()}"]`);
    return this.#record_count;
  }
}

/** A complete recording. */
export interface Recording {
  /** What it is of. */
  readonly header: RecordingHeader;
  /** All lines with their line ends: header, records, end. */
  readonly lines: readonly string[];
}

function isHeader(value: unknown): value is RecordingHeader & { magic: string; format: number } {
  return typeof value === "object" && value !== null && "magic" in value && value.magic === MAGIC;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Reads a recording from its text.
 *
 * @param text The text.
 * @param name What to call it in an error.
 * @returns The recording, or what is wrong with it.
 */
export function parseRecording(text: string, name: string): Recording | UsageError {
  const lines = text.split(/(?<=\n)/);
  const header = parseJson(lines[0] ?? "");
  if (!isHeader(header)) {
    return new UsageError(`${name} is not a recording`, "give a file that --record wrote");
  }
  if (header.format !== RECORDING_FORMAT) {
    return new UsageError(
      `${name} has recording format ${header.format}, not ${RECORDING_FORMAT}`,
      "read it with the version that wrote it",
    );
  }
  const end = parseJson(lines[lines.length - 1]);
  if (!Array.isArray(end) || end[0] !== "end" || !text.endsWith("\n")) {
    return new UsageError(`${name} is cut off after line ${lines.length}`, "record the run again");
  }
  const checksum = new Checksum();
  for (let line = 0; line < lines.length - 1; line++) checksum.add(lines[line]);
  if (end[1] !== lines.length - 2 || end[2] !== checksum.text()) {
    return new UsageError(`${name} was changed or damaged`, "record the run again");
  }
  return { header, lines };
}

/**
 * Reads a recording from a file.
 *
 * @param path The file.
 * @returns The recording, or what is wrong with it.
 */
export function readRecording(path: string): Recording | UsageError {
  try {
    return parseRecording(Deno.readTextFileSync(path), path);
  } catch (error) {
    return new UsageError(
      `cannot read ${path}: ${ioReason(error)}`,
      "give a file that --record wrote",
    );
  }
}

/** Where two runs part. */
export interface RecordingDifference {
  /** 0 for the header, then records from 1. */
  readonly record: number;
  /** The line of the recording; "" if it has ended there. */
  readonly recorded: string;
  /** The line of the present run; "" if it has ended there. */
  readonly replayed: string;
}

/** Compares a run with a recording while it is under way; give it to a {@linkcode Recorder}. */
export class RecordingComparer implements LineSink {
  /** The first difference, or null. */
  difference: RecordingDifference | null = null;
  readonly #lines: readonly string[];
  #position = 0;

  /**
   * Makes a sink that keeps no lines.
   *
   * @param recording What to compare with.
   */
  constructor(recording: Recording) {
    this.#lines = recording.lines;
  }

  /** See {@linkcode LineSink.write}. */
  write(line: string): void {
    const record = this.#position++;
    if (this.difference !== null || this.#lines[record] === line) return;
    const recorded = (this.#lines[record] ?? "").trimEnd();
    this.difference = { record, recorded, replayed: line.trimEnd() };
  }

  /**
   * After the end of the run: what came of it, in one line.
   *
   * @returns "identical" with the number of records, or the first difference with both sides.
   */
  verdict(): string {
    const { difference } = this;
    if (difference === null) return `identical: ${this.#position - 2} records`;
    const { record, recorded, replayed } = difference;
    const place = record === 0 ? "the header" : `record ${record}`;
    return `differs at ${place}: recorded ${recorded || "nothing"}, now ${replayed || "nothing"}`;
  }
}
