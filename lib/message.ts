/**
 * A cursor over the message a handler is looking at. One cursor serves all messages of an agent:
 * nothing is allocated per message, and fields are read straight from the ring.
 * Source: reference sections 1.3, 1.4 and 3.6.
 *
 * @module
 */
import type { Abi } from "../ffi/abi/abi.ts";
import * as abi_tables from "../ffi/abi/abi.ts";
import * as abi_constants from "../ffi/abi/constants.ts";
import { u64At } from "../ffi/memory.ts";

// Own copies: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { PAYLOAD } = abi_tables;
const {
  MSG_CPU_FIRST,
  MSG_CPU_LAST,
  MSG_NOP,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEPARTED,
  MSG_TASK_FIRST,
  MSG_TASK_LAST,
  MSG_TASK_NEW,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_YIELD,
} = abi_constants;

/** Reads the fields of one message. */
export class MessageCursor {
  /** Words that hold the message. */
  words: Int32Array = new Int32Array(0);
  /** Word index of the `ghost_msg` header. */
  at = 0;
  /** Type of the message. */
  type: number = MSG_NOP;
  /** Task messages: the task's barrier after the event. CPU messages: the agent's barrier. */
  seqnum = 0;
  readonly #abi: Abi;
  readonly #new_runnable: number;
  readonly #new_sw_info: number;
  readonly #new_runtime: number;
  readonly #new_nice: number;

  /**
   * Makes a cursor that reads any message of one ABI version.
   *
   * @param abi The ABI that the kernel speaks.
   */
  constructor(abi: Abi) {
    this.#abi = abi;
    this.#new_runnable = abi.words.new_runnable;
    this.#new_sw_info = abi.words.new_sw_info;
    this.#new_runtime = abi.words.new_runtime;
    this.#new_nice = abi.words.new_nice;
  }

  /** Points the cursor at a message. */
  set(words: Int32Array, at: number): void {
    this.words = words;
    this.at = at;
    this.type = words[at] & 0xffff;
    this.seqnum = words[at + 1];
  }

  /** True for MSG_TASK_*. */
  isTaskMessage(): boolean {
    return this.type >= MSG_TASK_FIRST && this.type <= MSG_TASK_LAST;
  }

  /** True for MSG_CPU_*. */
  isCpuMessage(): boolean {
    return this.type >= MSG_CPU_FIRST && this.type <= MSG_CPU_LAST;
  }

  /** A payload word as i32. */
  word(index: number): number {
    return this.words[this.at + 2 + index];
  }

  /** Low word of the task's gtid. */
  gtidLo(): number {
    return this.words[this.at + 2];
  }

  /** High word of the task's gtid. */
  gtidHi(): number {
    return this.words[this.at + 3];
  }

  /** CPU of a CPU message, or the CPU a task message happened on; −1 if it names none. */
  cpu(): number {
    switch (this.type) {
      case MSG_TASK_BLOCKED:
        return this.word(PAYLOAD.blocked_cpu);
      case MSG_TASK_SWITCHTO:
        return this.word(PAYLOAD.switchto_cpu);
      case MSG_TASK_PREEMPT:
      case MSG_TASK_YIELD:
        return this.word(PAYLOAD.preempt_cpu);
      case MSG_TASK_DEPARTED:
        return this.word(PAYLOAD.departed_cpu);
      default:
        return this.isCpuMessage() ? this.word(PAYLOAD.cpu) : -1;
    }
  }

  #flagsWord(): number {
    switch (this.type) {
      case MSG_TASK_BLOCKED:
        return this.word(PAYLOAD.blocked_flags);
      case MSG_TASK_PREEMPT:
      case MSG_TASK_YIELD:
        return this.word(PAYLOAD.preempt_flags);
      case MSG_TASK_DEPARTED:
        return this.word(PAYLOAD.departed_flags);
      default:
        return 0;
    }
  }

  /** The task was part of a switchto chain. */
  fromSwitchto(): boolean {
    return (this.#flagsWord() & 0xff) !== 0;
  }

  /** PREEMPT: the task was latched and never ran. */
  wasLatched(): boolean {
    return this.type === MSG_TASK_PREEMPT && (this.#flagsWord() & 0xff00) !== 0;
  }

  /** DEPARTED: the task was running on {@linkcode cpu}. */
  wasCurrent(): boolean {
    return this.type === MSG_TASK_DEPARTED && (this.#flagsWord() & 0xff00) !== 0;
  }

  /** WAKEUP: the task says it may wait. */
  deferrable(): boolean {
    return (this.word(PAYLOAD.wakeup_deferrable) & 0xff) !== 0;
  }

  /** Cumulative runtime in ns of NEW, BLOCKED, PREEMPT, YIELD and SWITCHTO. */
  runtimeNs(): number {
    const index = this.type === MSG_TASK_NEW ? this.#new_runtime : PAYLOAD.runtime;
    return u64At(this.words, this.at + 2 + index);
  }

  /** NEW: the task can run. */
  runnable(): boolean {
    return (this.word(this.#new_runnable) & 0xffff) !== 0;
  }

  /** NEW and PRIORITY_CHANGED: nice value; 0 where the ABI does not tell. */
  nice(): number {
    if (this.type === MSG_TASK_PRIORITY_CHANGED) return this.word(PAYLOAD.priority_nice);
    return this.#new_nice < 0 ? 0 : this.word(this.#new_nice);
  }

  /** NEW: index of the task's status word. */
  statusIndex(): number {
    return this.word(this.#new_sw_info + 1);
  }

  /** LATCH_FAILURE: errno that says why the latched task could not run. */
  latchErrno(): number {
    return this.word(PAYLOAD.latch_failure_errno);
  }

  /**
   * The message in words, as upstream prints it.
   *
   * @param name What to call the task.
   */
  stringify(name: string): string {
    const type = this.#abi.messages.get(this.type)?.name ?? `UNKNOWN_${this.type}`;
    let text = `M: ${type} seq=${this.seqnum >>> 0}`;
    if (this.type === MSG_NOP) return `${text} l=${this.words[this.at] >>> 16}`;
    if (this.isCpuMessage()) return `${text} cpu=${this.cpu()}`;
    text += ` ${name}`;
    if (this.type === MSG_TASK_NEW) return text + (this.runnable() ? " runnable" : " blocked");
    if (this.type === MSG_TASK_PRIORITY_CHANGED) return `${text} to nice ${this.nice()}`;
    if (this.type === MSG_TASK_SWITCHTO) return `${text} entering switchto on cpu ${this.cpu()}`;
    const cpu = this.cpu();
    if (cpu >= 0) text += ` on cpu ${cpu}`;
    if (this.wasLatched()) text += " (was_latched)";
    if (this.fromSwitchto()) text += " (from_switchto)";
    return text;
  }
}
