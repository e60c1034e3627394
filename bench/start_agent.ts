/**
 * fifo_per_cpu_agent with the native peer as its kernel, the program of
 * start_child.ts. Arguments: "start", a number of CPUs and flags, which runs it under its guard; or
 * "upgrade", a number of CPUs and how many agents follow each other, all in this process, since a
 * peer is memory of its process; writes the gaps in ms as JSON.
 *
 * @module
 */
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";
import { PEER_DIR, PeerRealKernel } from "../tests/agents/peer_real_kernel.ts";
import { type AgentHost, agentMain, PROCESS_HOST } from "../util/agent_main.ts";
import { AgentSignals } from "../util/agent_signals.ts";

const ACTIVE = "ghOSt active.";
const GAP = /([\d.]+) ms after its agent went offline/;
/** Time under load between two take-overs. */
const LOAD_MS = 60;

function hostOf(cpu_count: number, peer: PeerRealKernel): Partial<AgentHost> {
  const files: Readonly<Record<string, string>> = {
    "/sys/fs/ghost/version": "91\n",
    "/sys/devices/system/cpu/online": `0-${cpu_count - 1}\n`,
    "/sys/devices/system/cpu/possible": `0-${cpu_count - 1}\n`,
  };
  return {
    read: (path) => files[path] ?? PROCESS_HOST.read(path),
    uid: () => 0,
    kernels: { ghost: () => Promise.resolve(peer) },
  };
}

function makePeer(cpu_count: number): PeerRealKernel {
  return new PeerRealKernel({
    cpu_count,
    task_count: 40,
    producer_count: 1,
    round_count: 1_000_000_000,
    run_ns_max: 200_000,
  }, "/dev/null");
}

async function start(cpu_count: number, flags: readonly string[]): Promise<number> {
  const host = hostOf(cpu_count, makePeer(cpu_count));
  // The guard starts this file again with the same arguments.
  const args = [`--ghost_cpus=0-${cpu_count - 1}`, "--kernel=ghost", ...flags];
  return await agentMain(FIFO_PER_CPU_AGENT, args, { ...PROCESS_HOST, ...host });
}

/** An agent process of this process. */
interface Run {
  readonly signals: AgentSignals;
  readonly status: Promise<number>;
}

/** Waits until something holds of an agent that must not end before. */
async function until(condition: () => boolean, { status }: Run): Promise<void> {
  let ended: number | undefined;
  status.then((code) => ended = code);
  while (!condition()) {
    if (ended !== undefined) throw new Error(`an agent ended with status ${ended}`);
    await new Promise((wake) => setTimeout(wake, 1));
  }
}

async function upgrade(cpu_count: number, count: number): Promise<number> {
  const peer = makePeer(cpu_count);
  peer.open_count = count + 1;
  const gaps_ms: number[] = [];
  let said = "";
  const run = (args: string[]): Run => {
    const signals = new AgentSignals();
    const collect = (text: string): void => void (said += text);
    const own = { ...PROCESS_HOST, stdout: collect, stderr: collect, guard: undefined, signals };
    const status = agentMain(FIFO_PER_CPU_AGENT, args, { ...own, ...hostOf(cpu_count, peer) });
    return { signals, status };
  };
  let old = run([`--ghost_cpus=0-${cpu_count - 1}`, "--kernel=ghost"]);
  await until(() => said.includes(ACTIVE), old);
  peer.start();
  for (let turn = 0; turn < count; turn++) {
    said = "";
    const next = run([`--enclave=${PEER_DIR}1`, "--kernel=ghost"]);
    await until(() => said.includes("waiting"), next);
    await new Promise((wake) => setTimeout(wake, LOAD_MS));
    old.signals.interrupt("SIGUSR2");
    await until(() => GAP.test(said), next);
    gaps_ms.push(Number(GAP.exec(said)![1]));
    await old.status;
    old = next;
  }
  console.log(JSON.stringify(gaps_ms));
  return 0;
}

/**
 * Runs one or the other.
 *
 * @param args See above.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  const [what, cpu_count, ...rest] = args;
  const cpus = Number(cpu_count);
  return what === "start" ? await start(cpus, rest) : await upgrade(cpus, Number(rest[0]));
}
