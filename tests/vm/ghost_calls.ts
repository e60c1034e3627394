/**
 * What upstream's tests ask of a ghOSt kernel by bare system calls, without an agent: run as a
 * program on such a kernel, by the job ghost_calls (reference sections 8.1, 8.6 and 8.12).
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import { EBADF, EINVAL, EPERM } from "../../ffi/errno.ts";
import { loadShim } from "../../ffi/shim.ts";
import { shimHost } from "../../kernels/ghost/shim_host.ts";
import { becomeGhostAgent } from "../../kernels/ghost/ghost_port.ts";
import type { MappedEnclave } from "../../kernels/agent_spec.ts";
import { openRealKernel } from "../../kernels/open.ts";
import { Gtid } from "../../lib/gtid.ts";
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

/** A check: its result must be the wanted one. */
interface Check {
  readonly name: string;
  readonly wanted: number;
  readonly run: (enclave: MappedEnclave, abi: Abi) => number;
}

const CHECKS: readonly Check[] = [
  {
    name: "api_test EnteringGhostViaSetSchedulerReturnsBadFdError",
    wanted: -EBADF,
    run: () => loadShim().schedSetscheduler(0, SCHED_GHOST, -2, 0),
  },
  { name: "api_test SchedGetAffinity", wanted: 0, run: sameAffinity },
  { name: "capabilities_test RunNice", wanted: -EINVAL, run: runNonsense },
  {
    name: "capabilities_test RunNoNice",
    wanted: -EPERM,
    run: (enclave) => withoutNice(() => runNonsense(enclave)),
  },
  {
    name: "capabilities_test AgentNoNice",
    wanted: -EPERM,
    run: (enclave, abi) => {
      const queue = enclave.createQueue(64, 0, 0);
      if (typeof queue === "number") return 1;
      const access = { ctl_fd: enclave.port_handles.ctl_fd, abi, cpu: 0, queue_fd: queue.id };
      return withoutNice(() => {
        const result = becomeGhostAgent(shimHost(), access);
        return typeof result === "number" ? result : 1;
      });
    },
  },
  {
    name: "base_test TidTest",
    wanted: 0,
    run: () => {
      const tid = loadShim().gettid();
      const gtid = Gtid.fromTid(tid);
      return gtid instanceof Gtid && gtid.tid() === tid ? 0 : -1;
    },
  },
];

async function main(): Promise<number> {
  const kernel = await openRealKernel("ghost");
  if (kernel instanceof Error) throw kernel;
  const enclave = kernel.createEnclave([0], kernel.abi.version);
  if (typeof enclave === "number") throw new Error(`create an enclave: ${enclave}`);
  let failed_count = 0;
  for (const { name, wanted, run } of CHECKS) {
    const result = run(enclave as MappedEnclave, kernel.abi);
    if (result !== wanted) failed_count++;
    console.log(`${result === wanted ? "ok" : "FAIL"}  ${name}: ${result}, want ${wanted}`);
  }
  enclave.destroy();
  console.log(`checks ${CHECKS.length - failed_count} passed, ${failed_count} failed`);
  return failed_count;
}

if (import.meta.main) Deno.exit(await main() === 0 ? 0 : 1);
