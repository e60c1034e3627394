/**
 * The scripts of a case's threads as operations for actors of a real kernel.
 *
 * @module
 */
import {
  ACTOR_AFFINITY,
  ACTOR_BLOCK,
  ACTOR_END,
  ACTOR_EXIT,
  ACTOR_FORK,
  ACTOR_LEAVE,
  ACTOR_MASK_BYTES,
  ACTOR_NICE,
  ACTOR_OP_LENGTH,
  ACTOR_REPEAT,
  ACTOR_RUN,
  ACTOR_SLEEP,
  ACTOR_WAKE,
  ACTOR_YIELD,
  type ActorScript,
} from "../../ffi/actor.ts";
import type { EnclaveControl } from "../../kernels/kernel.ts";
import type { ThreadAction } from "./host.ts";

/** A run of at least this many ns means "longer than the case lasts". */
const FOREVER_NS = 1e9;

/** What a script's numbers mean on this host. */
export interface ScriptNames {
  /** Handle of the actor of a thread id. */
  handleOf(tid: number): number;
  /** Operation and argument with which a thread moves itself into an enclave. */
  joinOperation(enclave: EnclaveControl): readonly [code: number, argument: number];
}

/** Bytes of a mask of CPUs. */
export function cpuMaskBytes(cpus: readonly number[]): Uint8Array<ArrayBuffer> {
  const mask = new Uint8Array(ACTOR_MASK_BYTES);
  for (const cpu of cpus) mask[cpu >> 3] |= 1 << (cpu & 7);
  return mask;
}

/** Compiles scripts; those of forked threads follow the one that forks them. */
class ScriptCompiler {
  readonly ops: number[] = [];
  readonly masks: number[] = [];
  readonly #names: ScriptNames;
  readonly #forks: { readonly at: number; readonly script: readonly ThreadAction[] }[] = [];

  constructor(names: ScriptNames) {
    this.#names = names;
  }

  emit(code: number, argument = 0): number {
    return (this.ops.push(code, argument) - ACTOR_OP_LENGTH) / ACTOR_OP_LENGTH;
  }

  /** A whole script, then those that it forks. */
  script(actions: readonly ThreadAction[]): void {
    this.actions(actions);
    this.emit(ACTOR_EXIT);
    for (let fork = this.#forks.shift(); fork !== undefined; fork = this.#forks.shift()) {
      this.ops[fork.at * ACTOR_OP_LENGTH + 1] = this.ops.length / ACTOR_OP_LENGTH;
      this.script(fork.script);
    }
  }

  actions(actions: readonly ThreadAction[]): void {
    for (const action of actions) this.#action(action);
  }

  #action(action: ThreadAction): void {
    switch (action.op) {
      case "run":
        this.emit(ACTOR_RUN, action.ns >= FOREVER_NS ? -1 : action.ns);
        return;
      case "sleep":
        this.emit(ACTOR_SLEEP, action.ns);
        return;
      case "yield":
        this.emit(ACTOR_YIELD);
        return;
      case "block":
        this.emit(ACTOR_BLOCK);
        return;
      case "exit":
        this.emit(ACTOR_EXIT);
        return;
      case "wake":
        this.emit(ACTOR_WAKE, this.#names.handleOf(action.tid));
        return;
      case "nice":
        this.emit(ACTOR_NICE, action.nice);
        return;
      case "affinity":
        this.emit(ACTOR_AFFINITY, this.masks.length / ACTOR_MASK_BYTES);
        this.masks.push(...cpuMaskBytes(action.cpus));
        return;
      case "leave":
        this.emit(ACTOR_LEAVE);
        return;
      case "join":
        this.emit(...this.#names.joinOperation(action.enclave));
        return;
      case "fork":
        this.#forks.push({ at: this.emit(ACTOR_FORK), script: action.script });
        return;
      case "repeat": {
        const start = this.emit(ACTOR_REPEAT, action.count);
        this.actions(action.actions);
        this.emit(ACTOR_END, start);
        return;
      }
      case "switch_to":
        throw new RangeError("actors have no switch_to: cases that need it are left out");
    }
  }
}

/**
 * Compiles the script of a thread, which begins when it is woken for the first time.
 *
 * @param first What comes before the wake-up and the script.
 * @param script The script.
 * @param names What its numbers mean.
 * @returns What the actor does.
 */
export function compileScript(
  first: readonly ThreadAction[],
  script: readonly ThreadAction[],
  names: ScriptNames,
): ActorScript {
  const compiler = new ScriptCompiler(names);
  compiler.script([...first, ...script]);
  return { ops: Float64Array.from(compiler.ops), masks: Uint8Array.from(compiler.masks) };
}
