/**
 * A thread for the tests of structures in shared memory. It is told once what to do, says when it
 * has done it, and ends.
 *
 * @module
 */

import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { AtomicCpuMap } from "../../lib/cpu_list.ts";
import { futexWait, Notification } from "../../lib/notification.ts";

/** What the thread is told. */
export interface SharedWordsJob {
  /** What to do. */
  readonly action: "test_and_clear" | "futex_wait" | "pass_on_notification";
  /** The memory it works on; each action has its own layout. */
  readonly buffer: SharedArrayBuffer;
  /** A number for the action: the CPU to clear, the value to wait at, the word. */
  readonly value: number;
}

/** Words of a test_and_clear job: the map, then these. */
export const DONE_WORD = 16;
export const CLEAR_COUNT_WORD = 17;
export const STARTED_WORD = 18;
/** Words of a futex_wait job. */
export const FUTEX_WORD = 0;
export const WAITER_COUNT_WORD = 1;
/** A word of a pass_on_notification job that nobody changes. */
const STALL_WORD = 3;
const STALL_MS = 50;

function testAndClear(words: Int32Array, cpu: number): number {
  const map = new AtomicCpuMap(HARDWARE_MEMORY, words.subarray(0, 16));
  HARDWARE_MEMORY.add(words, STARTED_WORD, 1);
  while (HARDWARE_MEMORY.acquire(words, DONE_WORD) === 0) {
    if (map.testAndClear(cpu)) HARDWARE_MEMORY.add(words, CLEAR_COUNT_WORD, 1);
  }
  return 0;
}

function waitAt(words: Int32Array, value: number): number {
  HARDWARE_MEMORY.add(words, WAITER_COUNT_WORD, 1);
  futexWait(words, FUTEX_WORD, value);
  return HARDWARE_MEMORY.acquire(words, FUTEX_WORD);
}

/** Waits for the notification at a word, stalls, and sends the one at the next word. */
function passOn(words: Int32Array, index: number): number {
  new Notification(words, index).waitForNotification();
  Atomics.wait(words, STALL_WORD, 0, STALL_MS);
  new Notification(words, index + 1).notify();
  return index;
}

function run(job: SharedWordsJob): number {
  const words = new Int32Array(job.buffer);
  switch (job.action) {
    case "test_and_clear":
      return testAndClear(words, job.value);
    case "futex_wait":
      return waitAt(words, job.value);
    case "pass_on_notification":
      return passOn(words, job.value);
  }
}

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<SharedWordsJob>) => void) | null;
  postMessage(value: number): void;
  close(): void;
};
scope.onmessage = (event) => {
  scope.postMessage(run(event.data));
  scope.close();
};
