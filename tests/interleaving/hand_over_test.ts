import { assert, assertEquals, assertMatch } from "@std/assert";
import { MSG_TASK_BLOCKED, MSG_TASK_WAKEUP } from "../../ffi/abi/constants.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import { YIELD } from "../../lib/policy.ts";
import { FakeKernel } from "../fakes/fake_kernel.ts";
import { LoggingScheduler } from "../fakes/logging_scheduler.ts";
import type { CheckedMemory } from "./checked_memory.ts";
import { CheckedState } from "./checked_state.ts";
import { explore, type Operation, type Scenario } from "./checker.ts";

type MakePolicy = (agent: AgentContext) => LoggingScheduler;

/** Sends the row before its messages. */
class RowFirst extends LoggingScheduler {
  protected override handOver(row: number, target_index: number, barrier: number): boolean {
    const { tasks, port, queue_ids, mailboxes } = this.agent;
    tasks.seqnum[row] = barrier;
    this.agent.memory.publish(tasks.owner, row, -this.agent.ownerIdAt(target_index));
    mailboxes[target_index].send(row);
    const { [row]: lo } = tasks.gtid_lo;
    return port.associate(queue_ids[target_index], lo, tasks.gtid_hi[row], barrier) >= 0;
  }
}

/** Gives the row up when it is the other agent's already. */
class OwnerLast extends LoggingScheduler {
  protected override handOver(row: number, target_index: number, barrier: number): boolean {
    const { tasks, port, queue_ids, mailboxes } = this.agent;
    const { [row]: lo } = tasks.gtid_lo;
    const queue_id = queue_ids[target_index];
    if (port.associate(queue_id, lo, tasks.gtid_hi[row], barrier) < 0) return false;
    tasks.seqnum[row] = barrier;
    mailboxes[target_index].send(row);
    this.agent.memory.publish(tasks.owner, row, -this.agent.ownerIdAt(target_index));
    return true;
  }
}

/** Tells the new owner what it has seen only after the row was sent. */
class NumberLast extends LoggingScheduler {
  protected override handOver(row: number, target_index: number, barrier: number): boolean {
    const { tasks, port, queue_ids, mailboxes, owner_id } = this.agent;
    this.agent.memory.publish(tasks.owner, row, -this.agent.ownerIdAt(target_index));
    const { [row]: lo } = tasks.gtid_lo;
    const queue_id = queue_ids[target_index];
    if (port.associate(queue_id, lo, tasks.gtid_hi[row], barrier) < 0) {
      tasks.owner[row] = owner_id;
      return false;
    }
    mailboxes[target_index].send(row);
    tasks.seqnum[row] = barrier;
    return true;
  }
}

/** Steps an agent until it is content. */
function settle(policies: readonly LoggingScheduler[]): void {
  for (let count = 0; count < 20; count++) {
    const verdicts = policies.map((policy) => policy.step());
    if (count > 0 && verdicts.every((verdict) => verdict === YIELD)) return;
  }
  throw new Error("a message waits for ever");
}

/** Agent 0 hands a task over while the kernel sends its next messages and agent 1 reads. */
function scenario(memory: CheckedMemory, makePolicy: MakePolicy): Scenario {
  const kernel = new FakeKernel({
    memory,
    makeState: (shape) => new CheckedState(memory, shape),
    task_capacity: 2,
    elem_count: 64,
  });
  const policies = [0, 1].map((cpu) => makePolicy(kernel.context(cpu)));
  const task = kernel.enter(7, false);
  settle(policies);
  for (const policy of policies) policy.takeLog();
  policies[0].target_index = 1;
  kernel.send(task, MSG_TASK_WAKEUP);
  // A call into the kernel is a place to switch like an access.
  kernel.on_associate = () => memory.before_access();
  kernel.on_ping = () => memory.before_access();
  const step = (cpu: number): Operation => ({
    name: `step ${cpu}`,
    run: () => policies[cpu].step(),
  });
  const event = (type: number): Operation => ({
    name: `event ${type}`,
    run: () => kernel.send(task, type),
  });
  return {
    threads: [
      [step(0)],
      [event(MSG_TASK_BLOCKED), event(MSG_TASK_WAKEUP)],
      [step(1)],
    ],
    check: () => {
      settle(policies);
      const logs = policies.map((policy) => policy.takeLog());
      const handled = logs.flat().filter((line) => !/^(kept|received)/.test(line)).sort();
      assertEquals(handled, ["off 7 @2", "runnable 7 @1", "runnable 7 @3"]);
      const [first] = logs[1];
      assertEquals(first?.startsWith("received") ?? true, true, "messages before the row");
      const { tasks, state } = kernel.context(0);
      const row = tasks.find(task.lo, task.hi);
      assertEquals(tasks.seqnum[row], kernel.status.barrier(task.index));
      assertEquals(tasks.owner[row], task.queue + 1);
      assertEquals([0, 1].map((cpu) => state.cpu("unknown_count", cpu)[0]), [0, 0]);
    },
  };
}

function failureOf(makePolicy: MakePolicy): string {
  const { failure, schedule_count } = explore((memory) => scenario(memory, makePolicy));
  if (failure === null) assert(schedule_count > 500, `only ${schedule_count} schedules`);
  return failure ?? "";
}

Deno.test("a task is handed over whole, whatever happens meanwhile", () => {
  assertEquals(failureOf((agent) => new LoggingScheduler(agent)), "");
});

Deno.test("planted: a row that is sent before its messages is found", () => {
  assertMatch(failureOf((agent) => new RowFirst(agent)), /waits for ever|not equal/);
});

Deno.test("planted: a row that is given up after it was sent is found", () => {
  assertMatch(failureOf((agent) => new OwnerLast(agent)), /waits for ever|not equal/);
});

Deno.test("planted: a number that is written after the row was sent is found", () => {
  assertMatch(failureOf((agent) => new NumberLast(agent)), /not equal|out of order/);
});
