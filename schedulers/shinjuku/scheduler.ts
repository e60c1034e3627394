/**
 * Shinjuku: a global agent that takes CPUs away after a few microseconds. Requests of unknown
 * length share CPUs fairly: whoever has run for a time slice makes room for whoever waits, so that
 * a short request never waits for a long one to end. Applications say which threads have work, and
 * of which class, through a PrioTable; a class with higher QoS goes first, always.
 *
 * What it is for: dispersive loads, at microseconds. What it is not: it does not know deadlines,
 * nor where a thread ran last. Threads of processes without a PrioTable are scheduled by their
 * blocking and waking alone, with the same slice.
 *
 * Source: Kaffes et al., NSDI'19; behaviour of upstream's agent_shinjuku, reference section 4.5.
 * Differences: time is monotonic, a thread without a table is safe, and QoS is at most 31.
 *
 * @module
 */
import type { AgentContext } from "../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../lib/fifo_queue.ts";
import {
  BLOCKED,
  GLOBAL_COLUMNS,
  globalPolicy,
  GlobalScheduler,
  ON_CPU,
  QUEUED,
  YIELDING,
} from "../../lib/global_scheduler.ts";
import type { MessageCursor } from "../../lib/message.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import type { GlobalRole } from "../../lib/role_candidates.ts";
import { HintReader } from "../../shared/hint_reader.ts";
import { type HintOptions, hintsOf } from "../../shared/hint_registry.ts";
import { HintRehearsal } from "../../shared/hint_rehearsal.ts";
import { HintNews, type HintSource, NEWS_THREAD } from "../../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_REPEATING } from "../../shared/prio_table.ts";

/** State of a task beside those that all have: the application has no work for it. */
const PAUSED = 4;
const STATE_NAMES = ["Blocked", "Queued", "OnCpu", "Yielding", "Paused"];

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  (1 << QUEUED) | (1 << ON_CPU) | (1 << YIELDING) | (1 << PAUSED),
  (1 << BLOCKED) | (1 << QUEUED) | (1 << ON_CPU) | (1 << YIELDING) | (1 << PAUSED),
  (1 << BLOCKED) | (1 << QUEUED) | (1 << PAUSED),
  (1 << BLOCKED) | (1 << QUEUED) | (1 << PAUSED),
  (1 << BLOCKED) | (1 << QUEUED) | (1 << PAUSED),
];

/** Whether a task on a CPU is to leave it: no, when another wants the CPU, or at once. */
const STAY = 0;
const COULD_GO = 1;
const MUST_GO = 2;

/** Levels of QoS; higher values of an application count as the highest. */
const QOS_LEVELS = 32;

/** Parameters of the policy. */
export interface ShinjukuConfig extends GlobalRole, HintOptions {
  /** Time slice in ns. */
  readonly preemption_time_slice_ns: number;
}

