/**
 * Policies that fail, for tests of what an agent does then.
 *
 * @module
 */
import type { PolicyDefinition, Verdict } from "../../lib/policy.ts";
import { YIELD } from "../../lib/policy.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../../schedulers/fifo/per_cpu/scheduler.ts";

/** Messages after which the policy throws. */
const MESSAGES = 2000;

class ThrowingScheduler extends FifoPerCpuScheduler {
  override step(): Verdict {
    if (this.message_count[0] > MESSAGES) throw new RangeError("planted: no such row");
    return super.step();
  }
}

/** Per-CPU FIFO until an agent has had 2000 messages; then its step throws. */
export const THROWING: PolicyDefinition = {
  ...FIFO_PER_CPU,
  name: "throwing",
  create: (agent) => new ThrowingScheduler(agent),
};

class ForgetfulScheduler extends FifoPerCpuScheduler {
  override step(): Verdict {
    this.yield_barrier = this.agentBarrier();
    this.drain();
    return YIELD;
  }
}

/** Takes all messages and never runs anything. */
export const FORGETFUL: PolicyDefinition = {
  ...FIFO_PER_CPU,
  name: "forgetful",
  create: (agent) => new ForgetfulScheduler(agent),
};
