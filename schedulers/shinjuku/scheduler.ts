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
import { COMMIT_AT_TXN_COMMIT } from "../../ffi/abi/constants.ts";
import type { AgentContext } from "../../lib/agent_context.ts";
import { FIFO_QUEUE_WORDS, FifoQueue } from "../../lib/fifo_queue.ts";
import { GLOBAL_COLUMNS, globalPolicy, GlobalScheduler } from "../../lib/global_scheduler.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { DUMP_ALL_TASKS, type PolicyDefinition } from "../../lib/policy.ts";
import type { GlobalRole } from "../../lib/role_candidates.ts";
import { txnSucceeded } from "../../lib/transaction.ts";
import { HintReader } from "../../shared/hint_reader.ts";
import { RegisteredHints } from "../../shared/hint_registry.ts";
import { HintRehearsal } from "../../shared/hint_rehearsal.ts";
import { HintNews, type HintSource, NEWS_THREAD, NO_HINTS } from "../../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_REPEATING } from "../../shared/prio_table.ts";

/**
 * State of a task. BLOCKED is on nothing at all. PAUSED: the kernel could run it, the application
 * has no work for it.
 */
const BLOCKED = 0;
const QUEUED = 1;
const ON_CPU = 2;
const YIELDING = 3;
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
export interface ShinjukuConfig extends GlobalRole {
  /** Time slice in ns. */
  readonly preemption_time_slice_ns: number;
  /** Where applications' hints are; none if left out, unless there is a registry. */
  readonly hints?: HintSource;
  /** Registry of tables that the main isolate attaches, see {@linkcode RegisteredHints}. */
  readonly hint_registry?: SharedArrayBuffer;
}

/** One agent's instance of the policy. */
export class ShinjukuScheduler extends GlobalScheduler {
  readonly #hints: HintSource;
  readonly #reader: HintReader;
  readonly #news: HintNews = new HintNews();
  readonly #state: Int32Array;
  readonly #level: Int32Array;
  readonly #qos: Int32Array;
  readonly #idle: Int32Array;
  readonly #repeating: Int32Array;
  readonly #table: Int32Array;
  readonly #sid: Int32Array;
  readonly #prio_boost: Int32Array;
  readonly #task_index: Int32Array;
  readonly #last_ran_ns: Float64Array;
  readonly #period_ns: Float64Array;
  readonly #current: Int32Array;
  readonly #queued_qos: Int32Array;
  readonly #queues: readonly FifoQueue[];
  readonly #yielding: FifoQueue;
  readonly #paused_repeating: FifoQueue;
  // Scratch of one step; nothing in it outlives the step.
  readonly #next: Int32Array;

