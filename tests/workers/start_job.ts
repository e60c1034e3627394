/**
 * Starts threads for the tests of structures in shared memory.
 *
 * @module
 */

import type { PrioTableJob } from "./prio_table_worker.ts";
import type { SharedWordsJob } from "./shared_words_worker.ts";
import type { StructuresJob } from "./structures_worker.ts";

/** A thread that has not done its job by then hangs. */
const TIMEOUT_MS = 20_000;

/**
 * Starts a thread of tests.
 *
 * @param file Module of the thread, beside this one.
 * @param job What it does.
 * @returns What it says when it has done it; rejects if it hangs.
 */
function start(file: string, job: { readonly action: string }): Promise<number> {
  const worker = new Worker(new URL(file, import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const hung = setTimeout(() => reject(new Error(`${job.action} hangs`)), TIMEOUT_MS);
  worker.onmessage = (event: MessageEvent<number>) => resolve(event.data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(job);
  return promise.finally(() => {
    clearTimeout(hung);
    worker.terminate();
  });
}

/** Starts a thread that works on plain words; the number that it says at its end. */
export function startJob(job: SharedWordsJob): Promise<number> {
  return start("./shared_words_worker.ts", job);
}

/** Starts a thread that works on rows, mailboxes or records; how many errors it saw. */
export function startStructuresJob(job: StructuresJob): Promise<number> {
  return start("./structures_worker.ts", job);
}

/** Starts a thread that works on a PrioTable; the number that it says at its end. */
export function startPrioTableJob(job: PrioTableJob): Promise<number> {
  return start("./prio_table_worker.ts", job);
}

/** Waits, without blocking the event loop, until a shared word has reached a number. */
export async function untilWord(words: Int32Array, index: number, value: number): Promise<void> {
  while (Atomics.load(words, index) < value) await new Promise((done) => setTimeout(done, 1));
}
