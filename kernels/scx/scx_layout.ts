/**
 * Numbers that the scx program, its loader and this process share: native/ghost_abi.h in
 * TypeScript. A test holds the two against each other.
 *
 * @module
 */

/** CPUs that the scx program can keep enclaves on. */
export const SCX_CPU_COUNT = 64;
/** Enclaves at a time. */
export const SCX_ENCLAVE_COUNT = 4;
/** Status words of an enclave. */
export const SCX_WORD_COUNT = 65534;
/** Most queues at a time. */
export const SCX_QUEUE_COUNT_MAX = 1024;
/** Bytes of a queue in its map, whatever part of it is used. */
export const QUEUE_STRIDE_BYTES = 528384;
/** Bytes of an enclave's status words. */
export const SW_REGION_BYTES = 2097152;
/** Bytes of one agent's {@linkcode TurnWord}s. */
export const TURN_BYTES = 64;
/** Bytes of the report. */
export const REPORT_BYTES = 512;
/** Bytes of what the kernel says of its CPUs and tasks when it unloads the program. */
export const EXIT_DUMP_BYTES = 32768;
/** Bytes of an enclave's own record. */
export const ENCLAVE_BYTES = 40;

/** Operations of the control program (`enum scx_op`). */
export const SCX_OP = {
  enclave_create: 0,
  enclave_cpus: 1,
  enclave_destroy: 2,
  queue_create: 3,
  queue_close: 4,
  queue_default: 5,
  queue_wakeup: 6,
  agent_become: 7,
  agent_leave: 8,
  agent_word: 9,
  agent_associate: 10,
  agent_wake: 11,
  timer: 12,
  unlatch: 13,
  task_word: 14,
  task_runtime: 15,
  task_associate: 16,
  task_enclave: 17,
  word_free: 18,
  join: 19,
  unjoin: 20,
  online: 21,
  tunable: 22,
  wait_limit: 23,
  discover: 24,
} as const;

/** Tunables that the program knows (`enum scx_tunable`). */
export const SCX_TUNABLES: readonly string[] = [
  "wake_on_waker_cpu",
  "deliver_cpu_availability",
  "deliver_agent_runnability",
];

/** Why the program was unloaded, and what it counted. */
export interface ScxReport {
  /** 0 while it is loaded; else why it is not (`enum scx_exit_kind` of the kernel). */
  readonly exit_kind: number;
  /** Transactions that succeeded. */
  readonly latched_count: number;
  /** Tasks that got their CPU through a transaction. */
  readonly dispatched_count: number;
  /** Tasks that could not be run although they were latched. */
  readonly latch_failure_count: number;
  /** Tasks that found no status word, and run without a policy. */
  readonly no_word_count: number;
  /** Messages sent. */
  readonly message_count: number;
  /** Times an agent could not be woken at once. */
  readonly lost_doorbell_count: number;
  /** Times a task of no live enclave was given a CPU. */
  readonly fallback_count: number;
  /** Times a sleeping agent was woken. */
  readonly doorbell_count: number;
  /** Times a task lost its CPU. */
  readonly preempt_count: number;
  /** Times a task was run where it may, not where its policy put it. */
  readonly stray_count: number;
  /** Transactions that were refused, by state − GHOST_TXN_COMPLETE. */
  readonly refused_counts: readonly number[];
  /** The kernel's word for the exit kind. */
  readonly reason: string;
  /** What the kernel says besides. */
  readonly message: string;
}

const REFUSED_WORD = 16;
const REASON_BYTE = 128;
const MESSAGE_BYTE = 192;

/** Text up to a zero, or to the end. */
export function textAt(bytes: Uint8Array, start: number, end: number): string {
  const part = bytes.slice(start, end);
  const zero = part.indexOf(0);
  return new TextDecoder().decode(zero < 0 ? part : part.subarray(0, zero));
}

/**
 * Reads a report.
 *
 * @param bytes The map's value.
 * @returns Its parts.
 */
export function readReport(bytes: Uint8Array): ScxReport {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getInt32(index * 4, true);
  return {
    exit_kind: word(0),
    latched_count: word(1),
    dispatched_count: word(2),
    latch_failure_count: word(3),
    no_word_count: word(4),
    message_count: word(5),
    lost_doorbell_count: word(6),
    fallback_count: word(7),
    doorbell_count: word(8),
    preempt_count: word(9),
    stray_count: word(10),
    refused_counts: Array.from({ length: 16 }, (_, state) => word(REFUSED_WORD + state)),
    reason: textAt(bytes, REASON_BYTE, MESSAGE_BYTE),
    message: textAt(bytes, MESSAGE_BYTE, REPORT_BYTES),
  };
}

/** An enclave as the program keeps it. */
export interface ScxEnclaveRecord {
  /** CPUs, ascending. */
  readonly cpus: readonly number[];
  /** 0 none, 1 there, 2 being destroyed. */
  readonly state: number;
  /** An agent process is online. */
  readonly is_online: boolean;
  /** The process of the agents. */
  readonly owner_pid: number;
  /** Tasks in it. */
  readonly task_count: number;
}

/** CPUs of a 64-bit mask in two words. */
export function cpusOfMask(lo: number, hi: number): number[] {
  const cpus: number[] = [];
  for (let cpu = 0; cpu < SCX_CPU_COUNT; cpu++) {
    if ((((cpu < 32 ? lo : hi) >>> (cpu & 31)) & 1) !== 0) cpus.push(cpu);
  }
  return cpus;
}

/** The two words of a set of CPUs. */
export function maskOfCpus(cpus: readonly number[]): [lo: number, hi: number] {
  let lo = 0;
  let hi = 0;
  for (const cpu of cpus) {
    if (cpu < 32) lo |= 1 << cpu;
    else hi |= 1 << (cpu - 32);
  }
  return [lo, hi];
}

/**
 * Reads an enclave's record.
 *
 * @param bytes The map's value.
 * @returns Its parts.
 */
export function readEnclaveRecord(bytes: Uint8Array): ScxEnclaveRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getInt32(index * 4, true);
  return {
    cpus: cpusOfMask(word(0), word(1)),
    state: word(2),
    is_online: word(3) !== 0,
    owner_pid: word(4),
    task_count: word(6),
  };
}
