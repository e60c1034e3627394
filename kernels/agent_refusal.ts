/**
 * Why a kernel does not let a thread become an agent, and what to do.
 *
 * @module
 */
import { errnoName } from "../ffi/errno.ts";
import { OperatingError } from "../lib/errors.ts";
import { EBUSY, EINVAL, ENODEV, ENOMEM, EPERM } from "./kernel.ts";

const CURES: ReadonlyMap<number, string> = new Map([
  [EPERM, "CAP_SYS_NICE is missing: run as root, or `setcap cap_sys_nice+ep` the executable"],
  [EBUSY, "another agent has this CPU: end it first, or choose other CPUs"],
  [ENODEV, "the enclave was destroyed, or the CPU left it: start the agent again"],
  [ENOMEM, "the enclave has no free status word: end threads in it, or make another one"],
  [EINVAL, "the CPU is not online or not allowed to this process: see `ghostctl doctor`"],
]);

/** A thread that may not become the agent of its CPU. */
export class AgentRefusal extends OperatingError {
  /** See {@linkcode Error.name}. */
  override name = "AgentRefusal";

  /**
   * @param cpu The CPU.
   * @param result What the kernel answered: −errno.
   */
  constructor(cpu: number, result: number) {
    super(
      `cannot become the agent of CPU ${cpu}: ${errnoName(-result)}`,
      CURES.get(-result) ?? "see `ghostctl doctor` and the kernel's log (dmesg)",
    );
  }
}
