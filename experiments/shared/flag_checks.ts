/**
 * Flags that several experiments have, and the checks of their values.
 *
 * @module
 */
import type { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { ENCLAVE_FLAGS } from "../../util/enclave_choice.ts";
import type { Flag, FlagValues } from "../../util/flags.ts";
import { durationFlag, wordFlag } from "./absl_flags.ts";
import { measuredCpus } from "./host_cpus.ts";

/** A program's flags, with those that rocksdb and the antagonist share. */
export function experimentFlags(whose: string, own: readonly Flag[]): readonly Flag[] {
  return [
    { name: "print_format", value: "FORMAT", fallback: "pretty", help: "pretty or csv" },
    ...own,
    { name: "experiment_duration", value: "TIME", fallback: "inf", help: "time until the end" },
    { name: "scheduler", value: "NAME", fallback: "cfs", help: "cfs or ghost" },
    { name: "ghost_qos", value: "N", fallback: "2", help: `QoS class of the ${whose} with ghost` },
    { name: "kernel", value: "NAME", fallback: "auto", help: "with ghost: auto, ghost or scx" },
    ...ENCLAVE_FLAGS,
    { name: "help", help: "print this" },
  ];
}

/** Values of the flags of {@linkcode experimentFlags}. */
export interface ExperimentOptions {
  readonly print_format: "pretty" | "csv";
  /** Time until the end. */
  readonly experiment_ns: number;
  readonly scheduler: "cfs" | "ghost";
  readonly ghost_qos: number;
  /** Where the enclave is looked for. Not of upstream's flags. */
  readonly kernel: string;
  /** Enclave that the threads join; "": the one with an agent. Not of upstream's flags. */
  readonly enclave: string;
}

/** What is left when no value is an error. */
type Good<T> = { [K in keyof T]: Exclude<T[K], UsageError> };

/**
 * Takes the values of several flags together.
 *
 * @param values Values and what is wrong with them, by name.
 * @returns The values, or the first that is wrong.
 */
export function allGood<T extends Record<string, unknown>>(values: T): Good<T> | UsageError {
  const error = Object.values(values).find((value) => value instanceof UsageError);
  return error instanceof UsageError ? error : values as Good<T>;
}

/** Values of the flags of {@linkcode experimentFlags}, or the first that is wrong. */
export function experimentOptions(flags: FlagValues): ExperimentOptions | UsageError {
  return allGood({
    print_format: wordFlag(flags, "print_format", ["pretty", "csv"]),
    experiment_ns: durationFlag(flags, "experiment_duration"),
    scheduler: wordFlag(flags, "scheduler", ["cfs", "ghost"]),
    ghost_qos: flags.integer("ghost_qos", 0, 2 ** 32 - 1),
    kernel: flags.text("kernel"),
    enclave: flags.text("enclave"),
  });
}

/** The flags that say how many threads there are, and where. */
export interface ThreadFlags {
  /** Name of the flag that lists their CPUs. */
  readonly cpus: string;
  /** Name of the flag that counts them. */
  readonly count: string;
  /** What they are called. */
  readonly whose: string;
}

/**
 * The CPUs of threads: with cfs one each, with ghost none, since the agent chooses.
 *
 * @param flags The flags.
 * @param names Names of two of them.
 * @param asked What the other flags say: the scheduler, and how many threads there are.
 * @param online The host's CPUs.
 * @returns The CPUs, or what is wrong.
 */
export function threadCpus(
  flags: FlagValues,
  names: ThreadFlags,
  asked: { readonly scheduler: "cfs" | "ghost"; readonly thread_count: number },
  online: CpuList,
): readonly number[] | UsageError {
  const cpus = measuredCpus(names.cpus, flags.text(names.cpus), online);
  if (asked.scheduler === "ghost" && (cpus instanceof UsageError || cpus.length > 0)) {
    return new UsageError(
      `--${names.cpus}: with --scheduler=ghost the agent chooses the ${names.whose}' CPUs`,
      `give --${names.cpus}=`,
    );
  }
  if (cpus instanceof UsageError || asked.scheduler === "ghost") return cpus;
  if (cpus.length === asked.thread_count) return cpus;
  return new UsageError(
    `--${names.cpus} names ${cpus.length} CPUs for ${asked.thread_count} ${names.whose}`,
    `give one for each of --${names.count}`,
  );
}

/**
 * A flag that is a list of some words.
 *
 * @param flags The flags.
 * @param name Name of the flag.
 * @param words What may be in it.
 */
export function wordsFlag(
  flags: FlagValues,
  name: string,
  words: readonly string[],
): string[] | UsageError {
  const given = flags.text(name).split(",");
  const wrong = given.find((word) => !words.includes(word));
  if (wrong === undefined) return given;
  return new UsageError(
    `--${name}: unknown value ${JSON.stringify(wrong)}`,
    `give some of ${words.join(",")}`,
  );
}

/** A flag that is a list of whole numbers, each from 1 to `max`. */
export function countsFlag(flags: FlagValues, name: string, max: number): number[] | UsageError {
  const text = flags.text(name);
  const counts = text.split(",").map((word) => /^[1-9]\d{0,15}$/.test(word) ? Number(word) : NaN);
  if (counts.every((count) => count <= max)) return counts;
  return new UsageError(
    `--${name}: bad value ${JSON.stringify(text)}`,
    `give numbers from 1 to ${max} with commas between them, such as 2,30`,
  );
}
