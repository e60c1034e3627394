/**
 * The memory of the interleaving checker: tells of each access before it happens, also of the
 * plain ones that do not go through {@linkcode Memory}, and can carry the bugs that a structure
 * would have if it used weaker accesses.
 *
 * @module
 */
import type { Memory } from "../../ffi/memory.ts";

/**
 * Bugs to plant:
 * `stores_pass_publish`: plain stores become visible after the publish that should follow them;
 * `split_add`, `split_exchange`: the atomic operation is a read and a later write;
 * `no_lock`: a compare-exchange that fails says that it succeeded.
 */
export type MemoryFault = "stores_pass_publish" | "split_add" | "split_exchange" | "no_lock";

interface Store {
  readonly words: Int32Array;
  readonly index: number;
  readonly value: number;
}

/** Memory whose every access is a place to switch. */
export class CheckedMemory implements Memory {
  /** Called before each access. */
  before_access: () => void = () => {};
  /** Called when an operation waits; throws. */
  on_pause: () => void = () => {};
  /** Changes what is published; a hook for planted bugs. */
  on_publish: (value: number) => number = (value) => value;
  /** First word that each access touched, if a test listens. */
  on_index: ((index: number) => void) | null = null;
  readonly #fault: MemoryFault | undefined;
  readonly #raw = new WeakMap<Int32Array, Int32Array>();
  /** Stores held back, one list per operation under way. */
  readonly #held: Store[][] = [];

  /** @param fault The bug to plant, if any. */
  constructor(fault?: MemoryFault) {
    this.#fault = fault;
  }

  /**
   * Words that logical threads share: plain accesses to them are seen as well.
   *
   * @returns A view of the same words, to be given to the structure under test.
   */
  shared(words: Int32Array): Int32Array {
    const view = new Proxy(words, {
      get: (target, property) => {
        if (typeof property === "string" && /^\d+$/.test(property)) {
          return this.#plainLoad(target, Number(property));
        }
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          this.before_access();
          return Reflect.apply(value, target, args);
        };
      },
      set: (target, property, value) => {
        this.#plainStore(target, Number(property), value as number);
        return true;
      },
    });
    this.#raw.set(view, words);
    return view;
  }

  #rawOf(words: Int32Array): Int32Array {
    return this.#raw.get(words) ?? words;
  }

  #plainLoad(words: Int32Array, index: number): number {
    this.#access(index);
    const held = this.#held.at(-1)?.findLast((one) => one.words === words && one.index === index);
    return held?.value ?? words[index];
  }

  #plainStore(words: Int32Array, index: number, value: number): void {
    this.#access(index);
    const held = this.#held.at(-1);
    if (this.#fault === "stores_pass_publish" && held !== undefined) {
      held.push({ words, index, value });
    } else words[index] = value;
  }

  #access(index: number): void {
    this.before_access();
    this.on_index?.(index);
  }

  /** An operation begins, perhaps inside another one. */
  beginOperation(): void {
    this.#held.push([]);
  }

  /** The innermost operation is over. */
  endOperation(): void {
    this.#flush();
    this.#held.pop();
  }

  #flush(): void {
    const held = this.#held.at(-1);
    if (held === undefined || held.length === 0) return;
    this.before_access();
    for (const { words, index, value } of held.splice(0)) words[index] = value;
  }

  /** See {@linkcode Memory.poll}. */
  poll(words: Int32Array, index: number): number {
    return this.#plainLoad(this.#rawOf(words), index);
  }

  /** See {@linkcode Memory.acquire}. */
  acquire(words: Int32Array, index: number): number {
    return this.#plainLoad(this.#rawOf(words), index);
  }

  /** See {@linkcode Memory.publish}. */
  publish(words: Int32Array, index: number, value: number): void {
    this.#access(index);
    this.#rawOf(words)[index] = this.on_publish(value);
    this.#flush();
  }

  /** See {@linkcode Memory.compareExchange}. */
  compareExchange(words: Int32Array, index: number, expected: number, value: number): number {
    this.#access(index);
    const raw = this.#rawOf(words);
    const before = raw[index];
    if (before !== expected) return this.#fault === "no_lock" ? expected : before;
    if (this.#fault === "split_exchange") this.#access(index);
    raw[index] = value;
    this.#flush();
    return before;
  }

  /** See {@linkcode Memory.add}. */
  add(words: Int32Array, index: number, delta: number): number {
    this.#access(index);
    const raw = this.#rawOf(words);
    const before = raw[index];
    if (this.#fault === "split_add") this.#access(index);
    raw[index] = before + delta;
    this.#flush();
    return before;
  }

  /** See {@linkcode Memory.pause}. */
  pause(): void {
    this.on_pause();
  }
}
