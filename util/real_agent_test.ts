/**
 * The main isolate of an agent on a real kernel, with the native peer as the kernel: its agents are
 * real threads, which schedule the peer's made-up tasks. Agents that follow each other are in one
 * process here, since a peer is memory of its process.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { PolicyDefinition } from "../lib/policy.ts";
import { PEER_DIR, PeerRealKernel } from "../tests/agents/peer_real_kernel.ts";
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { type AgentHost, agentMain } from "./agent_main.ts";
import { AgentSignals } from "./agent_signals.ts";

const HOST_FILES: Readonly<Record<string, string>> = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-1\n",
  "/sys/devices/system/cpu/possible": "0-1\n",
};
const HANG_MS = 60_000;
const ENDLESS = {
  cpu_count: 2,
  task_count: 40,
  producer_count: 2,
  round_count: 1_000_000_000,
  run_ns_max: 100_000,
};
const NEW = ["--ghost_cpus=0-1"];
const ATTACH = [`--enclave=${PEER_DIR}1`];

/** An agent that runs in this process. */
class Running {
  stdout = "";
  stderr = "";
  has_ended = false;
  readonly signals: AgentSignals = new AgentSignals((status) => this.stderr += `exit ${status}\n`);
  readonly status: Promise<number>;

  constructor(args: readonly string[], peer: PeerRealKernel, host: Partial<AgentHost> = {}) {
    const program = { ...FIFO_PER_CPU_AGENT, policy: FIFO_PER_CPU };
    this.status = agentMain(program, args, {
      stdout: (text) => this.stdout += text,
      stderr: (text) => this.stderr += text,
      is_terminal: false,
      read: (path) => HOST_FILES[path],
      uid: () => 0,
      kernels: { ghost: () => Promise.resolve(peer) },
      signals: this.signals,
      ...host,
    }).finally(() => this.has_ended = true);
  }

  async until(what: () => boolean): Promise<void> {
    const end_ms = performance.now() + HANG_MS;
    while (!what()) {
      assert(performance.now() < end_ms, `${what}: ${this.stdout}${this.stderr}`);
      await new Promise((wake) => setTimeout(wake, 2));
    }
  }

  async active(): Promise<void> {
    await this.until(() => this.stdout.includes("ghOSt active.") || this.has_ended);
    assertStringIncludes(this.stdout, "ghOSt active.", this.stderr);
  }

  /** What it said on stderr in its name, without what every agent of a peer says. */
  said(): string[] {
    return this.stderr.split("\n").filter((line) => line.startsWith("fifo_per_cpu_agent: "))
      .filter((line) => !/no runnable_|be locked in/.test(line))
      .map((line) => line.replace(/^fifo_per_cpu_agent: /, ""));
  }
}

Deno.test("an agent makes an enclave, schedules, and ends on a signal with upstream's lines", async () => {
  const peer = new PeerRealKernel({ ...ENDLESS, round_count: 20 });
  const agent = new Running(NEW, peer, { signals: undefined });
  await agent.active();
  assertEquals(agent.stdout, "Initializing...\nInitialization complete, ghOSt active.\n");
  peer.start();
  await agent.until(() => peer.report().gone_count === ENDLESS.task_count);
  Deno.kill(Deno.pid, "SIGTERM");
  assertEquals(await agent.status, 0);
  assertStringIncludes(agent.stdout, "active.\n\nDone!\n");
  assertEquals(agent.said(), []);
  assertStringIncludes(agent.stderr, "this kernel has no runnable_timeout: only the guard watches");
  assertEquals(peer.enclaveIds(), []);
});

Deno.test("an agent takes an enclave over: it waits, follows at once, and no task is lost", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  peer.open_count = 2;
  const old = new Running(NEW, peer);
  await old.active();
  peer.start();
  await old.until(() => peer.report().run_count > 200);
  const next = new Running(ATTACH, peer);
  await next.until(() => next.stderr.includes("waiting for the agent of /peer/enclave_1 to leave"));
  await new Promise((wake) => setTimeout(wake, 300));
  assertEquals([next.stdout, next.has_ended], ["Initializing...\n", false]);
  old.signals.interrupt("SIGUSR2");
  assertEquals(await old.status, 0);
  assertStringIncludes(old.stdout, "Done!\n");
  await next.active();
  assertEquals(peer.enclaveIds(), [1]);
  await next.until(() => next.said().length === 2);
  assertMatch(
    next.said()[1],
    /^took over \/peer\/enclave_1 with \d+ threads, [\d.]+ ms after its agent went offline$/,
  );
  const { run_count } = peer.report();
  await next.until(() => peer.report().run_count > run_count + 500);
  const { double_run_count, policy_fault_count, gone_count } = peer.report();
  assertEquals([double_run_count, policy_fault_count, gone_count], [0, 0, 0]);
  next.signals.interrupt();
  assertEquals(await next.status, 0);
});

