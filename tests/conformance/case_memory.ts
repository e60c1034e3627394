/**
 * The memory that the control side of a case shares with its agents' steps: cells for the case
 * itself, a command block per CPU, and a log of the messages that agents have read.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";

/** Words at the start that belong to the case. */
export const CELL_COUNT = 2048;
/** CPUs that can have an agent in a case. */
export const AGENT_COUNT_MAX = 64;

/** Words of a command block. */
export const BLOCK_WORDS = 64;
/** Block word: number of the latest command. */
export const REQUEST = 0;
/** Block word: number of the latest command that is done. */
export const DONE = 1;
/** Block word: operation of the command. */
export const OP = 2;
/** Block word: result of the command. */
export const RESULT = 3;
/** Block word: not 0 while the agent keeps its CPU. */
export const HELD = 4;
/** Block word: steps so far. */
export const STEPS = 5;
/** Block word: flags of the agent's yields. */
export const YIELD_FLAGS = 6;
/** Block word: the first of up to 16 arguments. */
export const ARGUMENTS = 8;
/** Block words: a 512-bit CPU mask. */
export const MASK = 32;

const BLOCKS_AT = CELL_COUNT;
const LOG_AT = BLOCKS_AT + AGENT_COUNT_MAX * BLOCK_WORDS;
const LOG_HEADER_WORDS = 16;
const LOG_ENTRY_COUNT = 1024;
/** CPU of the reader, queue, then the message. */
const LOG_ENTRY_WORDS = 20;

/** Words of a case's memory. */
export const CASE_WORDS: number = LOG_AT + LOG_HEADER_WORDS + LOG_ENTRY_COUNT * LOG_ENTRY_WORDS;

/** Word index of the command block of a CPU. */
export function blockOf(cpu: number): number {
  return BLOCKS_AT + cpu * BLOCK_WORDS;
}

/** A message as an agent read it. */
export interface LoggedMessage {
  /** CPU of the agent that read it. */
  readonly reader: number;
  /** Queue that it came through. */
  readonly queue_id: number;
  /** MSG_* */
  readonly type: number;
  /** Bytes, header included. */
  readonly length: number;
  /** Sequence number. */
  readonly seqnum: number;
  /** Payload. */
  readonly payload: Int32Array;
}

/** Appends the message at a word index of a ring to the log. */
export function logMessage(
  memory: Memory,
  words: Int32Array,
  reader: number,
  queue_id: number,
  message: Int32Array,
  at: number,
): void {
  const slot = memory.add(words, LOG_AT, 1) % LOG_ENTRY_COUNT;
  const entry = LOG_AT + LOG_HEADER_WORDS + slot * LOG_ENTRY_WORDS;
  const word_count = Math.min(((message[at] >>> 16) + 3) >>> 2, LOG_ENTRY_WORDS - 3);
  words[entry + 1] = queue_id;
  words[entry + 2] = reader;
  for (let word = 0; word < word_count; word++) words[entry + 3 + word] = message[at + word];
  memory.publish(words, entry, 1);
}

/** Takes all messages that agents have read since the last call, oldest first. */
export function takeLog(memory: Memory, words: Int32Array): LoggedMessage[] {
  const messages: LoggedMessage[] = [];
  for (;;) {
    const taken = words[LOG_AT + 1];
    const entry = LOG_AT + LOG_HEADER_WORDS + (taken % LOG_ENTRY_COUNT) * LOG_ENTRY_WORDS;
    if (memory.acquire(words, entry) === 0) return messages;
    const header = words[entry + 3];
    const length = header >>> 16;
    const first = entry + 5;
    const last = Math.min(entry + 3 + ((length + 3) >>> 2), entry + LOG_ENTRY_WORDS);
    messages.push({
      reader: words[entry + 2],
      queue_id: words[entry + 1],
      type: header & 0xffff,
      length,
      seqnum: words[entry + 4],
      payload: words.slice(first, last),
    });
    words[entry] = 0;
    words[LOG_AT + 1] = taken + 1;
  }
}
