import { assert, assertEquals, assertThrows } from "@std/assert";
import { ENODEV, ESTALE } from "../kernels/kernel.ts";
import { FakeKernel } from "../tests/fakes/fake_kernel.ts";
import type { AgentContext } from "./agent_context.ts";
import {
  carryOut,
  CONTROL_STOP_WORD,
  CONTROL_WORDS,
  runAgent,
  StepMeter,
  STOP_NOW,
  STOP_WHEN_DRAINED,
} from "./agent_loop.ts";
import { InvariantError } from "./invariant.ts";
import { AGAIN, type Policy, RUN_LOCAL, type Verdict, YIELD } from "./policy.ts";

/** A policy that follows a list of verdicts. */
function scripted(verdicts: readonly Verdict[], on_step: (count: number) => void = () => {}) {
  let count = 0;
  let is_drained = true;
  const policy: Policy = {
    yield_barrier: 42,
    yield_flags: 32,
    step: () => {
      on_step(count);
      return verdicts[count++] ?? YIELD;
    },
    discover: () => {},
    snapshot: () => {
      throw new Error("no snapshot here");
    },
    restore: () => {},
    drained: () => is_drained,
    dump: () => "",
  };
  return { policy, stepCount: () => count, setDrained: (value: boolean) => is_drained = value };
}

function setUp(): { kernel: FakeKernel; agent: AgentContext; control: Int32Array } {
  const kernel = new FakeKernel();
  const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
  return { kernel, agent: kernel.context(0), control };
}

Deno.test("each verdict is carried out by its call, AGAIN by none", () => {
  const { kernel, agent } = setUp();
  const { policy } = scripted([]);
  kernel.run_result = -ESTALE;
  assertEquals(carryOut(RUN_LOCAL, policy, agent.port), -ESTALE);
  assertEquals(carryOut(YIELD, policy, agent.port), -ESTALE);
  assertEquals(carryOut(AGAIN, policy, agent.port), 0);
  assertEquals(kernel.calls, ["localCommit", "localYield 42 32"]);
});

Deno.test("a guard sees that a step is under way, and how many there were", () => {
  const { kernel, agent } = setUp();
  const active = kernel.state.cpu("step_active", 0);
  const count = kernel.state.cpu("step_count", 0);
  const seen: number[] = [];
  const { policy } = scripted([AGAIN, YIELD], () => seen.push(active[0], count[0]));
  const meter = new StepMeter(agent);
  assertEquals([meter.step(policy), active[0], count[0]], [AGAIN, 0, 1]);
  assertEquals([meter.step(policy), active[0], count[0]], [YIELD, 0, 2]);
  assertEquals(seen, [1, 0, 1, 1]);
});

Deno.test("a step that throws stays under way: its agent is not one that idles", () => {
  const { kernel, agent } = setUp();
  const { policy } = scripted([], () => {
    throw new Error("planted");
  });
  assertThrows(() => new StepMeter(agent).step(policy), Error, "planted");
  assertEquals(kernel.state.cpu("step_active", 0)[0], 1);
});

Deno.test("an agent goes on until it is told to stop", () => {
  const { kernel, agent, control } = setUp();
  const { policy, stepCount } = scripted([RUN_LOCAL, AGAIN, YIELD, YIELD], (count) => {
    if (count === 3) control[CONTROL_STOP_WORD] = 1;
  });
  runAgent(agent, policy, control);
  assertEquals(stepCount(), 4);
  assertEquals(kernel.calls, ["localCommit", "localYield 42 32", "localYield 42 32"]);
});

Deno.test("an agent that is told to stop before its first step takes none", () => {
  const { kernel, agent, control } = setUp();
  control[CONTROL_STOP_WORD] = 1;
  const { policy } = scripted([]);
  runAgent(agent, policy, control);
  assertEquals(kernel.calls, []);
});

Deno.test("an agent that is told to stop schedules what it has queued first", () => {
  const { agent, control } = setUp();
  control[CONTROL_STOP_WORD] = 1;
  const { policy, stepCount, setDrained } = scripted([RUN_LOCAL], (count) => {
    if (count === 5) setDrained(true);
  });
  setDrained(false);
  runAgent(agent, policy, control);
  assertEquals(stepCount(), 6);
});

Deno.test("an agent whose enclave is gone ends, whatever it has queued", () => {
  for (const verdict of [RUN_LOCAL, YIELD] as const) {
    const { kernel, agent, control } = setUp();
    kernel.run_result = -ENODEV;
    const { policy, stepCount, setDrained } = scripted([verdict], (count) => {
      assert(count < 100, "it would go on for ever");
    });
    setDrained(false);
    runAgent(agent, policy, control);
    assertEquals(stepCount(), 1);
  }
});

Deno.test("a yield that comes too late is ordinary: the agent looks again", () => {
  const { kernel, agent, control } = setUp();
  kernel.run_result = -ESTALE;
  const { policy, stepCount } = scripted([], (count) => {
    if (count === 2) control[CONTROL_STOP_WORD] = 1;
  });
  runAgent(agent, policy, control);
  assertEquals(stepCount(), 3);
});

Deno.test("an agent that is told to leave at once does so with work in its queue", () => {
  const { agent, control } = setUp();
  const { policy, stepCount, setDrained } = scripted([AGAIN, AGAIN, AGAIN, AGAIN], (count) => {
    if (count === 1) control[CONTROL_STOP_WORD] = STOP_WHEN_DRAINED;
    if (count === 2) control[CONTROL_STOP_WORD] = STOP_NOW;
  });
  setDrained(false);
  runAgent(agent, policy, control);
  assertEquals(stepCount(), 3);
});

Deno.test("a kernel that refuses a yield for no known reason ends the agent, not its CPU", () => {
  const { kernel, agent, control } = setUp();
  const { policy, stepCount } = scripted([AGAIN, YIELD]);
  kernel.run_result = -22;
  assertThrows(
    () => runAgent(agent, policy, control),
    InvariantError,
    "agent of CPU 0 go: errno 22",
  );
  assertEquals(stepCount(), 2);
});
