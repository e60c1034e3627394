import { assertEquals } from "@std/assert";
import {
  GHOST_ASSOC_SF_ALREADY,
  GHOST_ASSOC_SF_BRAND_NEW,
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_DEPARTED,
} from "../ffi/abi/constants.ts";
import { EBADF, ENOENT, ESTALE } from "../kernels/kernel.ts";
import { FakeKernel } from "../tests/fakes/fake_kernel.ts";
import { LoggingScheduler } from "../tests/fakes/logging_scheduler.ts";
import { discoverTasks, takeBack } from "./discovery.ts";

function setUp() {
  const kernel = new FakeKernel();
  const agent = kernel.context(0);
  const found: string[] = [];
  const discover = (options: { before?: () => boolean; skip_already?: boolean } = {}): boolean =>
    discoverTasks(agent, {
      found: (index, barrier) => found.push(`${index} @${barrier}`),
      ...options,
    });
  return { kernel, agent, found, discover };
}

Deno.test("every task without a row is found, with the barrier of its association", () => {
  const { kernel, found, discover } = setUp();
  const tasks = [kernel.addTask(7, true, 1), kernel.addTask(8, false, 1)];
  kernel.status.bump(tasks[1].index);
  assertEquals(discover(), true);
  assertEquals(found, [`${tasks[0].index} @1`, `${tasks[1].index} @2`]);
  assertEquals(kernel.calls, ["associate 10 7 1", "associate 10 8 2"]);
  assertEquals(tasks.map((task) => task.queue), [0, 0]);
});

Deno.test("agents, free words and tasks that have a row are passed over", () => {
  const { kernel, agent, found, discover } = setUp();
  const known = kernel.addTask(7, true, 1);
  agent.tasks.allocate(known.lo, known.hi, 1);
  const gone = kernel.addTask(8, true, 1);
  kernel.status.free(gone.index);
  assertEquals([discover(), found, kernel.calls], [true, [], []]);
});

Deno.test("a task about which a message comes meanwhile is tried again", () => {
  const { kernel, found, discover } = setUp();
  const task = kernel.addTask(7, true, 1);
  let times = 3;
  kernel.on_associate = () => {
    if (times-- > 0) kernel.send(task, MSG_TASK_AFFINITY_CHANGED);
  };
  assertEquals(discover(), true);
  assertEquals(found, [`${task.index} @4`]);
  assertEquals(kernel.calls.length, 4);
});

Deno.test("a task that never holds still is left out, and the caller is told", () => {
  const { kernel, found, discover } = setUp();
  const restless = kernel.addTask(7, true, 1);
  const other = kernel.addTask(8, true, 1);
  kernel.on_associate = () => kernel.send(restless, MSG_TASK_AFFINITY_CHANGED);
  assertEquals(discover(), false);
  assertEquals(found, [`${other.index} @1`]);
});

Deno.test("the word of a task that has left is freed, before or while it is looked at", () => {
  for (const departs_meanwhile of [false, true]) {
    const { kernel, found, discover } = setUp();
    const task = kernel.addTask(7, true, 1);
    const depart = () => {
      kernel.on_associate = null;
      kernel.send(task, MSG_TASK_DEPARTED);
    };
    if (departs_meanwhile) kernel.on_associate = depart;
    else depart();
    assertEquals([discover(), found], [true, []]);
    assertEquals(kernel.status.isAllocated(task.index), false);
  }
});

Deno.test("the word of a task that the kernel does not know any more is freed", () => {
  const { kernel, found, discover } = setUp();
  const task = kernel.addTask(7, true, 1);
  kernel.associate_result = -ENOENT;
  kernel.on_associate = () => kernel.status.change(task.index, GHOST_SW_F_CANFREE, 0);
  assertEquals([discover(), found], [true, []]);
  assertEquals(kernel.status.isAllocated(task.index), false);
});

Deno.test("a task that the kernel has yet to introduce is left to its TASK_NEW", () => {
  const { kernel, found, discover } = setUp();
  kernel.addTask(7, true, 1);
  kernel.associate_result = GHOST_ASSOC_SF_BRAND_NEW;
  assertEquals([discover(), found], [true, []]);
  assertEquals(kernel.calls, ["associate 10 7 1"]);
});

Deno.test("a task that was being forked when its agent was replaced is found once it is made", () => {
  const kernel = new FakeKernel();
  const policy = new LoggingScheduler(kernel.context(0));
  // Its word is taken, and its TASK_NEW will go to the queue of the agent before.
  const child = kernel.addTask(7, true, 1);
  kernel.status.change(child.index, 0, GHOST_SW_F_INUSE);
  policy.discover();
  for (let count = 0; count < 3; count++) policy.step();
  assertEquals([policy.takeLog(), kernel.calls], [[], ["armTimer 1000000"]]);
  kernel.status.change(child.index, GHOST_SW_F_INUSE, 0);
  kernel.now_ns = 999_999;
  policy.step();
  assertEquals(policy.takeLog(), []);
  kernel.now_ns = 1_000_000;
  policy.step();
  assertEquals(policy.takeLog().at(0), "new 7 @1 runnable");
  kernel.now_ns = 5_000_000;
  kernel.calls.length = 0;
  policy.step();
  assertEquals([policy.takeLog(), kernel.calls], [[], []]);
});

Deno.test("a task of our own queue is found, unless the caller says that nothing was lost", () => {
  const { kernel, found, discover } = setUp();
  const task = kernel.addTask(7, true, 0);
  assertEquals([discover({ skip_already: true }), found], [true, []]);
  assertEquals([discover(), found], [true, [`${task.index} @1`]]);
  kernel.associate_result = GHOST_ASSOC_SF_ALREADY | GHOST_ASSOC_SF_BRAND_NEW;
  assertEquals([discover(), found.length], [true, 1]);
});

Deno.test("any other refusal leaves the task out, and the caller is told", () => {
  const { kernel, found, discover } = setUp();
  kernel.addTask(7, true, 1);
  kernel.associate_result = -EBADF;
  assertEquals([discover(), found], [false, []]);
});

Deno.test("what comes before a task is looked at may end the search or introduce the task", () => {
  const { kernel, agent, found, discover } = setUp();
  const task = kernel.addTask(7, true, 1);
  assertEquals([discover({ before: () => false }), found], [false, []]);
  const introduce = () => agent.tasks.allocate(task.lo, task.hi, 1) >= 0;
  assertEquals([discover({ before: introduce }), found, kernel.calls], [true, [], []]);
});

Deno.test("a task is taken back by its present word, not by that of an earlier stay", () => {
  const { kernel, agent } = setUp();
  const earlier = kernel.addTask(7, true, 1);
  kernel.status.change(earlier.index, GHOST_SW_F_CANFREE, 0);
  const present = kernel.addTask(7, true, 1);
  kernel.status.bump(present.index);
  let times = 2;
  kernel.on_associate = () => kernel.associate_result = times-- > 0 ? -ESTALE : null;
  takeBack(agent, present.lo, present.hi);
  assertEquals(kernel.calls, Array(3).fill("associate 10 7 2"));
  assertEquals([earlier.queue, present.queue], [1, 0]);
});
