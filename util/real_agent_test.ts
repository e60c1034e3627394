/**
 * The main isolate of an agent on a real kernel, with the native peer as the kernel: its agents are
 * real threads, which schedule the peer's made-up tasks.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { PeerRealKernel } from "../tests/agents/peer_real_kernel.ts";
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";
import { agentMain } from "./agent_main.ts";

const HOST_FILES: Readonly<Record<string, string>> = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-3\n",
  "/sys/devices/system/cpu/possible": "0-3\n",
};
const HANG_MS = 60_000;

/** An agent that runs in this process. */
class Running {
  stdout = "";
  stderr = "";
  readonly peer: PeerRealKernel;
  readonly status: Promise<number>;

  constructor(args: readonly string[], peer: PeerRealKernel) {
    this.peer = peer;
    this.status = agentMain(FIFO_PER_CPU_AGENT, args, {
      stdout: (text) => this.stdout += text,
      stderr: (text) => this.stderr += text,
      is_terminal: false,
      read: (path) => HOST_FILES[path],
      uid: () => 0,
      kernels: { ghost: () => Promise.resolve(peer) },
      exit: (status) => this.stderr += `exit ${status}\n`,
    });
  }

  async until(what: () => boolean): Promise<void> {
    const end_ms = performance.now() + HANG_MS;
    while (!what()) {
      assert(performance.now() < end_ms, `${what}: ${this.stdout}${this.stderr}`);
      await new Promise((wake) => setTimeout(wake, 2));
    }
  }
}

Deno.test("an agent makes an enclave, schedules, and ends on a signal with upstream's lines", async () => {
  const peer = new PeerRealKernel({
    cpu_count: 2,
    task_count: 60,
    round_count: 20,
    producer_count: 2,
  });
  const agent = new Running(["--ghost_cpus=0-1"], peer);
  await agent.until(() => agent.stdout.includes("ghOSt active."));
  assertEquals(agent.stdout, "Initializing...\nInitialization complete, ghOSt active.\n");
  peer.start();
  await agent.until(() => peer.report().gone_count === 60);
  Deno.kill(Deno.pid, "SIGTERM");
  assertEquals(await agent.status, 0);
  assertStringIncludes(agent.stdout, "active.\n\nDone!\n");
  assertEquals(
    agent.stderr,
    "fifo_per_cpu_agent: this kernel has no runnable_timeout: only the guard watches\n",
  );
  assertEquals(peer.enclaveIds(), []);
});
