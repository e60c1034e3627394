/**
 * The enclaves of the ghOSt kernel as a tool sees them that runs no agent: files only.
 *
 * @module
 */
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import type { EnclaveView, KernelView } from "../real_kernel.ts";
import { EnclaveFiles, enclavePath, GHOSTFS_PATH, listEnclaveIds } from "./enclave_files.ts";
import type { GhostHost } from "./ghost_host.ts";
import { shimHost } from "./shim_host.ts";

function viewOf(host: GhostHost, root: string, id: number): EnclaveView {
  const path = enclavePath(root, id);
  const files = new EnclaveFiles(host, AT_FDCWD, `${path}/`);
  return {
    id,
    path,
    cpus: () => files.cpus(),
    taskTids: () => files.taskTids(),
    isOnline: () => files.isOnline(),
    join: (tid) => files.join(tid),
    selfJoin: () => {
      const tasks = new TextEncoder().encode(`${path}/tasks\0`);
      const join_fd = loadShim().openat(AT_FDCWD, tasks, O_WRONLY | O_CLOEXEC, 0);
      return join_fd < 0 ? undefined : { join_fd, join_enclave: -1 };
    },
    setRunnableTimeout: (timeout_ms) => files.write("runnable_timeout", String(timeout_ms)),
    destroy: () => files.destroy(),
  };
}

/**
 * The ghOSt kernel as a tool sees it. Nothing is opened before a method is called, and a host
 * without ghostfs has no enclaves.
 *
 * @param host The host; the real one unless a test gives another.
 * @param root Where ghostfs is mounted.
 * @returns The view.
 */
export function ghostView(host: GhostHost = shimHost(), root: string = GHOSTFS_PATH): KernelView {
  return {
    kind: "ghost",
    enclaves: () => listEnclaveIds(host, root).map((id) => viewOf(host, root, id)),
  };
}
