/**
 * A policy that schedules nothing and writes down which handlers are called.
 *
 * @module
 */
import type { AgentContext } from "../../lib/agent_context.ts";
import type { MessageCursor } from "../../lib/message.ts";
import { AGAIN, type Verdict, YIELD } from "../../lib/policy.ts";
import { Scheduler } from "../../lib/scheduler.ts";

/** One agent's instance. */
export class LoggingScheduler extends Scheduler {
  /** `handler pid` of each call; see {@linkcode note}. */
  readonly log: string[] = [];
  /** Position of the agent that gets new runnable and woken tasks; −1 keeps them. */
  target_index: number = -1;
  /** Called in each handler. */
  on_handler: ((row: number) => void) | null = null;
  readonly #tasks: AgentContext["tasks"];

  /** @param agent As for every policy. */
  constructor(agent: AgentContext) {
    super(agent);
    this.#tasks = agent.tasks;
  }

  /** See {@linkcode Scheduler}. */
  step(): Verdict {
    return this.drain() ? YIELD : AGAIN;
  }

  /** See {@linkcode Scheduler}. */
  drained(): boolean {
    return true;
  }

  /** See {@linkcode Scheduler}. */
  dump(): string {
    return "";
  }

  /** The log so far, which begins anew. */
  takeLog(): string[] {
    return this.log.splice(0);
  }

  /** Writes a call down: handler, pid, and the row's sequence number at that moment. */
  protected note(name: string, row: number, extra = ""): void {
    const pid = this.#tasks.gtid_hi[row] >> 9;
    this.log.push(`${name} ${pid} @${this.#tasks.seqnum[row]}${extra}`);
    this.on_handler?.(row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskNew(row: number, message: MessageCursor): void {
    this.note("new", row, message.runnable() ? " runnable" : "");
    if (message.runnable()) this.#place(row, message);
  }

  #place(row: number, message: MessageCursor): void {
    if (this.target_index < 0) return;
    if (!this.handOver(row, this.target_index, message.seqnum)) this.note("kept", row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskReceived(row: number): void {
    this.note("received", row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskRunnable(row: number, message: MessageCursor): void {
    this.note("runnable", row);
    this.#place(row, message);
  }

  /** See {@linkcode Scheduler}. */
  protected taskPreempted(row: number): void {
    this.note("preempted", row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskYield(row: number): void {
    this.note("yield", row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskOff(row: number): void {
    this.note("off", row);
  }

  /** See {@linkcode Scheduler}. */
  protected taskLatchFailure(row: number, message: MessageCursor): void {
    this.note("latch failure", row, ` errno ${message.latchErrno()}`);
  }

  /** See {@linkcode Scheduler}. */
  protected taskResync(row: number, runnable: boolean, on_cpu: boolean): void {
    this.note("resync", row, `${runnable ? " runnable" : ""}${on_cpu ? " on cpu" : ""}`);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskAffinityChanged(row: number): void {
    this.note("affinity", row);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskPriorityChanged(row: number, message: MessageCursor): void {
    this.note("priority", row, ` ${message.nice()}`);
  }

  /** See {@linkcode Scheduler}. */
  protected override taskOnCpu(row: number): void {
    this.note("on cpu", row);
  }

  #noteCpu(name: string, message: MessageCursor): void {
    this.log.push(`${name} cpu ${message.cpu()}`);
  }

  /** See {@linkcode Scheduler}. */
  protected override cpuTick(message: MessageCursor): void {
    this.#noteCpu("tick", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override cpuNotIdle(message: MessageCursor): void {
    this.#noteCpu("not idle", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override cpuTimerExpired(message: MessageCursor): void {
    this.#noteCpu("timer", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override cpuAvailable(message: MessageCursor): void {
    this.#noteCpu("available", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override cpuBusy(message: MessageCursor): void {
    this.#noteCpu("busy", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override agentBlocked(message: MessageCursor): void {
    this.#noteCpu("agent blocked", message);
  }

  /** See {@linkcode Scheduler}. */
  protected override agentWakeup(message: MessageCursor): void {
    this.#noteCpu("agent wakeup", message);
  }
}
