/**
 * Bugs that are planted into the per-CPU FIFO policy, one at a time, to show that the fuzzer finds
 * what it is for. Each is a mistake that somebody could make; none is in code that ships.
 *
 * @module
 */
import { MSG_NOP, RING_SLOT_BYTES } from "../../ffi/abi/constants.ts";
import type { AgentPort } from "../../kernels/kernel.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { AGAIN, type PolicyDefinition, type Verdict } from "../../lib/policy.ts";
import { MessageRing } from "../../lib/ring.ts";
import { FifoPerCpuScheduler } from "../../schedulers/fifo/per_cpu/scheduler.ts";

/** A wake-up that may wait is forgotten. */
class LostWakeup extends FifoPerCpuScheduler {
  protected override taskRunnable(row: number, message: MessageCursor): void {
    if (!message.deferrable()) super.taskRunnable(row, message);
  }
}

/** The barrier is read when the queue is empty, so a message in between wakes nobody. */
class BarrierReadLate extends FifoPerCpuScheduler {
  override step(): Verdict {
    if (!this.settleCommit() || !this.drain()) return AGAIN;
    return this.schedule(this.agentBarrier());
  }
}

/** A task that yields is queued twice. */
class DoubleEnqueue extends FifoPerCpuScheduler {
  protected override taskYield(row: number, message: MessageCursor): void {
    super.taskYield(row, message);
    this.run_queue.pushBack(row);
  }
}

/** A preempted task is not put back into the queue. */
class PreemptedIsLost extends FifoPerCpuScheduler {
  protected override taskPreempted(row: number): void {
    this.taskOff(row);
  }
}

/** A dead task stays in the queue. */
class DeadStaysQueued extends FifoPerCpuScheduler {
  protected override taskDead(): void {}
}

/** A departed task stays in the queue. */
class DepartedStaysQueued extends FifoPerCpuScheduler {
  protected override taskDeparted(): void {}
}

/** A task is handed over before its messages are. */
class SendsBeforeAssociate extends FifoPerCpuScheduler {
  protected override handOver(row: number, target_index: number, barrier: number): boolean {
    const { agent } = this;
    const { tasks, port } = agent;
    const lo = tasks.gtid_lo[row];
    const hi = tasks.gtid_hi[row];
    tasks.seqnum[row] = barrier;
    tasks.owner[row] = -agent.ownerIdAt(target_index);
    agent.mailboxes[target_index].send(row);
    port.ping(agent.cpus[target_index]);
    port.associate(agent.queue_ids[target_index], lo, hi, barrier);
    return true;
  }
}

/** A refused commit counts as done. */
class RefusalIgnored extends FifoPerCpuScheduler {
  protected override commitRefused(row: number): void {
    this.commitSucceeded(row);
  }
}

/** An agent that gives way to the default class does not ask for its CPU back. */
class BoostedYieldWithoutFlag extends FifoPerCpuScheduler {
  protected override schedule(barrier: number): Verdict {
    const verdict = super.schedule(barrier);
    this.yield_flags = 0;
    return verdict;
  }
}

/** A transaction carries the sequence number of the message that made its task runnable. */
class StaleBarrier extends FifoPerCpuScheduler {
  readonly #seqnums = new Map<number, number>();

  protected override taskRunnable(row: number, message: MessageCursor): void {
    this.#seqnums.set(row, message.seqnum);
    super.taskRunnable(row, message);
  }

  protected override taskPreempted(row: number, message: MessageCursor): void {
    this.#seqnums.set(row, message.seqnum);
    super.taskPreempted(row, message);
  }

  protected override taskYield(row: number, message: MessageCursor): void {
    this.#seqnums.delete(row);
    super.taskYield(row, message);
  }

  protected override openTransaction(
    cpu: number,
    row: number,
    agent_barrier: number,
    commit_flags: number,
    run_flags: number,
  ): void {
    const { seqnum } = this.agent.tasks;
    const present = seqnum[row];
    seqnum[row] = this.#seqnums.get(row) ?? present;
    super.openTransaction(cpu, row, agent_barrier, commit_flags, run_flags);
    seqnum[row] = present;
  }
}

/** A task that could not be switched to is taken for running. */
class LatchFailureIgnored extends FifoPerCpuScheduler {
  protected override taskLatchFailure(): void {}
}

/** New agents do not look for the tasks of their predecessors. */
class NoDiscovery extends FifoPerCpuScheduler {
  override discover(): void {}
}

/** A yielding task waits in a plain field, which a new instance does not have. */
class StateInField extends FifoPerCpuScheduler {
  #waiting: (() => void) | null = null;

