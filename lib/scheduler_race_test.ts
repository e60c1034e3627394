import { assertEquals } from "@std/assert";
import {
  GHOST_SW_TASK_RUNNABLE,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_WAKEUP,
} from "../ffi/abi/constants.ts";
import { HardwareMemory } from "../ffi/memory.ts";
import { FakeKernel, type FakeTask } from "../tests/fakes/fake_kernel.ts";
import { LoggingScheduler } from "../tests/fakes/logging_scheduler.ts";
import type { MessageCursor } from "./message.ts";
import { YIELD } from "./policy.ts";

/** Memory that lets the kernel move on before the n-th fresh read. */
class MovingMemory extends HardwareMemory {
  reads_left = Infinity;
  on_read: () => void = () => {};
  override acquire(words: Int32Array, index: number): number {
    if (--this.reads_left === 0) this.on_read();
    return super.acquire(words, index);
  }
}

/** Knows of each task whether it can run, and insists that messages fit what it knows. */
class TrackingScheduler extends LoggingScheduler {
  readonly runnable = new Map<number, boolean>();

  #set(row: number, expected: boolean | undefined, next: boolean): void {
    const pid = this.agent.tasks.gtid_hi[row] >> 9;
    if (expected !== undefined) assertEquals(this.runnable.get(pid), expected, `task ${pid}`);
    this.runnable.set(pid, next);
  }

  protected override taskNew(row: number, message: MessageCursor): void {
    this.#set(row, undefined, message.runnable());
  }

  protected override taskRunnable(row: number): void {
    this.#set(row, false, true);
  }

  protected override taskOff(row: number): void {
    this.#set(row, undefined, false);
  }

  protected override taskBlocked(row: number): void {
    this.#set(row, true, false);
  }

  protected override taskResync(row: number, runnable: boolean): void {
    this.#set(row, undefined, runnable);
  }
}

interface Stage {
  readonly kernel: FakeKernel;
  readonly noise: FakeTask;
  readonly tasks: Map<number, FakeTask>;
}

function block(kernel: FakeKernel, task: FakeTask): void {
  kernel.status.change(task.index, 0, GHOST_SW_TASK_RUNNABLE);
  kernel.send(task, MSG_TASK_BLOCKED);
}

function wake(kernel: FakeKernel, task: FakeTask): void {
  kernel.status.change(task.index, GHOST_SW_TASK_RUNNABLE, 0);
  kernel.send(task, MSG_TASK_WAKEUP);
}

function overflow({ kernel, noise }: Stage): void {
  while (kernel.send(noise, MSG_TASK_AFFINITY_CHANGED));
}

/** What may happen while the agent reads: by name, on tasks 8 (runs) and 9 (blocked). */
const HAPPENINGS: Readonly<Record<string, (stage: Stage) => void>> = {
  "a task blocks": ({ kernel, tasks }) => block(kernel, tasks.get(8) as FakeTask),
  "a task wakes up": ({ kernel, tasks }) => wake(kernel, tasks.get(9) as FakeTask),
  "a task blocks and wakes up": ({ kernel, tasks }) => {
    block(kernel, tasks.get(8) as FakeTask);
    wake(kernel, tasks.get(8) as FakeTask);
  },
  "a task dies": ({ kernel, tasks }) => {
    kernel.send(tasks.get(8) as FakeTask, MSG_TASK_DEAD);
    tasks.delete(8);
  },
  "a task enters": ({ kernel, tasks }) => {
    tasks.set(10, kernel.enter(10, true));
  },
  "a task enters and blocks": ({ kernel, tasks }) => {
    const task = kernel.enter(10, true);
    tasks.set(10, task);
    block(kernel, task);
  },
  "more is lost": (stage) => {
    overflow(stage);
    block(stage.kernel, stage.tasks.get(8) as FakeTask);
    wake(stage.kernel, stage.tasks.get(9) as FakeTask);
  },
};

/** Something happens before the n-th fresh read of an agent that repairs an overflow. */
function runOnce(happen: (stage: Stage) => void, read_number: number): boolean {
  const memory = new MovingMemory();
  const kernel = new FakeKernel({ elem_count: 64, memory });
  const policy = new TrackingScheduler(kernel.context(0));
  const noise = kernel.enter(7, true);
  const tasks = new Map([[8, kernel.enter(8, true)], [9, kernel.enter(9, false)]]);
  policy.step();
  const stage = { kernel, noise, tasks };
  overflow(stage);
  // Lost: 11 has entered, and 12 has entered and left again.
  tasks.set(11, kernel.enter(11, true));
  const short_lived = kernel.enter(12, true);
  kernel.send(short_lived, MSG_TASK_DEAD);
  let happened = false;
  memory.on_read = () => {
    happened = true;
    happen(stage);
  };
  memory.reads_left = read_number;
  for (let count = 0; count < 20 && (policy.step() !== YIELD || count < 3); count++);
  memory.reads_left = Infinity;
  const { tasks: table } = kernel.context(0);
  for (const [pid, task] of tasks) {
    const row = table.find(task.lo, task.hi);
    const can_run = (kernel.status.flags(task.index) & GHOST_SW_TASK_RUNNABLE) !== 0;
    const place = `task ${pid}, read ${read_number}`;
    assertEquals(policy.runnable.get(pid), can_run, place);
    assertEquals(table.seqnum[row], kernel.status.barrier(task.index), place);
  }
  assertEquals(table.liveCount(), tasks.size + 1, `rows, read ${read_number}`);
  assertEquals(kernel.status.isAllocated(short_lived.index), false);
  return happened;
}

for (const [what, happen] of Object.entries(HAPPENINGS)) {
  Deno.test(`${what} at any moment while lost messages are made up for`, () => {
    let read_number = 1;
    while (runOnce(happen, read_number)) read_number++;
    assertEquals(read_number > 50, true, `only ${read_number} moments`);
  });
}
