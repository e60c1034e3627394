/**
 * The kernels that the contract suite can be run on, as `ghostctl selftest --kernel` names them.
 *
 * @module
 */
import { LATEST_ABI } from "../../ffi/abi/abi.ts";
import { OperatingError } from "../../lib/errors.ts";
import type { ContractHost } from "./host.ts";
import type { PlannedCase } from "./run_case.ts";
import { SimHost } from "./sim_host.ts";

/** A kernel under the suite. */
export interface SuiteKernel {
  /** Newest ABI version that it offers. */
  readonly abi_version: number;
  /** The machine for a case, or why there is none. */
  hostFor(planned: PlannedCase): ContractHost | string | Promise<ContractHost | string>;
}

/** Values of `--kernel`. */
export const SUITE_KERNELS: readonly string[] = ["sim", "ghost", "scx"];

function simSuite(): SuiteKernel {
  return {
    abi_version: LATEST_ABI.version,
    hostFor: ({ contract_case, abi_version }) => new SimHost(contract_case, { abi_version }),
  };
}

async function ghostSuite(): Promise<SuiteKernel | OperatingError> {
  const { openGhostKernel } = await import("../../kernels/ghost/ghost_kernel.ts");
  const { GhostContractHost } = await import("./ghost_host.ts");
  const { ghostSkip } = await import("./ghost_skips.ts");
  const first = openGhostKernel();
  if (first instanceof OperatingError) return first;
  const { version } = first.abi;
  const cpu_count_max = GhostContractHost.cpuCountMax(first);
  first.close();
  return {
    abi_version: version,
    hostFor: ({ contract_case }) => {
      const { name, cpu_count } = contract_case;
      const reason = ghostSkip(name);
      if (reason !== undefined) return reason;
      if (cpu_count > cpu_count_max) return `needs ${cpu_count + 1} CPUs`;
      const kernel = openGhostKernel();
      return kernel instanceof OperatingError
        ? kernel.message
        : new GhostContractHost(contract_case, kernel);
    },
  };
}

async function scxSuite(): Promise<SuiteKernel | OperatingError> {
  const { openScxHost, scxSuiteFault } = await import("./scx_host.ts");
  const fault = await scxSuiteFault();
  if (fault instanceof OperatingError) return fault;
  return { abi_version: LATEST_ABI.version, hostFor: (planned) => openScxHost(planned) };
}

/**
 * Opens a kernel for the suite.
 *
 * @param name One of {@linkcode SUITE_KERNELS}.
 * @returns The kernel, or what this host lacks for it.
 */
export function openSuite(name: string): Promise<SuiteKernel | OperatingError> {
  if (name === "scx") return scxSuite();
  return name === "ghost" ? ghostSuite() : Promise.resolve(simSuite());
}
