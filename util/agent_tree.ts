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
    const tids = threadsOf(files, pid) ?? [];
    if (!tids.some((tid) => AGENT_THREAD.test(nameOf(files, tid)))) continue;
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
