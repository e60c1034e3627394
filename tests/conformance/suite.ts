/**
 * All cases of the contract suite.
 *
 * @module
 */
import { AGENT_CASES } from "./cases/agent_cases.ts";
import { ASSOCIATION_CASES } from "./cases/association_cases.ts";
import { COMMIT_CHECK_CASES } from "./cases/commit_check_cases.ts";
import { COMMIT_EFFECT_CASES } from "./cases/commit_effect_cases.ts";
import { COMMIT_GROUP_CASES } from "./cases/group_cases.ts";
import { CPU_MESSAGE_CASES } from "./cases/cpu_message_cases.ts";
import { DESTROY_CASES } from "./cases/destroy_cases.ts";
import { ENCLAVE_CASES } from "./cases/enclave_cases.ts";
import { JOIN_CASES } from "./cases/join_cases.ts";
import { MESSAGE_CASES } from "./cases/message_cases.ts";
import { QUEUE_CASES } from "./cases/queue_cases.ts";
import { STATUS_WORD_CASES } from "./cases/status_word_cases.ts";
import { UPSTREAM_API_CASES } from "./cases/upstream_api_cases.ts";
import { UPSTREAM_AGENT_CASES } from "./cases/upstream_agent_cases.ts";
import { UPSTREAM_ENCLAVE_CASES } from "./cases/upstream_enclave_cases.ts";
import type { ContractCase } from "./contract.ts";

/** Every case, in the order in which they run. */
export const CASES: readonly ContractCase[] = [
  ...ENCLAVE_CASES,
  ...QUEUE_CASES,
  ...ASSOCIATION_CASES,
  ...STATUS_WORD_CASES,
  ...AGENT_CASES,
  ...JOIN_CASES,
  ...MESSAGE_CASES,
  ...CPU_MESSAGE_CASES,
  ...COMMIT_CHECK_CASES,
  ...COMMIT_EFFECT_CASES,
  ...COMMIT_GROUP_CASES,
  ...DESTROY_CASES,
  ...UPSTREAM_API_CASES,
  ...UPSTREAM_AGENT_CASES,
  ...UPSTREAM_ENCLAVE_CASES,
];
