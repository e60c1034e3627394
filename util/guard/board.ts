/**
 * The board of an agent process: a memfd with what its guard, its successor and a look at what it
 * left behind need, and the agents' shared state itself. It outlives the process, cannot shrink,
 * and is no memory of the kernel: whoever reads it is safe from the enclave's end.
 *
 * The layout of the words is that of native/guard.h.
 *
 * @module
 */
import { check } from "../../ffi/errors.ts";
import {
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SHRINK,
  MAP_PRIVATE,
  MAP_SHARED,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  PROT_READ,
  PROT_WRITE,
} from "../../ffi/linux.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import type { MemoryRegion } from "../../kernels/agent_spec.ts";
import { CPU_MASK_WORD_COUNT } from "../../lib/limits.ts";
import { SharedState, type SharedStateShape } from "../../lib/shared_state.ts";

/** Name of the memfd; its link under /proc/PID/fd is "/memfd:ghost_board (deleted)". */
export const BOARD_NAME = "ghost_board";
const MAGIC = 0x44524f42;
/** Bytes in front of the state. */
export const BOARD_BYTES = 65536;

const WORD_MAGIC = 0;
const WORD_PHASE = 1;
const WORD_CPU_COUNT = 2;
const WORD_ACTIVE_OFFSET = 3;
const WORD_COUNT_OFFSET = 4;
const WORD_CPU_STRIDE = 5;
const WORD_BEAT = 6;
const WORD_IS_MADE = 7;
const WORD_CPU_MASK = 16;
const WORD_PENDING = 32;
const ALIVE_OFFSET = 256;
const ACTIONS_OFFSET = 512;
const ACTIONS_BYTES = 3584;
const TEXT_OFFSET = 4096;

/** The agents are not there yet. */
export const PHASE_STARTING = 0;
/** They schedule. */
export const PHASE_ACTIVE = 1;
/** They were told to leave. */
export const PHASE_LEAVING = 2;
/** They have left, and the enclave is as it should be: the guard has nothing to do. */
export const PHASE_ENDED = 3;
/** They have failed and left, and said so: what becomes of the enclave is up to the guard. */
export const PHASE_FAILED = 4;

/** What an agent process says of itself. */
export interface BoardFacts {
  /** The kernel, as {@linkcode Kernel.kind} has it. */
  readonly kernel: string;
  /** What a user calls the enclave. */
  readonly path: string;
  /** True if it was made for the agent. */
  readonly is_made: boolean;
  /** ABI version. */
  readonly abi_version: number;
  /** How the shared state is laid out. */
  readonly shape: SharedStateShape;
}

/** How a part of a board is mapped: to write it, to read it, or as a copy. */
type Mapping = "own" | "view" | "copy";

function map(fd: number, size_bytes: number, offset: number, mapping: Mapping): MemoryRegion {
  const protection = mapping === "view" ? PROT_READ : PROT_READ | PROT_WRITE;
  const flags = mapping === "copy" ? MAP_PRIVATE : MAP_SHARED;
  const { mmap } = loadShim();
  const address = check("mmap", mmap(0, size_bytes, protection, flags, fd, offset));
  return { address, size_bytes };
}

function bufferOf({ address, size_bytes }: MemoryRegion): ArrayBuffer {
  return bufferAt(address, size_bytes);
}

/** The board of this process. */
export class AgentBoard {
  /** Its descriptor. */
  readonly fd: number;
  /** Where the shared state is; undefined before {@linkcode makeState}. */
  state_region: MemoryRegion | undefined;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  /** @param fd Descriptor of a board that is still empty. */
  constructor(fd: number) {
    this.fd = fd;
    const buffer = bufferOf(map(fd, BOARD_BYTES, 0, "own"));
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#words[WORD_MAGIC] = MAGIC;
  }

  /** A new board, for a process that no guard has given one to. */
  static create(): AgentBoard {
    const { memfdCreate, ftruncate } = loadShim();
    const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const fd = check("memfd_create", memfdCreate(cString(BOARD_NAME), flags));
    check("ftruncate", ftruncate(fd, BOARD_BYTES));
    return new AgentBoard(fd);
  }

