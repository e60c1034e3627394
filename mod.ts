/**
 * ghOSt agents in TypeScript: scheduling policies for Linux in user space, on a ghOSt kernel, on
 * sched_ext or on a simulated machine.
 *
 * A policy extends {@linkcode Scheduler}; every agent, one for each CPU, has its own instance and
 * calls its `step`. State that agents share is declared and lives in {@linkcode SharedState}. What
 * a policy asks of a kernel is the interface {@linkcode Kernel}; the simulated one is exported as
 * `./sim`, and {@linkcode prepareShim} loads the native calls that real kernels need.
 *
 * @module
 */
export * from "./ffi/abi/abi.ts";
export * from "./ffi/abi/constants.ts";
export * from "./ffi/abi/layout.ts";
export { ShimError, SystemError } from "./ffi/errors.ts";
export * from "./ffi/memory.ts";
export { loadShim, prepareShim, type Shim } from "./ffi/shim.ts";
export * from "./kernels/kernel.ts";
export * from "./lib/agent_context.ts";
export * from "./lib/agent_loop.ts";
export * from "./lib/agent_rpc.ts";
export * from "./lib/clock.ts";
export * from "./lib/cpu_list.ts";
export * from "./lib/discovery.ts";
export * from "./lib/enclave.ts";
export * from "./lib/errors.ts";
export * from "./lib/fifo_queue.ts";
export * from "./lib/global_scheduler.ts";
export type { GlobalRole } from "./lib/role_candidates.ts";
export * from "./lib/gtid.ts";
export * from "./lib/host_files.ts";
export * from "./lib/indexed_heap.ts";
export * from "./lib/invariant.ts";
export * from "./lib/limits.ts";
export * from "./lib/mailbox.ts";
export * from "./lib/message.ts";
export * from "./lib/notification.ts";
export * from "./lib/policy.ts";
export * from "./lib/prng.ts";
export * from "./lib/recording.ts";
export * from "./lib/ring.ts";
export * from "./lib/scheduler.ts";
export * from "./lib/shared_state.ts";
export * from "./lib/shared_task_map.ts";
export * from "./lib/snapshot.ts";
export * from "./lib/status.ts";
export * from "./lib/status_word.ts";
export * from "./lib/task_table.ts";
export * from "./lib/topology.ts";
export * from "./lib/transaction.ts";
export * from "./lib/version.ts";
export * from "./shared/prio_table.ts";
export * from "./shared/prio_table_client.ts";
export * from "./shared/shmem.ts";
