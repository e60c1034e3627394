/**
 * Requests to a whole agent under its guard, by this process: upstream's agent_test between real
 * processes (reference section 8.2), with the native peer as the kernel.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { AgentRpcArgs, type AgentRpcResponse } from "../lib/agent_rpc.ts";
import { OperatingError } from "../lib/errors.ts";
import { RPC_BLOB_BYTES } from "../util/rpc/blob.ts";
import { AgentRpcClient } from "../util/rpc/client.ts";
import { main as rpcMain } from "../util/rpc/main.ts";
import { RPC_COUNT_ALL_TASKS, RPC_DEBUG_RUNQUEUE } from "../util/rpc/requests.ts";
import { PROCESS_TOOL_HOST } from "../util/tool_host.ts";
import {
  ASK_STATUS,
  ASK_STATUS_OR,
  ASK_STRUCT,
  ASK_SUM,
  ASK_THIRD,
  ASK_TO_THROW,
  NUMBER,
  STRUCT,
  THREE_NUMBERS,
} from "./agents/test_requests.ts";
import { type Started, startProgram } from "./process.ts";

const ACTIVE = "Initialization complete, ghOSt active.\n";

function childOf(pid: number): number {
  // A process that dumps a dead agent's state may follow.
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return Number(text.trim().split(" ")[0]);
}

function connect(pid: number): AgentRpcClient {
  const client = AgentRpcClient.connect(pid);
  if (client instanceof OperatingError) throw client;
  return client;
}

async function ask(
  client: AgentRpcClient,
  request: number,
  args?: AgentRpcArgs,
): Promise<AgentRpcResponse> {
  const response = await client.rpc(request, args, 60_000);
  if (response instanceof OperatingError) throw response;
  return response;
}

async function withAgent(
  args: readonly string[],
  body: (started: Started, client: AgentRpcClient) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "agent_rpc_" });
  await Deno.writeTextFile(`${folder}/ctl`, "1");
  const started = await startProgram("tests/agents/guarded_agent.ts", [
    "fifo_per_cpu",
    `${folder}/ctl`,
    "--ghost_cpus=0-1",
    "--watchdog=1m",
    ...args,
  ]);
  try {
    await started.waitFor(ACTIVE);
    const client = connect(childOf(started.child.pid));
    await body(started, client);
    client.close();
  } finally {
    try {
      started.child.kill("SIGINT");
    } catch { /* ended */ }
    await started.ended();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("agent_test RpcSerialization: a struct reaches the client of another process", async () => {
  await withAgent([], async (_started, client) => {
    const response = await ask(client, ASK_STRUCT);
    assertEquals(response.response_code, 0n);
    assertEquals(response.buffer.deserialize(THREE_NUMBERS).value(), STRUCT);
    // A copy: the next request leaves it alone.
    await ask(client, ASK_STATUS);
    assertEquals(response.buffer.deserialize(THREE_NUMBERS).value(), STRUCT);
  });
});

Deno.test("agent_test RpcArgSerialization: arguments reach the agent, numbers and buffer", async () => {
  await withAgent([], async (_started, client) => {
    const args = new AgentRpcArgs();
    args.buffer.serialize(THREE_NUMBERS, { one: 1, two: 2n, three: 3 });
    assertEquals((await ask(client, ASK_THIRD, args)).response_code, 3n);
    const sum = new AgentRpcArgs();
    sum.arg0 = 1n << 40n;
    sum.arg1 = -2n;
    assertEquals((await ask(client, ASK_SUM, sum)).response_code, (1n << 40n) - 2n);
    // Left-overs of an earlier request are none of the next one's.
    assertEquals((await ask(client, ASK_SUM)).response_code, 0n);
  });
});

Deno.test("agent_test RpcStatusSerialization: a status comes back as it was", async () => {
  await withAgent([], async (_started, client) => {
    const { buffer } = await ask(client, ASK_STATUS);
    assert(buffer.deserializeStatus().value().ok());
  });
});

Deno.test("agent_test RpcStatusOrSerialization: a value or its status comes back", async () => {
  await withAgent([], async (_started, client) => {
    const { buffer } = await ask(client, ASK_STATUS_OR);
    assertEquals(buffer.deserializeStatusOr(NUMBER).value().value(), 42);
  });
});

Deno.test("agent rpc: unknown requests and failing handlers are -1, clients take turns", async () => {
  await withAgent([], async (started, client) => {
    assertEquals((await ask(client, 4711)).response_code, -1n);
    const thrown = await ask(client, ASK_TO_THROW);
    assertEquals([thrown.response_code, thrown.buffer.is_serialized], [-1n, false]);
    await started.waitFor("request 105: planted: no such thing");
    const clients = [client, connect(client.pid), connect(client.pid)];
    const sums = await Promise.all(Array.from({ length: 30 }, async (_, index) => {
      const args = new AgentRpcArgs();
      args.arg0 = BigInt(index);
      args.arg1 = 1000n;
      return (await ask(clients[index % 3], ASK_SUM, args)).response_code;
    }));
    assertEquals(sums, Array.from({ length: 30 }, (_, index) => BigInt(index) + 1000n));
    clients.slice(1).forEach((one) => one.close());
    assertEquals((await ask(client, RPC_COUNT_ALL_TASKS)).response_code >= 0n, true);
    assertEquals((await ask(client, RPC_DEBUG_RUNQUEUE)).response_code, 0n);
    await started.waitFor("SchedState[1]");
  });
});

Deno.test("agent rpc: the tool takes the guard's process id; bad input is one line", async () => {
  const lines: string[] = [];
  const say = (text: string): void => void lines.push(text);
  const host = { ...PROCESS_TOOL_HOST, stdout: say, stderr: say };
  await withAgent([], async ({ child }) => {
    assertEquals(await rpcMain([`${child.pid}`, "104", "40", "2"], host), 0);
    assertEquals(await rpcMain([`${child.pid}`, "4711"], host), 1);
    assertEquals(lines.splice(0), ["42", "-1"]);
  });
  for (const args of [[], ["1"], ["x", "1"], ["1", "2", "3", "4", "5"], ["--no"]]) {
    assertEquals(await rpcMain(args, host), 2, args.join(" "));
    assertEquals(lines.splice(0).length, 1, args.join(" "));
  }
  assertEquals(await rpcMain([`${Deno.pid}`, "1"], host), 1);
  assertMatch(
    lines.splice(0).join("\n"),
    /^ghostctl rpc: process \d+ answers no requests: .*guard$/,
  );
});

Deno.test("agent_test ExitHandler: a killed agent does not end its guard, and its client is told", async () => {
  await withAgent(["--on-crash=restart"], async (started, client) => {
    const args = new AgentRpcArgs();
    args.arg0 = 7n;
    assertEquals((await ask(client, ASK_SUM, args)).response_code, 7n);
    Deno.kill(client.pid, "SIGKILL");
    while (started.text().split(ACTIVE).length < 3) {
      await new Promise((wake) => setTimeout(wake, 20));
    }
    const gone = await client.rpc(ASK_SUM, args, 60_000);
    assert(gone instanceof OperatingError);
    assertStringIncludes(gone.message, "has ended");
    const successor = connect(childOf(started.child.pid));
    assert(successor.pid !== client.pid);
    assertEquals((await ask(successor, ASK_SUM, args)).response_code, 7n);
    successor.close();
  });
});

Deno.test("agent rpc: the region is laid out as upstream's", () => {
  assertEquals(RPC_BLOB_BYTES, 65624);
});
