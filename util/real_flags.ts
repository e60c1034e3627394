/**
 * The flags that agents have on real kernels: what happens when the agent stalls or dies.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { parseDurationNs } from "./duration.ts";
import type { Flag, FlagValues } from "./flags.ts";
import { CRASH_ACTIONS, type CrashAction } from "./guard/launch.ts";

/** The flags. */
export const REAL_FLAGS: readonly Flag[] = [
  {
    name: "on-crash",
    value: "ACTION",
    fallback: "destroy",
    help: `if the agent stalls or dies: ${CRASH_ACTIONS.join(", ")}`,
  },
  {
    name: "watchdog",
    value: "TIME",
    fallback: "5s",
    help: "an agent with work that stands still for so long has stalled",
  },
  {
    name: "runnable-timeout",
    value: "TIME",
    fallback: "30s",
    help: "the kernel ends an enclave where a thread waits so long",
  },
];

/** What these flags say. */
export interface RealOptions {
  /** What to do when the agent stalls or dies. */
  readonly on_crash: CrashAction;
  /** How long an agent with work may stand still, in ns. */
  readonly watchdog_ns: number;
  /** Time in ms after which the kernel destroys an enclave with a runnable thread that waits. */
  readonly runnable_timeout_ms: number;
}

/** Below, an agent that the machine holds up for a moment would be taken for one that hangs. */
const WATCHDOG_NS_MIN = 10e6;
const TIME_NS_MAX = 3600e9;

function duration(flags: FlagValues, name: string, min_ns: number): number | UsageError {
  const text = flags.text(name);
  const value_ns = parseDurationNs(text);
  if (value_ns >= min_ns && value_ns <= TIME_NS_MAX) return Math.round(value_ns);
  return new UsageError(
    `bad value ${JSON.stringify(text)} of --${name}`,
    `give a time from ${min_ns / 1e6}ms to 1h, such as 5s`,
  );
}

/**
 * Checks the flags.
 *
 * @param flags The flags, with {@linkcode REAL_FLAGS}.
 * @returns What they say, or what is wrong.
 */
export function realOptions(flags: FlagValues): RealOptions | UsageError {
  const text = flags.text("on-crash");
  const on_crash = CRASH_ACTIONS.find((action) => action === text);
  if (on_crash === undefined) {
    return new UsageError(
      `unknown action ${JSON.stringify(text)} in --on-crash`,
      `give one of ${CRASH_ACTIONS.join(", ")}`,
    );
  }
  const watchdog_ns = duration(flags, "watchdog", WATCHDOG_NS_MIN);
  if (watchdog_ns instanceof UsageError) return watchdog_ns;
  const runnable_ns = duration(flags, "runnable-timeout", 1e6);
  if (runnable_ns instanceof UsageError) return runnable_ns;
  return { on_crash, watchdog_ns, runnable_timeout_ms: Math.ceil(runnable_ns / 1e6) };
}
