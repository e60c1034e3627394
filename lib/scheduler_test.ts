import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  GHOST_ASSOC_SF_BRAND_NEW,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AGENT_WAKEUP,
  MSG_CPU_AVAILABLE,
  MSG_CPU_BUSY,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_ON_CPU,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
} from "../ffi/abi/constants.ts";
import { FakeKernel, type FakeKernelOptions } from "../tests/fakes/fake_kernel.ts";
import { LoggingScheduler } from "../tests/fakes/logging_scheduler.ts";
import { InvariantError } from "./invariant.ts";
import { AGAIN, YIELD } from "./policy.ts";

function setUp(options: FakeKernelOptions = {}) {
  const kernel = new FakeKernel(options);
  const agents = [0, 1].map((cpu) => kernel.context(cpu));
  const policies = agents.map((agent) => new LoggingScheduler(agent));
  const counter = (name: string, cpu = 0): number => kernel.state.cpu(name, cpu)[0];
  return { kernel, agents, policies, policy: policies[0], tasks: agents[0].tasks, counter };
}

Deno.test("every task message reaches its handler, in order, once", () => {
  const { kernel, policy, counter } = setUp();
  const task = kernel.enter(7, true);
  const types = [
    MSG_TASK_PREEMPT,
    MSG_TASK_YIELD,
    MSG_TASK_BLOCKED,
    MSG_TASK_WAKEUP,
    MSG_TASK_SWITCHTO,
    MSG_TASK_AFFINITY_CHANGED,
    MSG_TASK_ON_CPU,
  ];
  for (const type of types) kernel.send(task, type);
  kernel.send(task, MSG_TASK_PRIORITY_CHANGED, { nice: -5 });
  kernel.send(task, MSG_TASK_LATCH_FAILURE, { errno: 22 });
  assertEquals(policy.step(), YIELD);
  assertEquals(policy.takeLog(), [
    "new 7 @1 runnable",
    "preempted 7 @1",
    "yield 7 @2",
    "off 7 @3",
    "runnable 7 @4",
    "off 7 @5",
    "affinity 7 @6",
    "on cpu 7 @7",
    "priority 7 @8 -5",
    "latch failure 7 @9 errno 22",
  ]);
  assertEquals(counter("message_count"), 10);
  policy.step();
  assertEquals([policy.takeLog(), counter("message_count")], [[], 10]);
});

Deno.test("the sequence number moves on when the handler is done, not before", () => {
  const { kernel, policy, tasks } = setUp();
  const task = kernel.enter(7, true);
  policy.step();
  kernel.send(task, MSG_TASK_BLOCKED);
  let seen = -1;
  policy.on_handler = (row) => seen = tasks.seqnum[row];
  policy.step();
  assertEquals([seen, tasks.seqnum[tasks.find(task.lo, task.hi)]], [1, 2]);
});

Deno.test("a new task has its row, its word and its first number before the handler sees it", () => {
  const { kernel, policy, tasks } = setUp();
  const task = kernel.enter(7, false);
  policy.on_handler = (row) => {
    assertEquals(tasks.find(task.lo, task.hi), row);
    assertEquals(tasks.status_index[row], task.index);
    assertEquals(tasks.owner[row], 1);
  };
  policy.step();
  assertEquals(policy.takeLog(), ["new 7 @1"]);
});

Deno.test("a task that is gone loses its row first and its status word afterwards", () => {
  for (const type of [MSG_TASK_DEAD, MSG_TASK_DEPARTED]) {
    const { kernel, policy, tasks } = setUp();
    const task = kernel.enter(7, true);
    policy.step();
    policy.takeLog();
    kernel.send(task, type);
    let row_at_free = 0;
    kernel.on_free = () => row_at_free = tasks.find(task.lo, task.hi);
    policy.step();
    assertEquals(policy.takeLog(), ["off 7 @1"]);
    assertEquals([row_at_free, kernel.calls], [-1, [`free ${task.index}`]]);
    assertEquals(tasks.liveCount(), 0);
  }
});

