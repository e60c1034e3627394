/**
 * Sets of CPUs as bit maps of 512 bits, in the words that the kernel's masks use: bit c of the map
 * is bit c % 32 of word c / 32, which on little-endian machines is also the layout of upstream's
 * eight 64-bit words. Source: reference section 3.7.
 *
 * @module
 */

import type { Memory } from "../ffi/memory.ts";
import { UsageError } from "./errors.ts";
import { CPU_MASK_WORD_COUNT, MAX_CPU_COUNT } from "./limits.ts";

/** Bytes of the C library's `cpu_set_t` (1024 bits). */
const CPU_SET_BYTES = 128;
const INT_MAX = 2147483647;

function popCount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function checkCpu(cpu: number): void {
  if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < MAX_CPU_COUNT)) {
    throw new RangeError(`CPU ${cpu} is outside 0-${MAX_CPU_COUNT - 1}`);
  }
}

/** What plain and atomic CPU sets have in common: reading. */
export abstract class CpuMap {
  /** The 512 bits as 16 words. */
  readonly words: Int32Array;

  /**
   * A map over words that are used in place, not copied.
   *
   * @param words 16 words.
   */
  constructor(words: Int32Array) {
    if (words.length !== CPU_MASK_WORD_COUNT) {
      throw new RangeError(`a CPU map has ${CPU_MASK_WORD_COUNT} words, not ${words.length}`);
    }
    this.words = words;
  }

  /** One word of the map. */
  protected abstract wordAt(index: number): number;

  /** True if the CPU is in the map; false for any number that is no CPU. */
  isSet(cpu: number): boolean {
    if (!(cpu >= 0 && cpu < MAX_CPU_COUNT)) return false;
    return (this.wordAt(cpu >>> 5) & (1 << (cpu & 31))) !== 0;
  }

  /** True if no CPU is in the map. */
  isEmpty(): boolean {
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) if (this.wordAt(i) !== 0) return false;
    return true;
  }

  /** Number of CPUs in the map. */
  get size(): number {
    let count = 0;
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) count += popCount(this.wordAt(i));
    return count;
  }

  /**
   * The lowest CPU of the map that is not below another one. A loop that allocates nothing:
   * `for (let cpu = map.next(0); cpu >= 0; cpu = map.next(cpu + 1))`.
   *
   * @param cpu Where to start.
   * @returns The CPU, or -1 if there is none.
   */
  next(cpu: number): number {
    for (let i = cpu >>> 5; i < CPU_MASK_WORD_COUNT; i++) {
      let word = this.wordAt(i);
      if (i === cpu >>> 5) word &= -1 << (cpu & 31);
      if (word !== 0) return (i << 5) + 31 - Math.clz32(word & -word);
    }
    return -1;
  }

  /** The CPUs of the map, ascending. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let cpu = this.next(0); cpu >= 0; cpu = this.next(cpu + 1)) yield cpu;
  }
}

/** A set of CPUs of one thread. */
export class CpuList extends CpuMap {
  /**
   * A set over words that are used in place (upstream's WrappedCpuList).
   *
   * @param words 16 words; a fresh empty set if left out.
   */
  constructor(words: Int32Array = new Int32Array(CPU_MASK_WORD_COUNT)) {
    super(words);
  }

  /** A set of the CPUs given. */
  static from(cpus: Iterable<number>): CpuList {
    const list = new CpuList();
    for (const cpu of cpus) list.set(cpu);
    return list;
  }

  /** See {@linkcode CpuMap.wordAt}. */
  protected override wordAt(index: number): number {
    return this.words[index];
  }

  /** Adds a CPU, 0 to 511. */
  set(cpu: number): void {
    checkCpu(cpu);
    this.words[cpu >>> 5] |= 1 << (cpu & 31);
  }

  /** Takes a CPU out, 0 to 511. */
  clear(cpu: number): void {
    checkCpu(cpu);
    this.words[cpu >>> 5] &= ~(1 << (cpu & 31));
  }

  /** A copy with words of its own. */
  clone(): CpuList {
    return new CpuList(this.words.slice());
  }

  /** Becomes a copy of another set. */
  copyFrom(other: CpuList): this {
    this.words.set(other.words);
    return this;
  }

