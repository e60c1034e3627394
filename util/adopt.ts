/**
 * `ghostctl adopt`: moves threads that run already into an enclave: those of a process, one
 * thread, or those of a cgroup.
 *
 * A thread that is not in the enclave yet may start another one meanwhile, so the threads are
 * listed again until there is none that was not handled; children of those inside are inside.
 *
 * @module
 */
import { EPERM, errnoName, ESRCH } from "../ffi/errno.ts";
import { cureOf } from "../ffi/errors.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../lib/errors.ts";
import type { EnclaveView } from "../kernels/real_kernel.ts";
import { agentProcesses } from "./agent_tree.ts";
import { splitArgs } from "./command_args.ts";
import { chooseEnclave, ENCLAVE_FLAGS } from "./enclave_choice.ts";
import { type Flag, flagsHelp, parseFlags } from "./flags.ts";
import {
  HOST_FILES,
  nameOf,
  parentOf,
  type ProcessFiles,
  processOf,
  type ThreadSource,
  threadSource,
} from "./process_files.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "./tool_host.ts";

const PROGRAM = "ghostctl adopt";
const SCHEMA_VERSION = 1;
/** Lists of threads after which a process that starts ever new ones is left as it is. */
const PASSES_MAX = 1000;
/** Refused threads that are named; the others are counted. */
const REFUSED_LINES_MAX = 20;

const FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "auto", help: "auto, ghost or scx" },
  ...ENCLAVE_FLAGS,
  { name: "tree", help: "with a PID: the processes that it has started too" },
  { name: "thread", help: "a number is one thread, also that of a process's first one" },
  { name: "json", help: "report as JSON" },
  { name: "help", help: "print this" },
];

const USAGE = `usage: ${PROGRAM} [FLAGS] PID|TID|CGROUP...

Moves threads into an enclave: all of a process (PID), one that is not the first of its process
(TID), or all of a cgroup and those below it (its folder). Their future children are inside too;
children that they have already are with --tree.

`;

/** A thread that was not moved. */
export interface Refusal {
  /** The thread. */
  readonly tid: number;
  /** Its name. */
  readonly name: string;
  /** Why, in a few words. */
  readonly reason: string;
}

/** What was done. */
export interface Adoption {
  /** Threads that were moved. */
  readonly adopted_count: number;
  /** Threads that were inside before, or were born there meanwhile. */
  readonly inside_count: number;
  /** Threads that were not moved. */
  readonly refused: readonly Refusal[];
  /** False if new threads came again and again until the tool gave up. */
  readonly is_stable: boolean;
}

/** Parent of all threads of the kernel. */
const KTHREADD_PID = 2;

/** Why a thread of this process must not be moved, whatever the kernel thinks of it. */
function ownReason(
  files: ProcessFiles,
  pid: number,
  agents: ReadonlyMap<number, number>,
  own_pid: number,
): string | undefined {
  if (pid === own_pid) return "it is this tool itself";
  if (pid === KTHREADD_PID || parentOf(files, pid) === KTHREADD_PID) {
    return "it is a thread of the kernel";
  }
  const agent = agents.get(pid);
  if (agent === undefined) return undefined;
  return agent === pid
    ? "it is an agent's: an agent that waits for its own decision never decides"
    : `it belongs to agent process ${agent}, which would wait for its own decision`;
}

/** Why the kernel refused. */
function kernelReason(errno: number): string {
  if (errno === EPERM) return "EPERM: it is in another enclave, or of a class that may not leave";
  return `${errnoName(errno)}: ${cureOf("join", errno)}`;
}

/**
 * Moves threads into an enclave until none is left outside.
 *
 * @param source The threads.
 * @param enclave The enclave.
 * @param files Reads /proc.
 * @param own_pid This process.
 * @returns What was done, or why nothing more can be.
 */
