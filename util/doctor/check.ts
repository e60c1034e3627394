/**
 * What `ghostctl doctor` finds: single checks, and what they mean for each real kernel.
 *
 * @module
 */
import type { ChosenKernel } from "../../kernels/choose.ts";
import type { ReadText } from "../../lib/host_files.ts";
import type { KeptExit } from "../guard/last_exit.ts";

/** A kernel that schedules real threads. */
export type RealKernel = Exclude<ChosenKernel, "sim">;
/** The real kernels, the one that agents prefer first. */
export const REAL_KERNELS: readonly RealKernel[] = ["ghost", "scx"];

/** The host as the checks see it; tests give their own. */
export interface Host {
  /** Reads its files. */
  readonly read: ReadText;
  /** Operating system, as Deno.build.os. */
  readonly os: string;
  /** Processor, as Deno.build.arch. */
  readonly arch: string;
  /** Version of Deno. */
  readonly deno: string;
  /** Version of V8. */
  readonly v8: string;
  /** See {@linkcode readExits}. */
  readonly exits: () => readonly KeptExit[] | undefined;
}

/** `fail` keeps agents from a kernel, `warn` may cost something, `info` only tells. */
export type Status = "ok" | "warn" | "fail" | "info";

/** Outcome of one check. */
export interface Check {
  /** What was looked at; unique in a report. */
  readonly name: string;
  /** See {@linkcode Status}. */
  readonly status: Status;
  /** What is there. */
  readonly found: string;
  /** What to do; "" where nothing needs doing. */
  readonly cure: string;
  /** Kernels that agents cannot use while this check fails. */
  readonly blocks: readonly RealKernel[];
}

/** A check that found nothing wrong. */
export function ok(name: string, found: string): Check {
  return { name, status: "ok", found, cure: "", blocks: [] };
}

/** A check that only tells. */
export function info(name: string, found: string): Check {
  return { name, status: "info", found, cure: "", blocks: [] };
}

/** A check that found what may cost something. */
export function warn(name: string, found: string, cure: string): Check {
  return { name, status: "warn", found, cure, blocks: [] };
}

/** A check that found what keeps agents from kernels; from all, unless told otherwise. */
export function fail(
  name: string,
  found: string,
  cure: string,
  blocks: readonly RealKernel[] = REAL_KERNELS,
): Check {
  return { name, status: "fail", found, cure, blocks };
}

/** What the checks mean for one kernel. */
export interface KernelVerdict {
  /** The kernel. */
  readonly kernel: RealKernel;
  /** True if nothing keeps agents from it. */
  readonly is_ready: boolean;
  /** Names of the checks that do. */
  readonly blocked_by: readonly string[];
}

/** All checks and what they mean. */
export interface Report {
  /** The checks, in the order they are shown. */
  readonly checks: readonly Check[];
  /** One verdict per real kernel. */
  readonly verdicts: readonly KernelVerdict[];
}

/**
 * Draws the conclusions. Where one kernel is ready, what only another one lacks is no failure any
 * more: a ghOSt host need not have sched_ext.
 *
 * @param checks Outcomes of all checks.
 */
export function judge(checks: readonly Check[]): Report {
  const verdicts = REAL_KERNELS.map((kernel): KernelVerdict => {
    const blocked_by = checks
      .filter(({ status, blocks }) => status === "fail" && blocks.includes(kernel))
      .map(({ name }) => name);
    return { kernel, is_ready: blocked_by.length === 0, blocked_by };
  });
  const ready = verdicts.filter(({ is_ready }) => is_ready).map(({ kernel }) => kernel);
  if (ready.length === 0) return { checks, verdicts };
  return {
    checks: checks.map((check) => check.status === "fail" ? { ...check, status: "info" } : check),
    verdicts,
  };
}
