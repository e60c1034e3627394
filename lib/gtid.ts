/**
 * Thread ids of ghOSt. A gtid is 64 bits: a zero, the tid, and a sequence number that tells two
 * threads with the same tid apart. On the scheduling path it is two 32-bit words, low and high;
 * {@linkcode Gtid} and big integers are for everything else. Source: reference section 3.1.
 *
 * @module
 */

import { OperatingError } from "./errors.ts";
import { type ReadText, readTextFile } from "./host_files.ts";
import { assertInvariant } from "./invariant.ts";

/** What a kernel without /proc/sys/kernel/pid_max_max would have in it. */
export const DEFAULT_PID_MAX_MAX = 4194304;
/** Bits of the sequence number on such a kernel, which are all kernels there are. */
export const DEFAULT_SEQNUM_BITS = 41;

/** The gtid 0: no thread. */
export const NULL_GTID = 0n;
/** The gtid that stands for the agent itself. */
export const AGENT_GTID: bigint = -1n;
/** The gtid that stands for the idle task. */
export const IDLE_GTID: bigint = -2n;

const SPECIAL_NAMES: ReadonlyMap<bigint, string> = new Map([
  [NULL_GTID, "<null>"],
  [AGENT_GTID, "<agent>"],
  [IDLE_GTID, "<idle>"],
  [-3n, "<gtid-3>"],
  [-4n, "<gtid-4>"],
  [-5n, "<gtid-5>"],
]);

/** Where and how /proc is read. */
export interface Procfs {
  /** Put in front of "/proc" (`--ghost_procfs_prefix`). */
  readonly prefix: string;
  /** Reads one file. */
  readonly read: ReadText;
  /** Reads one symbolic link; undefined if there is none. */
  readonly readLink: ReadText;
}

function readLink(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined;
  }
}

/** The host's /proc. */
export const HOST_PROCFS: Procfs = { prefix: "", read: readTextFile, readLink };

/**
 * How many low bits of a gtid are its sequence number.
 *
 * @param pid_max_max The most that /proc/sys/kernel/pid_max can be set to, 2 to 2^31.
 */
export function seqnumBitsOf(pid_max_max: number): number {
  assertInvariant(
    Number.isInteger(pid_max_max) && pid_max_max >= 2 && pid_max_max <= 2 ** 31,
    "pid_max_max is between 2 and 2^31",
  );
  return 63 - (32 - Math.clz32(pid_max_max - 1));
}

/**
 * How many low bits of a gtid are its sequence number on this host.
 *
 * @param procfs Where /proc is.
 * @returns The bits, or an error if the kernel's file does not hold a usable number.
 */
export function seqnumBits(procfs: Procfs = HOST_PROCFS): number | OperatingError {
  const path = `${procfs.prefix}/proc/sys/kernel/pid_max_max`;
  const text = procfs.read(path);
  if (text === undefined) return DEFAULT_SEQNUM_BITS;
  const pid_max_max = /^\s*[0-9]+\s*$/.test(text) ? Number(text) : NaN;
  if (pid_max_max >= 2 && pid_max_max <= 2 ** 31) return seqnumBitsOf(pid_max_max);
  return new OperatingError(
    `${path} holds ${JSON.stringify(text)}`,
    "it must be a number from 2 to 2147483648; look at --ghost_procfs_prefix",
  );
}

/**
 * The tid in a gtid; negative for the special gtids.
 *
 * @param hi High word of the gtid.
 * @param seqnum_bits Bits of the sequence number, 32 or more.
 */
export function tidOf(hi: number, seqnum_bits: number = DEFAULT_SEQNUM_BITS): number {
  return hi >> (seqnum_bits - 32);
}

/**
 * The high word of a thread's gtid; the low word is the sequence number's low 32 bits.
 *
 * @param tid Thread id, 0 or more.
 * @param seqnum Sequence number, below 2^seqnum_bits.
 * @param seqnum_bits Bits of the sequence number, 32 or more.
 */
export function gtidHi(
  tid: number,
  seqnum: number,
  seqnum_bits: number = DEFAULT_SEQNUM_BITS,
): number {
  return tid << (seqnum_bits - 32) | Math.floor(seqnum / 4294967296);
}

/** The gtid of two words. */
export function gtidValue(lo: number, hi: number): bigint {
  return BigInt(hi) << 32n | BigInt(lo >>> 0);
}

/** A gtid off the scheduling path. Equal gtids have equal values. */
export class Gtid {
  /** The 64 bits, signed. */
  readonly value: bigint;
  readonly #seqnum_bits: number;

  /**
   * A gtid by its number.
   *
   * @param value The 64 bits; upstream's default -1 stands for the agent.
   * @param seqnum_bits Bits of the sequence number.
   */
  constructor(value: bigint = AGENT_GTID, seqnum_bits: number = DEFAULT_SEQNUM_BITS) {
    this.value = BigInt.asIntN(64, value);
    this.#seqnum_bits = seqnum_bits;
  }

  /** A gtid by its two words. */
  static fromWords(lo: number, hi: number, seqnum_bits: number = DEFAULT_SEQNUM_BITS): Gtid {
    return new Gtid(gtidValue(lo, hi), seqnum_bits);
  }

