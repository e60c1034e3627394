/**
 * Runs the agents of a policy on the simulated kernel: one instance per agent, stepped by the
 * machine's events. A policy that throws is stopped, its state is dumped, and its threads fall
 * back to the default class.
 *
 * @module
 */
import type { AgentContext } from "../../lib/agent_context.ts";
import { StepMeter } from "../../lib/agent_loop.ts";
import { PolicyEnclave, type PolicyEnclaveOptions } from "../../lib/enclave.ts";
import { DUMP_BYTES_MAX } from "../../lib/limits.ts";
import {
  DUMP_ALL_TASKS,
  DUMP_EMPTY_RUNQUEUES,
  type Policy,
  type PolicyDefinition,
  type Verdict,
} from "../../lib/policy.ts";
import type { Snapshot } from "../../lib/snapshot.ts";
import type { AgentDriver, SimAgent } from "./agent.ts";
import type { SimEnclave } from "./enclave.ts";
import type { SimKernel } from "./sim_kernel.ts";

/** Why a policy was stopped. */
export interface PolicyFailure {
  /** CPU of the agent whose step threw. */
  readonly cpu: number;
  /** What it threw. */
  readonly error: unknown;
  /** State of all agents at that moment; at most DUMP_BYTES_MAX bytes. */
  readonly dump: string;
}

class SimDriver implements AgentDriver {
  declare policy: Policy;
  declare private readonly host: SimPolicyHost;
  declare private readonly agent: SimAgent;
  declare private meter: StepMeter;

  constructor(host: SimPolicyHost, agent: SimAgent) {
    this.host = host;
    this.agent = agent;
    const context = host.enclave.context(agent);
    this.policy = host.enclave.policy.create(context);
    this.meter = new StepMeter(context);
  }

  step(): Verdict {
    return this.meter.step(this.policy);
  }

  replace(): void {
    const context: AgentContext = this.host.enclave.context(this.agent);
    this.policy = this.host.enclave.policy.create(context);
    this.meter = new StepMeter(context);
  }

  failed(error: unknown): void {
    this.host.fail(this.agent.cpu, error);
  }
}

/** The agents of one policy on one enclave. */
export class SimPolicyHost {
  /** The enclave with the policy on it. */
  declare readonly enclave: PolicyEnclave;
  /** Set once the policy was stopped. */
  failure: PolicyFailure | null = null;
  declare private readonly control: SimEnclave;
  readonly #drivers: SimDriver[] = [];
  readonly #agents: SimAgent[] = [];

  /**
   * Creates queues and state, makes the agents, discovers tasks and goes online.
   *
   * @param options Sizes, and what a predecessor's {@linkcode snapshot} kept.
   * @throws {EnclaveError} If the kernel refuses something; nothing is left behind then.
   */
  constructor(
    kernel: SimKernel,
    control: SimEnclave,
    policy: PolicyDefinition,
    options: PolicyEnclaveOptions & { readonly snapshot?: Snapshot } = {},
  ) {
    this.control = control;
    this.enclave = new PolicyEnclave(kernel, control, policy, options);
    try {
      for (const cpu of control.cpus()) {
        const agent = this.enclave.becomeAgent(cpu) as SimAgent;
        this.#agents.push(agent);
        this.#drivers.push(new SimDriver(this, agent));
      }
    } catch (error) {
      this.leave();
      throw error;
    }
    try {
      this.#drivers[0].policy.discover();
      if (options.snapshot !== undefined) this.#drivers[0].policy.restore(options.snapshot);
    } catch (error) {
      this.fail(control.cpus()[0], error);
      return;
    }
    this.#drivers.forEach((driver, index) => this.#agents[index].driver = driver);
    this.enclave.goOnline();
    for (const agent of this.#agents) {
      // Agents that had their turn before there was a policy sleep: this is their start signal.
      agent.bumpBarrier();
      agent.wake();
    }
  }

  /** What a successor should know; take it before {@linkcode leave}. */
  snapshot(): Snapshot {
    return this.#drivers[0].policy.snapshot();
  }

  /** The policy instances, one per agent. */
  policies(): readonly Policy[] {
    return this.#drivers.map((driver) => driver.policy);
  }

  /** State of all agents as text, at most DUMP_BYTES_MAX bytes. */
  dump(flags: number): string {
    let text = "";
    for (const driver of this.#drivers) {
      try {
        text += driver.policy.dump(flags);
      } catch (error) {
        text += `(no dump: ${error instanceof Error ? error.message : String(error)})\n`;
      }
    }
    const bytes = new TextEncoder().encode(text).subarray(0, DUMP_BYTES_MAX);
    // As a stream: half a character at the end is left out.
    return new TextDecoder().decode(bytes, { stream: true });
  }

  /** Stops the policy because a step threw. */
  fail(cpu: number, error: unknown): void {
    if (this.failure !== null) return;
    const dump = this.dump(DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES);
    this.failure = { cpu, error, dump };
    const text = error instanceof Error ? error.message : String(error);
    this.control.abandon(`policy failed on CPU ${cpu}: ${text}`);
  }

  /** The agents leave; the enclave and its tasks stay for the next agents (upgrade). */
  leave(): void {
    for (const agent of this.#agents) agent.leave();
    this.enclave.close();
    for (const agent of this.#agents) this.control.freeStatusWord(agent.status_index);
  }
}
