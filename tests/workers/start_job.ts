/**
 * Starts threads for the tests of structures in shared memory.
 *
 * @module
 */

import type { SharedWordsJob } from "./shared_words_worker.ts";

/**
 * Starts a thread.
 *
 * @param job What it does.
 * @returns What it says when it has done it.
 */
export function startJob(job: SharedWordsJob): Promise<number> {
  const worker = new Worker(new URL("./shared_words_worker.ts", import.meta.url), {
    type: "module",
  });
  return new Promise((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<number>) => {
      worker.terminate();
      resolve(event.data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      reject(new Error(event.message));
    };
    worker.postMessage(job);
  });
}

/** Waits, without blocking the event loop, until a shared word has reached a number. */
export async function untilWord(words: Int32Array, index: number, value: number): Promise<void> {
  while (Atomics.load(words, index) < value) await new Promise((done) => setTimeout(done, 1));
}
