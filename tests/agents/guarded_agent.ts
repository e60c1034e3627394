/**
 * fifo_per_cpu_agent with a native peer as its kernel, under its guard, as a process. The first
 * argument is the policy ("fifo", or one of tests/workers/planted_agent_worker.ts), the second the
 * file that stands for the enclave's control file; the others are the agent's own.
 *
 * @module
 */
import { agentMain, PROCESS_HOST } from "../../util/agent_main.ts";
import { FIFO_PER_CPU_AGENT } from "../../schedulers/fifo/per_cpu/agent.ts";
import { PLANTED_POLICIES } from "../workers/planted_agent_worker.ts";
import { PeerRealKernel } from "./peer_real_kernel.ts";

const [policy_name, ctl, ...args] = Deno.args;
const HOST_FILES: Readonly<Record<string, string>> = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-1\n",
  "/sys/devices/system/cpu/possible": "0-1\n",
};
const peer = new PeerRealKernel({
  cpu_count: 2,
  task_count: 40,
  producer_count: 2,
  round_count: 1_000_000_000,
  run_ns_max: 200_000,
}, ctl);
const planted = PLANTED_POLICIES[policy_name];
const worker_url = new URL("../workers/planted_agent_worker.ts", import.meta.url).href;

const status = await agentMain(
  planted === undefined ? FIFO_PER_CPU_AGENT : { ...FIFO_PER_CPU_AGENT, policy: planted({}) },
  args,
  {
    ...PROCESS_HOST,
    stdout: (text) => {
      PROCESS_HOST.stdout(text);
      if (text.includes("ghOSt active.")) peer.start();
    },
    read: (path) => HOST_FILES[path] ?? PROCESS_HOST.read(path),
    uid: () => 0,
    kernels: { ghost: () => Promise.resolve(peer) },
    worker_url: planted === undefined ? undefined : worker_url,
  },
);
Deno.exit(status);
