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
import { COMMIT_AT_TXN_COMMIT } from "../../ffi/abi/constants.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../lib/fifo_queue.ts";
import { GLOBAL_COLUMNS, globalPolicy, GlobalScheduler } from "../../lib/global_scheduler.ts";
import { IndexedHeap } from "../../lib/indexed_heap.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import { MAX_TASK_COUNT } from "../../lib/limits.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { DUMP_ALL_TASKS, type PolicyDefinition } from "../../lib/policy.ts";
import type { GlobalRole } from "../../lib/role_candidates.ts";
import { txnSucceeded } from "../../lib/transaction.ts";
import { HintReader } from "../../shared/hint_reader.ts";
import { RegisteredHints } from "../../shared/hint_registry.ts";
import { HintRehearsal } from "../../shared/hint_rehearsal.ts";
import {
  HINT_TABLE_COUNT,
  HintNews,
  type HintSource,
  NEWS_THREAD,
  NO_HINTS,
} from "../../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_REPEATING } from "../../shared/prio_table.ts";

/**
 * State of a task. BLOCKED is on nothing at all. YIELDING waits for the end of one round. PAUSED:
 * the kernel could run it, the application has no work for it.
 */
export const BLOCKED = 0;
export const QUEUED = 1;
export const ON_CPU = 2;
export const YIELDING = 3;
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
export interface EdfConfig extends GlobalRole {
  /** The kernel's ticks are sent to the agent. */
  readonly ticks: boolean;
  /** Where applications' hints are; none if left out, unless there is a registry. */
  readonly hints?: HintSource;
  /** Registry of tables that the main isolate attaches, see {@linkcode RegisteredHints}. */
  readonly hint_registry?: SharedArrayBuffer;
}

/** One agent's instance of the policy. */
export class EdfScheduler extends GlobalScheduler {
  readonly #hints: HintSource;
  readonly #reader: HintReader;
  readonly #news: HintNews = new HintNews();
  readonly #state: Int32Array;
  readonly #qos: Int32Array;
  readonly #rank: Int32Array;
  readonly #idle: Int32Array;
  readonly #must_go: Int32Array;
  readonly #table: Int32Array;
  readonly #sid: Int32Array;
  readonly #wcid: Int32Array;
  readonly #prio_boost: Int32Array;
  readonly #preempted: Int32Array;
  readonly #task_index: Int32Array;
  readonly #deadline_ns: Float64Array;
  readonly #estimated_ns: Float64Array;
  readonly #elapsed_ns: Float64Array;
  readonly #runtime_ns: Float64Array;
  readonly #current: Int32Array;
  readonly #class_sum_ns: Float64Array;
  readonly #class_count: Float64Array;
  readonly #heap: IndexedHeap;
  readonly #position: Int32Array;
  readonly #yielding: FifoQueue;
  // Scratch of one step; nothing in it outlives the step.
  readonly #next: Int32Array;

