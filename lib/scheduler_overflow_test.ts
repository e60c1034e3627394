import { assert, assertEquals } from "@std/assert";
import {
  GHOST_SW_F_CANFREE,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_NEW,
  MSG_TASK_WAKEUP,
  QUEUE_START_WORD,
  RING_OVERFLOW_WORD,
} from "../ffi/abi/constants.ts";
import { FakeKernel, type FakeKernelOptions, type FakeTask } from "../tests/fakes/fake_kernel.ts";
import { LoggingScheduler } from "../tests/fakes/logging_scheduler.ts";
import { AGAIN, YIELD } from "./policy.ts";

const ELEMS = 64;

function setUp(options: FakeKernelOptions = {}) {
  const kernel = new FakeKernel({ elem_count: ELEMS, ...options });
  const agents = [0, 1].map((cpu) => kernel.context(cpu));
  const policies = agents.map((agent) => new LoggingScheduler(agent));
  const { tasks } = agents[0];
  /** Tasks that the agent of a position owns. */
  const enter = (pid: number, runnable: boolean, owner = 0): FakeTask => {
    policies[0].target_index = owner === 0 ? -1 : owner;
    const task = kernel.enter(pid, runnable);
    for (const policy of policies) policy.step();
    for (const policy of policies) policy.takeLog();
    policies[0].target_index = -1;
    return task;
  };
  return { kernel, policies, policy: policies[0], tasks, enter };
}

/** Fills a queue with messages of a task until large and small ones are lost. */
function overflow(kernel: FakeKernel, task: FakeTask): void {
  while (kernel.send(task, MSG_TASK_BLOCKED));
  while (kernel.send(task, MSG_TASK_AFFINITY_CHANGED));
}

/** Steps until the policy is content. */
function settle(policy: LoggingScheduler): string[] {
  for (let count = 0; count < 10; count++) {
    if (policy.step() === YIELD) return policy.takeLog();
  }
  throw new Error("the policy asks for AGAIN for ever");
}

Deno.test("a wake-up that was lost is learnt from the status word", () => {
  const { kernel, policy, tasks, enter } = setUp();
  const noise = enter(7, true);
  const task = enter(8, false);
  overflow(kernel, noise);
  kernel.status.change(task.index, GHOST_SW_TASK_RUNNABLE, 0);
  assert(!kernel.send(task, MSG_TASK_WAKEUP), "this one is lost");
  const log = settle(policy);
  assertEquals(log.filter((line) => line.includes(" 8 ")), ["resync 8 @2 runnable"]);
  assertEquals(tasks.seqnum[tasks.find(task.lo, task.hi)], 2);
});

Deno.test("a task that runs is not taken for one that waits", () => {
  const { kernel, policy, enter } = setUp();
  const noise = enter(7, true);
  const task = enter(8, true);
  overflow(kernel, noise);
  kernel.status.change(task.index, GHOST_SW_TASK_ONCPU, 0);
  kernel.status.bump(task.index);
  const log = settle(policy);
  assertEquals(log.filter((line) => line.includes(" 8 ")), ["resync 8 @2 runnable on cpu"]);
});

Deno.test("a count of losses that has grown past 2^31 is no loss that never ends", () => {
  const { kernel, policy, enter } = setUp();
  const noise = enter(7, true);
  const { words } = kernel.queues[0];
  words[(words[QUEUE_START_WORD] >>> 2) + RING_OVERFLOW_WORD] = 0x7fff_ffff;
  overflow(kernel, noise);
  settle(policy);
  const before = kernel.status.barrier(noise.index);
  kernel.send(noise, MSG_TASK_BLOCKED);
  assertEquals(settle(policy), [`off 7 @${before}`], "handled, not read from the word");
});

Deno.test("messages that waited behind a lost one are not handled, but the word is read", () => {
  const { kernel, policy, enter } = setUp();
  const noise = enter(7, true);
  overflow(kernel, noise);
  const barrier = kernel.status.barrier(noise.index);
  assertEquals(settle(policy), [`resync 7 @${barrier} runnable`]);
});

