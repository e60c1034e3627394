/**
 * Cases of the contract suite that sched_ext cannot be asked, and why. What the kernel lacks as a
 * whole is a missing capability; here are single rules of ghOSt.
 *
 * @module
 */

const NO_SUCH_TUNABLES = "there are no ticks, no switchto and nothing dangerous to be tuned";

/** Reasons by the beginning of a case's name. */
const REASONS: readonly (readonly [name: string, reason: string])[] = [
  ["tunable: each is 0", NO_SUCH_TUNABLES],
  ["tunable: a value that is no int", NO_SUCH_TUNABLES],
  ["tunable: a boolean", NO_SUCH_TUNABLES],
];

/**
 * Why a case is left out under sched_ext.
 *
 * @param name Name of the case.
 * @returns The reason, or undefined if it is to run.
 */
export function scxSkip(name: string): string | undefined {
  return REASONS.find(([start]) => name.startsWith(start))?.[1];
}
