/**
 * Loads that ask for many scheduling decisions: threads that only yield, and pairs of threads that
 * wake each other. They go on until they are stopped.
 *
 * @module
 */
import {
  barrier,
  enterGhost,
  fork,
  give,
  join,
  type LoadStep,
  loop,
  take,
  type ThreadKind,
  threadKind,
  UNTIL_STOPPED,
  yieldCpu,
} from "../load_steps.ts";

const START_WORD = 0;
const FIRST_PAIR_WORD = 1;

/** What the threads do before they begin: into the enclave, if they are to be there. */
function begin(thread_count: number, in_enclave: boolean): LoadStep[] {
  const wait = barrier(START_WORD, thread_count);
  return in_enclave ? [enterGhost(), wait] : [wait];
}

/**
 * Threads that do nothing but yield.
 *
 * @param thread_count How many.
 * @param in_enclave False leaves them in the default class.
 * @returns The first thread, which starts them.
 */
export function yieldLoad(thread_count: number, in_enclave: boolean): ThreadKind {
  const yielder = threadKind(
    "yielder",
    ...begin(thread_count, in_enclave),
    loop(UNTIL_STOPPED, yieldCpu()),
  );
  return threadKind("yield", fork(yielder, thread_count), join());
}

/**
 * Pairs of threads of which each wakes the other and sleeps.
 *
 * @param pair_count How many pairs.
 * @param in_enclave False leaves them in the default class.
 * @returns The first thread, which starts them.
 */
export function pingPongLoad(pair_count: number, in_enclave: boolean): ThreadKind {
  const start = begin(2 * pair_count, in_enclave);
  const pings = { first: FIRST_PAIR_WORD };
  const pongs = { first: FIRST_PAIR_WORD + pair_count };
  const ping = threadKind("ping", ...start, loop(UNTIL_STOPPED, give(pongs), take(pings)));
  const pong = threadKind("pong", ...start, loop(UNTIL_STOPPED, take(pongs), give(pings)));
  return threadKind("pingpong", fork(ping, pair_count), fork(pong, pair_count), join());
}