  /** A gtid by tid and sequence number. */
  static make(tid: number, seqnum: number, seqnum_bits: number = DEFAULT_SEQNUM_BITS): Gtid {
    return new Gtid(BigInt(tid) << BigInt(seqnum_bits) | BigInt(seqnum), seqnum_bits);
  }

  /**
   * The gtid of a thread of this host.
   *
   * @param tid Thread id.
   * @param procfs Where /proc is.
   * @returns The gtid, or an error if there is no such thread or no ghOSt kernel.
   */
  static fromTid(tid: number, procfs: Procfs = HOST_PROCFS): Gtid | OperatingError {
    const seqnum_bits = seqnumBits(procfs);
    if (seqnum_bits instanceof OperatingError) return seqnum_bits;
    const dir = `${procfs.prefix}/proc/${tid}`;
    const text = procfs.read(`${dir}/ghost/gtid`);
    if (text !== undefined) {
      const value = /^\s*(-?[0-9]+)\s*$/.exec(text)?.[1];
      if (value !== undefined) return new Gtid(BigInt(value), seqnum_bits);
      return new OperatingError(
        `Unable to extract gtid for ${tid}: ${dir}/ghost/gtid holds ${JSON.stringify(text)}`,
        "look at --ghost_procfs_prefix",
      );
    }
    const fault = `Unable to open proc entry for ${tid}`;
    if (procfs.read(`${dir}/status`) === undefined) {
      return new OperatingError(`${fault}: ${dir} is missing`, "the thread has ended; list again");
    }
    return new OperatingError(
      `${fault}: ${dir}/ghost is missing: this kernel has no ghOSt class`,
      "try --kernel=scx, or `ghostctl doctor`",
    );
  }

  /** The gtid of the calling thread, or an error as for {@linkcode Gtid.fromTid}. */
  static current(procfs: Procfs = HOST_PROCFS): Gtid | OperatingError {
    const link = procfs.readLink(`${procfs.prefix}/proc/thread-self`);
    const tid = link?.match(/\/task\/([0-9]+)$/)?.[1];
    if (tid !== undefined) return Gtid.fromTid(Number(tid), procfs);
    return new OperatingError(
      `Unable to open proc entry: ${procfs.prefix}/proc/thread-self is missing`,
      "mount procfs, or look at --ghost_procfs_prefix",
    );
  }

  /** Low word. */
  get lo(): number {
    return Number(BigInt.asIntN(32, this.value));
  }

  /** High word. */
  get hi(): number {
    return Number(BigInt.asIntN(32, this.value >> 32n));
  }

  /** True for the gtid 0, which is no thread's. */
  isNull(): boolean {
    return this.value === NULL_GTID;
  }

  /** The thread id; negative for the special gtids. */
  tid(): number {
    return tidOf(this.hi, this.#seqnum_bits);
  }

  /**
   * The process of the thread.
   *
   * @param procfs Where /proc is.
   * @returns Its id; -1 if the thread has ended, also when its tid is another thread's by now.
   */
  tgid(procfs: Procfs = HOST_PROCFS): number {
    const dir = `${procfs.prefix}/proc/${this.tid()}`;
    const tgid = procfs.read(`${dir}/status`)?.match(/^Tgid:\s*([0-9]+)$/m)?.[1];
    const owner = procfs.read(`${dir}/ghost/gtid`)?.trim();
    return tgid === undefined || owner !== `${this.value}` ? -1 : Number(tgid);
  }

  /** The gtid in decimal. */
  toString(): string {
    return `${this.value}`;
  }
}

/** Names of threads, for people who read traces. */
export class GtidNames {
  readonly #names = new Map<bigint, string>();

  /**
   * Names a thread; a name given before is replaced.
   *
   * @param gtid The thread; not the null gtid, which is that of a forgotten initialisation.
   * @param name Any text, also the empty one.
   */
  assignName(gtid: Gtid, name: string): void {
    assertInvariant(!gtid.isNull(), "the null gtid cannot have a name");
    this.#names.set(gtid.value, name);
  }

  /**
   * The name of a gtid: of a special gtid what it stands for, else the name assigned, else one made
   * up, such as "B0/1234/2713530403", and kept.
   */
  describe(gtid: Gtid): string {
    if (gtid.value <= 0n) return SPECIAL_NAMES.get(gtid.value) ?? "<unknown>";
    const known = this.#names.get(gtid.value);
    if (known !== undefined) return known;
    const index = this.#names.size;
    const letter = String.fromCharCode(65 + index % 26);
    const name = `${letter}${Math.floor(index / 26)}/${gtid.tid()}/${gtid.value}`;
    this.#names.set(gtid.value, name);
    return name;
  }
}

/** The names of this isolate. */
export const GTID_NAMES: GtidNames = new GtidNames();

/**
 * The name of a gtid by its two words, for dumps and traces.
 *
 * @param lo Low word.
 * @param hi High word.
 * @param names Where names are kept; made-up names count from the first one asked for there.
 */
export function gtidName(lo: number, hi: number, names: GtidNames = GTID_NAMES): string {
  return names.describe(Gtid.fromWords(lo, hi));
}
