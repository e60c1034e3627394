import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  COMMIT_AT_TXN_COMMIT,
  GHOST_SW_BOOST_PRIO,
  GHOST_SW_TASK_ONCPU,
  GHOST_SW_TASK_RUNNABLE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_READY,
  GHOST_TXN_TARGET_STALE,
  MSG_CPU_TICK,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_PREEMPT,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
  RTLA_ON_IDLE,
  TXN_AGENT_BARRIER_WORD,
  TXN_FLAGS_WORD,
  TXN_GTID_WORD,
  TXN_STATE_WORD,
  TXN_TASK_BARRIER_WORD,
} from "../../../ffi/abi/constants.ts";
import { ESTALE } from "../../../kernels/kernel.ts";
import { gtidName } from "../../../lib/gtid.ts";
import { InvariantError } from "../../../lib/invariant.ts";
import {
  AGAIN,
  DUMP_ALL_TASKS,
  DUMP_EMPTY_RUNQUEUES,
  type Policy,
  RUN_LOCAL,
  YIELD,
} from "../../../lib/policy.ts";
import { TXN_STRIDE_WORDS } from "../../../lib/transaction.ts";
import { FakeKernel, type FakeTask } from "../../../tests/fakes/fake_kernel.ts";
import { FIFO_PER_CPU } from "./scheduler.ts";

class Stage {
  readonly kernel: FakeKernel;
  readonly policies: readonly Policy[];

  constructor(cpu_count: number, elem_count = 256) {
    const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
    this.kernel = new FakeKernel({ cpus, layout: FIFO_PER_CPU.layout(cpu_count), elem_count });
    this.policies = cpus.map((cpu) => FIFO_PER_CPU.create(this.kernel.context(cpu)));
  }

  /** pid of the task in the transaction of a CPU. */
  chosen(cpu: number): number {
    return this.txnWord(cpu, TXN_GTID_WORD + 1) >> 9;
  }

  txnWord(cpu: number, word: number): number {
    return this.kernel.cpu_data[cpu * TXN_STRIDE_WORDS + word];
  }

  settle(cpu: number, state: number): void {
    this.kernel.cpu_data[cpu * TXN_STRIDE_WORDS + TXN_STATE_WORD] = state;
  }

  /** Steps a CPU that must choose a task, which then runs and blocks; the task's pid. */
  runOne(cpu: number, tasks: readonly FakeTask[]): number {
    assertEquals(this.policies[cpu].step(), RUN_LOCAL);
    const pid = this.chosen(cpu);
    this.settle(cpu, GHOST_TXN_COMPLETE);
    const task = tasks.find((one) => one.hi === pid << 9);
    assert(task !== undefined);
    this.kernel.send(task, MSG_TASK_BLOCKED, { cpu });
    return pid;
  }

  /** pids in the order in which a CPU runs its tasks, each until it blocks. */
  order(cpu: number, tasks: readonly FakeTask[]): number[] {
    const pids: number[] = [];
    for (let count = 0; count < tasks.length; count++) pids.push(this.runOne(cpu, tasks));
    assertEquals(this.policies[cpu].step(), YIELD);
    return pids;
  }
}

/** One CPU with tasks that wait in its queue: 1, 2 and so on. */
function queued(
  count: number,
  elem_count = 256,
): { stage: Stage; policy: Policy; tasks: FakeTask[] } {
  const stage = new Stage(1, elem_count);
  const tasks = Array.from({ length: count }, (_, index) => stage.kernel.enter(1 + index, true));
  return { stage, policy: stage.policies[0], tasks };
}

/** The same, and the first task runs. */
function running(count: number, elem_count = 256): ReturnType<typeof queued> {
  const made = queued(count, elem_count);
  assertEquals(made.policy.step(), RUN_LOCAL);
  assertEquals(made.stage.chosen(0), 1);
  made.stage.settle(0, GHOST_TXN_COMPLETE);
  return made;
}

Deno.test("runnable tasks are dealt out to the CPUs in turn", () => {
  const stage = new Stage(3);
  const tasks = [1, 2, 3, 4, 5, 6, 7].map((pid) => stage.kernel.enter(pid, true));
  stage.policies[0].step();
  assertEquals(tasks.map((task) => task.queue), [0, 1, 2, 0, 1, 2, 0]);
  assertEquals(stage.kernel.calls.filter((call) => call.startsWith("ping")), [
    "ping 1",
    "ping 2",
    "ping 1",
    "ping 2",
  ]);
  assertEquals([stage.policies[1].step(), stage.chosen(1)], [RUN_LOCAL, 2]);
  assertEquals([stage.policies[2].step(), stage.chosen(2)], [RUN_LOCAL, 3]);
});

