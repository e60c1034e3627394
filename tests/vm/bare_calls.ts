/**
 * What upstream's tests ask of a kernel by bare system calls, without a policy: run as a program on
 * such a kernel, by the jobs ghost_calls and scx_calls (reference sections 8.1, 8.6 and 8.12).
 *
 * Usage: bare_calls.ts ghost|scx. Prints a line for each check.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import { EBADF, EINVAL, EPERM } from "../../ffi/errno.ts";
import { SCHED_OTHER, SCHED_RESET_ON_FORK } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import { shimHost } from "../../kernels/ghost/shim_host.ts";
import { becomeGhostAgent } from "../../kernels/ghost/ghost_port.ts";
import type { MappedEnclave } from "../../kernels/agent_spec.ts";
import { openRealKernel } from "../../kernels/open.ts";
import { Gtid } from "../../lib/gtid.ts";
import { threadGtid } from "../../util/thread_gtid.ts";
import { cpuMaskBytes } from "../conformance/actor_script.ts";

const SCHED_GHOST = 18;
const GHOST_IOC_RUN = 0x4018670b;
const CAP_SYS_NICE = 1 << 23;
const [CAPGET, CAPSET] = Deno.build.arch === "x86_64" ? [125, 126] : [90, 91];
const CAPABILITY_VERSION_3 = 0x20080522;

/** Runs something without CAP_SYS_NICE in the thread's effective set. */
function withoutNice(run: () => number): number {
  const { syscall, bufferAddress } = loadShim();
  const header = new Int32Array([CAPABILITY_VERSION_3, 0]);
  const sets = new Int32Array(6);
  const change = (number: number): number =>
    syscall(number, bufferAddress(header), bufferAddress(sets), 0, 0, 0, 0);
  if (change(CAPGET) < 0) throw new Error("capget");
  sets[0] &= ~CAP_SYS_NICE;
  if (change(CAPSET) < 0) throw new Error("capset");
  const result = run();
  sets[0] |= CAP_SYS_NICE;
  if (change(CAPSET) < 0) throw new Error("capset");
  return result;
}

/** RUN with a gtid that is neither 0 nor -1, and no CPU. */
function runNonsense({ port_handles }: MappedEnclave): number {
  const words = new Int32Array([5, 0, 0, 0, -1, 0]);
  const bytes = new Uint8Array(words.buffer);
  return loadShim().ioctlBuffer(port_handles.ctl_fd, GHOST_IOC_RUN, bytes);
}

function sameAffinity(): number {
  const shim = loadShim();
  const wanted = cpuMaskBytes([1]);
  const found = new Uint8Array(wanted.length);
  if (shim.schedSetaffinity(0, wanted, wanted.length) < 0) return -1;
  if (shim.schedGetaffinity(0, found, found.length) < 0) return -1;
  return found.every((byte, index) => byte === wanted[index]) ? 0 : -1;
}

/** A call of which the kernel's answer must be the wanted one. */
interface GhostCheck {
  readonly name: string;
  readonly wanted: number;
  readonly run: (enclave: MappedEnclave, abi: Abi) => number;
}

/** Becomes the agent of CPU 0: 0 or −errno. */
function becomeAgent(enclave: MappedEnclave, abi: Abi): number {
  const queue = enclave.createQueue(64, 0, 0);
  if (typeof queue === "number") return 1;
  const access = { ctl_fd: enclave.port_handles.ctl_fd, abi, cpu: 0, queue_fd: queue.id };
  const result = becomeGhostAgent(shimHost(), access);
  return typeof result === "number" ? result : 0;
}

/** What an agent is told that wants to be none: its policy stays as it was. */
function leaveByPolicy(): number {
  const { schedGetscheduler, schedSetscheduler } = loadShim();
  const agent_policy = SCHED_GHOST | SCHED_RESET_ON_FORK;
  const results = [SCHED_GHOST, SCHED_OTHER].map((policy) => schedSetscheduler(0, policy, 0, 0));
  if (schedGetscheduler(0) !== agent_policy || results[0] !== results[1]) return 1;
  return results[0];
}

const GHOST_CHECKS: readonly GhostCheck[] = [
  {
    name: "api_test EnteringGhostViaSetSchedulerReturnsBadFdError",
    wanted: -EBADF,
    run: () => loadShim().schedSetscheduler(0, SCHED_GHOST, -2, 0),
  },
  { name: "capabilities_test RunNice", wanted: -EINVAL, run: runNonsense },
  {
    name: "capabilities_test RunNoNice",
    wanted: -EPERM,
    run: (enclave) => withoutNice(() => runNonsense(enclave)),
  },
  {
    name: "capabilities_test AgentNoNice",
    wanted: -EPERM,
    run: (enclave, abi) => withoutNice(() => becomeAgent(enclave, abi)),
  },
  // From here on this thread is an agent.
  { name: "capabilities_test AgentNice", wanted: 0, run: becomeAgent },
  { name: "agent_test SetSched", wanted: -EPERM, run: leaveByPolicy },
];
/** What a kernel was found to do. */
interface Finding {
  readonly name: string;
  readonly is_right: boolean;
  readonly detail?: string;
}

/** Names of threads, and a mask of CPUs: what holds on every kernel. */
function commonFindings(kernel: "ghost" | "scx"): Finding[] {
  const tids = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => Number(name)).slice(0, 2);
  const gtids = tids.map((tid) => threadGtid(kernel, tid));
  const is_own = gtids.every((gtid, nth) => gtid instanceof Gtid && gtid.tid() === tids[nth]);
  const tgids = gtids.map((gtid) => gtid instanceof Gtid ? gtid.tgid() : -1);
  const findings: Finding[] = [
    { name: "api_test SchedGetAffinity", is_right: sameAffinity() === 0 },
    { name: "base_test TidTest", is_right: tids.length === 2 && is_own },
  ];
  // The process is found by the kernel's own gtids, and sched_ext has none.
  if (kernel === "scx") return findings;
  const is_right = tgids.every((tgid) => tgid === Deno.pid);
  return [...findings, { name: "base_test TgidThreadTest", is_right, detail: `${tgids}` }];
}

function ghostFindings(enclave: MappedEnclave, abi: Abi): Finding[] {
  return GHOST_CHECKS.map(({ name, wanted, run }) => {
    const result = run(enclave, abi);
    return { name, is_right: result === wanted, detail: `${result}, want ${wanted}` };
  });
}

async function main(kernel_name: "ghost" | "scx"): Promise<void> {
  const kernel = await openRealKernel(kernel_name);
  if (kernel instanceof Error) throw kernel;
  const enclave = kernel.createEnclave([0], kernel.abi.version);
  if (typeof enclave === "number") throw new Error(`create an enclave: ${enclave}`);
  const findings = commonFindings(kernel_name);
  if (kernel_name === "ghost") {
    findings.push(...ghostFindings(enclave as MappedEnclave, kernel.abi));
  }
  for (const { name, is_right, detail = "" } of findings) {
    console.log(`${is_right ? "ok" : "FAIL"}  ${name} ${detail}`.trimEnd());
  }
  const failed_count = findings.filter(({ is_right }) => !is_right).length;
  console.log(`checks ${findings.length - failed_count} passed, ${failed_count} failed`);
  // On a ghOSt kernel this thread is the enclave's agent: it is killed here.
  enclave.destroy();
}

if (import.meta.main) await main(Deno.args[0] === "scx" ? "scx" : "ghost");