Deno.test("what an agent has attached to stays when it ends; what it made does not", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  peer.open_count = 3;
  peer.createEnclave([0, 1], 91);
  const second = new Running(ATTACH, peer);
  await second.active();
  second.signals.interrupt();
  assertEquals(await second.status, 0);
  assertEquals(peer.enclaveIds(), [1]);
  const third = new Running(ATTACH, peer);
  await third.active();
  await third.until(() => third.said().length > 0);
  assertEquals(third.said(), ["took over /peer/enclave_1 with 0 threads"]);
  third.signals.interrupt("SIGUSR2");
  assertEquals(await third.status, 0);
  peer.close();
});

Deno.test("who waits for an agent can give up: nothing is taken or destroyed", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  peer.open_count = 2;
  const old = new Running(NEW, peer);
  await old.active();
  const next = new Running(ATTACH, peer);
  await next.until(() => next.stderr.includes("waiting"));
  next.signals.interrupt();
  assertEquals(await next.status, 0);
  assertEquals(next.stdout, "Initializing...\n\nDone!\n");
  assertEquals(peer.enclaveIds(), [1]);
  peer.start();
  await old.until(() => peer.report().run_count > 200);
  old.signals.interrupt();
  assertEquals([await old.status, peer.enclaveIds().length], [0, 0]);
});

Deno.test("an enclave that is destroyed while an agent waits for it: one line, status 1", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  peer.open_count = 2;
  const control = peer.createEnclave([0, 1], 91);
  assert(typeof control !== "number");
  assertEquals(control.setOnline(true), 0);
  const next = new Running(ATTACH, peer);
  await next.until(() => next.stderr.includes("waiting"));
  control.destroy();
  assertEquals(await next.status, 1);
  assertEquals(
    next.said().at(-1),
    "/peer/enclave_1 is gone; start without --enclave to make a new one",
  );
  peer.close();
});

Deno.test("an enclave that is destroyed under its agent: one line, status 1, and it stays so", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  const agent = new Running(NEW, peer);
  await agent.active();
  const control = peer.attachEnclave(1);
  assert(typeof control !== "number");
  control.destroy();
  assertEquals(await agent.status, 1);
  assertMatch(
    agent.said()[0],
    /^\/peer\/enclave_1 was destroyed; its threads are with the default/,
  );
  assertStringIncludes(agent.stderr, "SchedState[1]");
  assertEquals(peer.enclaveIds(), []);
});

Deno.test("CPUs that another enclave has: one line with the way on, status 1", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  peer.createEnclave([0, 1], 91);
  const agent = new Running(NEW, peer);
  assertEquals(await agent.status, 1);
  assertEquals(agent.said(), [
    "cannot make an enclave of CPUs 0-1: another enclave has one of these CPUs; " +
    "choose other CPUs, or see `ghostctl enclaves` for who has them",
  ]);
});

Deno.test("a host that cannot hold the agents: one line, and the enclave is gone again", async () => {
  const limits = "Max open files            40                   40                   files\n";
  const peer = new PeerRealKernel(ENDLESS);
  const read = (path: string): string | undefined =>
    path === "/proc/self/limits" ? limits : HOST_FILES[path];
  const agent = new Running(NEW, peer, { read });
  assertEquals(await agent.status, 1);
  assertMatch(
    agent.said()[0],
    /^nofile: hard limit 40, but 2 agents take \d+ descriptors; raise it/,
  );
  assertEquals(peer.enclaveIds(), []);
});

Deno.test("a policy that needs what the kernel lacks is refused by name", async () => {
  const peer = new PeerRealKernel(ENDLESS);
  const policy: PolicyDefinition = { ...FIFO_PER_CPU, requires: ["ticks"] };
  const said: string[] = [];
  const status = await agentMain({ ...FIFO_PER_CPU_AGENT, policy }, NEW, {
    stdout: () => {},
    stderr: (text) => said.push(text),
    is_terminal: false,
    read: (path) => HOST_FILES[path],
    uid: () => 0,
    kernels: { ghost: () => Promise.resolve(peer) },
  });
  assertEquals(status, 1);
  assertMatch(said.join(""), /^fifo_per_cpu_agent: Cannot run fifo_per_cpu on peer without ticks/);
  assertEquals(peer.enclaveIds(), []);
});

/** A Worker that only tells how warm it was to be. */
const TELLING_WORKER = `data:text/javascript,onmessage = ({ data }) =>
  postMessage({ kind: "failed", text: "warm-up: " + data.warm_up, exit_status: 1 });`;

Deno.test("agents of a new enclave are warmed up briefly, those that follow others wholly", async () => {
  const telling = { worker_url: TELLING_WORKER };
  const first = new Running(NEW, new PeerRealKernel(ENDLESS), telling);
  assertEquals(await first.status, 1);
  assertStringIncludes(first.stderr, "warm-up: brief");
  const peer = new PeerRealKernel(ENDLESS);
  peer.open_count = 2;
  const old = new Running(NEW, peer);
  await old.active();
  const next = new Running(ATTACH, peer, telling);
  assertEquals(await next.status, 1);
  assertStringIncludes(next.stderr, "warm-up: full");
  old.signals.interrupt("SIGINT");
  assertEquals(await old.status, 0);
});