Deno.test("a task that enters blocked gets its CPU when it wakes up, and keeps it", () => {
  const stage = new Stage(2);
  const [blocked, other] = [stage.kernel.enter(1, false), stage.kernel.enter(2, true)];
  stage.policies[0].step();
  assertEquals([blocked.queue, other.queue], [0, 0]);
  stage.settle(0, GHOST_TXN_COMPLETE);
  stage.kernel.send(blocked, MSG_TASK_WAKEUP);
  stage.policies[0].step();
  assertEquals(blocked.queue, 1);
  for (let turn = 0; turn < 3; turn++) {
    assertEquals(stage.runOne(1, [blocked]), 1);
    assertEquals(stage.policies[1].step(), YIELD);
    stage.kernel.send(blocked, MSG_TASK_WAKEUP);
  }
  assertEquals(stage.kernel.calls.filter((call) => call.startsWith("associate")).length, 1);
});

Deno.test("the transaction names the task, its number and the barrier from before the messages", () => {
  const { stage, policy, tasks } = queued(1);
  const { kernel } = stage;
  const barrier = kernel.status.barrier(kernel.agentIndex(0));
  kernel.sendCpu(0, MSG_CPU_TICK);
  assertEquals(policy.step(), RUN_LOCAL);
  assertEquals(stage.txnWord(0, TXN_STATE_WORD), GHOST_TXN_READY);
  assertEquals([stage.txnWord(0, TXN_GTID_WORD), stage.chosen(0)], [tasks[0].lo, 1]);
  assertEquals(stage.txnWord(0, TXN_TASK_BARRIER_WORD), 1);
  assertEquals(stage.txnWord(0, TXN_AGENT_BARRIER_WORD), barrier + 1);
  assertEquals(stage.txnWord(0, TXN_FLAGS_WORD), COMMIT_AT_TXN_COMMIT << 16);
});

Deno.test("something that happens while messages are read makes the barrier too old", () => {
  const stage = new Stage(2);
  const { kernel } = stage;
  const barrier = kernel.status.barrier(kernel.agentIndex(0));
  kernel.on_associate = () => kernel.status.bump(kernel.agentIndex(0));
  for (const pid of [1, 2]) kernel.enter(pid, true);
  assertEquals(stage.policies[0].step(), RUN_LOCAL);
  assertEquals(stage.txnWord(0, TXN_AGENT_BARRIER_WORD), barrier);
});

Deno.test("tasks run in the order in which they came", () => {
  const { stage, tasks } = queued(4);
  assertEquals(stage.order(0, tasks), [1, 2, 3, 4]);
});

Deno.test("a task that yields goes to the back", () => {
  const { stage, tasks } = running(3);
  stage.kernel.send(tasks[0], MSG_TASK_YIELD, { cpu: 0 });
  assertEquals(stage.order(0, tasks), [2, 3, 1]);
});

Deno.test("a preempted task goes to the front", () => {
  const { stage, tasks } = running(3);
  stage.kernel.send(tasks[0], MSG_TASK_PREEMPT, { cpu: 0 });
  assertEquals(stage.order(0, tasks), [1, 2, 3]);
});

Deno.test("a task that wakes up goes to the front, unless it says that it may wait", () => {
  for (const deferrable of [0, 1]) {
    const { stage, policy, tasks } = running(3);
    stage.kernel.send(tasks[0], MSG_TASK_BLOCKED, { cpu: 0 });
    stage.kernel.send(tasks[0], MSG_TASK_WAKEUP, { deferrable });
    const expected = deferrable === 0 ? [1, 2, 3] : [2, 3, 1];
    assertEquals(stage.order(0, tasks), expected);
    assertEquals(policy.drained(), true);
  }
});

Deno.test("a task whose commit is refused goes to the front", () => {
  const { stage, policy, tasks } = queued(3);
  assertEquals(policy.step(), RUN_LOCAL);
  stage.settle(0, GHOST_TXN_TARGET_STALE);
  assertEquals(stage.order(0, tasks), [1, 2, 3]);
  assertEquals(stage.kernel.state.cpu("refused_count", 0)[0], 1);
  assertEquals(stage.kernel.state.cpu("commit_count", 0)[0], 3);
});

