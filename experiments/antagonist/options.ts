/**
 * Flags of the antagonist: upstream's names, defaults and checks, and their dump
 * (reference section 6.2).
 *
 * @module
 */
import type { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { ENCLAVE_FLAGS } from "../../util/enclave_choice.ts";
import { type Flag, parseFlags } from "../../util/flags.ts";
import { abslDurationText, durationFlag, numberFlag, wordFlag } from "../shared/absl_flags.ts";
import { measuredCpus } from "../shared/host_cpus.ts";
import { streamText } from "./results.ts";

/** What is asked for. */
export interface AntagonistOptions {
  readonly print_format: "pretty" | "csv";
  /** Share of a CPU that each thread uses, 0 to 1. */
  readonly work_share: number;
  readonly thread_count: number;
  /** One per thread, or none with ghOSt. */
  readonly cpus: readonly number[];
  readonly experiment_ns: number;
  readonly scheduler: "cfs" | "ghost";
  readonly ghost_qos: number;
  /** Where the enclave is looked for, and which; not of upstream's flags. */
  readonly kernel: string;
  readonly enclave: string;
}

/** The flags. */
export const ANTAGONIST_FLAGS: readonly Flag[] = [
  { name: "print_format", value: "FORMAT", fallback: "pretty", help: "pretty or csv" },
  { name: "work_share", value: "R", fallback: "1.0", help: "share of a CPU per thread, 0 to 1" },
  { name: "num_threads", value: "N", fallback: "8", help: "number of threads" },
  {
    name: "cpus",
    value: "LIST",
    fallback: "10-17",
    help: "with cfs one per thread, with ghost empty",
  },
  { name: "experiment_duration", value: "TIME", fallback: "inf", help: "time until the end" },
  { name: "scheduler", value: "NAME", fallback: "cfs", help: "cfs or ghost" },
  { name: "ghost_qos", value: "N", fallback: "2", help: "QoS class of the threads with ghost" },
  { name: "kernel", value: "NAME", fallback: "auto", help: "with ghost: auto, ghost or scx" },
  ...ENCLAVE_FLAGS,
  { name: "help", help: "print this" },
];

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
  const print_format = wordFlag(flags, "print_format", ["pretty", "csv"]);
  if (print_format instanceof UsageError) return print_format;
  const scheduler = wordFlag(flags, "scheduler", ["cfs", "ghost"]);
  if (scheduler instanceof UsageError) return scheduler;
  const work_share = numberFlag(flags, "work_share", 1);
  if (work_share instanceof UsageError) return work_share;
  const thread_count = flags.integer("num_threads", 1, THREADS_MAX);
  if (thread_count instanceof UsageError) return thread_count;
  const ghost_qos = flags.integer("ghost_qos", 0, 2 ** 32 - 1);
  if (ghost_qos instanceof UsageError) return ghost_qos;
  const experiment_ns = durationFlag(flags, "experiment_duration");
  if (experiment_ns instanceof UsageError) return experiment_ns;
  const cpus = measuredCpus("cpus", flags.text("cpus"), online);
  if (scheduler === "ghost" && (cpus instanceof UsageError || cpus.length > 0)) {
    return new UsageError(
      "--cpus: with --scheduler=ghost the agent chooses the threads' CPUs",
      "give --cpus=",
    );
  }
  if (cpus instanceof UsageError) return cpus;
  if (scheduler === "cfs" && cpus.length !== thread_count) {
    return new UsageError(
      `--cpus names ${cpus.length} CPUs for ${thread_count} threads`,
      "give one for each of --num_threads",
    );
  }
  const [kernel, enclave] = [flags.text("kernel"), flags.text("enclave")];
  const counts = { thread_count, ghost_qos, work_share, experiment_ns };
  return { print_format, scheduler, cpus, kernel, enclave, ...counts };
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
