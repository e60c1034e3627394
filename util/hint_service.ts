/**
 * The main isolate's part in hints: finds the processes of new ghOSt threads, attaches their
 * PrioTables, and lets go of those whose last ghOSt thread has left or ended. A table that is
 * refused costs its process the hints, and is told once.
 *
 * @module
 */
import { SCHED_GHOST } from "../ffi/abi/constants.ts";
import { SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { HOST_PROCFS, type Procfs, seqnumBits, tidOf } from "../lib/gtid.ts";
import { readTextFile } from "../lib/host_files.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import { HintRegistry } from "../shared/hint_registry.ts";
import { HINT_TABLE_COUNT, HintNews, NEWS_TABLE_GONE, NEWS_THREAD } from "../shared/hint_source.ts";
import {
  PrioTable,
  type PrioTableHandle,
  SharedMemoryError,
  type SharedMemoryFault,
} from "../shared/prio_table.ts";
import { SCHED_EXT } from "./enclave_choice.ts";

/** How often requests are looked for. */
const PERIOD_MS = 5;
/** How often it is looked whether a table's process still has threads for the agent. */
const GONE_PERIOD_MS = 500;
/** A process without a table is asked again with a new thread, but not more often than this. */
const RETRY_MS = 100;
/** Refusals that are no fault: the process gives no hints. */
const SILENT_FAULTS: readonly SharedMemoryFault[] = ["NO_REGION", "NO_PROCESS"];

/** A table as the service uses it. */
export interface AttachedTable {
  /** For the agent's threads. */
  readonly handle: PrioTableHandle | undefined;
  /** Ends the mapping. */
  close(): void;
}

/** What the service needs of the host. */
export interface HintHost {
  /** Where processes are seen. */
  readonly procfs: Procfs;
  /** Attaches the table of a process. */
  attach(pid: number): AttachedTable | SharedMemoryError;
  /** True if a process has a thread that some agent schedules. */
  hasThreads(pid: number): boolean;
  /** Time in ms. */
  nowMs(): number;
}

/** True for a thread of ghOSt or sched_ext that has not ended. */
function isScheduled(tid: string): boolean {
  const policy = loadShim().schedGetscheduler(Number(tid)) & ~SCHED_RESET_ON_FORK;
  if (policy !== SCHED_GHOST && policy !== SCHED_EXT) return false;
  const stat = readTextFile(`/proc/${tid}/stat`) ?? "";
  // The name before it may have any character in it.
  return !"ZX".includes(stat.charAt(stat.lastIndexOf(")") + 2));
}

function hasThreads(pid: number): boolean {
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      if (isScheduled(name)) return true;
    }
  } catch { /* the process has ended */ }
  return false;
}

/** This host. */
export const HINT_HOST: HintHost = {
  procfs: HOST_PROCFS,
  attach: (pid) => {
    const table = new PrioTable();
    return table.attach(pid) ?? table;
  },
  hasThreads,
  nowMs: () => performance.now(),
};

/** A table in its place. */
interface Place {
  readonly pid: number;
  readonly table: AttachedTable;
  /** Set once it is gone: the count of news with which the agent knows. */
  gone_with: number | undefined;
}

/** Attaches tables for an agent. */
export class HintService {
  readonly #registry: HintRegistry;
  readonly #host: HintHost;
  readonly #say: (text: string) => void;
  readonly #seqnum_bits: number;
  readonly #places: (Place | undefined)[] = new Array(HINT_TABLE_COUNT).fill(undefined);
  readonly #places_by_pid = new Map<number, number>();
  readonly #refused_ms = new Map<number, number>();
  readonly #news = new HintNews();
  readonly #told = new Set<number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #look_ms = 0;

  /**
   * @param registry The registry that the policy's instances use.
   * @param say Tells the operator something.
   * @param host The host; another one for tests.
   */
  constructor(
    registry: SharedArrayBuffer,
    say: (text: string) => void,
    host: HintHost = HINT_HOST,
  ) {
    this.#registry = new HintRegistry(registry);
    this.#say = say;
    this.#host = host;
    const bits = seqnumBits(host.procfs);
    this.#seqnum_bits = typeof bits === "number" ? bits : 41;
  }