Deno.test("a latched task that could not be run goes to the front", () => {
  const { stage, tasks } = running(3);
  stage.kernel.send(tasks[0], MSG_TASK_LATCH_FAILURE, { errno: 22 });
  // It says nothing of a task that is not on the CPU any more.
  stage.kernel.send(tasks[2], MSG_TASK_LATCH_FAILURE, { errno: 22 });
  assertEquals(stage.order(0, tasks), [1, 2, 3]);
});

Deno.test("a boost lasts for one commit", () => {
  const { stage, tasks } = running(3);
  stage.kernel.send(tasks[0], MSG_TASK_PREEMPT, { cpu: 0 });
  assertEquals(stage.policies[0].step(), RUN_LOCAL);
  assertEquals(stage.chosen(0), 1);
  const name = gtidName(tasks[0].lo, tasks[0].hi);
  const marks = (): string | undefined =>
    stage.policies[0].dump(DUMP_ALL_TASKS).split("\n").find((line) => line.startsWith(name))
      ?.slice(-2);
  assertEquals(marks(), "PB");
  stage.settle(0, GHOST_TXN_COMPLETE);
  stage.kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  assertEquals([stage.policies[0].step(), marks()], [AGAIN, "--"]);
  stage.kernel.status.change(tasks[0].index, 0, GHOST_SW_TASK_ONCPU);
  stage.kernel.send(tasks[0], MSG_TASK_YIELD, { cpu: 0 });
  assertEquals(stage.order(0, tasks), [2, 3, 1]);
});

Deno.test("while its commit is not decided, an agent does nothing else", () => {
  const { stage, policy, tasks } = queued(2);
  assertEquals(policy.step(), RUN_LOCAL);
  stage.settle(0, 0); // claimed by CPU 0
  stage.kernel.send(tasks[1], MSG_TASK_DEAD);
  assertEquals([policy.step(), policy.drained()], [AGAIN, false]);
  stage.settle(0, GHOST_TXN_TARGET_STALE);
  assertEquals([policy.step(), stage.chosen(0)], [RUN_LOCAL, 1]);
});

Deno.test("a task that is still on a CPU is not committed yet", () => {
  const { stage, policy, tasks } = queued(1);
  stage.kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  assertEquals([policy.step(), policy.step()], [AGAIN, AGAIN]);
  assertEquals(stage.txnWord(0, TXN_STATE_WORD), GHOST_TXN_COMPLETE);
  stage.kernel.status.change(tasks[0].index, 0, GHOST_SW_TASK_ONCPU);
  assertEquals(policy.step(), RUN_LOCAL);
});

Deno.test("an agent that comes back before its task was seen to leave commits it again", () => {
  const { stage, policy } = running(2);
  assertEquals([policy.step(), stage.chosen(0)], [RUN_LOCAL, 1]);
});

Deno.test("a task that dies or departs is forgotten, wherever it is", () => {
  for (const type of [MSG_TASK_DEAD, MSG_TASK_DEPARTED]) {
    const waiting = running(3);
    waiting.stage.kernel.send(waiting.tasks[1], type, { cpu: 0 });
    waiting.stage.kernel.send(waiting.tasks[0], MSG_TASK_YIELD, { cpu: 0 });
    assertEquals(waiting.stage.order(0, [waiting.tasks[0], waiting.tasks[2]]), [3, 1]);
    const current = running(2);
    current.stage.kernel.send(current.tasks[0], type, { cpu: 0 });
    assertEquals(current.stage.order(0, [current.tasks[1]]), [2]);
    const { kernel } = current.stage;
    assertEquals(kernel.status.isAllocated(current.tasks[0].index), false);
    assertEquals(kernel.context(0).tasks.liveCount(), 1);
  }
});

Deno.test("with nothing to run, an agent yields with the barrier from before the messages", () => {
  const { stage, policy } = queued(0);
  const { kernel } = stage;
  kernel.sendCpu(0, MSG_CPU_TICK);
  assertEquals(policy.step(), YIELD);
  const barrier = kernel.status.barrier(kernel.agentIndex(0));
  assertEquals([policy.yield_barrier, policy.yield_flags], [barrier, 0]);
});

Deno.test("a boosted agent is in the way: it yields, and returns on idle only with work", () => {
  const idle = queued(0);
  idle.stage.kernel.status.change(idle.stage.kernel.agentIndex(0), GHOST_SW_BOOST_PRIO, 0);
  assertEquals([idle.policy.step(), idle.policy.yield_flags], [YIELD, 0]);
  for (const made of [queued(1), running(1)]) {
    const { kernel } = made.stage;
    kernel.status.change(kernel.agentIndex(0), GHOST_SW_BOOST_PRIO, 0);
    assertEquals([made.policy.step(), made.policy.yield_flags], [YIELD, RTLA_ON_IDLE]);
    assertEquals(made.stage.txnWord(0, TXN_STATE_WORD), GHOST_TXN_COMPLETE);
    kernel.status.change(kernel.agentIndex(0), 0, GHOST_SW_BOOST_PRIO);
    assertEquals(made.policy.step(), RUN_LOCAL);
  }
});

