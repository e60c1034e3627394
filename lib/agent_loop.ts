/**
 * The loop of an agent's thread on real kernels: call the step, carry the verdict out. The
 * simulator's event loop does the same, one verdict at a time.
 *
 * @module
 */
import type { Memory } from "../ffi/memory.ts";
import type { AgentPort } from "../kernels/kernel.ts";
import * as errors from "../kernels/kernel.ts";
import type { AgentContext } from "./agent_context.ts";
import { assertInvariant } from "./invariant.ts";
import type { Policy, Verdict } from "./policy.ts";
import * as verdicts from "./policy.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { ENODEV, ESTALE } = errors;
const { RUN_LOCAL, YIELD } = verdicts;

// Words of the control block through which the main isolate talks to an agent.

/** 0, {@linkcode STOP_WHEN_DRAINED} or {@linkcode STOP_NOW}. */
export const CONTROL_STOP_WORD = 0;
/** How far the agents have come together: one of the PHASE_* values of kernels/agent_spec.ts. */
export const CONTROL_PHASE_WORD = 1;
/** Words of a control block. */
export const CONTROL_WORDS = 16;

/** The agent leaves once nothing that it queued waits for it. */
export const STOP_WHEN_DRAINED = 1;
/** The agent leaves after the present step. */
export const STOP_NOW = 2;

/** Steps of one call of the loop. */
const STEPS_PER_CALL = 4096;

/** Counts steps where a guard can see them. */
export class StepMeter {
  declare private readonly active: Int32Array;
  declare private readonly count: Int32Array;
  declare private readonly memory: Memory;

  /**
   * Meters the steps of an agent.
   *
   * @param agent The agent to meter.
   */
  constructor(agent: AgentContext) {
    this.memory = agent.memory;
    this.active = agent.state.cpu("step_active", agent.cpu);
    this.count = agent.state.cpu("step_count", agent.cpu);
  }

  /** Runs one step. */
  step(policy: Policy): Verdict {
    this.memory.publish(this.active, 0, 1);
    const verdict = policy.step();
    this.count[0]++;
    this.memory.publish(this.active, 0, 0);
    return verdict;
  }
}

/** What a step chose for its yield. */
export type YieldChoice = Pick<Policy, "yield_barrier" | "yield_flags" | "look_ns">;

/**
 * Carries out what a step decided.
 *
 * @returns 0, or −errno of the kernel; −ESTALE is ordinary.
 */
export function carryOut(verdict: Verdict, policy: YieldChoice, port: AgentPort): number {
  if (verdict === RUN_LOCAL) return port.localCommit();
  if (verdict === YIELD) return port.localYield(policy.yield_barrier, policy.yield_flags);
  return 0;
}

/**
 * Runs an agent until it is told to stop and has nothing left to do, or until its enclave is gone.
 *
 * @param agent The agent.
 * @param policy Its policy instance.
 * @param control Control block; {@linkcode CONTROL_STOP_WORD} not 0 asks the agent to leave.
 * @throws {InvariantError} If the kernel refuses a verdict for ever.
 */
export function runAgent(agent: AgentContext, policy: Policy, control: Int32Array): void {
  const meter = new StepMeter(agent);
  agent.state.cpuF64("began_ns", agent.cpu)[0] = agent.port.nowNs();
  const runSteps = stepsOf(agent, policy, meter, control);
  try {
    while (runSteps());
  } finally {
    // A successor reads it, to tell how long nobody scheduled.
    agent.state.cpuF64("ended_ns", agent.cpu)[0] = agent.port.nowNs();
  }
}

/**
 * Makes the loop of one agent. What a function has captured is constant to V8, and so is every
 * field of it that was assigned once, down to the addresses of its memory: most look-ups of a step
 * are compiled away. Fields on the way of a step are therefore made with their value, or declared
 * only and assigned in the constructor; one that is defined without value counts as assigned twice.
 *
 * @returns A function that runs some steps and returns false at the end. It ends now and then: code
 * that is called often is compiled as a whole, while a loop that never ends is replaced in its
 * midst, by code that calls the shim more slowly.
 */
function stepsOf(
  agent: AgentContext,
  policy: Policy,
  meter: StepMeter,
  control: Int32Array,
): () => boolean {
  const { memory, port } = agent;
  return () => {
    for (let count = 0; count < STEPS_PER_CALL; count++) {
      const stop = memory.acquire(control, CONTROL_STOP_WORD);
      if (stop === STOP_NOW || (stop !== 0 && policy.drained())) return false;
      const result = carryOut(meter.step(policy), policy, port);
      if (result < 0 && result !== -ESTALE) return endsLoop(result, port.cpu);
    }
    return true;
  };
}

/**
 * A kernel that refuses for any other reason than that the enclave is gone will refuse the next
 * time too: the agent would spin on its CPU for ever, above every other thread.
 */
function endsLoop(result: number, cpu: number): false {
  const is_gone = result === -ENODEV;
  assertInvariant(
    is_gone,
    `the kernel refuses to let the agent of CPU ${cpu} go: errno ${-result}`,
  );
  return false;
}
