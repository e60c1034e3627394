/**
 * An enclave for tests that is none: its threads are those of SCHED_BATCH, a class that any thread
 * may enter and that children inherit, as they inherit an enclave.
 *
 * @module
 */
import { SCHED_BATCH, SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import type { EnclaveView, KernelView } from "../kernels/real_kernel.ts";
import { allProcesses, HOST_FILES, threadsOf } from "./process_files.ts";
import type { ToolHost } from "./tool_host.ts";

/** A tool's process with what it wrote. */
export interface TestToolHost extends ToolHost {
  /** Text on stdout. */
  readonly out: string[];
  /** Text on stderr. */
  readonly err: string[];
}

/** An enclave of SCHED_BATCH threads. */
export function batchEnclave(changes: Partial<EnclaveView> = {}): EnclaveView {
  const { schedGetscheduler, schedSetscheduler } = loadShim();
  const isInside = (tid: number): boolean =>
    (schedGetscheduler(tid) & ~SCHED_RESET_ON_FORK) === SCHED_BATCH;
  return {
    id: 1,
    path: "/sys/fs/ghost/enclave_1",
    cpus: () => [0, 1],
    taskTids: () =>
      allProcesses(HOST_FILES).flatMap((pid) => threadsOf(HOST_FILES, pid) ?? []).filter(isInside),
    isOnline: () => true,
    join: (tid) => schedSetscheduler(tid, SCHED_BATCH, 0, 0),
    selfJoin: () => undefined,
    setRunnableTimeout: () => 0,
    destroy: () => 0,
    ...changes,
  };
}

/**
 * A host with one kernel.
 *
 * @param enclaves Its enclaves.
 * @param changes What is different.
 * @returns The host.
 */
export function toolHost(
  enclaves: readonly EnclaveView[],
  changes: Partial<ToolHost> = {},
): TestToolHost {
  const out: string[] = [];
  const err: string[] = [];
  const view: KernelView = { kind: "scx", enclaves: () => enclaves };
  return {
    out,
    err,
    stdout: (text) => out.push(text),
    stderr: (text) => err.push(text),
    exits: () => [],
    facts: () => ({
      release: "6.12",
      ghost_versions: undefined,
      is_ghost_unmounted: false,
      has_scx: true,
    }),
    views: () => Promise.resolve([view]),
    uid: () => 0,
    ownAgent: () => undefined,
    policyOf: () => SCHED_BATCH,
    ...changes,
  };
}
