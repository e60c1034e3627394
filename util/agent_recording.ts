/**
 * `--record` and `--replay` of agents on the simulated kernel. A recording names the flags that
 * decide the run, so that `--replay FILE` alone repeats it.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { readRecording, type Recording } from "../lib/recording.ts";
import type { Flag, FlagValues } from "./flags.ts";

/** Common flags that decide what a simulated run does. */
const DECIDING_FLAGS: readonly string[] = ["workload", "ghost_cpus", "cpus", "seed"];
/** Flags that may stand beside `--replay`. */
const REPLAY_FLAGS: readonly string[] = ["replay", "kernel", "trace", "html", "verbose"];

/** The program that recorded, and flags by name. */
export interface RecordedConfig extends Readonly<Record<string, unknown>> {
  /** Name of the program. */
  readonly program: string;
  /** Flags that decide the run. */
  readonly flags: Readonly<Record<string, string>>;
}

function decidingFlags(own: readonly Flag[]): string[] {
  return [...DECIDING_FLAGS, ...own.map((flag) => flag.name)];
}

/** What a recording has to say of the run of a program. */
export function recordedConfig(
  program: string,
  own: readonly Flag[],
  flags: FlagValues,
): RecordedConfig {
  const names = decidingFlags(own).filter((name) => flags.has(name));
  return { program, flags: Object.fromEntries(names.map((name) => [name, flags.text(name)])) };
}

/** A recording and the arguments that repeat it. */
export interface Replay {
  /** The recording. */
  readonly recording: Recording;
  /** Arguments that repeat the run. */
  readonly args: readonly string[];
}

/**
 * Reads the file of `--replay`.
 *
 * @param program Name of the program.
 * @param own Flags that the program has beside the common ones.
 * @param args Its arguments.
 * @param path The file.
 * @returns The recording, or why it cannot be repeated.
 */
export function readReplay(
  program: string,
  own: readonly Flag[],
  args: readonly string[],
  path: string,
): Replay | UsageError {
  const names = args.filter((arg) => arg.startsWith("--")).map((arg) => arg.slice(2).split("=")[0]);
  const other = names.find((name) => !REPLAY_FLAGS.includes(name));
  if (other !== undefined) {
    return new UsageError(`--replay and --${other} exclude each other`, "the recording says it");
  }
  const recording = readRecording(path);
  if (recording instanceof UsageError) {
    return new UsageError(`--replay: ${recording.fault}`, recording.cure);
  }
  const { kernel, config } = recording.header;
  const flags = config?.flags;
  const is_ours = kernel === "sim" && config?.program === program &&
    typeof flags === "object" && flags !== null;
  if (!is_ours) {
    return new UsageError(
      `--replay: ${path} is a recording of ${config?.program ?? "nothing"} on ${kernel}`,
      "repeat it with that program",
    );
  }
  // Only these flags: a recording comes from elsewhere, and must not name files to write.
  const deciding = decidingFlags(own);
  const recorded = Object.entries(flags)
    .filter(([name]) => deciding.includes(name))
    .map(([name, value]) => `--${name}=${value}`);
  return { recording, args: [...args, ...recorded] };
}