Deno.test("every CPU message reaches its handler", () => {
  const { kernel, policies, counter } = setUp();
  const types = [
    MSG_CPU_TICK,
    MSG_CPU_NOT_IDLE,
    MSG_CPU_TIMER_EXPIRED,
    MSG_CPU_AVAILABLE,
    MSG_CPU_BUSY,
    MSG_CPU_AGENT_BLOCKED,
    MSG_CPU_AGENT_WAKEUP,
  ];
  for (const type of types) kernel.sendCpu(1, type);
  policies[1].step();
  assertEquals(policies[1].takeLog(), [
    "tick cpu 1",
    "not idle cpu 1",
    "timer cpu 1",
    "available cpu 1",
    "busy cpu 1",
    "agent blocked cpu 1",
    "agent wakeup cpu 1",
  ]);
  assertEquals(counter("unknown_count", 1), 0);
});

Deno.test("what nobody knows is counted and passed over", () => {
  const { kernel, policy, counter } = setUp();
  const task = kernel.enter(7, true);
  kernel.put(0, 120, 2, task); // a task message that no ABI has
  kernel.put(0, 190, 1, task); // a CPU message that no ABI has
  kernel.put(0, 250, 1, task); // neither
  kernel.put(0, MSG_TASK_WAKEUP, 1, { lo: 1, hi: 99 << 9 }); // a task that never entered
  kernel.put(0, MSG_TASK_DEAD, 1, { lo: 1, hi: 99 << 9 });
  kernel.put(0, MSG_TASK_BLOCKED, 3, task);
  assertEquals(policy.step(), YIELD);
  assertEquals(policy.takeLog(), ["new 7 @1 runnable", "off 7 @2"]);
  assertEquals(counter("unknown_count"), 5);
  assertEquals(kernel.calls, []);
});

Deno.test("sequence numbers may skip and run over, and must not go back", () => {
  const { kernel, policy, tasks } = setUp();
  const task = kernel.enter(7, true);
  kernel.put(0, MSG_TASK_BLOCKED, 9, task);
  policy.step();
  const row = tasks.find(task.lo, task.hi);
  assertEquals(tasks.seqnum[row], 9);
  tasks.seqnum[row] = 0x7fffffff;
  kernel.put(0, MSG_TASK_WAKEUP, -0x80000000, task);
  policy.step();
  assertEquals(tasks.seqnum[row], -0x80000000);
  for (const seqnum of [-0x80000000, 0x7fffffff]) {
    kernel.put(0, MSG_TASK_BLOCKED, seqnum, task);
    assertThrows(() => policy.step(), InvariantError, "out of order");
  }
});

Deno.test("TASK_NEW for a live task means that its departure was missed", () => {
  const { kernel, policy, tasks, counter } = setUp();
  const first = kernel.enter(7, true);
  policy.step();
  const generation = tasks.generation[tasks.find(first.lo, first.hi)];
  const second = kernel.enter(7, false);
  kernel.status.change(first.index, 2, 0); // the kernel has done with the old word
  policy.step();
  assertEquals(policy.takeLog(), ["new 7 @1 runnable", "off 7 @1", "new 7 @1"]);
  const row = tasks.find(second.lo, second.hi);
  assertEquals([tasks.status_index[row], tasks.generation[row]], [second.index, generation + 1]);
  assertEquals([tasks.liveCount(), counter("missed_departure_count")], [1, 1]);
  assertEquals(kernel.calls, [`free ${first.index}`]);
});

Deno.test("a task is handed over by association first, then the row, then a ping", () => {
  const { kernel, policies, tasks } = setUp();
  policies[0].target_index = 1;
  let owner_at_associate = 0;
  const task = kernel.enter(7, true);
  kernel.on_associate = () => {
    owner_at_associate = tasks.owner[tasks.find(task.lo, task.hi)];
    policies[1].step();
  };
  policies[0].step();
  assertEquals(kernel.calls, ["associate 11 7 1", "ping 1"]);
  assert(owner_at_associate < 0, "nobody may write the row while it is on its way");
  assertEquals(policies[1].takeLog(), [], "it is not there before it was sent");
  kernel.send(task, MSG_TASK_BLOCKED);
  policies[1].step();
  assertEquals(policies[1].takeLog(), ["received 7 @1", "off 7 @1"]);
  assertEquals(tasks.owner[tasks.find(task.lo, task.hi)], 2);
});

