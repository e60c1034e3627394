/**
 * Which kernel an agent runs on: what the host has, and what the user asked for. Never simulates
 * unless asked to. Source: reference sections 2.1 and 2.2; sched_ext's sysfs folder is that of
 * Linux 6.12 (Documentation/scheduler/sched-ext.rst).
 *
 * @module
 */
import { ABI_VERSIONS } from "../ffi/abi/abi.ts";
import { OperatingError, UsageError } from "../lib/errors.ts";
import type { ReadText } from "../lib/host_files.ts";

/** Values of `--kernel`. */
export const KERNEL_NAMES = ["auto", "ghost", "scx", "sim"] as const;
/** What may be asked for. */
export type KernelName = typeof KERNEL_NAMES[number];
/** What an agent can run on. */
export type ChosenKernel = Exclude<KernelName, "auto">;

const GHOST_VERSION_PATH = "/sys/fs/ghost/version";
const SCX_STATE_PATH = "/sys/kernel/sched_ext/state";
const FILESYSTEMS_PATH = "/proc/filesystems";
const VERSION_PATH = "/proc/version";
const RELEASE_PATH = "/proc/sys/kernel/osrelease";

/**
 * Whether the kernel is PREEMPT_RT. Kernels with the patch set of their time have a file for it;
 * since PREEMPT_RT is in mainline (Linux 6.12) the version alone tells.
 */
export function isPreemptRt(read: ReadText): boolean {
  return read("/sys/kernel/realtime")?.trim() === "1" ||
    / PREEMPT_RT\b/.test(read(VERSION_PATH) ?? "");
}

/** What the host's kernel offers. */
export interface KernelFacts {
  /** Release, such as "6.12.0"; "unknown" if the host does not say. */
  readonly release: string;
  /** ABI versions of ghOSt; undefined if ghostfs is not there. */
  readonly ghost_versions: readonly number[] | undefined;
  /** The kernel has ghOSt, but ghostfs is not mounted. */
  readonly is_ghost_unmounted: boolean;
  /** The kernel has sched_ext. */
  readonly has_scx: boolean;
}

/** Looks what the host's kernel offers. */
export function probeKernel(read: ReadText): KernelFacts {
  const versions = read(GHOST_VERSION_PATH);
  const ghost_versions = versions?.split("\n").filter((line) => line !== "").map(Number);
  const has_ghostfs = /^nodev\tghost$/m.test(read(FILESYSTEMS_PATH) ?? "");
  return {
    release: read(RELEASE_PATH)?.trim() ?? "unknown",
    ghost_versions,
    is_ghost_unmounted: ghost_versions === undefined && has_ghostfs,
    has_scx: read(SCX_STATE_PATH) !== undefined,
  };
}

const SIMULATE = "simulate with --kernel=sim";

/** Why ghOSt cannot be used, or undefined. */
export function ghostFault(facts: KernelFacts): string | undefined {
  if (facts.is_ghost_unmounted) return "ghostfs is not mounted on /sys/fs/ghost";
  if (facts.ghost_versions === undefined) return `no ghOSt (${GHOST_VERSION_PATH} is missing)`;
  const known: readonly number[] = ABI_VERSIONS;
  if (facts.ghost_versions.some((version) => known.includes(version))) return undefined;
  return `ghOSt of ABI ${facts.ghost_versions.join(", ")} only, and this agent speaks ` +
    ABI_VERSIONS.join(", ");
}

/** Why sched_ext cannot be used, or undefined. */
export function scxFault(facts: KernelFacts): string | undefined {
  return facts.has_scx ? undefined : `no sched_ext (${SCX_STATE_PATH} is missing)`;
}

/** What to do where there is no ghOSt, or none of a known version. */
export const GHOST_CURE = "boot a kernel with ghOSt (github.com/google/ghost-kernel)";
const SCX_KERNEL = "CONFIG_SCHED_CLASS_EXT=y (Linux 7.3 or later)";
/** What to do where there is no sched_ext, which is older than what agents need of it. */
export const SCX_CURE = `boot a kernel with ${SCX_KERNEL}`;
/** What to do where ghostfs is not mounted. */
export const MOUNT_CURE = "mount it: `mount -t ghost ghost /sys/fs/ghost`";

/**
 * Chooses a kernel.
 *
 * @param text Value of `--kernel`.
 * @param facts What the host offers.
 * @returns The kernel, or what is missing and the ways on.
 */
export function chooseKernel(text: string, facts: KernelFacts): ChosenKernel | OperatingError {
  const name = KERNEL_NAMES.find((known) => known === text);
  if (name === undefined) {
    return new UsageError(
      `unknown kernel ${JSON.stringify(text)} in --kernel`,
      `give one of ${KERNEL_NAMES.join(", ")}`,
    );
  }
  if (name === "sim") return "sim";
  // Whoever opens the ghOSt kernel mounts ghostfs, as upstream's agents do.
  const ghost_fault = facts.is_ghost_unmounted ? undefined : ghostFault(facts);
  const scx_fault = scxFault(facts);
  const host = `this kernel (Linux ${facts.release})`;
  if (name === "ghost") {
    if (ghost_fault === undefined) return "ghost";
    return new OperatingError(
      `--kernel=ghost: ${host}: ${ghost_fault}`,
      `${GHOST_CURE}, or ${SIMULATE}`,
    );
  }
  if (name === "scx") {
    if (scx_fault === undefined) return "scx";
    return new OperatingError(`--kernel=scx: ${host}: ${scx_fault}`, `${SCX_CURE}, or ${SIMULATE}`);
  }
  if (ghost_fault === undefined) return "ghost";
  if (scx_fault === undefined) return "scx";
  const cure = `boot a kernel with ghOSt (github.com/google/ghost-kernel) or with ${SCX_KERNEL}`;
  return new OperatingError(
    `${host} cannot run agents: ${ghost_fault}, ${scx_fault}`,
    `${cure}, or ${SIMULATE} --workload=simple_exp`,
  );
}

/**
 * Whether the user may run agents on a real kernel.
 *
 * @param uid The effective user; null where the host has none.
 * @returns What is missing, or undefined.
 */
export function rootFault(uid: number | null): OperatingError | undefined {
  if (uid === 0) return undefined;
  return new OperatingError(
    "not root: agents need CAP_SYS_NICE and the enclave's files on a real kernel",
    `run with sudo, or ${SIMULATE}`,
  );
}