  /** Begins to answer. */
  start(): void {
    this.#timer = setInterval(() => this.poll(), PERIOD_MS);
  }

  /** Ends, when no agent runs any more. */
  stop(): void {
    clearInterval(this.#timer);
    for (const place of this.#places) place?.table.close();
    this.#places.fill(undefined);
  }

  /** Answers what is asked, and looks for tables that are gone. */
  poll(): void {
    while (this.#registry.takeRequest(this.#news)) this.#answer();
    this.#release();
    const now_ms = this.#host.nowMs();
    if (now_ms - this.#look_ms < GONE_PERIOD_MS) return;
    this.#look_ms = now_ms;
    for (const place of this.#places) {
      if (place === undefined || place.gone_with !== undefined) continue;
      if (!this.#host.hasThreads(place.pid)) this.#endTable(place);
    }
    for (const [pid, refused_ms] of this.#refused_ms) {
      if (now_ms - refused_ms >= RETRY_MS) this.#refused_ms.delete(pid);
    }
    for (const pid of this.#told) if (!this.#host.hasThreads(pid)) this.#told.delete(pid);
  }

  #statusOf(tid: number): string | undefined {
    const { prefix, read } = this.#host.procfs;
    return read(`${prefix}/proc/${tid}/status`);
  }

  /** Finds the table of the thread in `#news`, and tells the agent. */
  #answer(): void {
    const news = this.#news;
    const status = this.#statusOf(tidOf(news.gtid_hi, this.#seqnum_bits));
    const pid = Number(/^Tgid:\s*(\d+)/m.exec(status ?? "")?.[1] ?? 0);
    if (pid === 0) return;
    const index = this.#places_by_pid.get(pid) ?? this.#attach(pid);
    if (index < 0) return;
    news.kind = NEWS_THREAD;
    news.table = index;
    this.#registry.tell(news);
  }

  /** Attaches the table of a process; its place, or −1. */
  #attach(pid: number): number {
    const now_ms = this.#host.nowMs();
    if (now_ms - (this.#refused_ms.get(pid) ?? -Infinity) < RETRY_MS) return -1;
    const index = this.#places.indexOf(undefined);
    const table = index < 0
      ? new SharedMemoryError("OUT_OF_RANGE", "too many processes give hints", "end some")
      : this.#host.attach(pid);
    if (table instanceof SharedMemoryError) {
      this.#refused_ms.set(pid, now_ms);
      if (SILENT_FAULTS.includes(table.fault) || this.#told.has(pid)) return -1;
      this.#told.add(pid);
      const what = `no hints from process ${pid}: ${table.message}`;
      this.#say(`${what}; until then its threads are scheduled without`);
      return -1;
    }
    this.#places[index] = { pid, table, gone_with: undefined };
    this.#places_by_pid.set(pid, index);
    this.#registry.setTable(index, table.handle);
    return index;
  }

  /** The agent is told first; its memory goes when the agent has left it. */
  #endTable(place: Place): void {
    const news = this.#news;
    const index = this.#places.indexOf(place);
    this.#registry.setTable(index, undefined);
    news.kind = NEWS_TABLE_GONE;
    news.table = index;
    news.gtid_lo = news.gtid_hi = 0;
    if (!this.#registry.tell(news)) return;
    place.gone_with = this.#registry.newsTold();
    this.#places_by_pid.delete(place.pid);
  }

  #release(): void {
    const taken = this.#registry.newsTaken();
    this.#places.forEach((place, index) => {
      if (place?.gone_with === undefined || ((taken - place.gone_with) | 0) < 0) return;
      place.table.close();
      this.#places[index] = undefined;
    });
  }
}

/**
 * Serves the policies of agents that take hints; see `serve` of agent programs.
 *
 * @param policy A policy with a registry among its options.
 * @param say Tells the operator something.
 * @returns What ends the service.
 */
export function serveHints(policy: PolicyDefinition, say: (text: string) => void): () => void {
  const service = new HintService(policy.options?.hint_registry as SharedArrayBuffer, say);
  service.start();
  return () => service.stop();
}