Deno.test("the agent of the CPU where a switchto chain ends is told", () => {
  for (const type of [MSG_TASK_BLOCKED, MSG_TASK_PREEMPT, MSG_TASK_YIELD, MSG_TASK_DEPARTED]) {
    const { stage, policy, tasks } = running(1);
    policy.step();
    stage.settle(0, GHOST_TXN_COMPLETE);
    policy.step();
    stage.settle(0, GHOST_TXN_COMPLETE);
    stage.kernel.calls.length = 0;
    stage.kernel.send(tasks[0], type, { cpu: 5, from_switchto: 1 });
    policy.step();
    assertEquals(stage.kernel.calls[0], "ping 5", `type ${type}`);
  }
});

Deno.test("a task that hands its CPU on is blocked, and the next one may block unseen", () => {
  const { stage, policy, tasks } = running(2);
  const [first, second] = tasks;
  stage.kernel.send(first, MSG_TASK_SWITCHTO, { cpu: 0 });
  assertEquals([policy.step(), stage.chosen(0)], [RUN_LOCAL, 2]);
  stage.settle(0, GHOST_TXN_COMPLETE);
  stage.kernel.send(second, MSG_TASK_BLOCKED, { cpu: 0 });
  assertEquals(policy.step(), YIELD);
  // Somebody switches to 2, which we still think blocked.
  stage.kernel.send(second, MSG_TASK_BLOCKED, { cpu: 0, from_switchto: 1 });
  assertEquals(policy.step(), YIELD);
  stage.kernel.send(second, MSG_TASK_PREEMPT, { cpu: 0, from_switchto: 1 });
  assertEquals([policy.step(), stage.chosen(0)], [RUN_LOCAL, 2]);
});

Deno.test("a task that cannot be handed over stays here until it wakes up again", () => {
  const stage = new Stage(2);
  const { kernel } = stage;
  kernel.associate_result = -ESTALE;
  const tasks = [1, 2].map((pid) => kernel.enter(pid, true));
  assertEquals(stage.order(0, tasks), [1, 2]);
  kernel.associate_result = null;
  kernel.enter(3, true); // CPU 0's turn
  kernel.send(tasks[1], MSG_TASK_WAKEUP); // CPU 1's turn
  stage.policies[0].step();
  assertEquals([stage.chosen(0), tasks[1].queue], [3, 1]);
  assertEquals([stage.policies[1].step(), stage.chosen(1)], [RUN_LOCAL, 2]);
});

Deno.test("a state that may not follow stops the agent", () => {
  for (const in_queue of [true, false]) {
    const { stage, policy, tasks } = in_queue ? queued(2) : running(2);
    policy.step();
    stage.settle(0, GHOST_TXN_COMPLETE);
    stage.kernel.send(tasks[in_queue ? 1 : 0], MSG_TASK_WAKEUP);
    assertThrows(() => policy.step(), InvariantError, "woken task was not blocked");
  }
});

Deno.test("a row that is handed over though it cannot run stops the agent", () => {
  const { stage, policy } = queued(0);
  const blocked = stage.kernel.enter(1, false);
  policy.step();
  const { tasks, mailboxes } = stage.kernel.context(0);
  mailboxes[0].send(tasks.find(blocked.lo, blocked.hi));
  assertThrows(() => policy.step(), InvariantError, "task state may not change so");
});

Deno.test("after lost messages the status words say what there is to run", () => {
  const { stage, policy, tasks } = running(4, 64);
  const { kernel } = stage;
  while (kernel.send(tasks[0], MSG_TASK_PREEMPT, { cpu: 0 }));
  while (kernel.send(tasks[0], MSG_TASK_AFFINITY_CHANGED));
  // 1 runs on, 2 has blocked, 3 is as it was, of 4 something was lost that does not matter.
  kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  kernel.status.change(tasks[1].index, 0, GHOST_SW_TASK_RUNNABLE);
  for (const index of [1, 3]) kernel.send(tasks[index], MSG_TASK_BLOCKED, { cpu: 0 });
  assertEquals(policy.step(), AGAIN);
  assertEquals(policy.dump(0).replace(/ \S+ /, " 1 "), "SchedState[0]: 1 rq_l=2\n");
  kernel.status.change(tasks[0].index, 0, GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE);
  kernel.send(tasks[0], MSG_TASK_BLOCKED, { cpu: 0 });
  assertEquals(stage.order(0, [tasks[2], tasks[3]]), [3, 4]);
});

