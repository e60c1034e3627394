/**
 * What agents can be asked. Source: reference sections 4.0 and 4.1, where the numbers come from.
 *
 * @module
 */
import type { AgentRpcArgs, AgentRpcResponse } from "../../lib/agent_rpc.ts";
import type { PolicyEnclave } from "../../lib/enclave.ts";
import type { RpcHandler } from "./server.ts";

/** Writes the agents' state on the agent process's stderr; response code 0. */
export const RPC_DEBUG_RUNQUEUE = 1;
/** Response code: how many threads are in the enclave. Of agents that upstream has it for. */
export const RPC_COUNT_ALL_TASKS = 2;

/**
 * Answers requests that only one agent knows; leaves the response alone for others.
 *
 * @param request Number of the request.
 * @param args Its arguments.
 * @param response What to fill in.
 * @param enclave The enclave with the policy's state.
 */
export type AgentRpc = (
  request: number,
  args: AgentRpcArgs,
  response: AgentRpcResponse,
  enclave: PolicyEnclave,
) => void;

/** The answer to {@linkcode RPC_COUNT_ALL_TASKS}. */
export const countAllTasks: AgentRpc = (request, _args, response, { control }) => {
  if (request !== RPC_COUNT_ALL_TASKS) return;
  response.response_code = BigInt(control.taskTids().length);
};

/**
 * The handler of an agent process.
 *
 * @param enclave The enclave with the policy on it.
 * @param dump Writes the agents' state.
 * @param own What only this agent knows.
 * @returns The handler.
 */
export function agentRpcHandler(
  enclave: PolicyEnclave,
  dump: () => void,
  own: AgentRpc | undefined,
): RpcHandler {
  return (request, args, response) => {
    own?.(request, args, response, enclave);
    if (request !== RPC_DEBUG_RUNQUEUE) return;
    dump();
    response.response_code = 0n;
  };
}
