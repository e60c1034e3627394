/**
 * What can be wrong with a ghOSt host or an enclave, as errors that name the cause and the cure.
 *
 * @module
 */
import { ABI_VERSIONS } from "../../ffi/abi/abi.ts";
import { errnoName } from "../../ffi/errno.ts";
import { OperatingError } from "../../lib/errors.ts";
import {
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  EPERM,
  ESRCH,
} from "../kernel.ts";

/** Why ghOSt cannot be used; a program may choose other words for each. */
export type GhostFault =
  | "no_ghostfs"
  | "not_mounted"
  | "not_permitted"
  | "abi_unknown"
  | "no_enclave"
  | "refused";

/** The ghOSt kernel cannot be used, or not like this. */
export class GhostError extends OperatingError {
  /** See {@linkcode Error.name}. */
  override name = "GhostError";
  /** Which kind of fault. */
  readonly kind: GhostFault;

  /**
   * An error with the message "fault; cure".
   *
   * @param kind Which kind of fault.
   * @param fault What is wrong.
   * @param cure How to mend it.
   */
  constructor(kind: GhostFault, fault: string, cure: string) {
    super(fault, cure);
    this.kind = kind;
  }
}

/** The kernel has no ghOSt. */
export function noGhostfs(root: string): GhostError {
  return new GhostError(
    "no_ghostfs",
    `${root}/version is missing: this kernel has no ghOSt class`,
    "boot a kernel with ghOSt (github.com/google/ghost-kernel), or try --kernel=scx, or " +
      "`ghostctl doctor`",
  );
}

/** The kernel has ghOSt, and ghostfs cannot be mounted. */
export function cannotMount(root: string, result: number): GhostError {
  return new GhostError(
    "not_mounted",
    `ghostfs is not mounted on ${root} and cannot be (${errnoName(-result)})`,
    `mount it as root: \`mount -t ghost ghost ${root}\``,
  );
}

/** The user may not run agents. */
export function notPermitted(what: string): GhostError {
  return new GhostError(
    "not_permitted",
    `not permitted: ${what}`,
    "run as root, or give the executable CAP_SYS_NICE and its user the files of ghostfs",
  );
}

/** No ABI version in common. */
export function abiUnknown(offered: readonly number[], wanted: readonly number[]): GhostError {
  const kernel_side = offered.length === 0 ? "none" : offered.join(", ");
  const newest = Math.max(...offered);
  const cure = newest < Math.min(...ABI_VERSIONS)
    ? "boot a newer ghOSt kernel"
    : newest > Math.max(...ABI_VERSIONS)
    ? "take a newer agent, or boot an older ghOSt kernel"
    : `boot a ghOSt kernel of ABI ${ABI_VERSIONS.join(", ")}`;
  return new GhostError(
    "abi_unknown",
    `the kernel speaks ghOSt ABI ${kernel_side}, this agent ${wanted.join(", ")}`,
    cure,
  );
}

/** The enclave has an ABI that this program or kernel lacks. */
export function enclaveAbiUnknown(path: string, version: number): GhostError {
  return new GhostError(
    "abi_unknown",
    `${path} has ghOSt ABI ${version}, this agent speaks ${ABI_VERSIONS.join(", ")}`,
    "take an agent of the enclave's ABI, or destroy the enclave and make a new one",
  );
}

/** What an operation on enclaves may be refused for. */
export type GhostOperation = "create" | "attach" | "destroy" | "agent" | "online" | "join";

const GONE = "is gone: it does not exist or was destroyed meanwhile";
const LIST = "`ghostctl enclaves` lists those there are";
const OTHER_AGENT = "stop the other agent, or let it leave for an upgrade";

/** Fault and cure by operation and errno; `%` stands for what it was tried on. */
const REFUSALS: Readonly<
  Record<GhostOperation, Readonly<Record<number, readonly [string, string]>>>
> = {
  create: {
    [EBUSY]: ["a CPU of % belongs to another enclave", `choose other CPUs; ${LIST}`],
    [ENODEV]: ["a CPU of % is offline", "choose CPUs of /sys/devices/system/cpu/online"],
    [EINVAL]: ["% is no list of CPUs for this kernel", "give CPUs that this host has"],
    [ESRCH]: ["the kernel does not offer this ABI for %", "boot another ghOSt kernel"],
    [EACCES]: ["no right to create an enclave of %", "run as root"],
    [ENOMEM]: ["the kernel has no memory for an enclave of %", "free memory, then try again"],
    [ENOSPC]: ["there is no room for another enclave of %", `destroy one; ${LIST}`],
  },
  attach: {
    [ENOENT]: [`% ${GONE}`, LIST],
    [ENODEV]: [`% ${GONE}`, LIST],
    [ESRCH]: ["% has another ghOSt ABI than this agent speaks", "take an agent of its ABI"],
    [EACCES]: ["no right to use %", "run as root or as its owner"],
    [EINVAL]: ["the memory of % is not as this ABI has it", "destroy it and make a new one"],
    [ENOMEM]: ["the memory of % cannot be mapped", "free memory or raise `ulimit -v`"],
    [EBUSY]: ["% has agents of another process", OTHER_AGENT],
  },
  destroy: {
    [ENOENT]: [`% ${GONE}`, LIST],
    [ENODEV]: [`% ${GONE}`, LIST],
    [EACCES]: ["no right to destroy %", "run as root or as its owner"],
  },
  agent: {
    [EBUSY]: ["% has an agent that does not leave", OTHER_AGENT],
    [ENODEV]: ["% is not in the enclave, or the enclave is gone", LIST],
    [EPERM]: ["no right to become the agent of %: CAP_SYS_NICE is missing", "run as root"],
    [EINVAL]: ["the thread did not become the agent of %", "see the kernel's log (`dmesg`)"],
  },
  online: {
    [EBUSY]: ["% has an agent process online", OTHER_AGENT],
    [ENODEV]: [`% ${GONE}`, LIST],
  },
  join: {
    [ESRCH]: ["thread % has ended", "list the threads again"],
    [EPERM]: ["thread % may not be moved, or is in ghOSt already", "run as root"],
    [EEXIST]: ["thread % is in ghOSt already", "let it leave first"],
    [ENODEV]: [`the enclave of thread % ${GONE}`, LIST],
    [ENOMEM]: ["the enclave has no status word left for thread %", "end threads in it"],
  },
};

/**
 * The error of a refused operation.
 *
 * @param operation What was tried.
 * @param subject On what: CPUs, the path of an enclave, a thread id.
 * @param result −errno.
 * @returns One line with a cure.
 */
export function ghostRefusal(
  operation: GhostOperation,
  subject: string,
  result: number,
): GhostError {
  const known = REFUSALS[operation][-result];
  const [fault, cure] = known ?? [
    `cannot ${operation}: the kernel refuses % with ${errnoName(-result)}`,
    "see the kernel's log (`dmesg`) and `ghostctl doctor`",
  ];
  return new GhostError("refused", fault.replace("%", subject), cure);
}
