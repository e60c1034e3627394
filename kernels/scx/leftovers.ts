/**
 * Threads that were in an enclave when its agent was killed: sched_ext lets them run under the
 * default scheduler, and they keep the policy SCHED_EXT, with which the next scheduler would take
 * them, asked or not. Before one is loaded they are given back for good.
 *
 * @module
 */
import { readTextFile } from "../../lib/host_files.ts";
import { leaveExt } from "./membership.ts";
import { SCHED_EXT } from "./membership.ts";

const STATE_PATH = "/sys/kernel/sched_ext/state";
/** Field 41 of /proc/PID/stat, counted behind the command's name. */
const POLICY_FIELD = 38;

/** Threads of the host that are SCHED_EXT. */
export function extTids(): number[] {
  const tids: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      for (const thread of Deno.readDirSync(`/proc/${name}/task`)) {
        const text = readTextFile(`/proc/${name}/task/${thread.name}/stat`) ?? "";
        const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
        if (Number(fields[POLICY_FIELD]) === SCHED_EXT) tids.push(Number(thread.name));
      }
    } catch { /* ended meanwhile */ }
  }
  return tids;
}

/**
 * Gives leftover threads back to the default scheduler, if no sched_ext scheduler is loaded.
 *
 * @returns How many there were.
 */
export function releaseLeftovers(): number {
  if (readTextFile(STATE_PATH)?.trim() !== "disabled") return 0;
  return extTids().filter((tid) => leaveExt(tid) === 0).length;
}
