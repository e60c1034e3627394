/**
 * `pushtosched`: moves threads to SCHED_OTHER (CFS). Texts and exit statuses are upstream's,
 * reference section 7; into an enclave one moves them by writing to its `tasks` file instead.
 *
 * ```sh
 * cat /sys/fs/ghost/enclave_1/tasks | pushtosched
 * ```
 *
 * @module
 */
import { cureOf, ShimError } from "../ffi/errors.ts";
import { errnoName } from "../ffi/errno.ts";
import { SCHED_OTHER } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { EXIT_FAILURE, EXIT_USAGE, UsageError } from "../lib/errors.ts";

const USAGE = "Usage: pushtosched < FILE_OF_TIDS\n" +
  "Moves every thread whose decimal TID it reads on stdin to SCHED_OTHER (CFS).";
const TID_MAX = 2147483647;

/** The two calls it makes; each gives -errno when it fails. */
export interface SchedulerCalls {
  /** See {@linkcode Shim.schedGetscheduler}. */
  readonly schedGetscheduler: (tid: number) => number;
  /** See {@linkcode Shim.schedSetscheduler}. */
  readonly schedSetscheduler: (
    tid: number,
    policy: number,
    priority: number,
    reset_on_fork: number,
  ) => number;
}

/**
 * Reads thread ids.
 *
 * @param text Decimal numbers with white space between them.
 * @returns The ids, or an error that names the first word that is none.
 */
export function parseTids(text: string): number[] | UsageError {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const wrong = words.find((word) => !/^\d{1,10}$/.test(word) || Number(word) > TID_MAX);
  if (wrong === undefined) return words.map(Number);
  return new UsageError(
    `bad TID ${JSON.stringify(wrong)} on stdin; nothing was moved`,
    "give decimal thread ids, such as an enclave's tasks file has",
  );
}

function reason(call: string, result: number): string {
  return `${errnoName(-result)}: ${cureOf(call, -result)}`;
}

/**
 * Moves threads.
 *
 * @param tids The threads.
 * @param calls The system calls.
 * @param log Takes a line each.
 * @returns The exit status: 1 if a thread's class could not be read back. A thread that cannot be
 * moved is told and does not keep the others from being moved.
 */
export function moveToOther(
  tids: readonly number[],
  calls: SchedulerCalls,
  log: (line: string) => void,
): number {
  log("Moving processes to SCHED_OTHER (CFS).");
  for (const tid of tids) {
    log(`pid: ${tid}`);
    if (calls.schedGetscheduler(tid) === SCHED_OTHER) {
      log(`Already in sched class SCHED_OTHER, skipping pid ${tid}`);
      continue;
    }
    const result = calls.schedSetscheduler(tid, SCHED_OTHER, 0, 0);
    if (result < 0) {
      log(`sched_setscheduler failed (pid: ${tid}): ${reason("sched_setscheduler", result)}`);
      continue;
    }
    const policy = calls.schedGetscheduler(tid);
    if (policy < 0) {
      log(`sched_getscheduler failed (pid: ${tid}): ${reason("sched_getscheduler", policy)}`);
      return EXIT_FAILURE;
    }
    if (policy !== SCHED_OTHER) {
      log(`Failed to set sched policy of pid ${tid}: want SCHED_OTHER(0), got ${policy}`);
    }
  }
  return 0;
}

/**
 * Runs it.
 *
 * @param args None; any other than `--help` is wrong, and upstream's status for that is 1.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  if (args.length === 1 && args[0] === "--help") {
    console.log(USAGE);
    return 0;
  }
  if (args.length > 0) {
    console.error(USAGE);
    return EXIT_FAILURE;
  }
  const tids = parseTids(await new Response(Deno.stdin.readable).text());
  if (tids instanceof UsageError) {
    console.error(`pushtosched: ${tids.message}`);
    return EXIT_USAGE;
  }
  try {
    return moveToOther(tids, loadShim(), (line) => console.error(line));
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    console.error(`pushtosched: ${error.message}`);
    return EXIT_FAILURE;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
