/**
 * Hosts made of files, for tests.
 *
 * @module
 */
import { SCX_KERNEL_FUNCTIONS } from "../../kernels/scx/scx_faults.ts";
import type { Host } from "./check.ts";

/** Files by path; undefined takes one away from the host that others start from. */
export type Files = Readonly<Record<string, string | undefined>>;

/** Capabilities of root: all of Linux 5.9 and later. */
export const ALL_CAPABILITIES = "000001ffffffffff";
/** Docker's default set: without SYS_NICE, BPF, PERFMON, IPC_LOCK and SYS_RESOURCE. */
export const DOCKER_CAPABILITIES = "00000000a80425fb";

/** /proc/self/status of a process. */
export function processStatus(cap_eff: string, uid = 0, allowed = "0-3"): string {
  return `Name:\tghostctl\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n` +
    `CapEff:\t${cap_eff}\nCpus_allowed_list:\t${allowed}\n`;
}

/** /proc/self/limits with these hard limits. */
export function processLimits(open_files: string, locked_bytes: string): string {
  return "Limit                     Soft Limit           Hard Limit           Units     \n" +
    `Max open files            1024                 ${open_files.padEnd(20)} files     \n` +
    `Max locked memory         65536                ${locked_bytes.padEnd(20)} bytes     \n`;
}

/** A BTF string section with these names. */
export function btf(...names: string[]): string {
  return `\ufffd\ufffd\u0001\0${["task_struct", ...names].join("\0")}\0`;
}

/** Root on a distribution's Linux: four CPUs, no ghOSt, no sched_ext. */
export const STOCK: Files = {
  "/proc/sys/kernel/osrelease": "6.1.0-test\n",
  "/proc/version": "Linux version 6.1.0-test #1 SMP PREEMPT_DYNAMIC\n",
  "/proc/filesystems": "nodev\tsysfs\n\text4\n",
  "/proc/self/status": processStatus(ALL_CAPABILITIES),
  "/proc/self/limits": processLimits("1048576", "8388608"),
  "/proc/self/cgroup": "0::/system.slice/agent.service\n",
  "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
  "/proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n",
  "/sys/devices/system/cpu/online": "0-3\n",
  "/sys/devices/system/cpu/offline": "\n",
  "/sys/devices/system/cpu/isolated": "\n",
  "/sys/kernel/btf/vmlinux": btf(),
};

/** The 5.11 kernel of ABI 69, with the BTF that it lacks taken away. */
export const GHOST_69: Files = {
  ...STOCK,
  "/proc/sys/kernel/osrelease": "5.11.0+\n",
  "/proc/filesystems": "nodev\tsysfs\nnodev\tghost\n",
  "/sys/fs/ghost/version": "69\n",
  "/sys/kernel/btf/vmlinux": undefined,
};

/** Stock Linux with sched_ext, nothing loaded. */
export const SCHED_EXT: Files = {
  ...STOCK,
  "/proc/sys/kernel/osrelease": "7.3.4\n",
  "/sys/kernel/sched_ext/state": "disabled\n",
  "/sys/kernel/btf/vmlinux": btf(
    "sched_ext_ops",
    ...SCX_KERNEL_FUNCTIONS,
    "scx_bpf_kick_cpu_impl",
  ),
};

/** A host of these files. */
export function hostOf(files: Files, changes: Files = {}): Host {
  const all: Files = { ...files, ...changes };
  const read = (path: string): string | undefined =>
    Object.hasOwn(all, path) ? all[path] : undefined;
  return { read, os: "linux", arch: "x86_64", deno: "2.9.6", v8: "15.0", exits: () => [] };
}