  /**
   * @param agent What the agent lends to the policy.
   * @param config Parameters.
   * @param hints Where applications' hints are.
   */
  constructor(agent: AgentContext, config: EdfConfig, hints: HintSource) {
    super(agent, config);
    const { state, tasks } = agent;
    this.#hints = hints;
    this.#reader = new HintReader(hints);
    this.#state = state.task("state");
    this.#qos = state.task("qos");
    this.#rank = state.task("rank");
    this.#idle = state.task("idle");
    this.#must_go = state.task("must_go");
    this.#table = state.task("table");
    this.#sid = state.task("sid");
    this.#wcid = state.task("wcid");
    this.#prio_boost = state.task("prio_boost");
    this.#preempted = state.task("preempted");
    this.#task_index = state.task("cpu_index");
    this.#deadline_ns = state.taskF64("deadline_ns");
    this.#estimated_ns = state.taskF64("estimated_ns");
    this.#elapsed_ns = state.taskF64("elapsed_ns");
    this.#runtime_ns = state.taskF64("runtime_ns");
    this.#current = state.global("current");
    this.#class_sum_ns = state.globalF64("class_sum_ns");
    this.#class_count = state.globalF64("class_count");
    this.#position = state.task("rq_pos");
    const heap = state.global("heap");
    const [key, order] = [state.taskF64("sched_deadline_ns"), state.task("order")];
    const size = state.global("heap_size");
    this.#heap = new IndexedHeap(size, heap, this.#position, key, order, this.#rank);
    this.#yielding = new FifoQueue(state.global("yielding"), tasks.next, tasks.prev);
    this.#next = new Int32Array(agent.cpus.length);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    this.beginPass();
    while (this.#hints.takeNews(this.#news)) this.#handleNews();
    this.#reader.begin();
    while (this.#reader.next()) this.#readHint();
    if (this.#reader.has_more) this.look_ns = this.pass_ns[0];
    this.#next.fill(0);
    if (this.#choose() > 0) this.#commit();
    while (this.#yielding.length > 0) this.#enqueue(this.#yielding.front());
  }

  /** Opens a transaction for each CPU that gets a task; returns how many. */
  #choose(): number {
    const { cpus } = this.agent;
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (!this.isAvailable(index)) continue;
      const current = this.#current[index] - 1;
      const row = this.#nextTask(current);
      if (row >= 0) {
        this.#next[index] = row + 1;
        this.#task_index[row] = index + 1;
        this.openTransaction(cpus[index], row, 0, COMMIT_AT_TXN_COMMIT, 0);
        this.addToGroup(cpus[index]);
        count++;
      } else if (current >= 0 && this.#must_go[current] !== 0) {
        if (this.#idle[current] !== 0) this.#unschedule(index, current);
        else this.#must_go[current] = 0;
      }
    }
    return count;
  }

  /**
   * The first task that can be committed now, taken out of the queue; or −1.
   *
   * @param current The task on the CPU, or −1: unless it must go, only a higher QoS replaces it.
   */
  #nextTask(current: number): number {
    const { status, tasks } = this.agent;
    const stays = current >= 0 && this.#must_go[current] === 0;
    for (let row = this.#heap.top(); row >= 0; row = this.#heap.top()) {
      if (stays && this.#qos[row] <= this.#qos[current]) return -1;
      this.taskOff(row);
      const unread = status.barrier(tasks.status_index[row]) !== tasks.seqnum[row];
      if (!unread && !this.isOnCpu(row)) return row;
      // Its next message is on the way: look again in the next round.
      this.#setState(row, YIELDING);
      this.#yielding.pushBack(row);
    }
    return -1;
  }

  /** Submits the group and settles every member. */
  #commit(): void {
    const { txns, cpus } = this.agent;
    this.commitGroup();
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      const row = this.#next[index] - 1;
      if (row < 0) continue;
      const previous = this.#current[index] - 1;
      if (txnSucceeded(txns.state(cpus[index]))) {
        this.commit_count[0]++;
        this.#current[index] = row + 1;
        this.#setState(row, ON_CPU);
        this.#preempted[row] = 0;
        this.#prio_boost[row] = 0;
        if (previous >= 0) this.#enqueue(previous);
      } else {
        this.refused_count[0]++;
        this.#enqueue(row);
      }
    }
  }

  /** Takes a task without work off its CPU, without a successor: the transaction "no task". */
  #unschedule(index: number, row: number): void {
    const { txns, port, cpus } = this.agent;
    txns.open(cpus[index], 0, 0, 0, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(cpus[index]);
    if (!txnSucceeded(txns.state(cpus[index]))) return;
    if (this.#reader.hasWork(this.#table[row] - 1, this.#sid[row])) this.#idle[row] = 0;
    this.#enqueue(row);
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
      const waits = this.#state[row] === PAUSED || this.#state[row] === QUEUED;
      if (waits) this.#enqueue(row);
    }
  }

  #setTable(row: number, table: number): void {
    this.#table[row] = table + 1;
    // Its row may have been written before the task was known: all rows are read once more.
    if (table >= 0) this.#hints.tables[table].sweep();
  }

  /** An application has changed what it says of a thread. */
  #readHint(): void {
    const { item, work_class, table } = this.#reader;
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
    if (is_repeating && !has_work) this.#hints.tables[table].makeItemRunnable(item.sid);
    this.#idle[row] = has_work || is_repeating ? 0 : 1;
    if (this.#state[row] === ON_CPU) this.#must_go[row] = has_work ? 0 : 1;
    else if (this.#state[row] === QUEUED || this.#state[row] === PAUSED) this.#enqueue(row);
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

  /** The one place where a task's state changes. */
  #setState(row: number, next: number): void {
    const legal = ((NEXT_STATES[this.#state[row]] >> next) & 1) !== 0;
    assertInvariant(legal, "edf: task state may not change so");
    this.#state[row] = next;
  }

  /** Queues a task that can run, or pauses it if the application has no work for it. */
  #enqueue(row: number): void {
    this.taskOff(row);
    this.#must_go[row] = 0;
    if (this.#idle[row] !== 0) return this.#setState(row, PAUSED);
    this.#setState(row, QUEUED);
    // A task that runs longer than was thought is thought to have as much again to do.
    while (this.#estimated_ns[row] <= this.#elapsed_ns[row]) this.#estimated_ns[row] *= 2;
    this.#rank[row] = -(this.#prio_boost[row] * BOOST + this.#qos[row]);
    const left_ns = this.#estimated_ns[row] - this.#elapsed_ns[row];
    this.#heap.push(row, this.#deadline_ns[row] - left_ns);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    const state = this.#state[row];
    if (state === BLOCKED) return;
    if (state === QUEUED) this.#heap.remove(row);
    else if (state === YIELDING) this.#yielding.remove(row);
    else if (state === ON_CPU) {
      const index = this.#task_index[row] - 1;
      if (this.#current[index] === row + 1) this.#current[index] = 0;
    }
    this.#setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    const { tasks } = this.agent;
    this.#runtime_ns[row] = message.runtimeNs();
    this.#estimated_ns[row] = DEFAULT_ESTIMATE_NS;
    this.#deadline_ns[row] = Infinity;
    this.#sid[row] = -1;
    this.#setTable(row, this.#hints.indexOf(tasks.gtid_lo[row], tasks.gtid_hi[row]));
    if (message.runnable()) this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.#prio_boost[row] = message.deferrable() ? 0 : 1;
    this.#enqueue(row);
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
    this.#prio_boost[row] = 1;
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, message: MessageCursor): void {
    this.#account(row, message.runtimeNs());
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.#state[row] === ON_CPU) return;
    this.taskOff(row);
    if (runnable) this.#enqueue(row);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return true;
  }

  /** Text as upstream's dump, reference section 4.4; only the global agent has one. */
  dump(flags: number): string {
    const { tasks, cpus } = this.agent;
    if (this.globalCpu() !== this.agent.cpu) return "";
    let text = "";
    if ((flags & DUMP_ALL_TASKS) !== 0) {
      text += "task        state       rq_pos  P\n";
      for (let row = 0; row < tasks.usedCount(); row++) {
        if (tasks.owner[row] === 0) continue;
        const name = this.taskName(row).padEnd(12);
        const state = STATE_NAMES[this.#state[row]].padEnd(12);
        const position = String(this.#position[row] - 1).padEnd(8);
        text += `${name}${state}${position}${this.#preempted[row] !== 0 ? "P" : "-"}\n`;
      }
      text += this.#hintsText();
    }
    const running = cpus.map((cpu, index) => {
      const row = this.#current[index] - 1;
      return `${cpu}:${row < 0 ? "none" : this.taskName(row)} `;
    });
    return `${text}SchedState: ${running.join("")} rq_l=${this.#heap.length}\n`;
  }

  /** What the agent knows of every thread with a row in a table. */
  #hintsText(): string {
    const { tasks } = this.agent;
    let text = "SchedParams:\nTASK     WCID    FLAGS   SEQCOUNT\n";
    for (let row = 0; row < tasks.usedCount(); row++) {
      if (tasks.owner[row] === 0 || this.#table[row] === 0 || this.#sid[row] < 0) continue;
      const table = this.#hints.tables[this.#table[row] - 1];
      const { item } = this.#reader;
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
  const { hints: given, ...options } = config;
  const registry = config.hint_registry;
  const hints = given ?? (registry === undefined ? NO_HINTS : new RegisteredHints(registry));
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
