/**
 * Everything that the policy instances of one enclave share: one block of memory, laid out from a
 * declaration. Instances keep no state of their own, so that any of them can be replaced.
 *
 * @module
 */
import { assertInvariant } from "./invariant.ts";
import { mailboxWords } from "./mailbox.ts";
import type { KeptColumns } from "./snapshot.ts";
import { sharedTaskMapWords } from "./shared_task_map.ts";

/** Type of a declared column: a 32-bit word, a double, or that many 32-bit words. */
export type ColumnType = "i32" | "f64" | number;

/** What a policy declares: columns per task, per CPU, and one set for the enclave. */
export interface PolicyLayout {
  /** One value per task row; "i32" or "f64". */
  readonly task: Readonly<Record<string, ColumnType>>;
  /** Values per CPU, each CPU on cache lines of its own. */
  readonly cpu: Readonly<Record<string, ColumnType>>;
  /** Values of the enclave. */
  readonly global: Readonly<Record<string, ColumnType>>;
  /** Columns that a successor gets at an upgrade; none if left out. */
  readonly kept?: KeptColumns;
}

/** Columns of every task, kept by lib/. */
const BASE_TASK: Readonly<Record<string, ColumnType>> = {
  gtid_lo: "i32",
  gtid_hi: "i32",
  generation: "i32",
  seqnum: "i32",
  status_index: "i32",
  owner: "i32",
  next: "i32",
  prev: "i32",
};

/** Columns of every CPU, kept by lib/. */
const BASE_CPU: Readonly<Record<string, ColumnType>> = {
  agent_status_index: "i32",
  step_active: "i32",
  step_count: "i32",
  message_count: "i32",
  commit_count: "i32",
  refused_count: "i32",
  unknown_count: "i32",
  missed_departure_count: "i32",
  overflow_count: "i32",
  rescan_wanted: "i32",
  rescan_count: "i32",
  began_ns: "f64",
  ended_ns: "f64",
};

const LINE_WORDS = 32;

/** Parameters that fix the layout; equal in every thread that opens the state. */
export interface SharedStateShape {
  /** Name of the policy. */
  readonly policy: string;
  /** Declared by the policy. */
  readonly layout: PolicyLayout;
  /** Most tasks at a time. */
  readonly task_capacity: number;
  /** CPUs of the enclave, ascending. */
  readonly cpus: readonly number[];
}

interface Placement {
  readonly offset: number;
  readonly words: number;
  readonly type: ColumnType;
}

function wordsOf(type: ColumnType, count: number): number {
  return (type === "i32" ? 1 : type === "f64" ? 2 : type) * count;
}

/** Words of the allocator: lock, first free row + 1, rows ever used, rows in use. */
export const ALLOCATOR_WORDS = 4;

/** The shared memory of one enclave's policy. */
export class SharedState {
  /** The memory itself, to hand to other threads: shared, or a mapping of shared memory. */
  readonly buffer: ArrayBufferLike;
  /** The parameters the layout was made from. */
  readonly shape: SharedStateShape;
  /** Power of two, at least the task capacity. */
  readonly mailbox_slot_count: number;
  /** Bytes of the whole state. */
  readonly size_bytes: number;
  readonly #task = new Map<string, Placement>();
  readonly #cpu = new Map<string, Placement>();
  readonly #global = new Map<string, Placement>();
  readonly #cpu_start: number;
  readonly #cpu_stride: number;
  readonly #mailbox_start: number;
  readonly #map_start: number;

