/**
 * Earliest deadline first: a global agent that runs the task whose latest possible start comes
 * first. Applications say deadlines and work classes through a PrioTable; how long work of a class
 * takes is learnt from what it took before.
 *
 * What it is for: work with deadlines, and periodic work. What it is not: a deadline alone never
 * takes a CPU from a running task, only a higher QoS does. Threads of processes without a
 * PrioTable are scheduled by their blocking and waking alone, after all that have deadlines.
 *
 * Source: behaviour of upstream's agent_exp, reference section 4.4. Differences: all transactions
 * of a pass are committed in one call, a task with unread messages is not tried, and a repeating
 * task that marks itself idle keeps its CPU if nobody else wants it.
 *
 * @module
 */
import type { AgentContext } from "../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS } from "../../lib/fifo_queue.ts";
import {
  BLOCKED,
  GLOBAL_COLUMNS,
  globalPolicy,
  GlobalScheduler,
  ON_CPU,
  QUEUED,
  YIELDING,
} from "../../lib/global_scheduler.ts";
import { IndexedHeap } from "../../lib/indexed_heap.ts";
import { MAX_TASK_COUNT } from "../../lib/limits.ts";
import type { MessageCursor } from "../../lib/message.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import type { GlobalRole } from "../../lib/role_candidates.ts";
import { HintReader } from "../../shared/hint_reader.ts";
import { type HintOptions, hintsOf } from "../../shared/hint_registry.ts";
import { HintRehearsal } from "../../shared/hint_rehearsal.ts";
import {
  HINT_TABLE_COUNT,
  HintNews,
  type HintSource,
  NEWS_THREAD,
} from "../../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_REPEATING } from "../../shared/prio_table.ts";

/** State of a task beside those that all have: the application has no work for it. */
export const PAUSED = 4;
const STATE_NAMES = ["Blocked", "Queued", "OnCpu", "Yielding", "Paused"];

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  (1 << QUEUED) | (1 << ON_CPU) | (1 << YIELDING) | (1 << PAUSED),
  1 << BLOCKED,
  1 << BLOCKED,
  1 << BLOCKED,
  1 << BLOCKED,
];

/** Run time of a task whose class nothing is known of. */
const DEFAULT_ESTIMATE_NS = 1_000_000;
/** Higher values of an application count as this one. */
const QOS_MAX = (1 << 20) - 1;
/** In a rank: comes before every QoS. */
const BOOST = 1 << 20;
/** Work classes of a table whose run times are learnt. */
const CLASSES_PER_TABLE = 64;
const CLASS_COUNT = HINT_TABLE_COUNT * CLASSES_PER_TABLE;

/** Parameters of the policy. */
export interface EdfConfig extends GlobalRole, HintOptions {
  /** The kernel's ticks are sent to the agent. */
  readonly ticks: boolean;
}

