/**
 * ghOSt agents in TypeScript: scheduling policies for Linux in user space, on a ghOSt kernel, on
 * sched_ext or on a simulated machine.
 *
 * @module
 */
export * from "./ffi/abi/abi.ts";
export * from "./ffi/abi/constants.ts";
export * from "./ffi/abi/layout.ts";
export * from "./ffi/memory.ts";
