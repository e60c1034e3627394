/**
 * Whole agents with a global CPU, from the command line to threads that schedule, with the native
 * peer as the kernel.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PeerRealKernel } from "../tests/agents/peer_real_kernel.ts";
import { agentMain, type AgentProgram } from "../util/agent_main.ts";
import { AgentSignals } from "../util/agent_signals.ts";
import { EDF_AGENT } from "./edf/agent.ts";
import { FIFO_CENTRALIZED_AGENT } from "./fifo/centralized/agent.ts";
import { SHINJUKU_AGENT } from "./shinjuku/agent.ts";
import { SOL_AGENT } from "./sol/agent.ts";

const HOST_FILES: Readonly<Record<string, string>> = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-1\n",
  "/sys/devices/system/cpu/possible": "0-1\n",
};
const HANG_MS = 60_000;
const TASK_COUNT = 30;
const LIST = ["--ghost_cpus=0-1", "--globalcpu=1"];

interface Row {
  readonly program: AgentProgram;
  readonly args: readonly string[];
}

const ROWS: readonly Row[] = [
  { program: FIFO_CENTRALIZED_AGENT, args: [...LIST, "--preemption_time_slice=50us"] },
  { program: SOL_AGENT, args: LIST },
  { program: SHINJUKU_AGENT, args: ["--firstcpu=0", "--ncpus=2"] },
  { program: EDF_AGENT, args: LIST },
];

for (const { program, args } of ROWS) {
  Deno.test(`${program.name}: runs threads, and ends with upstream's lines`, async () => {
    const load = { cpu_count: 2, task_count: TASK_COUNT, producer_count: 1, round_count: 10 };
    const peer = new PeerRealKernel(load);
    const signals = new AgentSignals(() => {});
    const said = { stdout: "", stderr: "" };
    let has_ended = false;
    const status = agentMain(program, args, {
      stdout: (text) => said.stdout += text,
      stderr: (text) => said.stderr += text,
      is_terminal: false,
      read: (path) => HOST_FILES[path],
      uid: () => 0,
      kernels: { ghost: () => Promise.resolve(peer) },
      signals,
    }).finally(() => has_ended = true);
    const until = async (what: () => boolean): Promise<void> => {
      const end_ms = performance.now() + HANG_MS;
      while (!what() && !has_ended) {
        assert(performance.now() < end_ms, `${what}: ${said.stdout}${said.stderr}`);
        await new Promise((wake) => setTimeout(wake, 2));
      }
    };
    await until(() => said.stdout.includes("ghOSt active.\n"));
    const head = "Core map\n(  0 )\t(  1 )\t\nInitializing...\n";
    assert(said.stdout.startsWith(head), said.stdout + said.stderr);
    peer.start();
    await until(() => peer.report().gone_count === TASK_COUNT);
    signals.on_dump?.();
    assertStringIncludes(said.stderr, "SchedState: ");
    const { double_run_count, policy_fault_count } = peer.report();
    assertEquals([double_run_count, policy_fault_count], [0, 0]);
    signals.interrupt();
    assertEquals(await status, 0, said.stderr);
    assert(said.stdout.endsWith(program.done_text), said.stdout);
    if (program === SOL_AGENT) assertMatch(said.stdout, /\n\d+ nsecs\nDone!\n$/);
    assertEquals(peer.enclaveIds(), []);
  });
}
