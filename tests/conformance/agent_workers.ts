/**
 * The threads in which agents of the contract suite run on a real kernel. A Worker takes longer to
 * start than most cases take to run: where an agent can leave its class, its thread is kept for
 * agents of later cases.
 *
 * @module
 */
import { SCHED_OTHER } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import { workerModuleUrl } from "../../lib/worker_module.ts";
import { AGENT_LEFT, type ContractAgentSpec, STATE_WORD, TID_WORD } from "./contract_agent.ts";

/** An agent's thread. */
export interface AgentThread {
  /** Its control block. */
  readonly control: Int32Array;
  /** What runs it. */
  readonly worker: Worker;
}

/** The Workers of a suite. */
export class AgentWorkers {
  /** Whether a thread is kept after its agent has left. */
  readonly is_kept: boolean;
  readonly #idle: Worker[] = [];

  /** @param is_kept Whether a thread is kept after its agent has left. */
  constructor(is_kept: boolean) {
    this.is_kept = is_kept;
  }

  /** Starts an agent; its control block says when it has become one. */
  start(spec: ContractAgentSpec): AgentThread {
    const worker = this.#idle.pop() ?? this.#create();
    worker.postMessage(spec);
    return { control: new Int32Array(spec.control), worker };
  }

  #create(): Worker {
    const worker = new Worker(workerModuleUrl(), { type: "module", name: "contract_agent" });
    worker.onerror = (event) => event.preventDefault();
    return worker;
  }

  /** True once nothing of the agent is left that a later one could meet. */
  hasLeft({ control }: AgentThread): boolean {
    if (this.is_kept) return Atomics.load(control, STATE_WORD) === AGENT_LEFT;
    return loadShim().schedGetscheduler(control[TID_WORD]) < 0;
  }

  /** Takes back the thread of an agent that has left, or has not become one. */
  giveBack({ worker }: AgentThread): void {
    if (this.is_kept) this.#idle.push(worker);
  }

  /** Gives up the thread of an agent that does not leave: it is to keep no CPU from later ones. */
  abandon({ control, worker }: AgentThread): void {
    loadShim().schedSetscheduler(control[TID_WORD], SCHED_OTHER, 0, 0);
    worker.terminate();
  }
}
