/**
 * Agents on a scripted ghostfs, step by step in one thread: what AgentThreads does with Workers.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { GhostEnclave } from "../../kernels/ghost/ghost_enclave.ts";
import { GhostKernel, type GhostKernelOptions } from "../../kernels/ghost/ghost_kernel.ts";
import { openGhostKernel } from "../../kernels/ghost/ghost_kernel.ts";
import { ghostOpener } from "../../kernels/ghost/ghost_port.ts";
import type { AgentSpec } from "../../kernels/agent_spec.ts";
import type { AgentPort } from "../../kernels/kernel.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import { PolicyEnclave, type PolicyEnclaveOptions } from "../../lib/enclave.ts";
import type { Policy } from "../../lib/policy.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import type { ScriptedGhostfs } from "./scripted_ghostfs.ts";
import type { ScriptedProcess, ScriptedThread } from "./scripted_process.ts";

/** One agent of a lab. */
export interface LabAgent {
  readonly thread: ScriptedThread;
  readonly port: AgentPort;
  readonly context: AgentContext;
  readonly policy: Policy;
}

/** An agent process. */
export class LabProcess {
  readonly ghostfs: ScriptedGhostfs;
  readonly process: ScriptedProcess;
  /** The thread of the main isolate. */
  readonly main: ScriptedThread;
  readonly kernel: GhostKernel;

  constructor(ghostfs: ScriptedGhostfs, options: GhostKernelOptions = {}) {
    this.ghostfs = ghostfs;
    this.process = ghostfs.process();
    this.main = this.process.thread();
    const kernel = openGhostKernel({ host: this.main, ...options });
    assert(kernel instanceof GhostKernel, String(kernel));
    this.kernel = kernel;
  }

  /** A new enclave. */
  create(cpus: readonly number[]): GhostEnclave {
    const enclave = this.kernel.createEnclave(cpus, this.kernel.abi.version);
    assert(typeof enclave !== "number", `createEnclave: ${enclave}`);
    return enclave;
  }

  /** An enclave that is there. */
  attach(id: number): GhostEnclave {
    const enclave = this.kernel.attachEnclave(id);
    assert(typeof enclave !== "number", `attachEnclave: ${enclave}`);
    return enclave;
  }

  /** The enclave with the per-CPU FIFO policy on it; nobody is an agent yet. */
  policyOn(enclave: GhostEnclave, options: PolicyEnclaveOptions = {}): PolicyEnclave {
    return new PolicyEnclave(this.kernel, enclave, FIFO_PER_CPU, { task_capacity: 64, ...options });
  }

  /** A new thread asks to become the agent of a CPU. */
  openPort(on_it: PolicyEnclave, cpu: number): [ScriptedThread, AgentPort | number] {
    const thread = this.process.thread();
    const enclave = on_it.control as GhostEnclave;
    const spec = {
      port_handles: enclave.port_handles,
      abi_version: this.kernel.abi.version,
      cpu,
      cpus: enclave.cpus(),
      queue_ids: on_it.queues.map((queue) => queue.id),
    } as unknown as AgentSpec;
    return [thread, ghostOpener(() => thread).open(spec)];
  }

  /** All agents in upstream's order: become agents, look for tasks, go online. */
  start(on_it: PolicyEnclave): LabAgent[] {
    const agents = on_it.control.cpus().map((cpu) => {
      const [thread, port] = this.openPort(on_it, cpu);
      assert(typeof port !== "number", `become agent of CPU ${cpu}: ${port}`);
      const context = on_it.context(port);
      return { thread, port, context, policy: on_it.policy.create(context) };
    });
    agents[0].policy.discover();
    on_it.goOnline();
    return agents;
  }

  /** Ends the agents in order, as AgentThreads does. */
  stop(on_it: PolicyEnclave, agents: readonly LabAgent[]): number[] {
    on_it.goOffline();
    for (const { port, thread } of agents) {
      port.leave();
      thread.end();
    }
    const freed = agents.map(({ port }) => on_it.control.freeStatusWord(port.status_index));
    on_it.close();
    return freed;
  }
}
