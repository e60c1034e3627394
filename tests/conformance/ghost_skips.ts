/**
 * Cases of the contract suite that a ghOSt kernel of this host cannot be asked, and why.
 *
 * @module
 */

const KILLS_SUITE = "the kernel kills the process of agents still attached, which is the suite's";

/** Reasons by the beginning of a case's name. */
const REASONS: readonly (readonly [name: string, reason: string])[] = [
  ["runnable_timeout: an enclave does not outlive", KILLS_SUITE],
];

/**
 * Why a case is left out on a ghOSt kernel.
 *
 * @param name Name of the case.
 * @returns The reason, or undefined if it is to run.
 */
export function ghostSkip(name: string): string | undefined {
  return REASONS.find(([start]) => name.startsWith(start))?.[1];
}
