/**
 * fifo_per_cpu_agent with a native peer as its kernel, under its guard, as a process; main program
 * and Worker in one module, as every executable is. The first argument is a policy's name in
 * tests/workers/planted_agent_worker.ts, which is also the Worker's code; the second is the file
 * that stands for the enclave's control file; the others are the agent's own.
 *
 * @module
 */
import { FIFO_PER_CPU_AGENT } from "../../schedulers/fifo/per_cpu/agent.ts";
import { agentMain, PROCESS_HOST } from "../../util/agent_main.ts";
import { PLANTED_POLICIES } from "../workers/planted_agent_worker.ts";
import { PeerRealKernel } from "./peer_real_kernel.ts";
import { testRequests } from "./test_requests.ts";

const HOST_FILES: Readonly<Record<string, string>> = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-1\n",
  "/sys/devices/system/cpu/possible": "0-1\n",
};

async function main(): Promise<number> {
  const [policy_name, ctl, ...args] = Deno.args;
  const peer = new PeerRealKernel({
    cpu_count: 2,
    task_count: 40,
    producer_count: 2,
    round_count: 1_000_000_000,
    run_ns_max: 200_000,
  }, ctl);
  const policy = PLANTED_POLICIES[policy_name]({});
  const program = { ...FIFO_PER_CPU_AGENT, policy, rpc: testRequests };
  return await agentMain(program, args, {
    ...PROCESS_HOST,
    stdout: (text) => {
      PROCESS_HOST.stdout(text);
      if (text.includes("ghOSt active.")) peer.start();
    },
    read: (path) => HOST_FILES[path] ?? PROCESS_HOST.read(path),
    uid: () => 0,
    kernels: { ghost: () => Promise.resolve(peer) },
    worker_url: import.meta.url,
    exits_folder: `${ctl}_exits`,
  });
}

if (!("WorkerGlobalScope" in globalThis)) Deno.exit(await main());
