/**
 * An enclave with a policy on it: queues, shared state and views for its agents, set up in the
 * order that the kernel wants (reference section 2.4). Who runs the agents is the caller's matter:
 * Workers on real kernels, the event loop in the simulator.
 *
 * @module
 */
import {
  type AgentPort,
  EBUSY,
  type EnclaveControl,
  ENODEV,
  ENOENT,
  type Kernel,
  type Queue,
} from "../kernels/kernel.ts";
import { AgentContext } from "./agent_context.ts";
import { MAX_TASK_COUNT, QUEUE_ELEM_COUNT } from "./limits.ts";
import type { PolicyDefinition } from "./policy.ts";
import { SharedState } from "./shared_state.ts";

/** Sizes of an enclave's shared structures. */
export interface PolicyEnclaveOptions {
  /** Most tasks at a time. */
  readonly task_capacity?: number;
  /** Slots per message queue; a power of two. */
  readonly queue_elem_count?: number;
  /** Makes the memory that the policy's instances share; zero, of so many bytes. */
  readonly makeState?: (size_bytes: number) => ArrayBufferLike;
  /** Other agents may still be online; {@linkcode PolicyEnclave.takeOver} comes later. */
  readonly is_early?: boolean;
}

/** A call that the kernel refused while an enclave was set up. */
export class EnclaveError extends Error {
  /** Name of the class. */
  override name = "EnclaveError";
  /** The errno. */
  readonly errno: number;
  /** The call. */
  readonly call: string;

  /**
   * Makes the error of a refused call.
   *
   * @param call What was refused.
   * @param result −errno.
   */
  constructor(call: string, result: number) {
    super(`Cannot ${call}: errno ${-result}`);
    this.call = call;
    this.errno = -result;
  }
}

/** What the kernel lacks for a policy; empty if it can run. */
export function missingCapabilities(kernel: Kernel, policy: PolicyDefinition): string[] {
  return policy.requires.filter((capability) => !kernel.capabilities.has(capability));
}

/** One enclave, one policy. */
export class PolicyEnclave {
  /** The enclave. */
  readonly control: EnclaveControl;
  /** The policy. */
  readonly policy: PolicyDefinition;
  /** Memory that the policy's instances share. */
  readonly state: SharedState;
  /** Queue per CPU in the order of the CPU list; the same queue for all if it is global. */
  readonly queues: readonly Queue[];
  readonly #kernel: Kernel;
  readonly #open_queues: Queue[] = [];
  #online = false;

  /**
   * Makes the queues and the shared state.
   *
   * @throws {EnclaveError} If the kernel refuses a queue or lacks what the policy requires, or if
   * other agents are online. Nothing is left behind then.
   */
  constructor(
    kernel: Kernel,
    control: EnclaveControl,
    policy: PolicyDefinition,
    options: PolicyEnclaveOptions = {},
  ) {
    const missing = missingCapabilities(kernel, policy);
    if (missing.length > 0) {
      throw new EnclaveError(`run ${policy.name} on ${kernel.kind} without ${missing[0]}`, -95);
    }
    const cpus = control.cpus();
    if (cpus.length === 0) throw new EnclaveError("run a policy on no CPU", -ENODEV);
    const is_early = options.is_early ?? false;
    if (!is_early) this.#checkOffline(control);
    this.#kernel = kernel;
    this.control = control;
    this.policy = policy;
    const elems = options.queue_elem_count ?? QUEUE_ELEM_COUNT;
    try {
      this.queues = policy.queues === "global"
        ? repeat(this.#createQueue(elems, []), cpus.length)
        : cpus.map((cpu) => this.#createQueue(elems, [cpu]));
      this.state = new SharedState({
        policy: policy.name,
        layout: policy.layout(cpus.length),
        task_capacity: options.task_capacity ?? MAX_TASK_COUNT,
        cpus: [...cpus],
      }, options.makeState);
      if (!is_early) this.takeOver();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Its tasks would get our default queue, and nobody would read it. */
  #checkOffline(control: EnclaveControl): void {
    if (control.isOnline()) {
      throw new EnclaveError("take an enclave whose agents are online", -EBUSY);
    }
  }

  /**
   * Makes new tasks and agents use our queue; only needed after an early construction.
   *
   * @throws {EnclaveError} If other agents are online, or the kernel refuses.
   */
  takeOver(): void {
    this.#checkOffline(this.control);
    check("set the default queue", this.control.setDefaultQueue(this.queues[0].id));
  }

  #createQueue(elem_count: number, wakeup_cpus: readonly number[]): Queue {
    const queue = this.control.createQueue(elem_count, 0, 0);
    if (typeof queue === "number") throw new EnclaveError("create a message queue", queue);
    this.#open_queues.push(queue);
    if (wakeup_cpus.length > 0) {
      const result = this.control.configQueueWakeup(queue.id, wakeup_cpus, 0);
      check("configure a queue's wake-up", result);
    }
    return queue;
  }

  /**
   * Makes the caller the agent of a CPU.
   *
   * @throws {EnclaveError} If the kernel refuses.
   */
  becomeAgent(cpu: number): AgentPort {
    const index = this.control.cpus().indexOf(cpu);
    const port = this.control.becomeAgent(cpu, this.queues[index].id);
    if (typeof port === "number") throw new EnclaveError(`become the agent of CPU ${cpu}`, port);
    this.state.cpu("agent_status_index", cpu)[0] = port.status_index + 1;
    return port;
  }

  /** The views of one agent. */
  context(port: AgentPort): AgentContext {
    const index = this.control.cpus().indexOf(port.cpu);
    return new AgentContext(port, {
      abi: this.#kernel.abi,
      memory: this.#kernel.memory,
      status_words: this.control.status_words,
      cpu_data: this.control.cpu_data,
      queue_words: this.queues[index].words,
      queue_ids: this.queues.map((queue) => queue.id),
      cpu_rows: this.#kernel.cpuRows(),
    }, this.state);
  }

  /**
   * Tells the kernel that the agents are there.
   *
   * @throws {EnclaveError} If another agent process is online.
   */
  goOnline(): void {
    for (const [name, value] of Object.entries(this.policy.tunables ?? {})) {
      const result = this.control.writeTunable(name, value);
      if (result !== -ENOENT) check(`write ${value} to the tunable ${name}`, result);
    }
    check("go online (another agent has this enclave)", this.control.setOnline(true));
    this.#online = true;
  }

  /** Tells the kernel, and a successor that waits, that the agents are about to leave. */
  goOffline(): void {
    if (this.#online) this.control.setOnline(false);
    this.#online = false;
  }

  /** Gives the enclave's queues up; its tasks stay. */
  close(): void {
    this.goOffline();
    for (const queue of this.#open_queues.splice(0)) this.control.closeQueue(queue.id);
  }
}

function check(call: string, result: number): void {
  if (result < 0) throw new EnclaveError(call, result);
}

function repeat<T>(value: T, count: number): T[] {
  return Array.from({ length: count }, () => value);
}
