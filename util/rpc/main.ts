/**
 * `ghostctl rpc`: asks an agent process something and prints the response code.
 *
 * @module
 */
import { AgentRpcArgs } from "../../lib/agent_rpc.ts";
import { EXIT_FAILURE, type OperatingError, UsageError } from "../../lib/errors.ts";
import { agentProcesses } from "../agent_tree.ts";
import { splitArgs } from "../command_args.ts";
import { type Flag, flagsHelp, parseFlags } from "../flags.ts";
import { HOST_FILES } from "../process_files.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "../tool_host.ts";
import { AgentRpcClient } from "./client.ts";

const PROGRAM = "ghostctl rpc";
const FLAGS: readonly Flag[] = [{ name: "help", help: "print this" }];
const USAGE = `usage: ${PROGRAM} PID REQUEST [ARG0 [ARG1]]

Asks an agent something and prints the response code. PID is the agent's process or its guard.
Requests: 1 writes the agent's state on its stderr (code 0); 2 counts the threads of the enclave
(fifo_per_cpu_agent). Any other is answered with -1, and with -19 while the agent is not online.
Exit status: 0 if the code is not negative, 1 if it is or there is no answer, 2 for wrong usage.

`;

function numbers(words: readonly string[]): bigint[] | UsageError {
  const bad = words.find((word) => !/^-?\d{1,18}$/.test(word));
  if (bad === undefined && words.length >= 2 && words.length <= 4) return words.map(BigInt);
  const what = bad === undefined
    ? `${words.length} arguments`
    : `${JSON.stringify(bad)} is no number`;
  return new UsageError(what, `usage: ${PROGRAM} PID REQUEST [ARG0 [ARG1]]`);
}

async function run(args: readonly string[], host: ToolHost): Promise<number | OperatingError> {
  const { flag_args, words: rest } = splitArgs(FLAGS, args);
  const flags = parseFlags(FLAGS, flag_args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(USAGE + flagsHelp(FLAGS));
    return 0;
  }
  const words = numbers(rest);
  if (words instanceof UsageError) return words;
  const [pid, request, arg0 = 0n, arg1 = 0n] = words;
  const agent = agentProcesses(HOST_FILES).get(Number(pid)) ?? Number(pid);
  const client = AgentRpcClient.connect(agent);
  if (!(client instanceof AgentRpcClient)) return client;
  try {
    const rpc_args = new AgentRpcArgs();
    rpc_args.arg0 = arg0;
    rpc_args.arg1 = arg1;
    const response = await client.rpc(Number(request), rpc_args);
    if (response instanceof Error) return response;
    host.stdout(String(response.response_code));
    return response.response_code < 0n ? EXIT_FAILURE : 0;
  } finally {
    client.close();
  }
}

/**
 * Runs the tool.
 *
 * @param args Its arguments; `--help` explains them.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export async function main(args: string[], host: ToolHost = PROCESS_TOOL_HOST): Promise<number> {
  return await toolMain(PROGRAM, host, () => run(args, host));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
