/**
 * The enclave of an agent on a real kernel: made for it, or one that is there already.
 * Source: reference section 2.4.
 *
 * @module
 */
import type { MappedEnclave } from "../kernels/agent_spec.ts";
import { EBUSY, ENODEV, ENOENT, EPERM, ESRCH } from "../kernels/kernel.ts";
import type { RealKernel } from "../kernels/real_kernel.ts";
import { OperatingError } from "../lib/errors.ts";

/** An enclave that an agent is to run. */
export interface OpenEnclave {
  /** The enclave. */
  readonly control: MappedEnclave;
  /** What a user calls it. */
  readonly path: string;
  /** True if it was made for this agent, which destroys it at the end then. */
  readonly is_made: boolean;
}

const CREATE_FAULTS: ReadonlyMap<number, readonly [fault: string, cure: string]> = new Map([
  [EBUSY, [
    "another enclave has one of these CPUs",
    "choose other CPUs, or see `ghostctl enclaves` for who has them",
  ]],
  [ENODEV, ["one of these CPUs is offline", "choose CPUs that are online"]],
  [EPERM, ["the kernel does not permit it", "run as root (sudo)"]],
  [ESRCH, ["the kernel does not speak this ABI version", "see `ghostctl doctor`"]],
]);

/** Why an enclave could not be made. */
function createFault(result: number, ghost_cpus: string): OperatingError {
  const [fault, cure] = CREATE_FAULTS.get(-result) ??
    [`errno ${-result}`, "see `ghostctl doctor` and the kernel's log (dmesg)"];
  return new OperatingError(`cannot make an enclave of CPUs ${ghost_cpus}: ${fault}`, cure);
}

/**
 * Makes an enclave.
 *
 * @param kernel The kernel.
 * @param cpus Its CPUs, ascending.
 * @param ghost_cpus The same as the user gave them.
 * @returns The enclave, or why there is none.
 */
export function makeEnclave(
  kernel: RealKernel,
  cpus: readonly number[],
  ghost_cpus: string,
): OpenEnclave | OperatingError {
  const control = kernel.createEnclave(cpus, kernel.abi.version);
  if (typeof control === "number") return createFault(control, ghost_cpus);
  return { control, path: kernel.enclavePath(control.id), is_made: true };
}

/**
 * Attaches to an enclave.
 *
 * @param kernel The kernel.
 * @param path What the user gave.
 * @returns The enclave, or why it cannot be had.
 */
export function findEnclave(kernel: RealKernel, path: string): OpenEnclave | OperatingError {
  const id = kernel.enclaveIdOf(path);
  const control = id === undefined ? -ENOENT : kernel.attachEnclave(id);
  if (typeof control !== "number") return { control, path, is_made: false };
  const fault = control === -ENOENT
    ? "there is no such enclave"
    : control === -ENODEV
    ? "the enclave is being destroyed"
    : control === -ESRCH
    ? `the enclave has another ABI version than ${kernel.abi.version}`
    : `errno ${-control}`;
  return new OperatingError(
    `--enclave=${path}: ${fault}`,
    "`ghostctl enclaves` lists those there are; without --enclave the agent makes one",
  );
}

/** What to write where to destroy an enclave from outside; see {@linkcode RealKernel}. */
export function destroyActions(
  kernel: RealKernel,
  id: number,
): readonly (readonly [path: string, text: string])[] {
  if (kernel.destroyActions !== undefined) return kernel.destroyActions(id);
  return kernel.kind === "ghost" ? [[`${kernel.enclavePath(id)}/ctl`, "destroy"]] : [];
}