  override step(): Verdict {
    const put_back = this.#waiting;
    this.#waiting = null;
    put_back?.();
    return super.step();
  }

  protected override taskPreempted(row: number, message: MessageCursor): void {
    const { generation } = this.agent.tasks;
    const before = generation[row];
    this.taskOff(row);
    this.#waiting = () => {
      if (generation[row] === before) super.taskPreempted(row, message);
    };
    this.agent.port.ping(this.agent.cpu);
  }
}

/** A ring whose consumer takes the filler before the wrap for one slot. */
class FillerIsOneSlot extends MessageRing {
  override consume(at: number): void {
    const header = this.words[at];
    if ((header & 0xffff) === MSG_NOP) this.words[at] = MSG_NOP | (RING_SLOT_BYTES << 16);
    super.consume(at);
    this.words[at] = header;
  }
}

/** Gives one instance another port, with some calls replaced. */
function withCalls(agent: AgentContext, calls: Partial<AgentPort>): void {
  const port = new Proxy(agent.port, {
    get(target, name): unknown {
      const value = Reflect.get(calls, name) ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  Object.assign(agent, { port });
}

/** A planted bug. */
export interface PlantedBug {
  /** What is wrong. */
  readonly what: string;
  /** The instance with the bug. */
  readonly create: (agent: AgentContext) => FifoPerCpuScheduler;
}

/** All planted bugs by name. */
export const PLANTED: Readonly<Record<string, PlantedBug>> = {
  lost_wakeup: {
    what: "a deferrable wake-up is forgotten",
    create: (agent) => new LostWakeup(agent),
  },
  barrier_read_late: {
    what: "the agent barrier is read after the queue",
    create: (agent) => new BarrierReadLate(agent),
  },
  double_enqueue: {
    what: "a yielding task is queued twice",
    create: (agent) => new DoubleEnqueue(agent),
  },
  preempted_is_lost: {
    what: "a preempted task is not put back",
    create: (agent) => new PreemptedIsLost(agent),
  },
  dead_stays_queued: {
    what: "a dead task stays in the run queue",
    create: (agent) => new DeadStaysQueued(agent),
  },
  departed_stays_queued: {
    what: "a departed task stays in the run queue",
    create: (agent) => new DepartedStaysQueued(agent),
  },
  sends_before_associate: {
    what: "a row is sent before the task's messages are",
    create: (agent) => new SendsBeforeAssociate(agent),
  },
  refusal_ignored: {
    what: "a refused commit counts as done",
    create: (agent) => new RefusalIgnored(agent),
  },
  boosted_yield_without_flag: {
    what: "a boosted agent with work yields without RTLA_ON_IDLE",
    create: (agent) => new BoostedYieldWithoutFlag(agent),
  },
  stale_barrier: {
    what: "a transaction carries the sequence number of the task's wake-up",
    create: (agent) => new StaleBarrier(agent),
  },
  latch_failure_ignored: {
    what: "LATCH_FAILURE is ignored",
    create: (agent) => new LatchFailureIgnored(agent),
  },
  no_discovery: {
    what: "new agents do not discover tasks",
    create: (agent) => new NoDiscovery(agent),
  },
  state_in_field: {
    what: "a preempted task is kept outside the shared memory",
    create: (agent) => new StateInField(agent),
  },
  filler_is_one_slot: {
    what: "the ring's consumer takes a filler for one slot",
    create: (agent) => {
      const ring = new FillerIsOneSlot(agent.memory, agent.ring.words);
      Object.assign(agent, { ring });
      return new FifoPerCpuScheduler(agent);
    },
  },
  overflow_ignored: {
    what: "the ring's consumer does not look at the overflow count",
    create: (agent) => {
      Object.defineProperty(agent.ring, "overflow_count", { get: () => 0, set: () => {} });
      return new FifoPerCpuScheduler(agent);
    },
  },
  ping_forgotten: {
    what: "the new owner of a row is not woken",
    create: (agent) => {
      withCalls(agent, { ping: () => 0 });
      return new FifoPerCpuScheduler(agent);
    },
  },
  word_not_freed: {
    what: "status words of dead tasks are not freed",
    create: (agent) => {
      withCalls(agent, { freeStatusWord: () => 0 });
      return new FifoPerCpuScheduler(agent);
    },
  },
};

/**
 * The policy with a bug in it.
 *
 * @param name Name of the bug.
 */
export function plant(name: string): (policy: PolicyDefinition) => PolicyDefinition {
  return (policy) => ({ ...policy, create: PLANTED[name].create });
}
