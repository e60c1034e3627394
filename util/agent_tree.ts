/**
 * The processes of agents, which must not be moved into an enclave: an agent that waits for its
 * own decision never decides.
 *
 * @module
 */
import { allProcesses, nameOf, parentOf, type ProcessFiles, threadsOf } from "./process_files.ts";

/** Name of an agent's thread: that of kernels/agent_threads.ts, and of upstream's agents. */
const AGENT_THREAD = /^ap_task_\d+$/;
/** Name of the process that holds an agent as its child (native/guard.c). */
const GUARD_NAME = "ghost_guard";
/** More parents than a process has: /proc is read one by one, and ids are used again. */
const DEPTH_MAX = 1000;

function hasAgents(files: ProcessFiles, pid: number): boolean {
  const tids = threadsOf(files, pid) ?? [];
  return tids.some((tid) => AGENT_THREAD.test(nameOf(files, tid)));
}

/**
 * The agent process that a process belongs to: it has started it, directly or not.
 *
 * @param files Reads /proc.
 * @param pid The process.
 * @returns The agent process; undefined if it belongs to none.
 */
export function agentAncestor(files: ProcessFiles, pid: number): number | undefined {
  for (let [at, depth] = [pid, 0]; at > 1 && depth < DEPTH_MAX; at = parentOf(files, at), depth++) {
    if (hasAgents(files, at)) return at;
  }
  return undefined;
}

/**
 * Processes with agents in them, their guards, and all that these have started.
 *
 * @param files Reads /proc.
 * @returns For each process, the agent process it belongs to.
 */
export function agentProcesses(files: ProcessFiles): Map<number, number> {
  const parents = new Map<number, number>();
  const members = new Map<number, number>();
  for (const pid of allProcesses(files)) {
    const parent = parentOf(files, pid);
    parents.set(pid, parent);
    if (!hasAgents(files, pid)) continue;
    members.set(pid, pid);
    if (nameOf(files, parent) === GUARD_NAME) members.set(parent, pid);
  }
  const agentOf = (pid: number): number | undefined => {
    const seen: number[] = [];
    for (let at = pid; at > 1 && !seen.includes(at); at = parents.get(at) ?? 0) {
      const agent = members.get(at);
      if (agent !== undefined) return agent;
      seen.push(at);
    }
    return undefined;
  };
  for (const pid of parents.keys()) {
    const agent = agentOf(pid);
    if (agent !== undefined) members.set(pid, agent);
  }
  return members;
}
