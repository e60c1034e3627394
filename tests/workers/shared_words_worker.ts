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
  readonly action: "test_and_clear" | "futex_wait" | "echo_notification";
  /** The memory it works on; each action has its own layout. */
  readonly buffer: SharedArrayBuffer;
  /** A number for the action: the CPU to clear, or the value to wait at. */
  readonly value: number;
}

/** Words of a test_and_clear job: the map, then these. */
export const DONE_WORD = 16;
export const CLEAR_COUNT_WORD = 17;
export const STARTED_WORD = 18;
/** Words of a futex_wait job. */
export const FUTEX_WORD = 0;
export const WAITER_COUNT_WORD = 1;

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

/** Waits for the first notification, stalls, and sends the second one. */
function echo(words: Int32Array, stall_ms: number): number {
  const first = new Notification(words, 0);
  const second = new Notification(words, 1);
  first.waitForNotification();
  Atomics.wait(words, 2, 0, stall_ms);
  second.notify();
  return 0;
}

function run(job: SharedWordsJob): number {
  const words = new Int32Array(job.buffer);
  switch (job.action) {
    case "test_and_clear":
      return testAndClear(words, job.value);
    case "futex_wait":
      return waitAt(words, job.value);
    case "echo_notification":
      return echo(words, job.value);
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
