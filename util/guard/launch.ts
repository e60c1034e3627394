/**
 * How an agent comes under its guard: the executable, once it has read its flags, becomes the guard
 * (the process that the user started), which runs the same executable again as its child, with the
 * same arguments and the board's descriptor in one variable.
 *
 * @module
 */
import { errnoName } from "../../ffi/errno.ts";
import { AT_FDCWD, F_SETFD, FD_CLOEXEC, O_PATH } from "../../ffi/linux.ts";
import { loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import { BOARD_NAME } from "./board.ts";
import { EXIT_KINDS, type ExitKind } from "./last_exit.ts";

/** What the guard does when the agent stalls or dies. */
export const CRASH_ACTIONS = ["destroy", "restart", "leave"] as const;
/** One of {@linkcode CRASH_ACTIONS}. */
export type CrashAction = typeof CRASH_ACTIONS[number];

/** Settings of a guard. */
export interface GuardSettings {
  /** Name of the program, for messages. */
  readonly name: string;
  /** How long an agent that has something to do may stand still. */
  readonly watchdog_ns: number;
  /** See {@linkcode CRASH_ACTIONS}. */
  readonly on_crash: CrashAction;
}

/** What a guard has told this process. */
export interface GuardLink {
  /** `run`: be the agent; `dump`: write what a dead agent knew. */
  readonly mode: "run" | "dump";
  /** The board; with `dump`, that of the dead agent. */
  readonly board_fd: number;
  /** Board of the agent whose place this one takes, or −1. */
  readonly old_fd: number;
  /** With `dump`: how the agent ended. */
  readonly end?: AgentEnd;
}

/** How a guard saw its agent end. */
export interface AgentEnd {
  /** How. */
  readonly kind: ExitKind;
  /** Process of the agent. */
  readonly pid: number;
  /** When, in ms since 1970. */
  readonly time_ms: number;
  /** What happened, in one line. */
  readonly reason: string;
}

/** How an agent process and its guard find each other; tests leave it out. */
export interface GuardHost {
  /** What a guard has told this process; undefined if there is none. */
  link(): GuardLink | undefined;
  /**
   * Makes this process the guard, which starts the agent again.
   *
   * @returns Only if that failed: why.
   */
  become(settings: GuardSettings): string;
}

const VARIABLE = "GHOST_GUARD";

function isBoard(fd: number): boolean {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${fd}`) === `/memfd:${BOARD_NAME} (deleted)`;
  } catch {
    return false;
  }
}

/** How the agent ended, in the guard's words: KIND:PID:TIME_MS:REASON. */
function endOf(text: string): AgentEnd | undefined {
  const [, name, pid, time_ms, reason] = /^(\w+):(\d+):(\d+):(.*)$/s.exec(text) ?? [];
  const kind = EXIT_KINDS.find((known) => known === name);
  return kind && { kind, pid: Number(pid), time_ms: Number(time_ms), reason };
}

/** Reads the guard's variable and takes it away, so that no child of ours finds it. */
function link(): GuardLink | undefined {
  const match = /^(run|dump):(\d+):(-1|\d+)(?::(.*))?$/s.exec(Deno.env.get(VARIABLE) ?? "");
  Deno.env.delete(VARIABLE);
  if (match === null) return undefined;
  const [mode, board_fd, old_fd] = [match[1] as "run" | "dump", Number(match[2]), Number(match[3])];
  const fds = old_fd < 0 ? [board_fd] : [board_fd, old_fd];
  if (!fds.every(isBoard)) return undefined;
  const { fcntl } = loadShim();
  for (const fd of fds) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return { mode, board_fd, old_fd, end: endOf(match[4] ?? "") };
}

function become({ name, watchdog_ns, on_crash }: GuardSettings): string {
  const { openat, memfdCreate, write, becomeGuard } = loadShim();
  const exe_fd = openat(AT_FDCWD, cString("/proc/self/exe"), O_PATH, 0);
  if (exe_fd < 0) return `/proc/self/exe: ${errnoName(-exe_fd)}`;
  const head = new TextEncoder().encode(`${name}\0${watchdog_ns}\0${on_crash}\0${exe_fd}\0`);
  const args = Deno.readFileSync("/proc/self/cmdline");
  const settings = new Uint8Array(head.length + args.length);
  settings.set(head);
  settings.set(args, head.length);
  const fd = memfdCreate(cString("guard_settings"), 0);
  if (fd < 0) return `memfd_create: ${errnoName(-fd)}`;
  if (write(fd, settings, settings.length) !== settings.length) return "its settings are cut off";
  return errnoName(-becomeGuard(fd));
}

/** The guard that the shim carries. */
export const NATIVE_GUARD: GuardHost = { link, become };