  /**
   * @param agent What the agent lends to the policy.
   * @param config Parameters.
   * @param hints Where applications' hints are.
   */
  constructor(agent: AgentContext, config: ShinjukuConfig, hints: HintSource) {
    super(agent, config, config.preemption_time_slice_ns);
    const { state, tasks } = agent;
    this.#hints = hints;
    this.#reader = new HintReader(hints);
    this.#state = state.task("state");
    this.#level = state.task("level");
    this.#qos = state.task("qos");
    this.#idle = state.task("idle");
    this.#repeating = state.task("repeating");
    this.#table = state.task("table");
    this.#sid = state.task("sid");
    this.#prio_boost = state.task("prio_boost");
    this.#task_index = state.task("cpu_index");
    this.#last_ran_ns = state.taskF64("last_ran_ns");
    this.#period_ns = state.taskF64("period_ns");
    this.#current = state.global("current");
    this.#queued_qos = state.global("queued_qos");
    const ends = state.global("run_queues");
    this.#queues = Array.from({ length: QOS_LEVELS }, (_, qos) => {
      const at = qos * FIFO_QUEUE_WORDS;
      return new FifoQueue(ends.subarray(at, at + FIFO_QUEUE_WORDS), tasks.next, tasks.prev);
    });
    this.#yielding = new FifoQueue(state.global("yielding"), tasks.next, tasks.prev);
    const paused = state.global("paused_repeating");
    this.#paused_repeating = new FifoQueue(paused, tasks.next, tasks.prev);
    this.#next = new Int32Array(agent.cpus.length);
  }

  /** See {@linkcode GlobalScheduler}. */
  protected globalSchedule(): void {
    this.beginPass();
    while (this.#hints.takeNews(this.#news)) this.#handleNews();
    this.#reader.begin();
    while (this.#reader.next()) this.#readHint();
    if (this.#reader.has_more) this.look_ns = this.pass_ns[0];
    this.#resumeRepeating();
    this.#next.fill(0);
    // CPUs whose task must go are served first, then those whose task may go.
    const count = this.#choose(MUST_GO) + this.#choose(STAY);
    if (count > 0) this.#commit();
    while (this.#yielding.length > 0) this.#enqueue(this.#yielding.front(), true);
  }

  /** Opens a transaction for each CPU that gets a task; CPUs whose task is below a level stay. */
  #choose(level_min: number): number {
    const { cpus } = this.agent;
    let count = 0;
    for (let nth = 0; nth < this.near_first.length; nth++) {
      const index = this.near_first[nth];
      if (this.#next[index] !== 0 || !this.isAvailable(index)) continue;
      const current = this.#current[index] - 1;
      if (current < 0 ? level_min > STAY : this.#level[current] < level_min) continue;
      const next = current < 0 || this.#givesWay(current) ? this.#nextTask() : -1;
      if (next >= 0) {
        this.#next[index] = next + 1;
        this.#task_index[next] = index + 1;
        this.openTransaction(cpus[index], next, 0, COMMIT_AT_TXN_COMMIT, 0);
        this.addToGroup(cpus[index]);
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

  /** The first task that can be committed now, taken out of its queue; or −1. */
  #nextTask(): number {
    const { status, tasks } = this.agent;
    for (let qos = this.#topQos(); qos >= 0; qos = this.#topQos()) {
      const row = this.#queues[qos].front();
      this.#dequeue(row);
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
        this.#prio_boost[row] = 0;
        this.#last_ran_ns[row] = this.pass_ns[0];
        if (previous >= 0) this.#enqueue(previous, true);
      } else {
        this.refused_count[0]++;
        this.#enqueue(row, false);
        if (previous >= 0 && this.#level[previous] === MUST_GO) this.#unschedule(index, previous);
      }
    }
  }

  /** Takes a task off its CPU without a successor: the transaction "no task". */
  #unschedule(index: number, row: number): void {
    const { txns, port, cpus } = this.agent;
    const cpu = cpus[index];
    txns.open(cpu, 0, 0, 0, 0, COMMIT_AT_TXN_COMMIT, 0);
    port.commit(cpu);
    if (!txnSucceeded(txns.state(cpu))) return;
    this.#current[index] = 0;
    if (this.#reader.hasWork(this.#table[row] - 1, this.#sid[row])) this.#idle[row] = 0;
    this.#enqueue(row, true);
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
      const waits = this.#state[row] === QUEUED || this.#state[row] === PAUSED;
      if (waits) this.taskOff(row);
      this.#table[row] = 0;
      this.#idle[row] = 0;
      this.#repeating[row] = 0;
      this.#level[row] = STAY;
      if (waits) this.#enqueue(row, true);
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
    const row = this.agent.tasks.find(item.gtid_lo, item.gtid_hi);
    if (row < 0 || this.#table[row] !== table + 1) return;
    const waits = this.#state[row] === QUEUED || this.#state[row] === PAUSED;
    if (waits) this.taskOff(row);
    this.#sid[row] = item.sid;
    this.#qos[row] = Math.min(work_class.qos, QOS_LEVELS - 1);
    this.#repeating[row] = (work_class.flags & WORK_CLASS_REPEATING) !== 0 ? 1 : 0;
    this.#period_ns[row] = work_class.period_ns;
    this.#idle[row] = (item.flags & SCHED_ITEM_RUNNABLE) !== 0 ? 0 : 1;
    if (waits) this.#enqueue(row, true);
    else if (this.#state[row] === ON_CPU) {
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
        this.#hints.tables[this.#table[row] - 1].makeItemRunnable(this.#sid[row]);
        this.#idle[row] = 0;
        this.#enqueue(row, true);
      }
      row = after;
    }
  }

  /** The one place where a task's state changes. */
  #setState(row: number, next: number): void {
    const legal = ((NEXT_STATES[this.#state[row]] >> next) & 1) !== 0;
    assertInvariant(legal, "shinjuku: task state may not change so");
    this.#state[row] = next;
  }

  /** Queues a task that can run, or pauses it if the application has no work for it. */
  #enqueue(row: number, at_back: boolean): void {
    this.taskOff(row);
    this.#level[row] = STAY;
    if (this.#idle[row] !== 0) {
      this.#setState(row, PAUSED);
      if (this.#repeating[row] !== 0) this.#paused_repeating.pushBack(row);
      return;
    }
    this.#setState(row, QUEUED);
    const qos = this.#qos[row];
    if (at_back && this.#prio_boost[row] === 0) this.#queues[qos].pushBack(row);
    else this.#queues[qos].pushFront(row);
    this.#queued_qos[0] |= 1 << qos;
  }

  #dequeue(row: number): void {
    const qos = this.#qos[row];
    this.#queues[qos].remove(row);
    if (this.#queues[qos].length === 0) this.#queued_qos[0] &= ~(1 << qos);
    this.#setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    const state = this.#state[row];
    if (state === QUEUED) return this.#dequeue(row);
    if (state === YIELDING) this.#yielding.remove(row);
    else if (state === PAUSED && this.#repeating[row] !== 0) this.#paused_repeating.remove(row);
    else if (state === ON_CPU) {
      const index = this.#task_index[row] - 1;
      if (this.#current[index] === row + 1) this.#current[index] = 0;
    }
    if (state !== BLOCKED) this.#setState(row, BLOCKED);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    const { tasks } = this.agent;
    this.#setTable(row, this.#hints.indexOf(tasks.gtid_lo[row], tasks.gtid_hi[row]));
    if (message.runnable()) this.#enqueue(row, true);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.#prio_boost[row] = message.deferrable() ? 0 : 1;
    this.#enqueue(row, true);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number, _message: MessageCursor): void {
    // Taken off by this agent, it has its place already. BLOCKED: it came to a CPU by switchto.
    if (this.#state[row] !== ON_CPU && this.#state[row] !== BLOCKED) return;
    this.#prio_boost[row] = 1;
    this.#enqueue(row, false);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number, _message: MessageCursor): void {
    this.#enqueue(row, true);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, _message: MessageCursor): void {
    if (this.#state[row] === ON_CPU || this.#state[row] === BLOCKED) this.#enqueue(row, false);
  }

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    if (on_cpu && this.#state[row] === ON_CPU) return;
    this.taskOff(row);
    if (runnable) this.#enqueue(row, true);
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return true;
  }

  /** Text as upstream's dump, reference section 4.5; only the global agent has one. */
  dump(flags: number): string {
    const { tasks, cpus } = this.agent;
    if (this.globalCpu() !== this.agent.cpu) return "";
    let text = "";
    if ((flags & DUMP_ALL_TASKS) !== 0) {
      text += "task        state       rq_pos  P\n";
      for (let row = 0; row < tasks.usedCount(); row++) {
        if (tasks.owner[row] === 0) continue;
        const state = STATE_NAMES[this.#state[row]].padEnd(12);
        text += `${this.taskName(row).padEnd(12)}${state}${this.#prio_boost[row] ? "P" : "-"}\n`;
      }
    }
    const running = cpus.map((cpu, index) => {
      const row = this.#current[index] - 1;
      return `${cpu}:${row < 0 ? "none" : this.taskName(row)} `;
    });
    const waiting = this.#queues.reduce((sum, queue) => sum + queue.length, 0);
    return `${text}SchedState: ${running.join("")} rq_l=${waiting}\n`;
  }
}

/** The policy, for every kernel. */
export function shinjuku(config: ShinjukuConfig): PolicyDefinition {
  const { hints: given, ...options } = config;
  const registry = config.hint_registry;
  const hints = given ?? (registry === undefined ? NO_HINTS : new RegisteredHints(registry));
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