/** One agent's instance of the policy. */
export class ShinjukuScheduler extends GlobalScheduler {
  protected readonly next_states: readonly number[] = NEXT_STATES;
  protected readonly state_names: readonly string[] = STATE_NAMES;
  declare private readonly hints: HintSource;
  declare private readonly reader: HintReader;
  readonly #news = new HintNews();
  readonly #level = this.agent.state.task("level");
  readonly #qos = this.agent.state.task("qos");
  readonly #idle = this.agent.state.task("idle");
  readonly #repeating = this.agent.state.task("repeating");
  readonly #table = this.agent.state.task("table");
  readonly #sid = this.agent.state.task("sid");
  readonly #last_ran_ns = this.agent.state.taskF64("last_ran_ns");
  readonly #period_ns = this.agent.state.taskF64("period_ns");
  readonly #queued_qos = this.agent.state.global("queued_qos");
  readonly #queues: readonly FifoQueue[] = runQueues(this.agent);
  readonly #paused_repeating = new FifoQueue(
    this.agent.state.global("paused_repeating"),
    this.agent.tasks.next,
    this.agent.tasks.prev,
  );

  /**
   * @param agent What the agent lends to the policy.
   * @param config Parameters.
   * @param hints Where applications' hints are.
   */
  constructor(agent: AgentContext, config: ShinjukuConfig, hints: HintSource) {
    super(agent, config, config.preemption_time_slice_ns);
    this.hints = hints;
    this.reader = new HintReader(hints);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    this.beginPass();
    while (this.hints.takeNews(this.#news)) this.#handleNews();
    this.reader.begin();
    while (this.reader.next()) this.#readHint();
    if (this.reader.has_more) this.look_ns = this.pass_ns[0];
    this.#resumeRepeating();
    // CPUs whose task must go are served first, then those whose task may go.
    const count = this.#chooseTasks(MUST_GO) + this.#chooseTasks(STAY);
    if (count > 0) this.commitChosen();
    this.requeueYielding();
  }

  /** Opens a transaction for each CPU that gets a task; CPUs whose task is below a level stay. */
  #chooseTasks(level_min: number): number {
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (this.chosen[index] !== 0 || !this.isAvailable(index)) continue;
      const current = this.current[index] - 1;
      if (current < 0 ? level_min > STAY : this.#level[current] < level_min) continue;
      const next = current < 0 || this.#givesWay(current) ? this.nextTask(current) : -1;
      if (next >= 0) {
        this.choose(index, next);
        count++;
      } else if (current >= 0 && this.#level[current] !== STAY) {
        if (this.#level[current] === MUST_GO) this.#unschedule(index, current);
        else this.#level[current] = STAY;
      }
    }
    return count;
  }

  /** True if the task on a CPU makes room for the first one in the queues. */
  #givesWay(current: number): boolean {
    const waiting_qos = this.#topQos();
    if (waiting_qos < 0) return false;
    if (this.#level[current] === MUST_GO || waiting_qos > this.#qos[current]) return true;
    if (waiting_qos < this.#qos[current]) return false;
    if (this.#level[current] === COULD_GO) return true;
    if (this.#repeating[current] !== 0) return false;
    return this.isSliceOver(this.#last_ran_ns, current);
  }

  /** The highest QoS that waits, or −1. */
  #topQos(): number {
    return 31 - Math.clz32(this.#queued_qos[0]);
  }

  /** See {@linkcode GlobalScheduler}; whether the current task gives way is decided before. */
  protected override takeFirst(_current: number): number {
    const qos = this.#topQos();
    if (qos < 0) return -1;
    const row = this.#queues[qos].front();
    this.#dequeue(row);
    return row;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override taskCommitted(row: number, _index: number): void {
    this.#last_ran_ns[row] = this.pass_ns[0];
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override taskRefused(row: number, index: number): void {
    this.#enqueueAt(row, false);
    const current = this.current[index] - 1;
    if (current >= 0 && this.#level[current] === MUST_GO) this.#unschedule(index, current);
  }

  /** Takes a task without work off its CPU, without a successor. */
  #unschedule(index: number, row: number): void {
    if (!this.clearCpu(index)) return;
    if (this.reader.hasWork(this.#table[row] - 1, this.#sid[row])) this.#idle[row] = 0;
    this.enqueue(row);
  }

  #handleNews(): void {
    const { kind, table, gtid_lo, gtid_hi } = this.#news;
    const { tasks } = this.agent;
    if (kind === NEWS_THREAD) {
      const row = tasks.find(gtid_lo, gtid_hi);
      if (row >= 0) this.#setTable(row, table);
      return;
    }
    for (let row = 0; row < tasks.usedCount(); row++) {
      if (tasks.owner[row] === 0 || this.#table[row] !== table + 1) continue;
      // Nobody says any more when these have work: from now on they are simply scheduled.
      const waits = this.state[row] === QUEUED || this.state[row] === PAUSED;
      if (waits) this.taskOff(row);
      this.#table[row] = 0;
      this.#idle[row] = 0;
      this.#repeating[row] = 0;
      this.#level[row] = STAY;
      if (waits) this.enqueue(row);
    }
  }

  #setTable(row: number, table: number): void {
    this.#table[row] = table + 1;
    // Its row may have been written before the task was known: all rows are read once more.
    if (table >= 0) this.hints.tables[table].sweep();
  }

  /** An application has changed what it says of a thread. */
  #readHint(): void {
    const { item, work_class, table } = this.reader;
    const row = this.agent.tasks.find(item.gtid_lo, item.gtid_hi);
    if (row < 0 || this.#table[row] !== table + 1) return;
    const waits = this.state[row] === QUEUED || this.state[row] === PAUSED;
    if (waits) this.taskOff(row);
    this.#sid[row] = item.sid;
    this.#qos[row] = Math.min(work_class.qos, QOS_LEVELS - 1);
    this.#repeating[row] = (work_class.flags & WORK_CLASS_REPEATING) !== 0 ? 1 : 0;
    this.#period_ns[row] = work_class.period_ns;
    this.#idle[row] = (item.flags & SCHED_ITEM_RUNNABLE) !== 0 ? 0 : 1;
    if (waits) this.enqueue(row);
    else if (this.state[row] === ON_CPU) {
      this.#level[row] = this.#idle[row] !== 0 ? MUST_GO : COULD_GO;
    }
  }

  /** Gives repeating tasks their next turn when their period is over. */
  #resumeRepeating(): void {
    let row = this.#paused_repeating.front();
    while (row >= 0) {
      const after = this.#paused_repeating.after(row);
      const due_ns = this.#last_ran_ns[row] + this.#period_ns[row];
      if (due_ns > this.pass_ns[0]) this.look_ns = Math.min(this.look_ns, due_ns);
      else {
        this.hints.tables[this.#table[row] - 1].makeItemRunnable(this.#sid[row]);
        this.#idle[row] = 0;
        this.enqueue(row);
      }
      row = after;
    }
  }

  /** Queues a task that can run, or pauses it if the application has no work for it. */
  protected enqueue(row: number): void {
    this.#enqueueAt(row, true);
  }

  #enqueueAt(row: number, at_back: boolean): void {
    this.taskOff(row);
    this.#level[row] = STAY;
    if (this.#idle[row] !== 0) {
      this.setState(row, PAUSED);
      if (this.#repeating[row] !== 0) this.#paused_repeating.pushBack(row);
      return;
    }
    this.setState(row, QUEUED);
    const qos = this.#qos[row];
    if (at_back && this.prio_boost[row] === 0) this.#queues[qos].pushBack(row);
    else this.#queues[qos].pushFront(row);
    this.#queued_qos[0] |= 1 << qos;
  }

  #dequeue(row: number): void {
    const qos = this.#qos[row];
    this.#queues[qos].remove(row);
    if (this.#queues[qos].length === 0) this.#queued_qos[0] &= ~(1 << qos);
    this.setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    const state = this.state[row];
    if (state === QUEUED) return this.#dequeue(row);
    if (state === YIELDING) this.yielding.remove(row);
    else if (state === PAUSED && this.#repeating[row] !== 0) this.#paused_repeating.remove(row);
    else if (state === ON_CPU) this.leaveCpu(row);
    if (state !== BLOCKED) this.setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    const { tasks } = this.agent;
    this.#setTable(row, this.hints.indexOf(tasks.gtid_lo[row], tasks.gtid_hi[row]));
    if (message.runnable()) this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.prio_boost[row] = message.deferrable() ? 0 : 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, _message: MessageCursor): void {
    // Taken off by this agent, it has its place already. BLOCKED: it came to a CPU by switchto.
    if (this.state[row] !== ON_CPU && this.state[row] !== BLOCKED) return;
    this.prio_boost[row] = 1;
    this.#enqueueAt(row, false);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, _message: MessageCursor): void {
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    if (this.state[row] === ON_CPU || this.state[row] === BLOCKED) this.#enqueueAt(row, false);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return true;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected waitingCount(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.length, 0);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected taskColumns(row: number): string {
    return this.prio_boost[row] !== 0 ? "P" : "-";
  }
}

/** A run queue for each QoS. */
function runQueues({ state, tasks }: AgentContext): FifoQueue[] {
  const ends = state.global("run_queues");
  return Array.from({ length: QOS_LEVELS }, (_, qos) => {
    const at = qos * FIFO_QUEUE_WORDS;
    return new FifoQueue(ends.subarray(at, at + FIFO_QUEUE_WORDS), tasks.next, tasks.prev);
  });
}

/** The policy, for every kernel. */
export function shinjuku(config: ShinjukuConfig): PolicyDefinition {
  const { hints: _, ...options } = config;
  const hints = hintsOf(config);
  return {
    ...globalPolicy(config),
    name: "shinjuku",
    requires: ["group_commit"],
    options,
    rehearsal: () => {
      const application = new HintRehearsal();
      return {
        ...shinjuku({ ...config, hint_registry: application.buffer }),
        rehearse: () => application.happen(),
      };
    },
    layout: (cpu_count) => ({
      task: {
        state: "i32",
        level: "i32",
        qos: "i32",
        idle: "i32",
        repeating: "i32",
        table: "i32",
        sid: "i32",
        prio_boost: "i32",
        cpu_index: "i32",
        last_ran_ns: "f64",
        period_ns: "f64",
      },
      cpu: {},
      global: {
        ...GLOBAL_COLUMNS,
        current: cpu_count,
        queued_qos: "i32",
        run_queues: QOS_LEVELS * FIFO_QUEUE_WORDS,
        yielding: FIFO_QUEUE_WORDS,
        paused_repeating: FIFO_QUEUE_WORDS,
      },
    }),
    create: (agent) => new ShinjukuScheduler(agent, config, hints),
  };
}
