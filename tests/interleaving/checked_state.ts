/**
 * Shared state whose every access the interleaving checker sees.
 *
 * @module
 */
import { SharedState, type SharedStateShape } from "../../lib/shared_state.ts";
import type { CheckedMemory } from "./checked_memory.ts";

/** A {@linkcode SharedState} that hands out checked views. */
export class CheckedState extends SharedState {
  readonly #memory: CheckedMemory;

  /**
   * @param memory Sees the accesses.
   * @param shape As for a plain state.
   */
  constructor(memory: CheckedMemory, shape: SharedStateShape) {
    super(shape);
    this.#memory = memory;
  }

  /** See {@linkcode SharedState.allocatorWords}. */
  override allocatorWords(): Int32Array {
    return this.#memory.shared(super.allocatorWords());
  }

  /** See {@linkcode SharedState.mapWords}. */
  override mapWords(): Int32Array {
    return this.#memory.shared(super.mapWords());
  }

  /** See {@linkcode SharedState.mailboxWords}. */
  override mailboxWords(cpu: number): Int32Array {
    return this.#memory.shared(super.mailboxWords(cpu));
  }

  /** See {@linkcode SharedState.task}. */
  override task(name: string): Int32Array {
    return this.#memory.shared(super.task(name));
  }

  /** See {@linkcode SharedState.clearers}. */
  override clearers(): Int32Array[] {
    return super.clearers().map((column) => this.#memory.shared(column));
  }

  /** See {@linkcode SharedState.cpu}. */
  override cpu(name: string, cpu: number): Int32Array {
    return this.#memory.shared(super.cpu(name, cpu));
  }

  /** See {@linkcode SharedState.global}. */
  override global(name: string): Int32Array {
    return this.#memory.shared(super.global(name));
  }
}
