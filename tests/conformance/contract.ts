/**
 * What a case of the contract suite is: one statement about a kernel, with the control side that
 * drives it and the step that its agents run. Cases know only `Kernel` and
 * {@linkcode ContractHost},
 * so that every kernel can be held against them.
 *
 * @module
 */
import type { AbiVersion } from "../../ffi/abi/abi.ts";
import type { Capability } from "../../kernels/kernel.ts";
import type { RuleName } from "../../kernels/sim/rules.ts";
import type { ContractHost, ContractStep, HostFeature } from "./host.ts";

/** One case. */
export interface ContractCase {
  /** What is true, in one line. */
  readonly name: string;
  /** The rule without which the case fails: a simulated kernel without it must turn it red. */
  readonly rule?: RuleName;
  /** The case shows what the kernel refuses, or what must not happen. */
  readonly negative?: boolean;
  /** What the kernel must be able to do. */
  readonly requires?: readonly Capability[];
  /** What the host must be able to do. */
  readonly needs?: readonly HostFeature[];
  /** ABI versions under which to run; absent means the newest that the kernel offers. */
  readonly abi_versions?: readonly AbiVersion[];
  /** CPUs that the case uses. */
  readonly cpu_count: number;
  /** What each agent runs; absent means the remote-controlled agent of agent_commands.ts. */
  readonly step?: ContractStep;
  /** The control side; throws a {@linkcode ContractFailure} if the kernel breaks the contract. */
  run(host: ContractHost): Promise<void>;
}

/** A kernel did not do what a case says. */
export class ContractFailure extends Error {
  /** Name of the class. */
  override name = "ContractFailure";
}
