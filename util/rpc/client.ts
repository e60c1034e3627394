/**
 * A client of an agent process: asks it something, as another process, and waits for the response
 * (reference section 3.5).
 *
 * @module
 */
import { type AgentRpcArgs, type AgentRpcResponse, RPC_ARGS_BYTES } from "../../lib/agent_rpc.ts";
import { OperatingError } from "../../lib/errors.ts";
import { GhostShmem, SharedMemoryError } from "../../shared/shmem.ts";
import { RPC_SHMEM_NAME, RpcBlob } from "./blob.ts";

/** How often it is looked whether the agent is still there. */
const LOOK_NS = 50e6;
const PAUSE_MS = 1;

function isAlive(pid: number): boolean {
  try {
    Deno.statSync(`/proc/${pid}`);
    return true;
  } catch {
    return false;
  }
}

/** A connection to an agent process. */
export class AgentRpcClient {
  /** The agent process. */
  readonly pid: number;
  readonly #shmem: GhostShmem;
  readonly #blob: RpcBlob;

  private constructor(pid: number, shmem: GhostShmem) {
    this.pid = pid;
    this.#shmem = shmem;
    this.#blob = new RpcBlob(shmem);
  }

  /**
   * Connects to an agent process.
   *
   * @param pid Its process id.
   * @returns The connection, or why there is none.
   */
  static connect(pid: number): AgentRpcClient | OperatingError {
    const shmem = GhostShmem.attach(pid, RPC_SHMEM_NAME);
    if (!(shmem instanceof SharedMemoryError)) return new AgentRpcClient(pid, shmem);
    return new OperatingError(
      `process ${pid} answers no requests: ${shmem.message}`,
      "give the process id of an agent that is active, or of its guard",
    );
  }

  /** Waits for something that this client or the agent does; why it is in vain, if it is. */
  async #await(
    is_done: () => boolean,
    wait: () => Promise<void>,
    end_ms: number,
  ): Promise<OperatingError | undefined> {
    while (!is_done()) {
      if (!isAlive(this.pid) || this.#shmem.is_finished) {
        return new OperatingError(`agent process ${this.pid} has ended`, "ask its successor");
      }
      if (performance.now() > end_ms) {
        const cure = "see whether the agent process is stopped, or give it more time";
        return new OperatingError(`agent process ${this.pid} does not answer`, cure);
      }
      await wait();
    }
  }

  /** Takes the turn; a client that died with it loses it. */
  #takeTurn(): boolean {
    const blob = this.#blob;
    const { client } = blob;
    if (client !== 0 && (client === Deno.pid || isAlive(client))) return false;
    return blob.passTurn(client, Deno.pid);
  }

  /**
   * Asks the agent something.
   *
   * @param request Number of the request.
   * @param args Its arguments; none if left out.
   * @param timeout_ms How long to wait.
   * @returns A copy of the response, or why there is none.
   */
  async rpc(
    request: number,
    args?: AgentRpcArgs,
    timeout_ms = 10_000,
  ): Promise<AgentRpcResponse | OperatingError> {
    const end_ms = performance.now() + timeout_ms;
    const pause = () => new Promise<void>((wake) => setTimeout(wake, PAUSE_MS));
    const blob = this.#blob;
    const no_turn = await this.#await(() => this.#takeTurn(), pause, end_ms);
    if (no_turn !== undefined) return no_turn;
    try {
      const isFree = (): boolean => !blob.is_busy && !blob.pending.hasBeenNotified();
      const not_free = await this.#await(isFree, pause, end_ms);
      if (not_free !== undefined) return not_free;
      blob.done.reset();
      blob.request = BigInt(request);
      blob.args.bytes.set(args?.bytes ?? new Uint8Array(RPC_ARGS_BYTES));
      blob.pending.notify();
      const isDone = (): boolean => blob.done.hasBeenNotified();
      const no_answer = await this.#await(isDone, () => blob.done.wait(LOOK_NS), end_ms);
      return no_answer ?? blob.responseCopy();
    } finally {
      blob.passTurn(Deno.pid, 0);
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#shmem.close();
  }
}
