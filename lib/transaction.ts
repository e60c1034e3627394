/**
 * Transaction records in shared memory: write the fields, publish READY, read the state that the
 * kernel leaves. Knows records by number and targets by 64-bit id, and no task type, so that other
 * kernel services can be decided through the same records.
 *
 * @module
 */
import {
  CPU_DATA_BYTES,
  GHOST_TXN_ABORTED,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_READY,
  SYNC_GROUP_NOT_OWNED,
  TXN_AGENT_BARRIER_WORD,
  TXN_COMMIT_TIME_WORD,
  TXN_FLAGS_WORD,
  TXN_GTID_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_NAMES,
  TXN_STATE_WORD,
  TXN_TASK_BARRIER_WORD,
} from "../ffi/abi/constants.ts";
import { type Memory, u64At } from "../ffi/memory.ts";

// Own copies: V8 compiles a module's own constants into its code, and looks imported and exported
// ones up each time.
const STRIDE_WORDS = CPU_DATA_BYTES / 4;
const STATE_WORD = TXN_STATE_WORD;
const AGENT_BARRIER_WORD = TXN_AGENT_BARRIER_WORD;
const TASK_BARRIER_WORD = TXN_TASK_BARRIER_WORD;
const FLAGS_WORD = TXN_FLAGS_WORD;
const GTID_WORD = TXN_GTID_WORD;
const OWNER_WORD = TXN_OWNER_WORD;
const COMMIT_TIME_WORD = TXN_COMMIT_TIME_WORD;
const READY = GHOST_TXN_READY;
const COMPLETE = GHOST_TXN_COMPLETE;

/** Words from one record to the next. */
export const TXN_STRIDE_WORDS: number = STRIDE_WORDS;

/** The transaction records of an enclave. */
export class TransactionTable {
  /** The records; record n starts at word n × {@linkcode TXN_STRIDE_WORDS}. */
  declare readonly words: Int32Array;
  declare private readonly memory: Memory;

  /**
   * Opens the records where the kernel mapped them.
   *
   * @param memory How shared words are written.
   * @param words The `cpu_data` mapping.
   */
  constructor(memory: Memory, words: Int32Array) {
    this.memory = memory;
    this.words = words;
  }

  /** State of a record, with everything the kernel wrote before it. */
  state(record: number): number {
    return this.memory.acquire(this.words, record * STRIDE_WORDS + STATE_WORD);
  }

  /**
   * Opens a transaction: all fields, then READY.
   *
   * @param record Number of the record (the CPU to run on).
   * @param target_lo Low word of the target id.
   * @param target_hi High word of the target id.
   * @param target_barrier Sequence number of the target as the caller knows it.
   * @param agent_barrier The caller's barrier; checked on local commits only.
   * @param commit_flags COMMIT_AT_* and friends, 0 for greedy.
   * @param run_flags RTLA_* and friends.
   */
  open(
    record: number,
    target_lo: number,
    target_hi: number,
    target_barrier: number,
    agent_barrier: number,
    commit_flags: number,
    run_flags: number,
  ): void {
    const words = this.words;
    const base = record * STRIDE_WORDS;
    words[base + AGENT_BARRIER_WORD] = agent_barrier;
    words[base + TASK_BARRIER_WORD] = target_barrier;
    words[base + FLAGS_WORD] = run_flags | (commit_flags << 16);
    words[base + GTID_WORD] = target_lo;
    words[base + GTID_WORD + 1] = target_hi;
    this.memory.publish(words, base + STATE_WORD, READY);
  }

  /**
   * Withdraws an open transaction.
   *
   * @returns True if it was still open and is now ABORTED.
   */
  abort(record: number): boolean {
    const at = record * STRIDE_WORDS + STATE_WORD;
    const before = this.memory.compareExchange(
      this.words,
      at,
      READY,
      GHOST_TXN_ABORTED,
    );
    if (before !== READY) return false;
    this.memory.publish(this.words, at - STATE_WORD + OWNER_WORD, SYNC_GROUP_NOT_OWNED);
    return true;
  }

  /**
   * Takes a record for a sync group.
   *
   * @param owner Id of the caller, ≥ 0.
   * @returns True if the record is now the caller's.
   */
  takeOwnership(record: number, owner: number): boolean {
    const at = record * STRIDE_WORDS + OWNER_WORD;
    const before = this.memory.compareExchange(this.words, at, SYNC_GROUP_NOT_OWNED, owner);
    return before === SYNC_GROUP_NOT_OWNED || before === owner;
  }

  /** Owner of the record's sync group, or −1. */
  owner(record: number): number {
    return this.memory.acquire(this.words, record * STRIDE_WORDS + OWNER_WORD);
  }

  /** Gives a record back after a failed sync group. */
  releaseOwnership(record: number): void {
    const at = record * STRIDE_WORDS + OWNER_WORD;
    this.memory.publish(this.words, at, SYNC_GROUP_NOT_OWNED);
  }

  /** When the kernel committed, in ns. */
  commitTimeNs(record: number): number {
    return u64At(this.words, record * STRIDE_WORDS + COMMIT_TIME_WORD);
  }
}

/** True if the transaction waits for the kernel. */
export function txnOpen(state: number): boolean {
  return state === READY;
}

/** True if a CPU is working on the transaction. */
export function txnClaimed(state: number): boolean {
  return state >= 0 && state !== READY;
}

/** True if the transaction is over, well or badly. */
export function txnCommitted(state: number): boolean {
  return state < 0;
}

/** True if the transaction succeeded. */
export function txnSucceeded(state: number): boolean {
  return state === COMPLETE;
}

/** Name of a state, as upstream prints it. */
export function txnStateName(state: number): string {
  if (state === READY) return "GHOST_TXN_READY";
  if (state >= 0 && state < 512) return `SUCCESSFUL_COMMIT_ON_CPU_${state}`;
  return TXN_STATE_NAMES[state - COMPLETE] ?? `UNKNOWN_COMMIT_STATE_${state}`;
}
