import { assert, assertEquals, assertThrows } from "@std/assert";
import { startJob, untilWord } from "../tests/workers/start_job.ts";
import { FUTEX_WORD, WAITER_COUNT_WORD } from "../tests/workers/shared_words_worker.ts";
import { InvariantError } from "./invariant.ts";
import { futexWake, Notification } from "./notification.ts";

/** Upstream's enumeration, as the words that it is. */
const State = { INITIAL: 0, FINAL: 1 } as const;

/** Threads wait at a word; all of them must see the value that it is changed to. */
async function checkFutex(thread_count: number, initial: number, final: number): Promise<void> {
  const buffer = new SharedArrayBuffer(8);
  const words = new Int32Array(buffer);
  words[FUTEX_WORD] = initial;
  const threads = Array.from(
    { length: thread_count },
    () => startJob({ action: "futex_wait", buffer, value: initial }),
  );
  await untilWord(words, WAITER_COUNT_WORD, thread_count);
  // A wake-up without a change of the word must leave every thread waiting.
  futexWake(words, FUTEX_WORD, thread_count);
  await new Promise((done) => setTimeout(done, 5));
  Atomics.store(words, FUTEX_WORD, final);
  futexWake(words, FUTEX_WORD, thread_count);
  assertEquals(await Promise.all(threads), new Array<number>(thread_count).fill(final));
}

Deno.test("base_test NotifyBeforeWait: a notification made before the wait ends it at once", () => {
  const notification = new Notification(new Int32Array(new SharedArrayBuffer(4)), 0);
  assert(!notification.hasBeenNotified());
  notification.notify();
  assert(notification.hasBeenNotified());
  notification.waitForNotification();
});

Deno.test("base_test NotifyAfterWait: threads that wait pass a notification on", async () => {
  const buffer = new SharedArrayBuffer(16);
  const words = new Int32Array(buffer);
  const threads = [0, 1].map((index) =>
    startJob({ action: "pass_on_notification", buffer, value: index })
  );
  // A thread marks its word as waited at before it sleeps.
  await Promise.all([untilWord(words, 0, 1), untilWord(words, 1, 1)]);
  await new Promise((done) => setTimeout(done, 20));
  new Notification(words, 0).notify();
  const last = new Notification(words, 2);
  assert(!last.hasBeenNotified(), "a thread stalls before it passes on");
  assertEquals(await Promise.all(threads), [0, 1]);
  last.waitForNotification();
});

Deno.test("base_test OneThreadInt: one thread waits at an integer and is woken", async () => {
  await checkFutex(1, 0, 5);
});

Deno.test("base_test OneHundredThreadsInt: one hundred threads are woken together", async () => {
  await checkFutex(100, 0, 5);
});

Deno.test("base_test OneThreadEnumClass: one thread waits at an enumeration value", async () => {
  await checkFutex(1, State.INITIAL, State.FINAL);
});

Deno.test("base_test OneHundredThreadsEnumClass: they wait at an enumeration value", async () => {
  await checkFutex(100, State.INITIAL, State.FINAL);
});

Deno.test("base_test LockFree: atomic operations on 32-bit words take no lock", () => {
  assert(Atomics.isLockFree(Int32Array.BYTES_PER_ELEMENT));
});

Deno.test("notification: notifying twice is a broken invariant, until a reset", () => {
  const notification = new Notification(new Int32Array(new SharedArrayBuffer(4)), 0);
  notification.notify();
  assertThrows(() => notification.notify(), InvariantError, "notified twice");
  notification.reset();
  assert(!notification.hasBeenNotified());
  notification.notify();
  assert(notification.hasBeenNotified());
});

Deno.test("notification: a waiter is marked in the word, so that notify knows to wake", () => {
  const words = new Int32Array(new SharedArrayBuffer(4));
  words[0] = 1;
  const notification = new Notification(words, 0);
  assert(!notification.hasBeenNotified());
  notification.notify();
  assertEquals(words[0], 2);
});
