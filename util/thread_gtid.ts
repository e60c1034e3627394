/**
 * The gtid of a thread as the agents of a kernel see it, for applications that tell them about
 * their threads.
 *
 * @module
 */
import { OperatingError } from "../lib/errors.ts";
import { DEFAULT_SEQNUM_BITS, Gtid } from "../lib/gtid.ts";
import { type ReadText, readTextFile } from "../lib/host_files.ts";
import type { KernelView } from "../kernels/real_kernel.ts";

/** Place of the start time, in clock ticks, behind the name in /proc/TID/stat. */
const START_TIME_FIELD = 19;

/** sched_ext has no gtids: the BPF program makes them of the tid and the time of its start. */
function scxGtid(tid: number, read: ReadText): Gtid | OperatingError {
  const stat = read(`/proc/${tid}/stat`);
  // The name, in parentheses, may hold anything.
  const start_ticks = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[START_TIME_FIELD];
  if (start_ticks === undefined) {
    return new OperatingError(`/proc/${tid}/stat is missing`, "the thread has ended");
  }
  return Gtid.make(tid, Number(start_ticks) % 2 ** DEFAULT_SEQNUM_BITS);
}

/**
 * The gtid of a thread of this host.
 *
 * @param kernel The kernel that its agent is of.
 * @param tid The thread.
 * @param read Reads /proc.
 * @returns The gtid, or why there is none.
 */
export function threadGtid(
  kernel: KernelView["kind"],
  tid: number,
  read: ReadText = readTextFile,
): Gtid | OperatingError {
  return kernel === "scx" ? scxGtid(tid, read) : Gtid.fromTid(tid);
}
