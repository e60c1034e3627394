/**
 * A service whose threads an agent schedules by what the service says of them: for a job of the VM
 * that sees whether real threads run in the order of their hints. Main program and Worker in one
 * module.
 *
 * Usage: hinted_service.ts ghost|scx qos|deadline. Prints how many threads ran while they were
 * idle, and the threads in the order in which they ended; thread n is to be the n-th.
 *
 * @module
 */
import { loadShim } from "../../ffi/shim.ts";
import { joinEnclave } from "../../experiments/shared/enclave_threads.ts";
import { OperatingError } from "../../lib/errors.ts";
import {
  SCHED_ITEM_RUNNABLE,
  SchedItem,
  WORK_CLASS_ONESHOT,
  WorkClass,
} from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";
import { chooseEnclaveToJoin, THIS_HOST } from "../../util/enclave_choice.ts";
import { threadGtid } from "../../util/thread_gtid.ts";

const THREAD_COUNT = 8;
/** The thread that keeps the CPU busy until all rows are written; its class goes before all. */
const PLUG = THREAD_COUNT;
const PLUG_CLASS = THREAD_COUNT;
/**
 * A thread that is off its CPU may hold a lock that the main thread waits for; while the plug
 * keeps the CPU neither goes on.
 */
const PLUG_MS_MAX = 10_000;
const DEADLINE_STEP_NS = 100e6;
const WORK_MS = 5;
/** How long the agent may take to find the table, and threads to show that they do not run. */
const SETTLE_MS = 2000;
const END_MS = 120_000;
/** So often in a row the threads are found asleep before they join. */
const ASLEEP_LOOKS = 5;
// Words of the memory that the threads share.
const GO = 0;
const PLUG_IS_OUT = 1;
const END_COUNT = 2;
const END_ORDER = 3;
const WORD_COUNT = END_ORDER + THREAD_COUNT;

interface Orders {
  readonly words: Int32Array;
  readonly index: number;
}

function work({ words, index }: Orders, post: (tid: number) => void): void {
  post(loadShim().gettid());
  Atomics.wait(words, GO, 0);
  if (index === PLUG) {
    const end_ms = performance.now() + PLUG_MS_MAX;
    while (Atomics.load(words, PLUG_IS_OUT) === 0 && performance.now() < end_ms);
    return;
  }
  for (const end_ms = performance.now() + WORK_MS; performance.now() < end_ms;);
  words[END_ORDER + Atomics.add(words, END_COUNT, 1)] = index;
}

const pause = (duration_ms: number) => new Promise((wake) => setTimeout(wake, duration_ms));

/** Starts the threads; their thread ids. */
async function startThreads(words: Int32Array): Promise<number[]> {
  return await Promise.all(Array.from({ length: THREAD_COUNT + 1 }, (_, index) => {
    const worker = new Worker(import.meta.url, { type: "module" });
    worker.postMessage({ words, index });
    return new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  }));
}

function isAsleep(tid: number): boolean {
  return /\) S /.test(Deno.readTextFileSync(`/proc/self/task/${tid}/stat`));
}

/** Class `n` goes before class `n + 1` with "qos"; all have the same with "deadline". */
function makeTable(by_qos: boolean): PrioTableClient {
  const client = PrioTableClient.create(THREAD_COUNT + 1, THREAD_COUNT + 1);
  const work_class = new WorkClass();
  work_class.flags = WORK_CLASS_ONESHOT;
  work_class.exectime_ns = WORK_MS * 1e6;
  for (let id = 0; id <= PLUG_CLASS; id++) {
    work_class.id = id;
    work_class.qos = id === PLUG_CLASS ? 31 : by_qos ? THREAD_COUNT - id : 1;
    client.setWorkClass(id, work_class);
  }
  return client;
}

function print(text: string): void {
  console.log(text);
}

async function main(kernel: string, by_qos: boolean): Promise<number | OperatingError> {
  const chosen = await chooseEnclaveToJoin(kernel, "", THIS_HOST);
  if (chosen instanceof OperatingError) return chosen;
  const client = makeTable(by_qos);
  const words = new Int32Array(new SharedArrayBuffer(WORD_COUNT * 4));
  const tids = await startThreads(words);
  const item = new SchedItem();
  const write = (index: number, flags: number, place: number): OperatingError | undefined => {
    const gtid = threadGtid(chosen.kernel.kind, tids[index]);
    if (gtid instanceof OperatingError) return gtid;
    const { lo: gtid_lo, hi: gtid_hi } = gtid;
    const wcid = index === PLUG ? PLUG_CLASS : place;
    const deadline_ns = loadShim().clockMonotonicNs() + (place + 1) * DEADLINE_STEP_NS;
    client.setSchedItem(
      index,
      Object.assign(item, { sid: index, wcid, flags, gtid_lo, gtid_hi, deadline_ns }),
    );
  };
  for (let index = 0; index <= PLUG; index++) {
    const fault = write(index, index === PLUG ? SCHED_ITEM_RUNNABLE : 0, index);
    if (fault !== undefined) return fault;
  }
  for (let looks = 0; looks < ASLEEP_LOOKS;) {
    await pause(SETTLE_MS / 4 / ASLEEP_LOOKS);
    looks = tids.every(isAsleep) ? looks + 1 : 0;
  }
  const fault = joinEnclave(chosen, tids);
  if (fault !== undefined) return fault;
  await pause(SETTLE_MS);
  Atomics.store(words, GO, 1);
  Atomics.notify(words, GO);
  await pause(SETTLE_MS);
  print(`idle_ran ${words[END_COUNT]}`);
  // In an order that is neither that of the places nor its reverse.
  for (let n = 0; n < THREAD_COUNT; n++) {
    const index = (3 * n + 4) % THREAD_COUNT;
    write(index, SCHED_ITEM_RUNNABLE, index);
  }
  // The agent has read them all by then.
  await pause(SETTLE_MS / 4);
  Atomics.store(words, PLUG_IS_OUT, 1);
  for (let waited_ms = 0; waited_ms < END_MS && words[END_COUNT] < THREAD_COUNT; waited_ms += 50) {
    await pause(50);
  }
  print(`order ${[...words.subarray(END_ORDER, END_ORDER + words[END_COUNT])].join(" ")}`);
  return words[END_COUNT] === THREAD_COUNT ? 0 : 1;
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Orders>) => void;
  postMessage(tid: number): void;
};

if ("WorkerGlobalScope" in globalThis) {
  scope.onmessage = ({ data }) => work(data, (tid) => scope.postMessage(tid));
} else if (import.meta.main) {
  const result = await main(Deno.args[0], Deno.args[1] === "qos");
  if (result instanceof OperatingError) console.error(result.message);
  Deno.exit(result instanceof OperatingError ? 1 : result);
}
