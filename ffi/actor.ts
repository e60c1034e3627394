/**
 * Actors (native/actor.c): the threads of the contract suite on a real kernel. Each is a process
 * of its own, so that it can be killed alone.
 *
 * @module
 */
import { check } from "./errors.ts";
import { shimPath } from "./shim.ts";

// Operations; the numbers and arguments are those of native/actor.c.

/** The actor ends. */
export const ACTOR_EXIT = 0;
/** Uses the CPU for `a` ns; without end if `a` is negative. */
export const ACTOR_RUN = 1;
/** Sleeps for `a` ns. */
export const ACTOR_SLEEP = 2;
/** Yields. */
export const ACTOR_YIELD = 3;
/** Waits for a wake-up; one that came before counts. */
export const ACTOR_BLOCK = 4;
/** Wakes the actor of handle `a`. */
export const ACTOR_WAKE = 5;
/** Takes the nice value `a`. */
export const ACTOR_NICE = 6;
/** Takes the CPU mask number `a`. */
export const ACTOR_AFFINITY = 7;
/** Goes to SCHED_OTHER. */
export const ACTOR_LEAVE = 8;
/** Writes "0" to descriptor `a`. */
export const ACTOR_JOIN = 9;
/** Starts an actor at operation `a`. */
export const ACTOR_FORK = 10;
/** Repeats `a` times up to {@linkcode ACTOR_END}. */
export const ACTOR_REPEAT = 11;
/** Ends the loop that begins at `a`. */
export const ACTOR_END = 12;

/** Joins an enclave of the scx program: `a` is {@linkcode joinScxArgument}. */
export const ACTOR_JOIN_SCX = 13;

const ENCLAVES_PER_FD = 65_536;

/** Argument of {@linkcode ACTOR_JOIN_SCX}: a descriptor of the program that joins, an enclave. */
export function joinScxArgument(control_fd: number, enclave: number): number {
  return control_fd * ENCLAVES_PER_FD + enclave;
}

/** Numbers of an operation: its code and an argument. */
export const ACTOR_OP_LENGTH = 2;
/** Bytes of a CPU mask. */
export const ACTOR_MASK_BYTES = 64;

/** What an actor does. */
export interface ActorScript {
  /** Operations. */
  readonly ops: Float64Array<ArrayBuffer>;
  /** CPU masks, {@linkcode ACTOR_MASK_BYTES} each. */
  readonly masks: Uint8Array<ArrayBuffer>;
}

const SIGNATURES = {
  start: {
    name: "shim_actor_start",
    parameters: ["buffer", "i32", "buffer", "i32"],
    result: "f64",
  },
  tid: { name: "shim_actor_tid", parameters: ["f64"], result: "i32" },
  wake: { name: "shim_actor_wake", parameters: ["f64"], result: "void" },
  hasExited: { name: "shim_actor_has_exited", parameters: ["f64"], result: "i32" },
  kill: { name: "shim_actor_kill", parameters: ["f64"], result: "void" },
  reap: { name: "shim_actor_reap", parameters: ["f64"], result: "void" },
} as const;

let loaded: Deno.DynamicLibrary<typeof SIGNATURES> | undefined;

function library(): Deno.DynamicLibrary<typeof SIGNATURES>["symbols"] {
  loaded ??= Deno.dlopen(shimPath(), SIGNATURES);
  return loaded.symbols;
}

/** One actor. */
export class Actor {
  /** Its thread id, which is its process id too. */
  readonly tid: number;
  /** For {@linkcode ACTOR_WAKE} of another one. */
  readonly handle: number;

  /**
   * Starts an actor in the default class.
   *
   * @param script What it does.
   * @throws {ShimError} If there is no shim.
   * @throws {SystemError} If there is no memory or no process left.
   */
  constructor({ ops, masks }: ActorScript) {
    const op_count = ops.length / ACTOR_OP_LENGTH;
    const mask_count = masks.length / ACTOR_MASK_BYTES;
    this.handle = check("clone", library().start(ops, op_count, masks, mask_count));
    this.tid = library().tid(this.handle);
  }

  /** Lets it go on where it blocks, or will block next. */
  wake(): void {
    library().wake(this.handle);
  }

  /** True once it has ended. */
  hasExited(): boolean {
    return library().hasExited(this.handle) !== 0;
  }

  /** Ends it, wherever it is, and those that it started. */
  kill(): void {
    library().kill(this.handle);
  }

  /** Waits for the end of a killed actor; to be called last. */
  reap(): void {
    library().reap(this.handle);
  }
}
