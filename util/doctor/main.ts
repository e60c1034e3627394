/**
 * `ghostctl doctor`: says whether agents can run on this host, and what to do where they cannot.
 * Reads files only: it needs no privilege and loads no native code.
 *
 * @module
 */
import { REAL_KERNEL_OPENERS, type RealKernelOpeners } from "../../kernels/open.ts";
import { EXIT_FAILURE, EXIT_USAGE, UsageError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/host_files.ts";
import { readExits } from "../guard/last_exit.ts";
import { type Flag, flagsHelp, parseFlags } from "../flags.ts";
import { type Check, type Host, judge, type Report } from "./check.ts";
import { agentCpus, checkAgentCpus, checkTopology } from "./cpu_checks.ts";
import { checkLastExit } from "./exit_check.ts";
import {
  checkBtf,
  checkGhostfs,
  checkPreemptRt,
  checkRelease,
  checkRuntime,
  checkSchedExt,
} from "./kernel_checks.ts";
import {
  checkCapabilities,
  checkMemlock,
  checkMemory,
  checkNofile,
  checkSwap,
  checkUser,
} from "./process_checks.ts";
import { reportJson, reportText } from "./report.ts";

const PROGRAM = "ghostctl doctor";

const FLAGS: readonly Flag[] = [
  { name: "ghost_cpus", value: "LIST", help: "CPUs that agents are to have (default: all online)" },
  { name: "json", help: "print one JSON object instead of a table" },
  { name: "help", help: "explain the flags" },
];

function helpText(): string {
  return `${PROGRAM}: says whether agents can run on this host\n\n` +
    `usage: ${PROGRAM} [FLAGS]\n\n${flagsHelp(FLAGS)}\n` +
    "Every check that fails or warns names its cure. Exit status: 0 if the host is ready for\n" +
    "agents on a real kernel, 1 if it is not, 2 for wrong usage. A line that begins with But:\n" +
    "says that this version does not drive that kernel yet.";
}

/**
 * Looks at a host.
 *
 * @param host The host.
 * @param ghost_cpus CPUs that agents are to have; "" for all that are online.
 * @returns What was found, or a usage error if `ghost_cpus` is no CPU list.
 */
export function examine(host: Host, ghost_cpus: string): Report | UsageError {
  const cpus = agentCpus(host, ghost_cpus);
  if (cpus instanceof UsageError) return cpus;
  const checks: Check[] = [
    checkRelease(host),
    checkRuntime(host),
    checkGhostfs(host),
    checkSchedExt(host),
    checkBtf(host),
    checkPreemptRt(host),
    checkUser(host),
    ...checkCapabilities(host),
    checkMemlock(host),
    checkNofile(host, cpus.size),
    checkMemory(host, cpus.size),
    checkSwap(host),
    checkTopology(host),
    checkAgentCpus(host, cpus),
    checkLastExit(host),
  ];
  return judge(checks);
}

/**
 * What this version of the agents lacks for the kernels that the host is ready for.
 *
 * @param report What was found.
 * @param openers The kernels that can be driven.
 */
export function driverNotes(
  { verdicts }: Report,
  openers: RealKernelOpeners = REAL_KERNEL_OPENERS,
): string[] {
  return verdicts
    .filter(({ is_ready, kernel }) => is_ready && openers[kernel] === undefined)
    .map(({ kernel }) => `But: this version does not drive --kernel=${kernel} yet.`);
}

/**
 * Runs it.
 *
 * @param args Arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args, PROGRAM);
  if (flags instanceof UsageError) return usage(flags);
  if (flags.has("help")) {
    console.log(helpText());
    return Promise.resolve(0);
  }
  const host: Host = {
    read: readTextFile,
    os: Deno.build.os,
    arch: Deno.build.arch,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    exits: () => readExits(),
  };
  if (flags.has("ghost_cpus") && flags.text("ghost_cpus") === "") {
    return usage(new UsageError("--ghost_cpus is empty", "name at least one CPU, such as 0-1"));
  }
  const report = examine(host, flags.text("ghost_cpus"));
  if (report instanceof UsageError) return usage(report);
  const notes = driverNotes(report);
  if (flags.has("json")) console.log(reportJson(report, notes));
  else console.log(reportText(report, notes).trimEnd());
  return Promise.resolve(report.verdicts.some(({ is_ready }) => is_ready) ? 0 : EXIT_FAILURE);
}

function usage(error: UsageError): Promise<number> {
  console.error(`${PROGRAM}: ${error.message}`);
  return Promise.resolve(EXIT_USAGE);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
