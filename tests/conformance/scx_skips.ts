/**
 * Cases of the contract suite that sched_ext is not asked, and why. What the kernel lacks as a
 * whole is a missing capability; here are single cases.
 *
 * @module
 */

/** Names of cases, or their beginnings, by the reason for which they are left out. */
const SKIPS: readonly (readonly [reason: string, names: readonly string[]])[] = [
  ["there are no ticks, no switchto and nothing dangerous to be tuned", [
    "tunable: each is 0",
    "tunable: a value that is no int",
    "tunable: a boolean",
  ]],
  ["a thread's runtime in TASK_NEW counts from its start, not from its joining", [
    "TASK_NEW: gtid, runtime",
  ]],
  ["what is latched on a CPU that the default class takes stays latched until the CPU is free", [
    "local commit: with a thread of a higher class waiting",
  ]],
  [
    "a killed thread that waits dies when an agent runs it, and this case has none that does",
    [
      "join: the enclave lists its threads",
      "commit: a dead task is TARGET_STALE",
    ],
  ],
];

/**
 * Why a case is left out under sched_ext.
 *
 * @param name Name of the case.
 * @returns The reason, or undefined if it is to run.
 */
export function scxSkip(name: string): string | undefined {
  return SKIPS.find(([, names]) => names.some((start) => name.startsWith(start)))?.[0];
}

/** The beginnings of names that are left out; a test holds them against the cases. */
export const SCX_SKIP_NAMES: readonly string[] = SKIPS.flatMap(([, names]) => names);
