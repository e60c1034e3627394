/**
 * The threads of a fuzz run: they run, sleep, yield, block and wake each other, hand their CPU on,
 * fork, change class, affinity and nice value, and end.
 *
 * @module
 */
import { block, run, type Script, sleep, switchTo, yieldCpu } from "../../kernels/sim/actions.ts";
import type { SimEnclave } from "../../kernels/sim/enclave.ts";
import type { SimMachine } from "../../kernels/sim/machine.ts";
import { DEAD, type SimThread, SLEEPING } from "../../kernels/sim/thread.ts";
import type { Prng } from "../../lib/prng.ts";
import type { FuzzPlan } from "./plan.ts";

/** Two threads that wait for each other in turn. */
interface Pair {
  readonly members: SimThread[];
  readonly tokens: [number, number];
}

/** The longest RUN action in ns. */
export const RUN_NS_MAX = 100_000;
/** How often threads are woken for good once the load ends, in ns. */
const CLOSING_WAKE_NS = 200_000;

/** Threads and what they do. */
export class FuzzLoad {
  /** True once threads end with their present action. */
  closing = false;
  readonly #machine: SimMachine;
  readonly #enclave: SimEnclave;
  readonly #prng: Prng;
  readonly #plan: FuzzPlan;

  /** Makes a load; {@linkcode start} begins it. */
  constructor(machine: SimMachine, enclave: SimEnclave, plan: FuzzPlan, prng: Prng) {
    this.#machine = machine;
    this.#enclave = enclave;
    this.#plan = plan;
    this.#prng = prng;
  }

  /** Schedules all thread starts. */
  start(): void {
    const { thread_count, competitor_count, loaded_ns } = this.#plan;
    for (let number = 0; number < thread_count;) {
      const group = 1 + this.#prng.below(3);
      const count = Math.min(group, thread_count - number);
      // Most threads are there from the start, as after `pushtosched`.
      const time_ns = this.#prng.chance(1, 2) ? 0 : this.#prng.below(loaded_ns >> 1);
      this.#machine.at(time_ns, () => this.#startGroup(count));
      number += count;
    }
    for (let number = 0; number < competitor_count; number++) {
      this.#machine.at(this.#prng.below(loaded_ns), () => {
        const thread = this.#machine.spawn(() => this.#compete(), "competitor");
        if (this.#prng.chance(1, 2)) thread.affinity = this.#randomMask();
      });
    }
  }

  /** Lets every thread come to its end: none finds new work, and those that wait are woken. */
  close(): void {
    this.closing = true;
    this.#wakeSleepers();
  }

  #wakeSleepers(): void {
    const { threads } = this.#machine;
    let live = false;
    for (let index = 0; index < threads.length; index++) {
      const thread = threads[index];
      if (thread.state === SLEEPING) this.#machine.wake(thread, thread.cpu);
      live ||= thread.state !== DEAD;
    }
    if (live) this.#machine.at(this.#machine.now_ns + CLOSING_WAKE_NS, () => this.#wakeSleepers());
  }

  #startGroup(count: number): void {
    if (this.closing) return;
    if (count === 2) {
      const pair: Pair = { members: [], tokens: [1, 0] };
      for (const side of [0, 1] as const) {
        pair.members.push(this.#startOne(() => this.#meet(pair, side), `pair${side}`));
      }
    } else if (count === 3) {
      const members: SimThread[] = [];
      for (let position = 0; position < 3; position++) {
        members.push(this.#startOne(() => this.#hand(members, position), `chain${position}`));
      }
    } else {
      this.#startOne((thread) => this.#work(thread), "worker");
    }
  }

  #startOne(script: (thread: SimThread) => Script, name: string): SimThread {
    const thread = this.#machine.spawn(script, name);
    const enter = () => this.#enclave.join(thread.tid);
    if (this.#prng.chance(3, 4)) enter();
    else this.#machine.at(this.#machine.now_ns + this.#prng.below(500_000), enter);
    return thread;
  }

  #runNs(): number {
    return 1 + this.#prng.below(this.#prng.chance(1, 2) ? 5_000 : RUN_NS_MAX);
  }

  #rounds(): number {
    return 1 + this.#prng.below(400);
  }

  /** Runs, and does one thing after each run. */
  *#work(thread: SimThread): Script {
    for (let rounds = this.#rounds(); rounds > 0 && !this.closing; rounds--) {
      yield run(this.#runNs());
      switch (this.#prng.below(8)) {
        case 0:
          yield yieldCpu();
          break;
        case 1:
          this.#change(thread);
          break;
        case 2:
          // A child of the same kind ends sooner or later, as its rounds are counted too.
          if (this.#prng.chance(1, 4)) {
            this.#machine.spawn((child) => this.#live(child), "child", thread);
          }
          break;
        default:
          yield sleep(1 + this.#prng.below(200_000));
      }
    }
  }

  /** A child's life. */
  *#live(_thread: SimThread): Script {
    yield run(this.#runNs());
    if (this.#prng.chance(1, 2)) yield sleep(1 + this.#prng.below(50_000));
    yield run(this.#runNs());
  }

  /** Changes something that the kernel tells the agent, or the scheduling class. */
  #change(thread: SimThread): void {
    const { messages } = this.#machine;
    switch (this.#prng.below(3)) {
      case 0:
        thread.affinity = this.#randomMask();
        return messages.taskAffinityChanged(thread);
      case 1:
        thread.nice = this.#prng.below(40) - 20;
        return messages.taskPriorityChanged(thread);
      default:
        if (thread.enclave !== null) thread.enclave.depart(thread);
        else this.#enclave.join(thread.tid);
    }
  }

  /** A mask with at least one CPU that is there. */
  #randomMask(): Int32Array {
    const mask = new Int32Array(16);
    const cpu_count = this.#plan.cpu_rows.length;
    mask[0] = this.#prng.nextU32() | (1 << this.#prng.below(cpu_count));
    return mask;
  }

  /** Passes a token to the other side and waits for it to come back. */
  *#meet(pair: Pair, side: 0 | 1): Script {
    const other = side === 0 ? 1 : 0;
    for (let rounds = this.#rounds(); rounds > 0 && !this.closing; rounds--) {
      // Between the check and the block no other thread can run, so no wake-up is lost.
      while (pair.tokens[side] === 0 && !this.closing) yield block();
      pair.tokens[side] = 0;
      yield run(this.#runNs());
      pair.tokens[other] = 1;
      const waiting = pair.members[other];
      if (waiting?.state === SLEEPING) this.#machine.wake(waiting, pair.members[side].cpu);
      yield run(1 + this.#prng.below(1_000));
    }
    pair.tokens[other] = 1;
    const left = pair.members[other];
    if (left?.state === SLEEPING) this.#machine.wake(left, left.cpu);
    yield run(1);
  }

  /** Hands the CPU to the next member, again and again. */
  *#hand(members: readonly SimThread[], position: number): Script {
    for (let rounds = this.#rounds(); rounds > 0 && !this.closing; rounds--) {
      yield run(this.#runNs());
      const next = members[(position + 1) % members.length];
      if (next !== undefined && this.#prng.chance(3, 4)) yield switchTo(next.tid);
      else yield sleep(1 + this.#prng.below(50_000));
    }
  }

  /** A default-class thread that takes CPUs away. */
  *#compete(): Script {
    for (let rounds = this.#rounds(); rounds > 0 && !this.closing; rounds--) {
      yield run(this.#runNs());
      yield sleep(1 + this.#prng.below(1_000_000));
    }
  }
}