Deno.test("a task about which nothing was lost is left alone", () => {
  const { kernel, policy, enter } = setUp();
  const noise = enter(7, true);
  enter(8, true);
  overflow(kernel, noise);
  assertEquals(settle(policy).filter((line) => line.includes(" 8 ")), []);
});

Deno.test("a death that was lost frees row and status word", () => {
  const { kernel, policy, tasks, enter } = setUp();
  const noise = enter(7, true);
  const task = enter(8, true);
  overflow(kernel, noise);
  assert(!kernel.send(task, MSG_TASK_DEAD));
  const log = settle(policy);
  assertEquals(log.filter((line) => line.includes(" 8 ")), ["off 8 @1"]);
  assertEquals(tasks.find(task.lo, task.hi), -1);
  assertEquals(kernel.status.isAllocated(task.index), false);
});

Deno.test("a task whose TASK_NEW was lost is found", () => {
  const { kernel, policy, tasks, enter } = setUp();
  overflow(kernel, enter(7, true));
  const task = kernel.enter(8, true);
  const log = settle(policy);
  assertEquals(log.filter((line) => line.includes(" 8 ")), ["new 8 @1 runnable"]);
  assertEquals(tasks.status_index[tasks.find(task.lo, task.hi)], task.index);
});

Deno.test("a task that came and went unseen leaves nothing behind", () => {
  const { kernel, policy, tasks, enter } = setUp();
  overflow(kernel, enter(7, true));
  const task = kernel.enter(8, true);
  kernel.send(task, MSG_TASK_DEAD);
  settle(policy);
  assertEquals(tasks.find(task.lo, task.hi), -1);
  assertEquals(kernel.status.isAllocated(task.index), false);
});

Deno.test("only the agent of the default queue looks for unknown tasks", () => {
  const { kernel, policies, enter } = setUp();
  const noise = enter(7, true, 1);
  assertEquals(noise.queue, 1);
  kernel.addTask(8, true);
  overflow(kernel, noise);
  settle(policies[1]);
  assertEquals(policies[0].takeLog(), []);
  assert(!kernel.calls.some((call) => call.includes("associate 11 8")));
});

Deno.test("an agent believes the words of its own tasks only", () => {
  const { kernel, policies, enter } = setUp();
  const noise = enter(7, true, 1);
  const other = enter(8, true, 0);
  overflow(kernel, noise);
  kernel.send(other, MSG_TASK_BLOCKED); // waits in the queue of agent 0
  const log = settle(policies[1]);
  assertEquals(log.filter((line) => line.includes(" 8 ")), []);
  assertEquals(settle(policies[0]), ["off 8 @1"]);
});

Deno.test("messages that come after the scan are handled as ever", () => {
  const { kernel, policy, tasks, enter } = setUp();
  const noise = enter(7, true);
  const task = enter(8, true);
  overflow(kernel, noise);
  settle(policy);
  kernel.send(task, MSG_TASK_BLOCKED);
  kernel.send(task, MSG_TASK_WAKEUP);
  assertEquals(settle(policy), ["off 8 @1", "runnable 8 @2"]);
  assertEquals(tasks.seqnum[tasks.find(task.lo, task.hi)], 3);
});

Deno.test("a second overflow during the scan is survived too", () => {
  const { kernel, policy, tasks, enter } = setUp();
  const noise = enter(7, true);
  const dying = enter(8, true);
  const late = enter(9, true);
  overflow(kernel, noise);
  kernel.send(dying, MSG_TASK_DEAD);
  kernel.on_free = () => {
    kernel.on_free = null;
    overflow(kernel, noise);
    kernel.status.change(late.index, 0, GHOST_SW_TASK_RUNNABLE);
    kernel.send(late, MSG_TASK_BLOCKED);
  };
  settle(policy);
  const row = tasks.find(late.lo, late.hi);
  assertEquals(tasks.seqnum[row], kernel.status.barrier(late.index));
});

