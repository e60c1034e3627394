/**
 * The agent whose enclave this one takes over: what it kept, and when it took its last step. Read
 * from its board, also when it has died meanwhile; an agent of another make has none.
 *
 * @module
 */
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import type { SharedState } from "../../lib/shared_state.ts";
import { type Snapshot, takeSnapshot } from "../../lib/snapshot.ts";
import { TaskTable } from "../../lib/task_table.ts";
import { BOARD_NAME, BoardView } from "./board.ts";

const LINK = cString(`/memfd:${BOARD_NAME} (deleted)`);
/** More descriptors than an agent of 512 CPUs has. */
const FD_COUNT_MAX = 65536;

/** The board of a process, or undefined. */
function boardOf(pid: number): BoardView | undefined {
  const { openNamedFd, openat, close } = loadShim();
  const path_fd = openNamedFd(pid, LINK, FD_COUNT_MAX);
  if (path_fd < 0) return undefined;
  const fd = openat(AT_FDCWD, cString(`/proc/self/fd/${path_fd}`), O_RDONLY | O_CLOEXEC, 0);
  close(path_fd);
  return fd < 0 ? undefined : BoardView.open(fd, "view");
}

/**
 * Looks for the agent that is online in an enclave.
 *
 * @param path The enclave.
 * @returns Its board, or undefined if it has none.
 */
export function findPredecessor(path: string): BoardView | undefined {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const board = boardOf(Number(name));
    if (board?.facts.path === path) return board;
  }
  return undefined;
}

/** What a predecessor's policy has kept; undefined if it is none of ours. */
export function keptBy(board: BoardView, policy: string): Snapshot | undefined {
  const { state } = board;
  const { kept } = state.shape.layout;
  if (state.shape.policy !== policy || kept === undefined) return undefined;
  return takeSnapshot({ state, tasks: new TaskTable(HARDWARE_MEMORY, state) }, policy, kept);
}

/** How long the CPUs of an enclave were without an agent. */
export interface UpgradeGap {
  /** The longest time of a CPU, in ns. */
  readonly longest_ns: number;
  /** The time that half of the CPUs did not exceed, in ns. */
  readonly median_ns: number;
}

/**
 * The time from the last step of each old agent to the first step of the new one on the same CPU.
 *
 * @param old The predecessor.
 * @param state State of the new agents, all of which have begun.
 * @returns Undefined if no CPU's times are known.
 */
export function upgradeGap(old: BoardView, state: SharedState): UpgradeGap | undefined {
  const gaps_ns: number[] = [];
  for (const cpu of state.shape.cpus) {
    if (!old.state.shape.cpus.includes(cpu)) continue;
    const ended_ns = old.state.cpuF64("ended_ns", cpu)[0] || old.alive_ns;
    const began_ns = state.cpuF64("began_ns", cpu)[0];
    if (ended_ns > 0 && began_ns > 0) gaps_ns.push(began_ns - ended_ns);
  }
  if (gaps_ns.length === 0) return undefined;
  gaps_ns.sort((a, b) => a - b);
  return { longest_ns: gaps_ns[gaps_ns.length - 1], median_ns: gaps_ns[gaps_ns.length >> 1] };
}