  /**
   * Lays the declared columns out in shared memory.
   *
   * @param shape Equal in every thread.
   * @param buffer Memory of another instance of the same shape, or what makes some that is zero; a
   * SharedArrayBuffer if left out.
   */
  constructor(
    shape: SharedStateShape,
    buffer?: ArrayBufferLike | ((size_bytes: number) => ArrayBufferLike),
  ) {
    this.shape = shape;
    let slots = 16;
    while (slots < shape.task_capacity) slots *= 2;
    this.mailbox_slot_count = slots;
    let at = place(this.#global, shape.layout.global, 1, ALLOCATOR_WORDS);
    this.#cpu_start = line(at);
    this.#cpu_stride = line(place(this.#cpu, { ...BASE_CPU, ...shape.layout.cpu }, 1, 0));
    at = this.#cpu_start + this.#cpu_stride * shape.cpus.length;
    this.#mailbox_start = at;
    at += line(mailboxWords(slots)) * shape.cpus.length;
    this.#map_start = at;
    at = line(at + sharedTaskMapWords(shape.task_capacity));
    at = place(this.#task, { ...BASE_TASK, ...shape.layout.task }, shape.task_capacity, at);
    this.size_bytes = line(at) * 4;
    this.buffer = typeof buffer === "function"
      ? buffer(this.size_bytes)
      : buffer ?? new SharedArrayBuffer(this.size_bytes);
    assertInvariant(this.buffer.byteLength === this.size_bytes, "state of another shape");
  }

  #view(placement: Placement, offset: number): Int32Array {
    return new Int32Array(this.buffer, offset * 4, placement.words);
  }

  /** Words of the row allocator. */
  allocatorWords(): Int32Array {
    return new Int32Array(this.buffer, 0, ALLOCATOR_WORDS);
  }

  /** Words of the gtid map. */
  mapWords(): Int32Array {
    const words = sharedTaskMapWords(this.shape.task_capacity);
    return new Int32Array(this.buffer, this.#map_start * 4, words);
  }

  /** Words of the mailbox of a CPU's agent. */
  mailboxWords(cpu: number): Int32Array {
    const words = mailboxWords(this.mailbox_slot_count);
    const start = this.#mailbox_start + line(words) * this.cpuIndex(cpu);
    return new Int32Array(this.buffer, start * 4, words);
  }

  /** Position of a CPU in the enclave's list. */
  cpuIndex(cpu: number): number {
    const index = this.shape.cpus.indexOf(cpu);
    assertInvariant(index >= 0, `CPU ${cpu} is not in the enclave`);
    return index;
  }

  /** Names of all task columns. */
  taskColumns(): readonly string[] {
    return [...this.#task.keys()];
  }

  /** A task column of 32-bit words, one per row. */
  task(name: string): Int32Array {
    const placement = find(this.#task, name, "i32");
    return this.#view(placement, placement.offset);
  }

  /** A task column of doubles, one per row. */
  taskF64(name: string): Float64Array {
    const placement = find(this.#task, name, "f64");
    return new Float64Array(this.buffer, placement.offset * 4, placement.words / 2);
  }

  /** Clears all values of a row but its generation. */
  clearers(): Int32Array[] {
    const columns: Int32Array[] = [];
    for (const [name, placement] of this.#task) {
      if (name === "generation") continue;
      columns.push(this.#view(placement, placement.offset));
    }
    return columns;
  }

  /** The words of a CPU column of one CPU. */
  cpu(name: string, cpu: number): Int32Array {
    const placement = find(this.#cpu, name, undefined);
    const start = this.#cpu_start + this.#cpu_stride * this.cpuIndex(cpu);
    return this.#view(placement, start + placement.offset);
  }

  /** A CPU column of doubles of one CPU. */
  cpuF64(name: string, cpu: number): Float64Array {
    const placement = find(this.#cpu, name, "f64");
    const start = this.#cpu_start + this.#cpu_stride * this.cpuIndex(cpu);
    return new Float64Array(this.buffer, (start + placement.offset) * 4, 1);
  }

  /** The words of a column of the enclave. */
  global(name: string): Int32Array {
    const placement = find(this.#global, name, undefined);
    return this.#view(placement, placement.offset);
  }

  /** A column of the enclave as doubles, two words each. */
  globalF64(name: string): Float64Array {
    const placement = find(this.#global, name, undefined);
    return new Float64Array(this.buffer, placement.offset * 4, placement.words / 2);
  }
}

function line(words: number): number {
  return Math.ceil(words / LINE_WORDS) * LINE_WORDS;
}

function place(
  target: Map<string, Placement>,
  columns: Readonly<Record<string, ColumnType>>,
  count: number,
  start: number,
): number {
  let at = start;
  for (const [name, type] of Object.entries(columns)) {
    if (count > 1) at = line(at);
    else if (type !== "i32") at += at & 1;
    const words = wordsOf(type, count);
    target.set(name, { offset: at, words, type });
    at += words;
  }
  return at;
}

function find(
  columns: ReadonlyMap<string, Placement>,
  name: string,
  type: ColumnType | undefined,
): Placement {
  const placement = columns.get(name);
  assertInvariant(placement !== undefined, `column ${name} was not declared`);
  assertInvariant(type === undefined || placement.type === type, `column ${name} is no ${type}`);
  return placement;
}
