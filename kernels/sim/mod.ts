/**
 * The simulated kernel: a machine in virtual time, its threads' scripts, its costs and its faults.
 * It needs no privilege and no native code, and the same seed gives the same run anywhere.
 *
 * @module
 */
export * from "./actions.ts";
export * from "./agent.ts";
export * from "./commit.ts";
export * from "./costs.ts";
export * from "./enclave.ts";
export * from "./event_kinds.ts";
export * from "./event_queue.ts";
export * from "./fault_injector.ts";
export * from "./faults.ts";
export * from "./host.ts";
export * from "./machine.ts";
export * from "./machine_options.ts";
export * from "./messages.ts";
export * from "./producer_ring.ts";
export * from "./recording.ts";
export * from "./rules.ts";
export * from "./sim_kernel.ts";
export * from "./sim_memory.ts";
export * from "./sim_topology.ts";
export * from "./status_region.ts";
export * from "./thread.ts";
export * from "./trace.ts";
