/**
 * Every bound of the project, in one place. A bound that depends on another one says so in
 * {@linkcode limitProblems}, which runs when this module is loaded.
 *
 * @module
 */

import { GHOST_MAX_QUEUE_ELEMS } from "../ffi/abi/constants.ts";

/** CPUs of one machine: the width of every CPU mask (ghost-userspace `MAX_CPUS`). */
export const MAX_CPU_COUNT = 512;
/** 32-bit words of a CPU mask. */
export const CPU_MASK_WORD_COUNT = 16;
/** Status words of one region, agents included; 65534 is what one ghOSt region holds. */
export const MAX_STATUS_WORD_COUNT = 65534;
/** Rows of the task tables: one per status word. */
export const MAX_TASK_COUNT = 65534;
/** Slots of one message queue. */
export const QUEUE_ELEM_COUNT = 65536;
/** Slots of one mailbox between agents: every task may be on its way to the same agent. */
export const MAILBOX_SLOT_COUNT = 65536;
/** Bytes of a state dump. */
export const DUMP_BYTES_MAX = 32768;
/** Bytes of the argument and of the result buffer of an agent RPC. */
export const RPC_BUFFER_BYTES = 32768;

/** What the bounds are called when they are checked together. */
export type LimitName =
  | "max_cpu_count"
  | "cpu_mask_word_count"
  | "max_status_word_count"
  | "max_task_count"
  | "queue_elem_count"
  | "mailbox_slot_count"
  | "dump_bytes_max"
  | "rpc_buffer_bytes";

/** The bounds as a record, so that a test can break one relation at a time. */
export type Limits = Readonly<Record<LimitName, number>>;

/** The bounds this build uses. */
export const LIMITS: Limits = {
  max_cpu_count: MAX_CPU_COUNT,
  cpu_mask_word_count: CPU_MASK_WORD_COUNT,
  max_status_word_count: MAX_STATUS_WORD_COUNT,
  max_task_count: MAX_TASK_COUNT,
  queue_elem_count: QUEUE_ELEM_COUNT,
  mailbox_slot_count: MAILBOX_SLOT_COUNT,
  dump_bytes_max: DUMP_BYTES_MAX,
  rpc_buffer_bytes: RPC_BUFFER_BYTES,
};

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

/**
 * Checks the relations between the bounds.
 *
 * @param limits The bounds.
 * @returns One line per broken relation; none when all hold.
 */
export function limitProblems(limits: Limits): string[] {
  const relations: [boolean, string][] = [
    [limits.cpu_mask_word_count * 32 === limits.max_cpu_count, "a CPU mask has one bit per CPU"],
    [limits.max_status_word_count < 65536, "a status word's index fits 16 bits"],
    [limits.max_task_count <= limits.max_status_word_count, "a task has a status word"],
    [limits.max_cpu_count < limits.max_task_count, "agents leave status words to tasks"],
    [isPowerOfTwo(limits.queue_elem_count), "a queue's slot count is a power of two"],
    [limits.queue_elem_count <= GHOST_MAX_QUEUE_ELEMS, "the kernel accepts the queue's size"],
    [isPowerOfTwo(limits.mailbox_slot_count), "a mailbox's slot count is a power of two"],
    [limits.mailbox_slot_count >= limits.max_task_count, "a mailbox holds every task"],
    [limits.dump_bytes_max <= limits.rpc_buffer_bytes, "a state dump fits an RPC buffer"],
  ];
  return relations.filter(([holds]) => !holds).map(([, text]) => `broken limit: ${text}`);
}

const problems = limitProblems(LIMITS);
if (problems.length > 0) {
  throw new Error(`${problems.join("; ")}; mend lib/limits.ts`);
}
