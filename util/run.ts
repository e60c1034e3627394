/**
 * `ghostctl run`: runs a command inside an enclave. This process joins and then becomes the
 * command, so that its id, its exit status, signals sent to it and its children's class are those
 * of a command that was started there.
 *
 * @module
 */
import { errnoName } from "../ffi/errno.ts";
import { execProgram } from "../ffi/exec.ts";
import { SCHED_OTHER } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { ENOENT, EPERM } from "../ffi/errno.ts";
import { OperatingError, UsageError } from "../lib/errors.ts";
import { type ReadText, readTextFile } from "../lib/host_files.ts";
import { RUNTIME_VARIABLES } from "./build.ts";
import { splitArgs } from "./command_args.ts";
import { chooseEnclaveToJoin, ENCLAVE_FLAGS } from "./enclave_choice.ts";
import { type Flag, flagsHelp, parseFlags } from "./flags.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "./tool_host.ts";

const PROGRAM = "ghostctl run";
/** Exit statuses of a command that cannot be run, as env(1) and sh have them. */
const EXIT_NOT_FOUND = 127;
const EXIT_NOT_RUN = 126;

const FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "auto", help: "auto, ghost or scx" },
  ...ENCLAVE_FLAGS,
  { name: "help", help: "print this" },
];

const USAGE = `usage: ${PROGRAM} [FLAGS] [--] COMMAND [ARGUMENTS]

Runs a command inside an enclave, with signals, their mask and the limit of open files as at a
program's start. Its children are in the enclave too.

`;
const END = `
The exit status is the command's; 1 no enclave, 2 usage, 126 not executable, 127 not found.`;

/**
 * The soft limit of open files that a process was started with: that of its parent, since the
 * runtime raises its own.
 *
 * @param parent_pid The parent.
 * @param read Reads /proc.
 * @returns The limit; −1 if it is not known.
 */
export function startFileLimit(parent_pid: number, read: ReadText): number {
  const limits = read(`/proc/${parent_pid}/limits`) ?? "";
  const soft = /^Max open files\s+(\d+)\s/m.exec(limits)?.[1];
  return soft === undefined ? -1 : Number(soft);
}

/**
 * The environment that the caller gave this process; what a packed executable adds is not in it.
 *
 * @param block Text of /proc/self/environ.
 * @returns "NAME=value" each.
 */
export function callerEnvironment(block: string): string[] {
  const added: readonly string[] = RUNTIME_VARIABLES;
  return block.split("\0").filter((line) => line !== "" && !added.includes(line));
}

/** Joins, and becomes the command; comes back only if that fails. */
function become(
  argv: readonly string[],
  path: string,
  join: (tid: number) => number,
): number | OperatingError {
  const shim = loadShim();
  const tid = shim.gettid();
  if (tid !== Deno.pid) {
    return new OperatingError(`thread ${tid} is not the first of ${Deno.pid}`, "report this");
  }
  const joined = join(tid);
  if (joined < 0) {
    const cure = joined === -EPERM
      ? "run from the default class: a thread is in one enclave at most"
      : "`ghostctl enclaves` shows whether it is still there";
    return new OperatingError(`cannot join ${path} (${errnoName(-joined)})`, cure);
  }
  const environment = callerEnvironment(readTextFile("/proc/self/environ") ?? "");
  const file_count = startFileLimit(Deno.ppid, readTextFile);
  const result = execProgram({ argv, environment, file_count });
  shim.schedSetscheduler(tid, SCHED_OTHER, 0, 0);
  return result;
}

async function run(args: readonly string[], host: ToolHost): Promise<number | OperatingError> {
  const { flag_args, words } = splitArgs(FLAGS, args, true);
  const flags = parseFlags(FLAGS, flag_args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(USAGE + flagsHelp(FLAGS) + END);
    return 0;
  }
  if (words.length === 0) {
    return new UsageError("no command", `\`${PROGRAM} -- COMMAND\`, for example \`-- sleep 1\``);
  }
  const chosen = await chooseEnclaveToJoin(flags.text("kernel"), flags.text("enclave"), host);
  if (chosen instanceof OperatingError) return chosen;
  const { enclave } = chosen;
  const result = become(words, enclave.path, (tid) => enclave.join(tid));
  if (result instanceof OperatingError) return result;
  host.stderr(`${PROGRAM}: cannot run ${words[0]} (${errnoName(-result)})`);
  return result === -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status, if it did not become the command.
 */
export function main(
  args: readonly string[],
  host: ToolHost = PROCESS_TOOL_HOST,
): Promise<number> {
  return toolMain(PROGRAM, host, () => run(args, host));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