Deno.test("an agent dumps its own tasks", () => {
  const stage = new Stage(2);
  const tasks = [1, 2].map((pid) => stage.kernel.enter(pid, true));
  stage.policies[0].step();
  stage.policies[1].step();
  tasks.forEach((task, cpu) => {
    const [, line, ...rest] = stage.policies[cpu].dump(DUMP_ALL_TASKS).trimEnd().split("\n");
    assertEquals(rest, []);
    assert(line.startsWith(gtidName(task.lo, task.hi)), line);
  });
});

Deno.test("a run queue dumps as upstream's, an empty one only if it is asked for", () => {
  const idle = queued(0);
  assertEquals(idle.policy.dump(0), "");
  assertEquals(idle.policy.dump(DUMP_EMPTY_RUNQUEUES), "SchedState[0]: none rq_l=0\n");
  const { stage, policy, tasks } = running(3);
  const name = (index: number): string => gtidName(tasks[index].lo, tasks[index].hi);
  stage.kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  assertEquals(policy.step(), AGAIN);
  assertEquals(policy.dump(0), `SchedState[0]: ${name(0)} rq_l=2\n`);
});

Deno.test("tasks dump as upstream's: name, state, CPU, preempted, boosted", () => {
  const { stage, policy, tasks } = running(2);
  const blocked = stage.kernel.enter(3, false);
  const preempted = stage.kernel.enter(4, true);
  stage.kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  stage.kernel.send(preempted, MSG_TASK_PREEMPT, { cpu: 0 });
  assertEquals(policy.step(), AGAIN);
  const name = (task: FakeTask): string => gtidName(task.lo, task.hi).padEnd(12);
  assertEquals(policy.dump(DUMP_ALL_TASKS).split("\n"), [
    "task        state   cpu",
    `${name(tasks[0])}3       0       --`,
    `${name(tasks[1])}2       0       --`,
    `${name(blocked)}0       -1      --`,
    `${name(preempted)}2       0       PB`,
    `SchedState[0]: ${gtidName(tasks[0].lo, tasks[0].hi)} rq_l=2`,
    "",
  ]);
});

Deno.test("an agent may leave once nothing waits in its queue and no commit is open", () => {
  const { stage, policy, tasks } = queued(1);
  assertEquals(policy.drained(), true);
  stage.kernel.status.change(tasks[0].index, GHOST_SW_TASK_ONCPU, 0);
  policy.step();
  assertEquals(policy.drained(), false);
  stage.kernel.status.change(tasks[0].index, 0, GHOST_SW_TASK_ONCPU);
  policy.step();
  assertEquals(policy.drained(), false);
  stage.settle(0, GHOST_TXN_COMPLETE);
  stage.kernel.send(tasks[0], MSG_TASK_BLOCKED, { cpu: 0 });
  policy.step();
  assertEquals(policy.drained(), true);
});

Deno.test("an instance that is replaced before every step decides as one that is not", () => {
  const decisions = (replace: boolean): string => {
    const { stage, tasks } = queued(4);
    let [policy] = stage.policies;
    const log: string[] = [];
    const step = (): void => {
      if (replace) policy = FIFO_PER_CPU.create(stage.kernel.context(0));
      const verdict = policy.step();
      log.push(`${verdict} ${stage.chosen(0)} ${policy.dump(DUMP_ALL_TASKS)}`);
    };
    const types = [MSG_TASK_YIELD, MSG_TASK_PREEMPT, MSG_TASK_BLOCKED, MSG_TASK_YIELD];
    for (let turn = 0; turn < 12; turn++) {
      step();
      stage.settle(0, turn % 5 === 4 ? GHOST_TXN_TARGET_STALE : GHOST_TXN_COMPLETE);
      const task = tasks.find((one) => one.hi === stage.chosen(0) << 9) as FakeTask;
      const type = types[turn % 4];
      if (turn % 5 !== 4) stage.kernel.send(task, type, { cpu: 0 });
      if (type === MSG_TASK_BLOCKED && turn % 5 !== 4) stage.kernel.send(task, MSG_TASK_WAKEUP);
    }
    return log.join("\n");
  };
  assertEquals(decisions(true), decisions(false));
});
