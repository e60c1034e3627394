/**
 * Flags of the antagonist: upstream's names, defaults and checks, and their dump
 * (reference section 6.2).
 *
 * @module
 */
import type { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { type Flag, parseFlags } from "../../util/flags.ts";
import { abslDurationText, numberFlag } from "../shared/absl_flags.ts";
import {
  allGood,
  experimentFlags,
  type ExperimentOptions,
  experimentOptions,
  threadCpus,
} from "../shared/flag_checks.ts";
import { streamText } from "./results.ts";

/** What is asked for. */
export interface AntagonistOptions extends ExperimentOptions {
  /** Share of a CPU that each thread uses, 0 to 1. */
  readonly work_share: number;
  readonly thread_count: number;
  /** One per thread, or none with ghOSt. */
  readonly cpus: readonly number[];
}

/** The flags. */
export const ANTAGONIST_FLAGS: readonly Flag[] = experimentFlags("threads", [
  { name: "work_share", value: "R", fallback: "1.0", help: "share of a CPU per thread, 0 to 1" },
  { name: "num_threads", value: "N", fallback: "8", help: "number of threads" },
  {
    name: "cpus",
    value: "LIST",
    fallback: "10-17",
    help: "with cfs one per thread, with ghost empty",
  },
]);

const THREAD_FLAGS = { cpus: "cpus", count: "num_threads", whose: "threads" };
const THREADS_MAX = 10_000;

/**
 * Reads the flags.
 *
 * @param args The arguments.
 * @param online The host's CPUs.
 * @returns The options, "help", or what is wrong.
 */
export function antagonistOptions(
  args: readonly string[],
  online: CpuList,
): AntagonistOptions | UsageError | "help" {
  const flags = parseFlags(ANTAGONIST_FLAGS, args, "antagonist");
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  const common = experimentOptions(flags);
  if (common instanceof UsageError) return common;
  const { scheduler } = common;
  const own = allGood({
    work_share: numberFlag(flags, "work_share", 1),
    thread_count: flags.integer("num_threads", 1, THREADS_MAX),
  });
  if (own instanceof UsageError) return own;
  const { thread_count } = own;
  const cpus = threadCpus(flags, THREAD_FLAGS, { scheduler, thread_count }, online);
  return cpus instanceof UsageError ? cpus : { ...common, ...own, cpus };
}

/** The dump: one "name: value" a line, by name; what is not upstream's is left out. */
export function optionsText(options: AntagonistOptions): string {
  return [
    ["cpus:", ...options.cpus].join(" "),
    `experiment_duration: ${abslDurationText(options.experiment_ns)}`,
    `ghost_qos: ${options.ghost_qos}`,
    `num_threads: ${options.thread_count}`,
    `print_format: ${options.print_format}`,
    `scheduler: ${options.scheduler}`,
    `work_share: ${streamText(options.work_share)}`,
  ].join("\n");
}
