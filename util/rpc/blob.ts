/**
 * The memory through which an agent process answers requests of other processes: a GhostShmem
 * region with upstream's layout (reference section 3.5), and its notifications, which are futexes
 * between processes. Two words that upstream uses for a pointer say which client has the region,
 * and whether the agent is at work on a request, so that several clients can take turns.
 *
 * @module
 */
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { loadShim } from "../../ffi/shim.ts";
import {
  AgentRpcArgs,
  AgentRpcResponse,
  RPC_ARGS_BYTES,
  RPC_RESPONSE_BYTES,
} from "../../lib/agent_rpc.ts";
import type { GhostShmem } from "../../shared/shmem.ts";

/** Name of the region; the owner is the agent process. */
export const RPC_SHMEM_NAME = "agent-rpc";

const REQUEST_AT = 8;
const ARGS_AT = 16;
const RESPONSE_AT: number = ARGS_AT + RPC_ARGS_BYTES;
const PENDING_AT: number = RESPONSE_AT + RPC_RESPONSE_BYTES;
const DONE_AT: number = PENDING_AT + 4;
const CLIENT_AT: number = DONE_AT + 4;
const BUSY_AT: number = CLIENT_AT + 4;
/** Bytes of the region. */
export const RPC_BLOB_BYTES: number = BUSY_AT + 4;

const NO_WAITER = 0;
const WAITER = 1;
const NOTIFIED = 2;

/** A one-time event between processes in a word of shared memory (reference section 3.1). */
export class SharedNotification {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #address: number;

  /**
   * @param shmem The memory.
   * @param at Offset of the word in bytes.
   */
  constructor(shmem: GhostShmem, at: number) {
    this.#words = shmem.words;
    this.#index = at / 4;
    this.#address = shmem.address + at;
  }

  /** True once the event has happened. */
  hasBeenNotified(): boolean {
    return HARDWARE_MEMORY.acquire(this.#words, this.#index) === NOTIFIED;
  }

  /** Makes the event happen, and wakes who waits for it. */
  notify(): void {
    HARDWARE_MEMORY.publish(this.#words, this.#index, NOTIFIED);
    loadShim().futexWake(this.#address, 0x7fffffff);
  }

  /** Makes the event one that has not happened. */
  reset(): void {
    HARDWARE_MEMORY.publish(this.#words, this.#index, NO_WAITER);
  }

  /**
   * Waits for the event, for a time.
   *
   * @param timeout_ns How long; wakes early now and then, and whatever the word holds then counts.
   */
  async wait(timeout_ns: number): Promise<void> {
    if (this.hasBeenNotified()) return;
    HARDWARE_MEMORY.compareExchange(this.#words, this.#index, NO_WAITER, WAITER);
    await loadShim().futexWaitAsync(this.#address, WAITER, timeout_ns);
  }

  /** Wakes who waits, though nothing has happened. */
  rouse(): void {
    HARDWARE_MEMORY.compareExchange(this.#words, this.#index, WAITER, NO_WAITER);
    loadShim().futexWake(this.#address, 0x7fffffff);
  }
}

/** The region, as the agent and its clients see it. */
export class RpcBlob {
  /** The agent answers. */
  readonly agent_ready: SharedNotification;
  /** There is a request. */
  readonly pending: SharedNotification;
  /** There is a response. */
  readonly done: SharedNotification;
  /** Arguments of the request. */
  readonly args: AgentRpcArgs;
  readonly #shmem: GhostShmem;
  readonly #view: DataView<ArrayBuffer>;

  /** @param shmem The region, of {@linkcode RPC_BLOB_BYTES}. */
  constructor(shmem: GhostShmem) {
    const { buffer, byteOffset } = shmem.words;
    this.#shmem = shmem;
    this.#view = new DataView(buffer as ArrayBuffer, byteOffset, RPC_BLOB_BYTES);
    this.agent_ready = new SharedNotification(shmem, 0);
    this.pending = new SharedNotification(shmem, PENDING_AT);
    this.done = new SharedNotification(shmem, DONE_AT);
    this.args = new AgentRpcArgs(this.#bytes(ARGS_AT, RPC_ARGS_BYTES));
  }

  #bytes(at: number, size_bytes: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, size_bytes);
  }

  /** Number of the request. */
  get request(): bigint {
    return this.#view.getBigInt64(REQUEST_AT, true);
  }

  /** Number of the request. */
  set request(value: bigint) {
    this.#view.setBigInt64(REQUEST_AT, value, true);
  }

  /** A view of the response. */
  response(): AgentRpcResponse {
    return new AgentRpcResponse(this.#bytes(RESPONSE_AT, RPC_RESPONSE_BYTES));
  }

  /** A copy of the response. */
  responseCopy(): AgentRpcResponse {
    return new AgentRpcResponse(this.#bytes(RESPONSE_AT, RPC_RESPONSE_BYTES).slice());
  }

  /** Puts a response in its place. */
  setResponse(response: Uint8Array): void {
    this.#bytes(RESPONSE_AT, RPC_RESPONSE_BYTES).set(response);
  }

  /** True while the agent is at work on a request. */
  get is_busy(): boolean {
    return HARDWARE_MEMORY.acquire(this.#shmem.words, BUSY_AT / 4) !== 0;
  }

  /** True while the agent is at work on a request. */
  set is_busy(value: boolean) {
    HARDWARE_MEMORY.publish(this.#shmem.words, BUSY_AT / 4, value ? 1 : 0);
  }

  /** Process id of the client whose turn it is; 0 if there is none. */
  get client(): number {
    return HARDWARE_MEMORY.acquire(this.#shmem.words, CLIENT_AT / 4);
  }

  /** Changes {@linkcode client} if it is `from`; true if it was. */
  passTurn(from: number, to: number): boolean {
    const { words } = this.#shmem;
    return HARDWARE_MEMORY.compareExchange(words, CLIENT_AT / 4, from, to) === from;
  }
}
