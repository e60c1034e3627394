/**
 * Checks of the running kernel. Sources: reference section 2.1 for ghostfs; for sched_ext
 * Documentation/scheduler/sched-ext.rst of Linux and what was measured in a VM (docs/vm.md).
 *
 * @module
 */
import { ABI_VERSIONS, bestCommonAbi } from "../../ffi/abi/abi.ts";
import {
  GHOST_CURE,
  ghostFault,
  MOUNT_CURE,
  probeKernel,
  SCX_CURE,
  scxFault,
} from "../../kernels/choose.ts";
import { type Check, fail, type Host, info, ok, warn } from "./check.ts";

const SCX_STATE_PATH = "/sys/kernel/sched_ext/state";
const SCX_OPS_PATH = "/sys/kernel/sched_ext/root/ops";
const BTF_PATH = "/sys/kernel/btf/vmlinux";
/** First release whose helper functions may need a second name in BTF. */
const IMPLICIT_ARGUMENTS_SINCE = [7, 2];

/** Operating system and release. */
export function checkRelease(host: Host): Check {
  if (host.os !== "linux") {
    return fail("kernel", host.os, "run agents on Linux; the simulator runs here");
  }
  return info("kernel", `Linux ${probeKernel(host.read).release}, ${host.arch}`);
}

/** ghostfs: there, mounted, and of a version that this project speaks. */
export function checkGhostfs(host: Host): Check {
  const facts = probeKernel(host.read);
  const fault = ghostFault(facts);
  if (fault !== undefined) {
    const cure = facts.is_ghost_unmounted ? MOUNT_CURE : GHOST_CURE;
    const speaks = facts.ghost_versions === undefined
      ? cure
      : `boot a ghOSt kernel of ABI ${ABI_VERSIONS.join(", ")}`;
    return fail("ghostfs", fault, speaks, ["ghost"]);
  }
  const versions = facts.ghost_versions ?? [];
  const common = bestCommonAbi(versions)?.version;
  return ok("ghostfs", `kernel speaks ABI ${versions.join(", ")}; agents use ${common}`);
}

/** sched_ext: there, and free. */
export function checkSchedExt(host: Host): Check {
  const fault = scxFault(probeKernel(host.read));
  if (fault !== undefined) return fail("sched_ext", fault, SCX_CURE, ["scx"]);
  const state = host.read(SCX_STATE_PATH)?.trim() ?? "";
  if (state === "disabled") return ok("sched_ext", "free");
  const ops = host.read(SCX_OPS_PATH)?.trim() ?? "";
  const scheduler = ops === "" ? "a scheduler" : `scheduler ${ops}`;
  return fail(
    "sched_ext",
    `taken by ${scheduler} (${state})`,
    "end the process that loaded it, for example `systemctl stop scx_loader scx`",
    ["scx"],
  );
}

function isAtLeast(release: string, [major, minor]: readonly number[]): boolean {
  const [own_major = 0, own_minor = 0] = release.split(/[.-]/).map(Number);
  return own_major > major || (own_major === major && own_minor >= minor);
}

/** BTF: there, and with the names that a sched_ext scheduler is linked against. */
export function checkBtf(host: Host): Check {
  const btf = host.read(BTF_PATH);
  if (btf === undefined) {
    return fail(
      "btf",
      `${BTF_PATH} is missing`,
      "boot a kernel with CONFIG_DEBUG_INFO_BTF=y (sched_ext needs it, ghOSt does not)",
      ["scx"],
    );
  }
  const { has_scx, release } = probeKernel(host.read);
  if (!has_scx) return ok("btf", "there");
  const wanted = ["sched_ext_ops", "scx_bpf_kick_cpu"];
  if (isAtLeast(release, IMPLICIT_ARGUMENTS_SINCE)) wanted.push("scx_bpf_kick_cpu_impl");
  const missing = wanted.filter((name) => !btf.includes(`\0${name}\0`));
  if (missing.length === 0) return ok("btf", "there, with sched_ext");
  return fail(
    "btf",
    `lacks ${missing.join(", ")}, so that no sched_ext scheduler loads`,
    "boot a kernel whose BTF was made by a newer pahole (Debian's 7.2.12 lacks them, 7.3.4 not)",
    ["scx"],
  );
}

/** Whether the kernel is PREEMPT_RT, under which sched_ext schedulers were seen to be refused. */
export function checkPreemptRt(host: Host): Check {
  const is_rt = host.read("/sys/kernel/realtime")?.trim() === "1" ||
    (host.read("/proc/version") ?? "").includes("PREEMPT_RT");
  if (!is_rt) return ok("preempt_rt", "off");
  return warn(
    "preempt_rt",
    "on; such kernels have refused schedulers although sysfs looks right",
    "boot the same kernel without PREEMPT_RT if an agent is refused with EINVAL or EOPNOTSUPP",
  );
}

/** The runtime in this executable. */
export function checkRuntime(host: Host): Check {
  return info("runtime", `Deno ${host.deno}, V8 ${host.v8}`);
}
