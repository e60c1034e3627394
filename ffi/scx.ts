/**
 * The functions of native/scx_agent.c and native/scx_image.c: an agent's calls to the scx program,
 * and the loader that a packed executable carries. They are in the shim's library, and looked up
 * only when sched_ext is wanted.
 *
 * @module
 */
import { shimPath } from "./shim.ts";

/** The functions; a failure is −errno. Take them out of the object once. */
export interface ScxLibrary {
  /** One call of the control program: operation, enclave, two numbers, a 64-bit value. */
  readonly call: (
    fd: number,
    op: number,
    enclave: number,
    a: number,
    b: number,
    lo: number,
    hi: number,
  ) => number;
  /** Next id of the host's programs (0), maps (1) or links (2). */
  readonly nextId: (what: number, id: number) => number;
  /** Opens a program (0) or a map (1) by id; its name goes into 16 bytes. */
  readonly openId: (what: number, id: number, name: Uint8Array<ArrayBuffer>) => number;
  /** Copies the value at an index of an array map. */
  readonly lookup: (fd: number, index: number, value: Uint8Array<ArrayBuffer>) => number;
  /** Makes the caller an agent; see `enum` in scx_agent.c for the numbers. Returns a handle. */
  readonly becomeAgent: (where: Float64Array<ArrayBuffer>) => number;
  /** Index of an agent's status word. */
  readonly agentWord: (handle: number) => number;
  /** Commits the own transaction; sleeps after success until the agent is woken. */
  readonly localCommit: (handle: number) => number;
  /** Gives the own CPU away; sleeps until the agent is woken. */
  readonly localYield: (handle: number, barrier: number, run_flags: number) => number;
  /** Commits the transactions of a set of CPUs (16 words). */
  readonly commit: (handle: number, mask: Int32Array) => number;
  /** The same by a thread that is no agent; the results are in the records. */
  readonly commitOutside: (fd: number, enclave: number, mask: Int32Array) => number;
  /** The same, all or none. Returns 1 or 0. */
  readonly commitSyncGroup: (handle: number, mask: Int32Array) => number;
  /** An agent's call of the control program. */
  readonly agentCall: (
    handle: number,
    op: number,
    a: number,
    b: number,
    lo: number,
    hi: number,
  ) => number;
  /** Arms the agent's timer. */
  readonly armTimer: (handle: number, deadline_ns: number, type: number, cookie: number) => number;
  /** The agent leaves; its handle is not valid any more. */
  readonly leave: (handle: number) => number;
  /** Length of the loader in bytes; 0 if the library was built without. */
  readonly imageBytes: () => number;
  /** Where the loader is. */
  readonly image: () => Deno.PointerValue;
}

const F = "f64";
const I = "i32";
const U = "u32";

/** C name, parameter types and result type. */
const SIGNATURES: Readonly<
  Record<
    keyof ScxLibrary,
    readonly [string, readonly Deno.NativeType[], "f64" | "i32" | "pointer"]
  >
> = {
  call: ["call", [I, U, U, I, I, I, I], F],
  nextId: ["next_id", [I, U], F],
  openId: ["open_id", [I, U, "buffer"], I],
  lookup: ["lookup", [I, U, "buffer"], I],
  becomeAgent: ["become_agent", ["buffer"], F],
  agentWord: ["agent_word", [F], I],
  localCommit: ["local_commit", [F], I],
  localYield: ["local_yield", [F, I, U], I],
  commit: ["commit", [F, "buffer"], I],
  commitOutside: ["commit_outside", [I, U, "buffer"], I],
  commitSyncGroup: ["commit_sync_group", [F, "buffer"], I],
  agentCall: ["agent_call", [F, U, I, I, I, I], F],
  armTimer: ["arm_timer", [F, F, I, I], I],
  leave: ["leave", [F], I],
  imageBytes: ["image_bytes", [], F],
  image: ["image", [], "pointer"],
};

let loaded: ScxLibrary | undefined;

/**
 * The functions; looked up at the first call in each isolate.
 *
 * @returns The functions.
 * @throws {ShimError} If the shim can neither be found, built nor loaded.
 */
export function loadScx(): ScxLibrary {
  if (loaded !== undefined) return loaded;
  const symbols: Record<string, Deno.ForeignFunction> = {};
  for (const [key, [name, parameters, result]] of Object.entries(SIGNATURES)) {
    symbols[key] = { name: `shim_scx_${name}`, parameters, result };
  }
  return loaded = Deno.dlopen(shimPath(), symbols).symbols as unknown as ScxLibrary;
}

/**
 * The loader that this library carries.
 *
 * @returns Its bytes, or undefined if it carries none.
 * @throws {ShimError} As {@linkcode loadScx}.
 */
export function scxImage(): Uint8Array<ArrayBuffer> | undefined {
  const { image, imageBytes } = loadScx();
  const pointer = image();
  if (pointer === null) return undefined;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, imageBytes()));
}