  /** True if both hold the same CPUs. */
  equals(other: CpuList): boolean {
    return this.words.every((word, i) => word === other.words[i]);
  }

  /** True if every CPU of this set is in the other one. */
  isSubsetOf(other: CpuList): boolean {
    return this.words.every((word, i) => (word & ~other.words[i]) === 0);
  }

  /** Keeps only what the other set holds too. */
  intersection(other: CpuList): this {
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) this.words[i] &= other.words[i];
    return this;
  }

  /** Adds what the other set holds. */
  union(other: CpuList): this {
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) this.words[i] |= other.words[i];
    return this;
  }

  /** Takes out what the other set holds. */
  subtract(other: CpuList): this {
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) this.words[i] &= ~other.words[i];
    return this;
  }

  /** A new set of what either holds (upstream's `+`). */
  plus(other: CpuList): CpuList {
    return this.clone().union(other);
  }

  /** A new set of what only this one holds (upstream's `-`). */
  minus(other: CpuList): CpuList {
    return this.clone().subtract(other);
  }

  /** The nth CPU in ascending order, counted from 0; -1 if there are fewer. */
  nthCpu(n: number): number {
    let left = n;
    for (let i = 0; i < CPU_MASK_WORD_COUNT; i++) {
      let word = this.words[i];
      const count = popCount(word);
      if (left >= count) {
        left -= count;
        continue;
      }
      for (; left > 0; left--) word &= word - 1;
      return (i << 5) + 31 - Math.clz32(word & -word);
    }
    return -1;
  }

  /** The lowest CPU, or -1. */
  front(): number {
    return this.next(0);
  }

  /** The highest CPU, or -1. */
  back(): number {
    for (let i = CPU_MASK_WORD_COUNT - 1; i >= 0; i--) {
      if (this.words[i] !== 0) return (i << 5) + 31 - Math.clz32(this.words[i]);
    }
    return -1;
  }

  /** The CPUs as numbers, ascending. */
  toIntVector(): number[] {
    return [...this];
  }

  /** The set as the kernel reads it from a `cpumask` file: hexadecimal, a comma every 8 digits. */
  cpuMaskStr(): string {
    const groups = Array.from(this.words, (word) => (word >>> 0).toString(16).padStart(8, "0"));
    return groups.reverse().join(",").replace(/^[0,]+(?=.)/, "");
  }

  /** The set as the kernel prints it in a `cpulist` file: "0-3,6"; empty for the empty set. */
  override toString(): string {
    const fields: string[] = [];
    for (let first = this.next(0); first >= 0;) {
      let last = first;
      while (this.isSet(last + 1)) last++;
      fields.push(first === last ? `${first}` : `${first}-${last}`);
      first = this.next(last + 1);
    }
    return fields.join(",");
  }

  /** The set as the bytes of a `cpu_set_t` on a little-endian machine. */
  toCpuSet(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(CPU_SET_BYTES);
    for (const cpu of this) bytes[cpu >>> 3] |= 1 << (cpu & 7);
    return bytes;
  }

  /** The CPUs of a `cpu_set_t`; a CPU above 511 is a RangeError. */
  static fromCpuSet(bytes: Uint8Array): CpuList {
    const list = new CpuList();
    for (let cpu = 0; cpu < bytes.length * 8; cpu++) {
      if (bytes[cpu >>> 3] & (1 << (cpu & 7))) list.set(cpu);
    }
    return list;
  }
}

/** A set that several threads change at once. */
export class AtomicCpuMap extends CpuMap {
  readonly #memory: Memory;

  /**
   * A map over words that other threads use too.
   *
   * @param memory How shared words are read and written.
   * @param words 16 words of shared memory.
   */
  constructor(memory: Memory, words: Int32Array) {
    super(words);
    this.#memory = memory;
  }

  /** See {@linkcode CpuMap.wordAt}. */
  protected override wordAt(index: number): number {
    return this.#memory.acquire(this.words, index);
  }

  /** Adds a CPU, 0 to 511. */
  set(cpu: number): void {
    checkCpu(cpu);
    this.#change(cpu >>> 5, 1 << (cpu & 31), true);
  }

