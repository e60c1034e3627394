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
  isPreemptRt,
  MOUNT_CURE,
  probeKernel,
  SCX_CURE,
  scxFault,
} from "../../kernels/choose.ts";
import { SCX_KERNEL_FUNCTIONS } from "../../kernels/scx/scx_faults.ts";
import { type Check, fail, type Host, info, ok } from "./check.ts";

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
  const lacks = (name: string): boolean => !btf.includes(`\0${name}\0`);
  const missing = ["sched_ext_ops", ...SCX_KERNEL_FUNCTIONS].filter(lacks);
  if (missing.length > 0) {
    return fail(
      "btf",
      `lacks ${missing.join(", ")}, which the scx program needs`,
      "boot Linux 7.3 or later, as Debian packs it (6.18.15 lacks some of them)",
      ["scx"],
    );
  }
  const second_name = "scx_bpf_kick_cpu_impl";
  if (!isAtLeast(release, IMPLICIT_ARGUMENTS_SINCE) || !lacks(second_name)) {
    return ok("btf", "there, with sched_ext");
  }
  return fail(
    "btf",
    `lacks ${second_name}, and so describes functions otherwise than schedulers call them`,
    "boot a kernel whose BTF was made by a newer pahole (not so in Debian's 7.2.12, but in 7.3.4)",
    ["scx"],
  );
}

/**
 * Whether the kernel is PREEMPT_RT. sched_ext itself works there (Debian's 7.3.4 rt kernel takes
 * the FIFO of bpf/scx_fifo.bpf.c), but the verifier refuses BPF timers, with which the scx program
 * keeps `runnable_timeout`.
 */
export function checkPreemptRt(host: Host): Check {
  if (!isPreemptRt(host.read)) return ok("preempt_rt", "off");
  return fail(
    "preempt_rt",
    "on; such kernels refuse BPF timers, which the scx program needs (seen on 7.3.4)",
    "boot the same kernel without PREEMPT_RT",
    ["scx"],
  );
}

/** The runtime in this executable. */
export function checkRuntime(host: Host): Check {
  return info("runtime", `Deno ${host.deno}, V8 ${host.v8}`);
}
