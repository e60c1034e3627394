/**
 * Threads, CPUs and agents of the simulated machine as records; {@linkcode SimMachine} moves them.
 *
 * @module
 */
import { InvariantError } from "../../lib/invariant.ts";
import type { ActionSource, Script } from "./actions.ts";
import type { SimEnclave } from "./enclave.ts";
import type { SimAgent } from "./agent.ts";
import type { SimQueue } from "./producer_ring.ts";

/** Waits for a timer or for another thread. */
export const SLEEPING = 0;
/** Can run and waits for a CPU. */
export const READY = 1;
/** Committed to a CPU that has not switched to it yet. */
export const LATCHED = 2;
/** On a CPU. */
export const RUNNING = 3;
/** Has exited. */
export const DEAD = 4;
/** State of a thread. */
export type ThreadState = 0 | 1 | 2 | 3 | 4;

/** No action waits. */
export const NO_ACTION: number = -2;

/**
 * First value of a field for times. It is no small integer, so V8 keeps a double in the field from
 * the start, and code that was compiled for small ones need not be thrown away.
 */
const TIME: number = NaN;

/** For each state, the states that may follow, as a bit set. */
const NEXT_STATES: readonly number[] = [
  (1 << READY) | (1 << RUNNING) | (1 << DEAD),
  (1 << LATCHED) | (1 << RUNNING) | (1 << DEAD),
  (1 << READY) | (1 << RUNNING) | (1 << DEAD),
  (1 << READY) | (1 << SLEEPING) | (1 << DEAD),
  0,
];

/** Who wants to know what becomes of a thread; an object, since a closure would be one more. */
export interface ThreadListener {
  /** The thread's script is over. */
  end(): void;
}

/** A scripted thread. */
export class SimThread {
  /** Thread id. */
  declare readonly tid: number;
  /** Low word of the gtid. */
  declare readonly gtid_lo: number;
  /** High word of the gtid. */
  declare readonly gtid_hi: number;
  /** What the thread does; undefined once it has exited. */
  declare script: Script | undefined;
  /** What it does instead of a script, or null. */
  source: ActionSource | null = null;
  /** Told when the script is over, as by its last statement. */
  listener: ThreadListener | null = null;
  /** For timelines and messages. */
  declare readonly name: string;
  /** See {@linkcode ThreadState}; changed by {@linkcode setState} only. */
  state: ThreadState = SLEEPING;
  /** The enclave of a ghOSt thread, null for a thread of the default class. */
  enclave: SimEnclave | null = null;
  /** CPU on which it runs, or ran last. */
  cpu = 0;
  /** An action that waits until the thread runs again, {@linkcode NO_ACTION}, or −1 for its end. */
  pending_action: number = NO_ACTION;
  /** ns of the current RUN action still to be served. */
  remaining_ns: number = TIME;
  /** When it began to run, switch included. */
  run_start_ns: number = TIME;
  /** ns it has run. */
  runtime_ns: number = TIME;
  /** ns of all RUN actions so far. */
  demand_ns: number = TIME;
  /** Invalidates pending events of this thread. */
  event_generation = 0;
  /** Status word while in ghOSt, else −1. */
  status_index: number = -1;
  /** Status word of the last stay in ghOSt that user space has not freed, or −1. */
  departed_index: number = -1;
  /** Enclave of that stay. */
  departed_from: SimEnclave | null = null;
  /** The thread that forked it. */
  parent: SimThread | null = null;
  /** Queue that gets its messages. */
  queue: SimQueue | null = null;
  /** TASK_NEW has not been sent yet. */
  new_pending = false;
  /** Messages wait until the old status word is freed. */
  gated = false;
  /** When it last became able to run. */
  ready_since_ns: number = TIME;
  /** When it woke up, or −1 if it has run since. */
  woken_ns: number = TIME;
  /** Nice value. */
  nice = 0;
  /** CPUs it may use, as a 512-bit mask; null for all. */
  affinity: Int32Array | null = null;
  /** In a switchto chain on its CPU. */
  in_switchto = false;
  /** Links of the list it waits in: a CPU's default queue, or the enclave's ready list. */
  next: SimThread | null = null;
  /** See {@linkcode next}. */
  prev: SimThread | null = null;