  /** Makes the memory of the shared state behind the board, and seals its size. */
  makeState(size_bytes: number): ArrayBuffer {
    const { ftruncate, fcntl } = loadShim();
    check("ftruncate", ftruncate(this.fd, BOARD_BYTES + size_bytes));
    check("fcntl", fcntl(this.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    this.state_region = map(this.fd, size_bytes, BOARD_BYTES, "own");
    return bufferOf(this.state_region);
  }

  #put(offset: number, text: string, room_bytes: number): void {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length >= room_bytes) throw new RangeError(`no room for ${bytes.length} bytes`);
    this.#bytes.set(bytes, offset);
  }

  /**
   * Says what the agents run, and where their step counters are: the guard is responsible for the
   * enclave from now on.
   *
   * @param facts The agent process.
   * @param state Its shared state, made by {@linkcode makeState}.
   * @param actions Files and what to write to each, in order, to destroy the enclave.
   */
  publish(
    facts: BoardFacts,
    state: SharedState,
    actions: readonly (readonly [path: string, text: string])[],
  ): void {
    const { cpus } = facts.shape;
    const strings = actions.map(([path, text]) => `${path}\0${text}\0`).join("");
    this.#put(ACTIONS_OFFSET, strings, ACTIONS_BYTES);
    this.#put(TEXT_OFFSET, JSON.stringify(facts), BOARD_BYTES - TEXT_OFFSET);
    const active = cpus.map((cpu) => BOARD_BYTES + state.cpu("step_active", cpu).byteOffset);
    const words = this.#words;
    words[WORD_ACTIVE_OFFSET] = active[0];
    words[WORD_COUNT_OFFSET] = BOARD_BYTES + state.cpu("step_count", cpus[0]).byteOffset;
    words[WORD_CPU_STRIDE] = cpus.length > 1 ? active[1] - active[0] : 0;
    words[WORD_IS_MADE] = facts.is_made ? 1 : 0;
    for (const cpu of cpus) words[WORD_CPU_MASK + (cpu >> 5)] |= 1 << (cpu & 31);
    Atomics.store(words, WORD_CPU_COUNT, cpus.length);
  }

  /** Says how far the agents are: one of PHASE_*. */
  set phase(phase: number) {
    Atomics.store(this.#words, WORD_PHASE, phase);
  }

  /** See {@linkcode phase}. */
  get phase(): number {
    return Atomics.load(this.#words, WORD_PHASE);
  }

  /**
   * Says which queues hold messages that nobody takes.
   *
   * @param pending A bit per CPU, by its position in the list.
   */
  beat(pending: Int32Array): void {
    this.#words.set(pending.subarray(0, CPU_MASK_WORD_COUNT), WORD_PENDING);
    Atomics.add(this.#words, WORD_BEAT, 1);
  }
}

/** The board of another process, or of one that has died. */
export class BoardView {
  /** What that process said of itself. */
  readonly facts: BoardFacts;
  /** The state of its agents. */
  readonly state: SharedState;
  readonly #alive: BigInt64Array;

  private constructor(header: ArrayBuffer, state: ArrayBuffer, facts: BoardFacts) {
    this.facts = facts;
    this.state = new SharedState(facts.shape, state);
    this.#alive = new BigInt64Array(header, ALIVE_OFFSET, 1);
  }

  /**
   * Maps a board; closes the descriptor.
   *
   * @param fd The board.
   * @param mapping "copy": the state may be written and is private; "view": it changes as long as
   * its agents live.
   * @returns The board, or undefined if nothing was published on it, or by an unknown version.
   */
  static open(fd: number, mapping: "copy" | "view"): BoardView | undefined {
    const { close, fileSize } = loadShim();
    try {
      const size_bytes = fileSize(fd) - BOARD_BYTES;
      if (size_bytes <= 0) return undefined;
      const header = bufferOf(map(fd, BOARD_BYTES, 0, "view"));
      const words = new Int32Array(header);
      if (words[WORD_MAGIC] !== MAGIC || words[WORD_CPU_COUNT] === 0) return undefined;
      const bytes = new Uint8Array(header, TEXT_OFFSET);
      const text = new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
      const state = bufferOf(map(fd, size_bytes, BOARD_BYTES, mapping));
      return new BoardView(header, state, JSON.parse(text));
    } catch {
      return undefined; // another version of this program has made it
    } finally {
      close(fd);
    }
  }

  /** When the agent was last seen alive, in ns as CLOCK_MONOTONIC; 0 if nobody has looked. */
  get alive_ns(): number {
    return Number(this.#alive[0]);
  }
}
