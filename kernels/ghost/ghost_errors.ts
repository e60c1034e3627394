/**
 * What can be wrong with a ghOSt host, as errors that name the cause and the cure.
 *
 * @module
 */
import { ABI_VERSIONS } from "../../ffi/abi/abi.ts";
import { errnoName } from "../../ffi/errno.ts";
import { OperatingError } from "../../lib/errors.ts";

/** The kernel has no ghOSt. */
export function noGhostfs(root: string): OperatingError {
  return new OperatingError(
    `${root}/version is missing: this kernel has no ghOSt class`,
    "boot a kernel with ghOSt (github.com/google/ghost-kernel), or try --kernel=scx, or " +
      "`ghostctl doctor`",
  );
}

/** The kernel has ghOSt, and ghostfs cannot be mounted. */
export function cannotMount(root: string, result: number): OperatingError {
  return new OperatingError(
    `ghostfs is not mounted on ${root} and cannot be (${errnoName(-result)})`,
    `mount it as root: \`mount -t ghost ghost ${root}\``,
  );
}

/** The user may not run agents. */
export function notPermitted(what: string): OperatingError {
  return new OperatingError(
    `not permitted: ${what}`,
    "run as root, or give the executable CAP_SYS_NICE and its user the files of ghostfs",
  );
}

/** No ABI version in common. */
export function abiUnknown(offered: readonly number[], wanted: readonly number[]): OperatingError {
  const kernel_side = offered.length === 0 ? "none" : offered.join(", ");
  const newest = Math.max(...offered);
  const cure = newest < Math.min(...ABI_VERSIONS)
    ? "boot a newer ghOSt kernel"
    : newest > Math.max(...ABI_VERSIONS)
    ? "take a newer agent, or boot an older ghOSt kernel"
    : `boot a ghOSt kernel of ABI ${ABI_VERSIONS.join(", ")}`;
  return new OperatingError(
    `the kernel speaks ghOSt ABI ${kernel_side}, this agent ${wanted.join(", ")}`,
    cure,
  );
}
