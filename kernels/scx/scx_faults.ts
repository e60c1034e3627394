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
 * Kernel functions that the scx program calls, as the kernel's BTF names them; those of
 * bpf/scx_kernel.h, where libbpf drops what follows the last "___". Without one of them the program
 * does not load.
 */
export const SCX_KERNEL_FUNCTIONS: readonly string[] = [
  "bpf_task_from_pid",
  "bpf_task_release",
  "bpf_cpumask_test_cpu",
  "bpf_rcu_read_lock",
  "bpf_rcu_read_unlock",
  "scx_bpf_error_bstr",
  "scx_bpf_task_cpu",
  "scx_bpf_kick_cpu",
  "scx_bpf_task_set_slice",
  "scx_bpf_create_dsq",
  "scx_bpf_dsq_insert___v2",
  "scx_bpf_dsq_move_to_local___v2",
];

/** The fault that libbpf finds in a kernel function, if it finds one. */
function functionFault(kernel: string, text: string): OperatingError | undefined {
  const found = text.match(/(?:extern \(func ksym\) '|cannot find function )(\w+)(.*)/);
  if (found === null) return undefined;
  const [, symbol, verdict] = found;
  const name = SCX_KERNEL_FUNCTIONS.find((known) => symbol.startsWith(`${known}___`)) ?? symbol;
  if (/incompatible/.test(verdict)) {
    return new OperatingError(
      `${kernel} has BTF that describes the kernel function ${name} otherwise than it is called`,
      `boot Linux 7.3 or later, as Debian packs it, whose BTF a newer pahole made; ${DOCTOR}`,
    );
  }
  return new OperatingError(
    `${kernel} lacks the kernel function ${name}, which the scx program calls`,
    `boot Linux 7.3 or later, as Debian packs it; ${DOCTOR}`,
  );
}

/**
 * The cause and the cure of a failed load.
 *
 * @param failure What is known.
 * @returns One line.
 */
export function loadFault({ text, release, loaded_ops, is_rt }: LoadFailure): OperatingError {
  const kernel = `Linux ${release}`;
  const function_fault = functionFault(kernel, text);
  if (function_fault !== undefined) return function_fault;
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
    // The verifier's words, seen on Debian's 7.3.4 rt; it loads schedulers without timers.
    const detail = /bpf_timer cannot be used/.test(text) ? "it allows no BPF timers" : why;
    return new OperatingError(
      `${kernel} is PREEMPT_RT and refuses the scx program (${detail})`,
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
