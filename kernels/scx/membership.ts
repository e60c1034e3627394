/**
 * How threads come into an enclave and leave it: SCHED_EXT, after the scx program was told which
 * enclave that means; and which threads may not, since an agent would wait for itself.
 *
 * @module
 */
import { SCHED_OTHER } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import { type ReadText, readTextFile } from "../../lib/host_files.ts";
import { EPERM } from "../kernel.ts";
import { SCX_OP } from "./scx_layout.ts";

/** Scheduling policy of sched_ext. */
export const SCHED_EXT = 7;
const POLICY_MASK = 0xff;
/** The program's answer to `join` for a thread that is SCHED_EXT already. */
const IS_EXT_ALREADY = 1;
/** Longest chain of parents that is followed. */
const PARENTS_MAX = 256;

/** One call of the control program. */
export type ScxCall = (
  op: number,
  enclave: number,
  a?: number,
  b?: number,
  lo?: number,
  hi?: number,
) => number;

function statusField(tid: number, name: string, read: ReadText): number {
  const match = read(`/proc/${tid}/status`)?.match(new RegExp(`^${name}:\\s*(\\d+)$`, "m"));
  return match === null || match === undefined ? 0 : Number(match[1]);
}

/**
 * Why a thread may not be a client of an agent's process, or undefined. A client that the agent's
 * process waits for, or whose memory it shares, could keep the agent from scheduling it.
 *
 * @param tid The thread.
 * @param owner_pid The process of the agents.
 * @param read Reads files of /proc.
 */
export function clientFault(
  tid: number,
  owner_pid: number,
  read: ReadText = readTextFile,
): string | undefined {
  let pid = statusField(tid, "Tgid", read);
  if (pid === owner_pid) return `thread ${tid} is of the agent's own process ${owner_pid}`;
  for (let count = 0; pid > 1 && count < PARENTS_MAX; count++) {
    pid = statusField(pid, "PPid", read);
    if (pid === owner_pid) {
      return `thread ${tid} is in the process tree of the agent (process ${owner_pid})`;
    }
  }
  return undefined;
}

/**
 * Moves a thread into an enclave.
 *
 * @param call Calls the control program.
 * @param enclave Index of the enclave.
 * @param tid The thread.
 * @param owner_pid The process of the agents.
 * @returns 0, or −errno as EnclaveControl.join; −EPERM also for {@linkcode clientFault}.
 */
export function joinThread(call: ScxCall, enclave: number, tid: number, owner_pid: number): number {
  if (clientFault(tid, owner_pid) !== undefined) return -EPERM;
  const { schedSetscheduler } = loadShim();
  const told = call(SCX_OP.join, enclave, tid);
  if (told < 0) return told;
  // One that was SCHED_EXT without an enclave enters anew.
  if (told === IS_EXT_ALREADY) schedSetscheduler(tid, SCHED_OTHER, 0, 0);
  const result = schedSetscheduler(tid, SCHED_EXT, 0, 0);
  if (result < 0) call(SCX_OP.unjoin, enclave, tid);
  return result;
}

/** Gives a thread back to the default scheduler, if it is SCHED_EXT: 0 or −errno. */
export function leaveExt(tid: number): number {
  const { schedGetscheduler, schedSetscheduler } = loadShim();
  const policy = schedGetscheduler(tid);
  if (policy < 0) return policy;
  return (policy & POLICY_MASK) === SCHED_EXT ? schedSetscheduler(tid, SCHED_OTHER, 0, 0) : 0;
}
