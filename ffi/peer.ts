/**
 * The functions of the native peer (native/peer.h), a test partner that plays the kernel's part
 * over the same byte layout. They are in the shim's library, and looked up only when a peer is
 * wanted.
 *
 * @module
 */
import { shimPath } from "./shim.ts";

/** The peer's functions; a failure is −errno. Take them out of the object once. */
export interface PeerLibrary {
  /** Makes a peer from numbers in the order of `enum config` in peer.c. Returns its handle. */
  readonly create: (config: Float64Array<ArrayBuffer>) => number;
  /** Starts the threads of the CPUs and the producers. */
  readonly start: (handle: number) => number;
  /** Ends the threads; agents that wait get −ENODEV. The memory stays. */
  readonly stop: (handle: number) => number;
  /** Gives the memory back. No handle, mapping or agent may be used afterwards. */
  readonly free: (handle: number) => number;
  /** Address of the status words (0) or the transaction records (1). */
  readonly address: (handle: number, region: number) => number;
  /** Length of the status words' mapping. */
  readonly statusBytes: (handle: number) => number;
  /** Writes the counters; see kernels/peer/peer_report.ts. */
  readonly report: (handle: number, report: Float64Array<ArrayBuffer>) => number;
  /** Makes a queue. Returns its id. */
  readonly createQueue: (
    handle: number,
    elem_count: number,
    numa_node: number,
    flags: number,
  ) => number;
  /** Length (0) or address (1) of a queue's mapping. */
  readonly queueInfo: (handle: number, queue_id: number, what: number) => number;
  /** Closes a queue. */
  readonly closeQueue: (handle: number, queue_id: number) => number;
  /** Names the queue of new tasks. */
  readonly setDefaultQueue: (handle: number, queue_id: number) => number;
  /** Names `count` CPUs whose agents a message wakes. */
  readonly configWakeup: (
    handle: number,
    queue_id: number,
    count: number,
    cpu_a: number,
    cpu_b: number,
  ) => number;
  /** Sends a task's messages to a queue. */
  readonly associate: (
    handle: number,
    queue_id: number,
    gtid_lo: number,
    gtid_hi: number,
    barrier: number,
  ) => number;
  /** Frees a status word. */
  readonly freeWord: (handle: number, index: number) => number;
  /** Runtime of a task in ns. */
  readonly cpuTime: (handle: number, gtid_lo: number, gtid_hi: number) => number;
  /** Index of a task's status word. */
  readonly taskWord: (handle: number, gtid_lo: number, gtid_hi: number) => number;
  /** State of the task in a slot: out, blocked, ready, latched, running, gone. */
  readonly taskState: (handle: number, slot: number) => number;
  /** Opens or closes agent_online. */
  readonly setOnline: (handle: number, online: number) => number;
  /** Makes the caller the agent of a CPU. Returns the index of its status word. */
  readonly becomeAgent: (handle: number, cpu: number, queue_id: number) => number;
  /** Commits the own CPU's transaction; sleeps after success until the agent is woken. */
  readonly localCommit: (handle: number, cpu: number) => number;
  /** Gives the own CPU away; sleeps until the agent is woken. */
  readonly localYield: (handle: number, cpu: number, barrier: number, run_flags: number) => number;
  /** Wakes the agent of a CPU. */
  readonly ping: (handle: number, cpu: number) => number;
  /** Commits the transactions of a set of CPUs (16 words). */
  readonly commit: (handle: number, mask: Int32Array) => number;
  /** The same, all or none. Returns 1 or 0. */
  readonly commitSyncGroup: (handle: number, mask: Int32Array) => number;
  /** Arms the timer of a CPU's agent. */
  readonly armTimer: (
    handle: number,
    cpu: number,
    deadline_ns: number,
    type: number,
    cookie: number,
  ) => number;
  /** The agent of a CPU leaves, or has died: calls in which it waits return −ENODEV. */
  readonly leave: (handle: number, cpu: number) => number;
  /** Index of the status word of a CPU's agent. */
  readonly agentWord: (handle: number, cpu: number) => number;
  /** State of a CPU's agent: none, blocked, ready, running. */
  readonly agentState: (handle: number, cpu: number) => number;
  /** Manual runs: something happens to a task, named by the message that tells of it. */
  readonly happen: (handle: number, slot: number, message_type: number) => number;
}

const F = "f64";
const I = "i32";

/** C name, parameter types and result type. */
const SIGNATURES: Readonly<
  Record<keyof PeerLibrary, readonly [string, readonly Deno.NativeType[], "f64" | "i32"]>
> = {
  create: ["create", ["buffer"], F],
  start: ["start", [F], I],
  stop: ["stop", [F], I],
  free: ["free", [F], I],
  address: ["address", [F, I], F],
  statusBytes: ["status_bytes", [F], F],
  report: ["report", [F, "buffer"], I],
  createQueue: ["create_queue", [F, I, I, I], I],
  queueInfo: ["queue_info", [F, I, I], F],
  closeQueue: ["close_queue", [F, I], I],
  setDefaultQueue: ["set_default_queue", [F, I], I],
  configWakeup: ["config_wakeup", [F, I, I, I, I], I],
  associate: ["associate", [F, I, I, I, I], I],
  freeWord: ["free_word", [F, I], I],
  cpuTime: ["cpu_time", [F, I, I], F],
  taskWord: ["task_word", [F, I, I], I],
  taskState: ["task_state", [F, I], I],
  setOnline: ["set_online", [F, I], I],
  becomeAgent: ["become_agent", [F, I, I], I],
  localCommit: ["local_commit", [F, I], I],
  localYield: ["local_yield", [F, I, I, I], I],
  ping: ["ping", [F, I], I],
  commit: ["commit", [F, "buffer"], I],
  commitSyncGroup: ["commit_sync_group", [F, "buffer"], I],
  armTimer: ["arm_timer", [F, I, F, I, I], I],
  leave: ["leave", [F, I], I],
  agentWord: ["agent_word", [F, I], I],
  agentState: ["agent_state", [F, I], I],
  happen: ["happen", [F, I, I], I],
};

let loaded: PeerLibrary | undefined;

/**
 * The peer's functions; looked up at the first call in each isolate.
 *
 * @returns The functions.
 * @throws {ShimError} If the shim can neither be found, built nor loaded.
 */
export function loadPeer(): PeerLibrary {
  if (loaded !== undefined) return loaded;
  const symbols: Record<string, Deno.ForeignFunction> = {};
  for (const [key, [name, parameters, result]] of Object.entries(SIGNATURES)) {
    symbols[key] = { name: `shim_peer_${name}`, parameters, result };
  }
  return loaded = Deno.dlopen(shimPath(), symbols).symbols as unknown as PeerLibrary;
}
