/**
 * The main isolate of an agent process as a server of requests (reference section 3.5): it waits
 * on a thread of the runtime, so agents, signals and the guard's board go on meanwhile.
 *
 * @module
 */
import {
  AgentRpcArgs,
  AgentRpcResponse,
  RPC_NO_RESPONSE,
  RPC_RESPONSE_BYTES,
} from "../../lib/agent_rpc.ts";
import { GhostShmem } from "../../shared/shmem.ts";
import { RPC_BLOB_BYTES, RPC_SHMEM_NAME, RpcBlob } from "./blob.ts";

/** Response code while the agents are not online. */
export const RPC_OFFLINE = -19;
/** How long a wait lasts before it begins anew. */
const WAIT_NS = 10e9;

/**
 * Answers a request.
 *
 * @param request Its number.
 * @param args Its arguments.
 * @param response What to fill in; its code is −1.
 */
export type RpcHandler = (
  request: number,
  args: AgentRpcArgs,
  response: AgentRpcResponse,
) => void;

/** What the server asks of the agent. */
export interface RpcServed {
  /** Answers a request. What it throws is said, and the code is −1. */
  readonly handler: RpcHandler;
  /** True while the agents are online. */
  isOnline(): boolean;
  /** Tells the operator something. */
  say(text: string): void;
}

/** The server of an agent process. */
export class AgentRpcServer {
  readonly #shmem: GhostShmem;
  readonly #blob: RpcBlob;
  readonly #served: RpcServed;
  readonly #loop: Promise<void>;
  #is_closed = false;

  /**
   * Makes the region of this process and begins to answer.
   *
   * @param served The agent.
   * @throws {SharedMemoryError} If this process has a server.
   * @throws {SystemError} If the machine refuses the memory.
   */
  constructor(served: RpcServed) {
    this.#served = served;
    this.#shmem = GhostShmem.create(RPC_SHMEM_NAME, RPC_BLOB_BYTES);
    this.#blob = new RpcBlob(this.#shmem);
    this.#blob.agent_ready.notify();
    this.#shmem.markReady();
    this.#loop = this.#serve();
  }

  async #serve(): Promise<void> {
    const { pending, done } = this.#blob;
    for (;;) {
      await pending.wait(WAIT_NS);
      if (this.#is_closed) return;
      if (!pending.hasBeenNotified()) continue;
      this.#blob.is_busy = true;
      pending.reset();
      this.#answer();
      done.notify();
      this.#blob.is_busy = false;
    }
  }

  #answer(): void {
    const { handler, isOnline, say } = this.#served;
    const blob = this.#blob;
    if (!isOnline()) {
      blob.response().response_code = BigInt(RPC_OFFLINE);
      return;
    }
    // Made beside the region, so that no half of it is ever seen there.
    const bytes = new Uint8Array(RPC_RESPONSE_BYTES);
    const response = new AgentRpcResponse(bytes);
    response.response_code = BigInt(RPC_NO_RESPONSE);
    try {
      // A copy, which the client cannot change any more.
      handler(Number(blob.request), new AgentRpcArgs(blob.args.bytes.slice()), response);
    } catch (error) {
      say(`request ${blob.request}: ${error instanceof Error ? error.message : String(error)}`);
      bytes.fill(0);
      response.response_code = BigInt(RPC_NO_RESPONSE);
    }
    blob.setResponse(bytes);
  }

  /** Ends the server; a request that waits is not answered any more. */
  async close(): Promise<void> {
    if (this.#is_closed) return;
    this.#is_closed = true;
    this.#blob.pending.rouse();
    await this.#loop;
    this.#shmem.close();
  }
}