/** One agent's instance of the policy. */
export class EdfScheduler extends GlobalScheduler {
  protected readonly next_states: readonly number[] = NEXT_STATES;
  protected readonly state_names: readonly string[] = STATE_NAMES;
  declare private readonly hints: HintSource;
  declare private readonly reader: HintReader;
  readonly #news = new HintNews();
  readonly #qos = this.agent.state.task("qos");
  readonly #rank = this.agent.state.task("rank");
  readonly #idle = this.agent.state.task("idle");
  readonly #must_go = this.agent.state.task("must_go");
  readonly #table = this.agent.state.task("table");
  readonly #sid = this.agent.state.task("sid");
  readonly #wcid = this.agent.state.task("wcid");
  readonly #preempted = this.agent.state.task("preempted");
  readonly #deadline_ns = this.agent.state.taskF64("deadline_ns");
  readonly #estimated_ns = this.agent.state.taskF64("estimated_ns");
  readonly #elapsed_ns = this.agent.state.taskF64("elapsed_ns");
  readonly #runtime_ns = this.agent.state.taskF64("runtime_ns");
  readonly #class_sum_ns = this.agent.state.globalF64("class_sum_ns");
  readonly #class_count = this.agent.state.globalF64("class_count");
  readonly #position = this.agent.state.task("rq_pos");
  readonly #heap = new IndexedHeap(
    this.agent.state.global("heap_size"),
    this.agent.state.global("heap"),
    this.#position,
    this.agent.state.taskF64("sched_deadline_ns"),
    this.agent.state.task("order"),
    this.#rank,
  );

  /**
   * @param agent What the agent lends to the policy.
   * @param config Parameters.
   * @param hints Where applications' hints are.
   */
  constructor(agent: AgentContext, config: EdfConfig, hints: HintSource) {
    super(agent, config);
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
    if (this.#chooseTasks() > 0) this.commitChosen();
    this.requeueYielding();
  }

  /** Opens a transaction for each CPU that gets a task; returns how many. */
  #chooseTasks(): number {
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (!this.isAvailable(index)) continue;
      const current = this.current[index] - 1;
      const row = this.nextTask(current);
      if (row >= 0) {
        this.choose(index, row);
        count++;
      } else if (current >= 0 && this.#must_go[current] !== 0) {
        if (this.#idle[current] !== 0) this.#unschedule(index, current);
        else this.#must_go[current] = 0;
      }
    }
    return count;
  }

  /** See {@linkcode GlobalScheduler}: unless a task must go, only a higher QoS replaces it. */
  protected override takeFirst(current: number): number {
    const row = this.#heap.top();
    if (row < 0) return -1;
    const stays = current >= 0 && this.#must_go[current] === 0;
    if (stays && this.#qos[row] <= this.#qos[current]) return -1;
    this.taskOff(row);
    return row;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected override taskCommitted(row: number, _index: number): void {
    this.#preempted[row] = 0;
  }

  /** Takes a task without work off its CPU, without a successor: the transaction "no task". */
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
    const at = table * CLASSES_PER_TABLE;
    this.#class_count.fill(0, at, at + CLASSES_PER_TABLE);
    for (let row = 0; row < tasks.usedCount(); row++) {
      if (tasks.owner[row] === 0 || this.#table[row] !== table + 1) continue;
      // Nobody says any more when these have work: from now on they are simply scheduled.
      this.#table[row] = 0;
      this.#idle[row] = 0;
      this.#must_go[row] = 0;
      this.#deadline_ns[row] = Infinity;
      const waits = this.state[row] === PAUSED || this.state[row] === QUEUED;
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
    const { tasks, status } = this.agent;
    const row = tasks.find(item.gtid_lo, item.gtid_hi);
    if (row < 0 || this.#table[row] !== table + 1) return;
    if (this.#idle[row] === 0) {
      this.#account(row, status.runtimeNs(tasks.status_index[row]));
      this.#learn(row);
    }
    this.#sid[row] = item.sid;
    this.#wcid[row] = item.wcid;
    this.#qos[row] = Math.min(work_class.qos, QOS_MAX);
    this.#estimated_ns[row] = this.#estimateNs(row, work_class.exectime_ns);
    const is_repeating = (work_class.flags & WORK_CLASS_REPEATING) !== 0;
    this.#deadline_ns[row] = is_repeating
      ? this.pass_ns[0] + work_class.period_ns
      : item.deadline_ns;
    const has_work = (item.flags & SCHED_ITEM_RUNNABLE) !== 0;
    // Repeating work is done again at once, with the deadline of its next period.
    if (is_repeating && !has_work) this.hints.tables[table].makeItemRunnable(item.sid);
    this.#idle[row] = has_work || is_repeating ? 0 : 1;
    if (this.state[row] === ON_CPU) this.#must_go[row] = has_work ? 0 : 1;
    else if (this.state[row] === QUEUED || this.state[row] === PAUSED) this.enqueue(row);
  }

  /** Adds up run time. */
  #account(row: number, runtime_ns: number): void {
    const ran_ns = runtime_ns - this.#runtime_ns[row];
    if (ran_ns <= 0) return;
    this.#runtime_ns[row] = runtime_ns;
    this.#elapsed_ns[row] += ran_ns;
  }

  /** Where the run times of a task's work class are kept, or −1. */
  #classAt(row: number): number {
    const wcid = this.#wcid[row];
    if (this.#sid[row] < 0 || wcid >= CLASSES_PER_TABLE) return -1;
    return (this.#table[row] - 1) * CLASSES_PER_TABLE + wcid;
  }

  /** A piece of work has ended: how long it took belongs to its class. */
  #learn(row: number): void {
    const at = this.#classAt(row);
    if (at >= 0 && this.#class_count[at] > 0 && this.#elapsed_ns[row] > 0) {
      this.#class_sum_ns[at] += this.#elapsed_ns[row];
      this.#class_count[at]++;
    }
    this.#elapsed_ns[row] = 0;
  }

  /** The mean of what a class took; its own word counts as the first sample. */
  #estimateNs(row: number, exectime_ns: number): number {
    const at = this.#classAt(row);
    if (at < 0) return Math.max(1, exectime_ns);
    if (this.#class_count[at] === 0) {
      this.#class_sum_ns[at] = exectime_ns;
      this.#class_count[at] = 1;
    }
    return Math.max(1, this.#class_sum_ns[at] / this.#class_count[at]);
  }

  /** Queues a task that can run, or pauses it if the application has no work for it. */
  protected enqueue(row: number): void {
    this.taskOff(row);
    this.#must_go[row] = 0;
    if (this.#idle[row] !== 0) return this.setState(row, PAUSED);
    this.setState(row, QUEUED);
    // A task that runs longer than was thought is thought to have as much again to do.
    while (this.#estimated_ns[row] <= this.#elapsed_ns[row]) this.#estimated_ns[row] *= 2;
    this.#rank[row] = -(this.prio_boost[row] * BOOST + this.#qos[row]);
    const left_ns = this.#estimated_ns[row] - this.#elapsed_ns[row];
    this.#heap.push(row, this.#deadline_ns[row] - left_ns);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    const state = this.state[row];
    if (state === BLOCKED) return;
    if (state === QUEUED) this.#heap.remove(row);
    else if (state === YIELDING) this.yielding.remove(row);
    else if (state === ON_CPU) this.leaveCpu(row);
    this.setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    const { tasks } = this.agent;
    this.#runtime_ns[row] = message.runtimeNs();
    this.#estimated_ns[row] = DEFAULT_ESTIMATE_NS;
    this.#deadline_ns[row] = Infinity;
    this.#sid[row] = -1;
    this.#setTable(row, this.hints.indexOf(tasks.gtid_lo[row], tasks.gtid_hi[row]));
    if (message.runnable()) this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.prio_boost[row] = message.deferrable() ? 0 : 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskBlocked(row: number, message: MessageCursor): void {
    this.#account(row, message.runtimeNs());
    this.taskOff(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, message: MessageCursor): void {
    this.#account(row, message.runtimeNs());
    this.#preempted[row] = 1;
    this.prio_boost[row] = 1;
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, message: MessageCursor): void {
    this.#account(row, message.runtimeNs());
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    this.enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return true;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected waitingCount(): number {
    return this.#heap.length;
  }

  /** See {@linkcode GlobalScheduler}. */
  protected taskColumns(row: number): string {
    const position = String(this.#position[row] - 1).padEnd(8);
    return `${position}${this.#preempted[row] !== 0 ? "P" : "-"}`;
  }

  /** What the agent knows of every thread with a row in a table. */
  protected override moreText(): string {
    const { tasks } = this.agent;
    let text = "SchedParams:\nTASK     WCID    FLAGS   SEQCOUNT\n";
    for (let row = 0; row < tasks.usedCount(); row++) {
      if (tasks.owner[row] === 0 || this.#table[row] === 0 || this.#sid[row] < 0) continue;
      const table = this.hints.tables[this.#table[row] - 1];
      const { item } = this.reader;
      table.readItem(this.#sid[row], item);
      const wcids = `${item.wcid}/${this.#wcid[row]}`;
      const flags = `${item.flags}/${this.#idle[row] === 0 ? SCHED_ITEM_RUNNABLE : 0}`;
      text += `${this.taskName(row)} ${wcids} ${flags} ${item.seqcount >>> 0}\n`;
    }
    return text;
  }
}

/** The policy, for every kernel. */
export function edf(config: EdfConfig): PolicyDefinition {
  const { hints: _, ...options } = config;
  const hints = hintsOf(config);
  return {
    ...globalPolicy(config),
    name: "edf",
    requires: ["group_commit"],
    options,
    rehearsal: () => {
      const application = new HintRehearsal();
      return {
        ...edf({ ...config, hint_registry: application.buffer }),
        rehearse: () => application.happen(),
      };
    },
    tunables: { deliver_ticks: config.ticks ? 1 : 0 },
    layout: (cpu_count) => ({
      task: {
        state: "i32",
        qos: "i32",
        rank: "i32",
        idle: "i32",
        must_go: "i32",
        table: "i32",
        sid: "i32",
        wcid: "i32",
        prio_boost: "i32",
        preempted: "i32",
        cpu_index: "i32",
        rq_pos: "i32",
        order: "i32",
        sched_deadline_ns: "f64",
        deadline_ns: "f64",
        estimated_ns: "f64",
        elapsed_ns: "f64",
        runtime_ns: "f64",
      },
      cpu: {},
      global: {
        ...GLOBAL_COLUMNS,
        current: cpu_count,
        heap_size: 2,
        heap: MAX_TASK_COUNT,
        yielding: FIFO_QUEUE_WORDS,
        class_sum_ns: 2 * CLASS_COUNT,
        class_count: 2 * CLASS_COUNT,
      },
    }),
    create: (agent) => new EdfScheduler(agent, config, hints),
  };
}
