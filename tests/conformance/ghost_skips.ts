/**
 * Cases of the contract suite that a ghOSt kernel of this host is not asked, and why. Facts are of
 * the kernel of ABI 69; docs/ghost-host.md lists them.
 *
 * @module
 */

/** Names of cases, or their beginnings, by the reason for which they are left out. */
const SKIPS: readonly (readonly [reason: string, names: readonly string[]])[] = [
  ["the kernel kills the process of agents still attached, which is the suite's", [
    "runnable_timeout: an enclave does not outlive",
    "runnable_timeout: tasks that get a CPU in time do no harm",
  ]],
  ["the kernel's log gets a warning with every message that does not fit", [
    "ring: a message that does not fit",
  ]],
  ["a killed thread of ghOSt dies when an agent runs it, and this case has none that does", [
    "status words: the region's header describes it",
    "join: the enclave lists its threads",
    "commit: a dead task is TARGET_STALE",
  ]],
  ["this kernel takes threads without a default queue", [
    "default queue: closing it does not leave it the default queue",
    "join: without a default queue it is ENXIO",
  ]],
  ["this kernel takes every CPU of the host as a target", [
    "wake-up: a target that is no CPU of the enclave is EINVAL",
  ]],
  ["this kernel associates tasks only: EINVAL for an agent", [
    "association of an agent: ",
    "agent_test CpuTick",
  ]],
  ["this kernel says EINVAL of a word that nobody has", [
    "free a status word: one that nobody has",
    "free a status word: an agent can do it within its step, once",
  ]],
  ["this kernel commits a transaction for the agent's gtid: COMPLETE", [
    "commit: the gtid that stands for agents",
  ]],
  ["a change of affinity wakes no agent on this kernel: its message waits for another one", [
    "wake-up: a message does not leave the agent of the first target asleep",
    "wake-up: if the message's own CPU is a target",
    "ring: messages of a task come in the order",
    "agent barrier: a message does not leave it as it was",
    "agent barrier: an agent that yields right before a message",
    "TASK_AFFINITY_CHANGED: the gtid",
  ]],
  ["this kernel leaves records of CPUs outside the enclave open", [
    "commit: a CPU outside the enclave is NO_AGENT",
    "commit point: a greedy transaction is decided in the end",
  ]],
  ["any thread of the host that gets the CPU makes this kernel commit greedy transactions there", [
    "commit point: a tick commits nothing without",
  ]],
  ["a thread's runtime in TASK_NEW counts from its start, not from its joining", [
    "TASK_NEW: gtid, runtime",
  ]],
  ["with ELIDE_PREEMPT this kernel leaves the task's barrier alone too", [
    "ELIDE_PREEMPT: the displaced task sends no TASK_PREEMPT",
  ]],
];

/**
 * Why a case is left out on a ghOSt kernel.
 *
 * @param name Name of the case.
 * @returns The reason, or undefined if it is to run.
 */
export function ghostSkip(name: string): string | undefined {
  return SKIPS.find(([, names]) => names.some((start) => name.startsWith(start)))?.[0];
}

/** The beginnings of names that are left out; a test holds them against the cases. */
export const GHOST_SKIP_NAMES: readonly string[] = SKIPS.flatMap(([, names]) => names);
