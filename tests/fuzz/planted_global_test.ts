/** Bugs planted into the policies with a global agent: the fuzzer finds each. */
import { assert } from "@std/assert";
import type { AgentContext } from "../../lib/agent_context.ts";
import type { MessageCursor } from "../../lib/message.ts";
import type { Policy, PolicyDefinition } from "../../lib/policy.ts";
import { EdfScheduler } from "../../schedulers/edf/scheduler.ts";
import { FifoCentralizedScheduler } from "../../schedulers/fifo/centralized/scheduler.ts";
import { ShinjukuScheduler } from "../../schedulers/shinjuku/scheduler.ts";
import { SolScheduler } from "../../schedulers/sol/scheduler.ts";
import { FuzzHints } from "./fuzz_hints.ts";
import { makePlan } from "./plan.ts";
import { runPlan } from "./run.ts";

const SEEDS_MAX = 200;
const SLICE = { preemption_time_slice_ns: 50_000 };

/** A preempted task is not put back into the queue. */
class PreemptedIsLost extends FifoCentralizedScheduler {
  protected override taskPreempted(row: number): void {
    this.taskOff(row);
  }
}

/** A wake-up that may wait is forgotten. */
class LostWakeup extends FifoCentralizedScheduler {
  protected override taskRunnable(row: number, message: MessageCursor): void {
    if (!message.deferrable()) super.taskRunnable(row, message);
  }
}

/** A new global agent takes its own "no task" for the answer to what its CPU was given before. */
class RecordNotSettled extends SolScheduler {
  protected override settleCpu(): boolean {
    return true;
  }
}

/** A transaction of a task that has left stays open. */
class DepartedStaysPending extends SolScheduler {
  protected override taskDeparted(): void {}
}

/** A task that yields is forgotten. */
class YieldIsLost extends ShinjukuScheduler {
  protected override taskYield(row: number): void {
    this.taskOff(row);
  }
}

/** A task that could not be switched to is taken for running. */
class LatchFailureIgnored extends EdfScheduler {
  protected override taskLatchFailure(): void {}
}

/** A blocked task stays where it is. */
class BlockedStays extends EdfScheduler {
  protected override taskBlocked(): void {}
}

type Maker = (agent: AgentContext) => Policy;

const PLANTED: Readonly<Record<string, readonly [what: string, make: (cpu: number) => Maker][]>> = {
  fifo_centralized: [
    [
      "a preempted task is not put back",
      (cpu) => (agent) => new PreemptedIsLost(agent, { global_cpu: cpu, ...SLICE }),
    ],
    [
      "a deferrable wake-up is forgotten",
      (cpu) => (agent) => new LostWakeup(agent, { global_cpu: cpu, ...SLICE }),
    ],
  ],
  sol: [
    [
      "a record is written over before it is read",
      (cpu) => (agent) => new RecordNotSettled(agent, { global_cpu: cpu, ...SLICE }),
    ],
    [
      "the transaction of a departed task stays",
      (cpu) => (agent) => new DepartedStaysPending(agent, { global_cpu: cpu, ...SLICE }),
    ],
  ],
  shinjuku: [[
    "a task that yields is forgotten",
    (cpu) => {
      const hints = new FuzzHints();
      return (agent) => new YieldIsLost(agent, { global_cpu: cpu, ...SLICE }, hints);
    },
  ]],
  edf: [
    [
      "LATCH_FAILURE is ignored",
      (cpu) => {
        const hints = new FuzzHints();
        const config = { global_cpu: cpu, ticks: false };
        return (agent) => new LatchFailureIgnored(agent, config, hints);
      },
    ],
    [
      "a blocked task stays where it is",
      (cpu) => {
        const hints = new FuzzHints();
        const config = { global_cpu: cpu, ticks: false };
        return (agent) => new BlockedStays(agent, config, hints);
      },
    ],
  ],
};

/** The first seed that finds a planted bug, and what broke. */
function find(policy: string, make: (cpu: number) => Maker): string | null {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const plan = makePlan(seed, { policy });
    const create = make(plan.enclave_cpus[0]);
    const variant = (definition: PolicyDefinition) => ({ ...definition, create });
    const { failure } = runPlan(plan, { variant });
    if (failure !== null) return `seed ${seed}: ${failure.split("\n")[0]}`;
  }
  return null;
}

for (const [policy, bugs] of Object.entries(PLANTED)) {
  for (const [what, make] of bugs) {
    Deno.test(`the fuzzer finds a bug planted into ${policy}: ${what}`, () => {
      const found = find(policy, make);
      assert(found !== null, "not found");
      console.log(found);
    });
  }
}
