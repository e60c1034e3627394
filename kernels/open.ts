/**
 * The kernels of a host that agents of this program can drive. Each adds one line here; its modules
 * are loaded when it is chosen, so that no other run pays for them.
 *
 * @module
 */
import { OperatingError } from "../lib/errors.ts";
import type { ChosenKernel } from "./choose.ts";
import type { RealKernel } from "./real_kernel.ts";

/** A kernel of a host. */
export type RealKernelName = Exclude<ChosenKernel, "sim">;

/** Opens a kernel, or says what the host lacks for it. */
export type RealKernelOpener = () => Promise<RealKernel | OperatingError>;

/** Openers by kernel. */
export type RealKernelOpeners = Readonly<Partial<Record<RealKernelName, RealKernelOpener>>>;

/** The openers. */
export const REAL_KERNEL_OPENERS: RealKernelOpeners = {
  ghost: async () => (await import("./ghost/ghost_kernel.ts")).openGhostKernel(),
  scx: async () => await (await import("./scx/scx_kernel.ts")).openScxKernel(),
};

/**
 * Opens a kernel of this host.
 *
 * @param name Which one; the host has it.
 * @param openers What can be opened; other ones are for tests.
 * @returns The kernel, or why it cannot be driven.
 */
export async function openRealKernel(
  name: RealKernelName,
  openers: RealKernelOpeners = REAL_KERNEL_OPENERS,
): Promise<RealKernel | OperatingError> {
  const open = openers[name];
  if (open !== undefined) return await open();
  return new OperatingError(
    `this program has no --kernel=${name}`,
    "use a version that has it, or simulate with --kernel=sim",
  );
}
