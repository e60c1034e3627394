/**
 * All cases of the contract suite.
 *
 * @module
 */
import { COMMIT_CHECK_CASES } from "./cases/commit_check_cases.ts";
import type { ContractCase } from "./contract.ts";

/** Every case, in the order in which they run. */
export const CASES: readonly ContractCase[] = [
  ...COMMIT_CHECK_CASES,
];
