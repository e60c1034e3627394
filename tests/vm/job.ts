/**
 * What a job of `deno task test:vm` is, and what judging one takes.
 *
 * @module
 */
import type { JobResult } from "./guest.ts";

/** What jobs know of the run. */
export interface JobContext {
  /** Deno's executable; the guest sees it under the same path. */
  readonly deno: string;
  /** Flags by which `@std/...` resolves. */
  readonly std_flags: readonly string[];
  /** Folder with the packed executables. */
  readonly programs: string;
  /** Folder with the loads of the scx jobs. */
  readonly scx: string;
  /** Release of Debian's kernel; undefined on a kernel that the user named. */
  readonly kernel_release: string | undefined;
  /** The guest's clock counts its instructions: a second of it takes the host many. */
  readonly is_icount?: boolean;
}

/** What a result says: what is wrong, or what is worth reading. */
export interface Verdict {
  /** What is wrong; empty if the job passed. */
  readonly faults: readonly string[];
  /** One line for the summary. */
  readonly detail: string;
}

/** A job and its judgement. */
export interface VmJob {
  /** Name. */
  readonly name: string;
  /** What it shows, in one line. */
  readonly summary: string;
  /** Time it may take in the guest, in seconds. */
  readonly timeout_s: number;
  /** Whether it needs the packed executables. */
  readonly is_packed?: boolean;
  /** Whether it needs the loads of the scx jobs. */
  readonly is_scx?: boolean;
  /** Left out unless it is named: it needs a ghOSt kernel. */
  readonly is_ghost?: boolean;
  /** Left out unless it is named or `--soak` is given: it takes minutes, or asks no kernel. */
  readonly is_soak?: boolean;
  /** Its shell script. */
  script(context: JobContext): string;
  /** Judges how it ended; its status counts already. */
  judge(result: JobResult, context: JobContext): Verdict;
}

/** The faults of those checks that fail. */
export function faultsIf(...checks: [is_wrong: boolean, fault: string][]): string[] {
  return checks.filter(([is_wrong]) => is_wrong).map(([, fault]) => fault);
}

/** Value of a line "NAME VALUE". */
export function fact(text: string, name: string): string | undefined {
  return text.match(new RegExp(`^${name} (.*)$`, "m"))?.[1];
}