Deno.test("a message for a row that is still on its way makes the step AGAIN", () => {
  const { kernel, policies, tasks } = setUp();
  const task = kernel.enter(7, true);
  policies[0].step();
  const row = tasks.find(task.lo, task.hi);
  tasks.owner[row] = -2; // associated with agent 1, not sent yet
  task.queue = 1;
  kernel.send(task, MSG_TASK_BLOCKED);
  kernel.sendCpu(1, MSG_CPU_TICK);
  assertEquals([policies[1].step(), policies[1].step()], [AGAIN, AGAIN]);
  assertEquals(policies[1].takeLog(), [], "later messages wait too");
  kernel.context(0).mailboxes[1].send(row);
  assertEquals(policies[1].step(), YIELD);
  assertEquals(policies[1].takeLog(), ["received 7 @1", "off 7 @1", "tick cpu 1"]);
});

Deno.test("a refused hand-over leaves everything as it was", () => {
  const { kernel, policies, tasks } = setUp();
  const task = kernel.enter(7, false);
  policies[0].step();
  policies[0].takeLog();
  policies[0].target_index = 1;
  kernel.associate_result = -116;
  kernel.send(task, MSG_TASK_WAKEUP);
  policies[0].step();
  assertEquals(policies[0].takeLog(), ["runnable 7 @1", "kept 7 @1"]);
  const row = tasks.find(task.lo, task.hi);
  assertEquals([tasks.owner[row], tasks.seqnum[row]], [1, 2]);
  assertEquals(kernel.calls, ["associate 11 7 2"]);
  kernel.send(task, MSG_TASK_BLOCKED);
  policies[0].step();
  policies[1].step();
  assertEquals([policies[0].takeLog(), policies[1].takeLog()], [["off 7 @2"], []]);
});

Deno.test("the new owner finds the number of the message at which the row was handed over", () => {
  const { kernel, policies } = setUp();
  const task = kernel.enter(7, false);
  policies[0].step();
  policies[0].target_index = 1;
  kernel.send(task, MSG_TASK_WAKEUP);
  kernel.on_ping = () => policies[1].step();
  policies[0].step();
  assertEquals(policies[1].takeLog(), ["received 7 @2"]);
});

Deno.test("the sender of a row does not touch it any more", () => {
  const { kernel, policies, tasks } = setUp();
  const task = kernel.enter(7, false);
  policies[0].step();
  policies[0].target_index = 1;
  kernel.send(task, MSG_TASK_WAKEUP);
  // The new owner is so fast that it has handled a message before the sender's handler ends.
  kernel.on_ping = () => {
    kernel.send(task, MSG_TASK_BLOCKED);
    policies[1].step();
  };
  policies[0].step();
  assertEquals(policies[1].takeLog(), ["received 7 @2", "off 7 @2"]);
  const row = tasks.find(task.lo, task.hi);
  assertEquals([tasks.seqnum[row], tasks.owner[row]], [3, 2]);
});

Deno.test("a task that has left and come back while it was handed over is introduced anew", () => {
  const { kernel, policies, tasks } = setUp();
  policies[0].target_index = 1;
  const first = kernel.enter(7, true);
  let second = first;
  kernel.on_associate = () => {
    if (second !== first) return;
    kernel.send(first, MSG_TASK_DEPARTED);
    second = kernel.addTask(7, true); // its TASK_NEW waits until the old word is freed
    kernel.associate_result = GHOST_ASSOC_SF_BRAND_NEW;
  };
  policies[0].step();
  assertEquals(kernel.calls.slice(0, 2), ["associate 11 7 1", "associate 10 7 1"]);
  assertEquals(policies[0].takeLog(), ["new 7 @1 runnable", "kept 7 @1", "off 7 @1"]);
  assertEquals(kernel.calls.at(-1), `free ${first.index}`);
  assertEquals(tasks.liveCount(), 0);
});
