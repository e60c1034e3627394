/**
 * Runs cases on hosts: which case runs under which ABI version, and what came of it.
 *
 * @module
 */
import { type ContractCase, ContractFailure } from "./contract.ts";
import type { ContractHost } from "./host.ts";

/** A case under one ABI version. */
export interface PlannedCase {
  /** The case. */
  readonly contract_case: ContractCase;
  /** The version. */
  readonly abi_version: number;
  /** Name of the case, with the version if it runs under several. */
  readonly title: string;
}

/** What came of a case. */
export interface CaseResult {
  /** Name. */
  readonly title: string;
  /** Whether it passed, failed or could not be run. */
  readonly outcome: "ok" | "FAIL" | "skip";
  /** Why it failed or was left out. */
  readonly reason: string;
}

/** All runs of a list of cases. */
export function planCases(
  cases: readonly ContractCase[],
  newest_abi_version: number,
): PlannedCase[] {
  return cases.flatMap((contract_case) => {
    const versions = contract_case.abi_versions;
    if (versions === undefined) {
      const title = contract_case.name;
      return [{ contract_case, abi_version: newest_abi_version, title }];
    }
    return versions.map((abi_version) => {
      const title = `${contract_case.name} (ABI ${abi_version})`;
      return { contract_case, abi_version, title };
    });
  });
}

/** What a host lacks for a case, or "". */
function lacks(planned: PlannedCase, host: ContractHost): string {
  const { requires = [], needs = [] } = planned.contract_case;
  const { version } = host.kernel.abi;
  if (version !== planned.abi_version) return `the kernel speaks ABI ${version}`;
  const capability = requires.find((name) => !host.kernel.capabilities.has(name));
  if (capability !== undefined) return `the kernel lacks ${capability}`;
  const feature = needs.find((name) => !host.has(name));
  return feature === undefined ? "" : `the host lacks ${feature}`;
}

/**
 * Runs one case.
 *
 * @param planned The case.
 * @param host Makes the machine for it.
 * @returns What came of it; an error that is no {@linkcode ContractFailure} says so.
 */
export async function runCase(planned: PlannedCase, host: ContractHost): Promise<CaseResult> {
  const result = await attempt(planned, host);
  try {
    await host.close();
    return result;
  } catch (error) {
    // Its agents do not leave, for example: the cases to come are still to be run.
    const text = `broken: ${error instanceof Error ? error.message : error}`;
    const reason = result.outcome === "FAIL" ? `${result.reason}; ${text}` : text;
    return { title: planned.title, outcome: "FAIL", reason };
  }
}

async function attempt(planned: PlannedCase, host: ContractHost): Promise<CaseResult> {
  const { title } = planned;
  try {
    const missing = lacks(planned, host);
    if (missing !== "") return { title, outcome: "skip", reason: missing };
    await planned.contract_case.run(host);
    return { title, outcome: "ok", reason: "" };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const kind = error instanceof ContractFailure ? "" : "broken: ";
    return { title, outcome: "FAIL", reason: kind + text };
  }
}