  /** Made by {@linkcode SimMachine.spawn}. */
  constructor(tid: number, script: Script | undefined, name: string) {
    this.tid = tid;
    this.script = script;
    this.name = name;
    // As on a real kernel: pid in the bits above 41 sequence bits, here always sequence 1.
    this.gtid_lo = 1;
    this.gtid_hi = (tid << 9) | 0;
    this.remaining_ns = 0;
    this.run_start_ns = 0;
    this.runtime_ns = 0;
    this.demand_ns = 0;
    this.ready_since_ns = 0;
    this.woken_ns = -1;
  }

  /** The one place where the state changes. */
  setState(next: ThreadState): void {
    if (((NEXT_STATES[this.state] >> next) & 1) === 0) {
      throw new InvariantError(`thread ${this.tid}: state ${this.state} cannot become ${next}`);
    }
    this.state = next;
  }

  /** True if the thread may use a CPU. */
  mayUse(cpu: number): boolean {
    return this.affinity === null || ((this.affinity[cpu >> 5] >> (cpu & 31)) & 1) !== 0;
  }
}

/** A list of threads through their own links; a thread is in one list at a time. */
export class ThreadList {
  /** The thread that has waited longest. */
  first: SimThread | null = null;
  /** The thread that came last. */
  last: SimThread | null = null;
  /** Number of threads. */
  length = 0;

  /** Appends a thread. */
  push(thread: SimThread): void {
    thread.prev = this.last;
    thread.next = null;
    if (this.last === null) this.first = thread;
    else this.last.next = thread;
    this.last = thread;
    this.length++;
  }

  /** Takes a thread that is in the list. */
  remove(thread: SimThread): void {
    if (thread.prev === null) this.first = thread.next;
    else thread.prev.next = thread.next;
    if (thread.next === null) this.last = thread.prev;
    else thread.next.prev = thread.prev;
    thread.next = null;
    thread.prev = null;
    this.length--;
  }
}

/** Nothing to do. */
export const MODE_IDLE = 0;
/** The agent has the CPU. */
export const MODE_AGENT = 1;
/** A thread of the default class has the CPU. */
export const MODE_DEFAULT = 2;
/** A ghOSt thread has the CPU. */
export const MODE_GHOST = 3;
/** Who has a CPU. */
export type CpuMode = 0 | 1 | 2 | 3;

/** One CPU. */
export class SimCpu {
  /** CPU number. */
  declare readonly id: number;
  /** False for a CPU that is there but off. */
  online = true;
  /** Enclave that owns the CPU. */
  enclave: SimEnclave | null = null;
  /** The agent of the CPU. */
  agent: SimAgent | null = null;
  /** Who has the CPU. */
  mode: CpuMode = MODE_IDLE;
  /** The thread on the CPU in the modes DEFAULT and GHOST. */
  current: SimThread | null = null;
  /** A committed thread that runs as soon as nothing of a higher class wants the CPU. */
  latched: SimThread | null = null;
  /** ns the switch to the latched thread takes. */
  latched_cost_ns = 0;
  /** Run flags of the latched thread's transaction. */
  latched_flags = 0;
  /** When the last transaction that latched a thread was committed. */
  commit_ns: number = TIME;
  /** Counts commits and the messages that say what became of them (`cpu_seqnum`). */
  seqnum = 0;
  /** Run flags under which the current ghOSt thread runs. */
  run_flags = 0;
  /** Wants MSG_CPU_NOT_IDLE at the next change to busy. */
  want_not_idle = false;
  /** Default-class threads that wait. */
  readonly waiting: ThreadList = new ThreadList();
  /** Invalidates the pending slice event. */
  slice_generation = 0;
  /** True while that event is pending for the thread that runs. */
  slice_armed = false;
  /** In the machine's list of touched CPUs. */
  is_touched = false;
  /** True while this CPU picks; wake-ups then only mark. */
  picking = false;
  /** Something has changed since the last choice. */
  pick_again = false;
  /** When the present mode began. */
  since_ns: number = TIME;
  /** ns spent in each mode. */
  readonly mode_ns: Float64Array = new Float64Array(4);

  /**
   * Makes an idle CPU.
   *
   * @param id CPU number.
   */
  constructor(id: number) {
    this.id = id;
    this.commit_ns = 0;
    this.since_ns = 0;
  }
}