  /** Takes a CPU out, 0 to 511. */
  clear(cpu: number): void {
    this.testAndClear(cpu);
  }

  /**
   * Takes a CPU out.
   *
   * @param cpu The CPU, 0 to 511.
   * @returns True for the one caller that found it set and cleared it.
   */
  testAndClear(cpu: number): boolean {
    checkCpu(cpu);
    const bit = 1 << (cpu & 31);
    return (this.#change(cpu >>> 5, bit, false) & bit) !== 0;
  }

  /** Sets or clears bits; returns what the word held before. */
  #change(index: number, bits: number, is_set: boolean): number {
    for (;;) {
      const before = this.#memory.acquire(this.words, index);
      const after = is_set ? before | bits : before & ~bits;
      if (before === after) return before;
      if (this.#memory.compareExchange(this.words, index, before, after) === before) return before;
      this.#memory.pause();
    }
  }
}

/** The bounds of one field of a CPU list, or undefined if it is no number and no range. */
function parseField(field: string): [number, number] | undefined {
  if (/^[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*$/.test(field)) {
    const cpu = Number(field);
    return Math.abs(cpu) <= INT_MAX ? [cpu, cpu] : undefined;
  }
  const range = /^([0-9]+)-([0-9]+)\n?$/.exec(field);
  if (range === null) return undefined;
  const first = Number(range[1]);
  const last = Number(range[2]);
  return first <= INT_MAX && last <= INT_MAX ? [first, last] : undefined;
}

/**
 * Reads a CPU list in the kernel's format: fields separated by commas, each a number (with white
 * space around it, if any) or a range "a-b" (one newline may follow). Accepts and refuses what
 * upstream does, which stops the process where this returns an error.
 *
 * @param text The list, such as "0-3,6"; the empty text is the empty set.
 * @param cpu_count CPUs must be below this, at most 512.
 * @returns The set, or an error that names the field.
 */
export function parseCpuStr(text: string, cpu_count: number): CpuList | UsageError {
  const fields = text.split(",");
  if (fields[fields.length - 1] === "") fields.pop();
  const list = new CpuList();
  for (const field of fields) {
    if (field === "\n") continue;
    const quoted = JSON.stringify(field);
    const bounds = parseField(field);
    if (bounds === undefined) {
      return new UsageError(
        `bad field ${quoted} in CPU list ${JSON.stringify(text)}`,
        `give numbers and ranges separated by commas, such as 0-3,6`,
      );
    }
    const [first, last] = bounds;
    if (first < 0 || last < first || last >= Math.min(cpu_count, MAX_CPU_COUNT)) {
      const fault = last < first ? "range runs backwards" : "CPU out of range";
      return new UsageError(
        `${fault} in field ${quoted} of CPU list ${JSON.stringify(text)}`,
        `CPUs go from 0 to ${cpu_count - 1}`,
      );
    }
    for (let cpu = first; cpu <= last; cpu++) list.set(cpu);
  }
  return list;
}

/**
 * Reads a CPU mask in the kernel's format, as {@linkcode CpuList.cpuMaskStr} writes it: groups of
 * up to 8 hexadecimal digits, highest CPUs first, separated by commas.
 *
 * @param text The mask; one newline may follow.
 * @returns The set, or an error that names the mask.
 */
export function parseCpuMask(text: string): CpuList | UsageError {
  const quoted = JSON.stringify(text);
  const groups = text.replace(/\n$/, "").split(",").reverse();
  const list = new CpuList();
  for (const [i, group] of groups.entries()) {
    if (!/^[0-9a-fA-F]{1,8}$/.test(group)) {
      return new UsageError(
        `bad group ${JSON.stringify(group)} in CPU mask ${quoted}`,
        "give groups of up to 8 hexadecimal digits separated by commas, such as 1,ffffffff",
      );
    }
    const word = parseInt(group, 16) | 0;
    if (i < CPU_MASK_WORD_COUNT) list.words[i] = word;
    else if (word !== 0) {
      return new UsageError(
        `CPU out of range in CPU mask ${quoted}`,
        `CPUs go from 0 to ${MAX_CPU_COUNT - 1}`,
      );
    }
  }
  return list;
}
