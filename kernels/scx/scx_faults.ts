/**
 * What a refused load means and what to do, from what the loader and libbpf say.
 *
 * @module
 */
import { OperatingError } from "../../lib/errors.ts";

/** What is known when a load has failed. */
export interface LoadFailure {
  /** What the loader wrote on stderr. */
  readonly text: string;
  /** Release of the kernel. */
  readonly release: string;
  /** Name of the scheduler that is loaded, "" if there is none. */
  readonly loaded_ops: string;
  /** The kernel is PREEMPT_RT. */
  readonly is_rt: boolean;
}

const DOCTOR = "see `ghostctl doctor`";

/**
 * The cause and the cure of a failed load.
 *
 * @param failure What is known.
 * @returns One line.
 */
export function loadFault({ text, release, loaded_ops, is_rt }: LoadFailure): OperatingError {
  const kernel = `Linux ${release}`;
  const missing = text.match(/(?:extern \(func ksym\) '|cannot find function )(\w+)/)?.[1];
  if (missing !== undefined) {
    return new OperatingError(
      `${kernel} lacks the kernel function ${missing}, which the scx program calls`,
      `boot Linux 7.3 or later, as Debian packs it; ${DOCTOR}`,
    );
  }
  if (/failed to find valid kernel BTF|kernel BTF is missing/i.test(text)) {
    return new OperatingError(
      `${kernel} has no BTF (/sys/kernel/btf/vmlinux)`,
      "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
    );
  }
  const step = text.match(/^error (\w+): (.*)$/m);
  const why = step?.[2] ?? "no reason given";
  if (/not permitted/i.test(why)) {
    return new OperatingError(
      "not permitted to load the scx program",
      "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_NICE",
    );
  }
  if (loaded_ops !== "" && step?.[1] === "attach") {
    return new OperatingError(
      `another sched_ext scheduler is loaded: ${loaded_ops}`,
      loaded_ops.startsWith("ghost")
        ? "one agent process at a time can have sched_ext; end the other one"
        : "end the process that loaded it, for example `systemctl stop scx_loader scx`",
    );
  }
  if (is_rt) {
    return new OperatingError(
      `${kernel} is PREEMPT_RT and refuses the scx program (${why})`,
      "boot the same kernel without PREEMPT_RT",
    );
  }
  return new OperatingError(
    `${kernel} refuses the scx program (${step?.[1] ?? "load"}: ${why})`,
    `${DOCTOR}, and dmesg`,
  );
}

/** Exit kinds of the kernel that are no fault: the scheduler was unloaded by its owner. */
const EXIT_UNREGISTERED = 64;

/**
 * What the kernel's reason for an unload says to a user.
 *
 * @param exit_kind `scx_exit_info.kind`.
 * @param reason `scx_exit_info.reason`.
 * @param message `scx_exit_info.msg`.
 * @returns One line, or undefined if its owner has unloaded the program.
 */
export function exitText(exit_kind: number, reason: string, message: string): string | undefined {
  if (exit_kind === 0 || exit_kind === EXIT_UNREGISTERED) return undefined;
  const detail = message === "" ? "" : `: ${message}`;
  return `the kernel has unloaded the scx program (exit kind ${exit_kind}, ${reason}${detail})`;
}