export function adopt(
  source: ThreadSource,
  enclave: EnclaveView,
  files: ProcessFiles = HOST_FILES,
  own_pid: number = Deno.pid,
): Adoption | OperatingError {
  const agents = agentProcesses(files);
  const handled = new Set<number>();
  const refused: Refusal[] = [];
  let [adopted_count, inside_count] = [0, 0];
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const fresh = (source.tids() ?? []).filter((tid) => !handled.has(tid));
    if (fresh.length === 0) return { adopted_count, inside_count, refused, is_stable: true };
    const inside = enclave.taskTids();
    if (typeof inside === "number") {
      return new OperatingError(
        `${enclave.path} is gone (${errnoName(-inside)}) after ${adopted_count} threads`,
        "they are back in the default class; start an agent and adopt again",
      );
    }
    const members = new Set(inside);
    for (const tid of fresh) {
      handled.add(tid);
      if (members.has(tid)) {
        inside_count++;
        continue;
      }
      const own = ownReason(files, processOf(files, tid), agents, own_pid);
      const result = own === undefined ? enclave.join(tid) : -EPERM;
      if (result === 0) adopted_count++;
      else if (own === undefined && bornInside(enclave, tid, result)) inside_count++;
      else if (result !== -ESRCH) {
        refused.push({ tid, name: nameOf(files, tid), reason: own ?? kernelReason(-result) });
      }
    }
  }
  return { adopted_count, inside_count, refused, is_stable: false };
}

/** A thread that its parent, moved a moment ago, has started inside is refused as it is there. */
function bornInside(enclave: EnclaveView, tid: number, result: number): boolean {
  const inside = result === -EPERM ? enclave.taskTids() : [];
  return typeof inside !== "number" && inside.includes(tid);
}

function reportLines(name: string, path: string, adoption: Adoption): string[] {
  const { adopted_count, inside_count, refused, is_stable } = adoption;
  const parts = [`${adopted_count} adopted`];
  if (inside_count > 0) parts.push(`${inside_count} were inside already`);
  if (refused.length > 0) parts.push(`${refused.length} refused`);
  if (!is_stable) parts.push("new threads kept coming, so some may be outside");
  const lines = refused.slice(0, REFUSED_LINES_MAX)
    .map(({ tid, name, reason }) => `  refused ${tid} (${name}): ${reason}`);
  const more_count = refused.length - lines.length;
  if (more_count > 0) lines.push(`  and ${more_count} more`);
  return [`${path}: ${name}: ${parts.join(", ")}`, ...lines];
}

function report(name: string, path: string, adoption: Adoption, as_json: boolean): string {
  if (!as_json) return reportLines(name, path, adoption).join("\n");
  return JSON.stringify({ schema: SCHEMA_VERSION, enclave: path, source: name, ...adoption });
}

async function run(
  args: readonly string[],
  host: ToolHost,
  files: ProcessFiles,
): Promise<number | OperatingError> {
  const { flag_args, words } = splitArgs(FLAGS, args);
  const flags = parseFlags(FLAGS, flag_args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(USAGE + flagsHelp(FLAGS).trimEnd());
    return 0;
  }
  if (words.length === 0) {
    return new UsageError("adopt what?", "give a PID, a TID or a cgroup's folder");
  }
  if (flags.has("tree") && flags.has("thread")) {
    return new UsageError("--tree and --thread exclude each other", "leave one away");
  }
  const reach = flags.has("tree") ? "tree" : flags.has("thread") ? "thread" : "process";
  const sources: ThreadSource[] = [];
  for (const word of words) {
    const source = threadSource(files, word, reach);
    if (source instanceof OperatingError) return source;
    sources.push(source);
  }
  const chosen = await chooseEnclave(flags.text("kernel"), flags.text("enclave"), host);
  if (chosen instanceof OperatingError) return chosen;
  let status = 0;
  for (const source of sources) {
    const adoption = adopt(source, chosen.enclave, files);
    if (adoption instanceof OperatingError) return adoption;
    host.stdout(report(source.name, chosen.enclave.path, adoption, flags.has("json")));
    if (adoption.refused.length > 0 || !adoption.is_stable) status = EXIT_FAILURE;
  }
  return status;
}

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @param files Reads /proc and the cgroup file system.
 * @returns The exit status.
 */
export function main(
  args: readonly string[],
  host: ToolHost = PROCESS_TOOL_HOST,
  files: ProcessFiles = HOST_FILES,
): Promise<number> {
  return toolMain(PROGRAM, host, () => run(args, host, files));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