Deno.test("with a row on its way to it, an agent waits before it believes the words", () => {
  const { kernel, policies, tasks, enter } = setUp();
  const noise = enter(7, true, 1);
  const task = enter(8, true, 0);
  const row = tasks.find(task.lo, task.hi);
  tasks.owner[row] = -2;
  task.queue = 1;
  overflow(kernel, noise);
  kernel.send(task, MSG_TASK_BLOCKED);
  assertEquals([policies[1].step(), policies[1].step()], [AGAIN, AGAIN]);
  kernel.context(0).mailboxes[1].send(row);
  const log = settle(policies[1]).filter((line) => line.includes(" 8 "));
  assertEquals(log, ["received 8 @1", "resync 8 @2 runnable"]);
});

Deno.test("a task for which there was no row gets one as soon as there is room", () => {
  const { kernel, policies, tasks, enter } = setUp({ task_capacity: 2 });
  const first = enter(7, true, 1);
  enter(8, true, 0);
  const third = kernel.enter(9, true);
  assertEquals(policies[0].step(), YIELD);
  assertEquals(tasks.find(third.lo, third.hi), -1);
  kernel.calls.length = 0;
  assertEquals(policies[0].step(), YIELD);
  assertEquals(kernel.calls, [], "it does not look for room that is not there");
  kernel.send(first, MSG_TASK_DEAD);
  kernel.calls.length = 0;
  policies[1].step();
  assert(kernel.calls.includes("ping 0"), "the agent that looks for it is told");
  settle(policies[0]);
  assert(tasks.find(third.lo, third.hi) >= 0);
});

Deno.test("the task that waits for a row may go away", () => {
  const { kernel, policies, tasks, enter } = setUp({ task_capacity: 1 });
  const first = enter(7, true);
  const second = kernel.enter(8, true);
  policies[0].step();
  kernel.send(second, MSG_TASK_DEAD);
  kernel.send(first, MSG_TASK_DEAD);
  settle(policies[0]);
  assertEquals(tasks.liveCount(), 0);
  assertEquals([first, second].map((task) => kernel.status.isAllocated(task.index)), [
    false,
    false,
  ]);
});

Deno.test("discovery at the start finds the tasks of earlier agents, once", () => {
  const { kernel, policy, tasks } = setUp();
  const old = [kernel.addTask(7, true, 1), kernel.addTask(8, false, 1)];
  const gone = kernel.addTask(9, false, 1);
  kernel.status.change(gone.index, GHOST_SW_F_CANFREE, 0);
  policy.discover();
  assertEquals(policy.takeLog(), ["new 7 @1 runnable", "new 8 @1"]);
  assertEquals(old.map((task) => task.queue), [0, 0]);
  assertEquals(kernel.status.isAllocated(gone.index), false);
  assertEquals(tasks.liveCount(), 2);
  policy.discover();
  assertEquals(policy.takeLog(), []);
});

Deno.test("discovery at the start leaves tasks alone that will be introduced", () => {
  const { kernel, policy } = setUp();
  kernel.enter(7, true); // its TASK_NEW waits in our queue
  policy.discover();
  assertEquals(policy.takeLog(), []);
  policy.step();
  assertEquals(policy.takeLog(), ["new 7 @1 runnable"]);
});

Deno.test("a TASK_NEW that a scan has forestalled introduces nobody twice", () => {
  const { kernel, policy, tasks, enter } = setUp();
  overflow(kernel, enter(7, true));
  const task = kernel.enter(8, true);
  settle(policy);
  kernel.put(0, MSG_TASK_NEW, 1, task, { runnable: 1, sw_index: task.index });
  settle(policy);
  assertEquals([tasks.liveCount(), policy.takeLog()], [2, []]);
});
