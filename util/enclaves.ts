/**
 * `ghostctl enclaves`: the enclaves of this host with their CPUs, tasks and agents; and their end,
 * the one that an operator wishes and those that nobody wished.
 *
 * @module
 */
import { errnoName } from "../ffi/errno.ts";
import { EXIT_FAILURE, OperatingError, UsageError } from "../lib/errors.ts";
import type { EnclaveView, KernelView } from "../kernels/real_kernel.ts";
import { splitArgs } from "./command_args.ts";
import { isNamed, kernelViews } from "./enclave_choice.ts";
import { type Flag, flagsHelp, parseFlags } from "./flags.ts";
import { exitTime, type KeptExit } from "./guard/last_exit.ts";
import { type Column, tableText } from "./table.ts";
import { PROCESS_TOOL_HOST, type ToolHost, toolMain } from "./tool_host.ts";

const PROGRAM = "ghostctl enclaves";
/** Version of the JSON output. */
const SCHEMA_VERSION = 1;

const FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "auto", help: "auto, ghost or scx" },
  { name: "json", help: "list as JSON" },
  { name: "all", help: "with destroy: every enclave" },
  { name: "help", help: "print this" },
];

const USAGE = `usage: ${PROGRAM} [FLAGS]                     list enclaves, and below them the
                                                latest ends of agents that were killed,
                                                hung, threw or were ejected
       ${PROGRAM} destroy NAME... | --all     destroy some: their agents are killed and
                                                their threads go to the default scheduler

NAME is an enclave's path, such as /sys/fs/ghost/enclave_1, or its number.

`;

const COLUMNS: readonly Column[] = [
  { head: "enclave", is_left: true },
  { head: "kernel", is_left: true },
  { head: "CPUs", is_left: true },
  { head: "tasks", is_left: false },
  { head: "agent", is_left: true },
];

const EXIT_COLUMNS: readonly Column[] = [
  { head: "time", is_left: true },
  { head: "agent", is_left: true },
  { head: "enclave", is_left: true },
  { head: "CPUs", is_left: true },
  { head: "end", is_left: true },
];

/** An enclave in the list; null where it could not be read. */
interface EnclaveRow {
  readonly path: string;
  readonly id: number;
  readonly kernel: KernelView["kind"];
  readonly cpus: string | null;
  readonly task_count: number | null;
  readonly is_agent_online: boolean | null;
  readonly error: string | null;
}

/** CPUs in list format: [0, 1, 2, 6] is "0-2,6". */
function cpuText(cpus: readonly number[]): string {
  const ranges: string[] = [];
  for (let index = 0; index < cpus.length; index++) {
    const first = cpus[index];
    while (cpus[index + 1] === cpus[index] + 1) index++;
    ranges.push(first === cpus[index] ? `${first}` : `${first}-${cpus[index]}`);
  }
  return ranges.join(",");
}

function rowOf(kernel: KernelView["kind"], enclave: EnclaveView): EnclaveRow {
  const [cpus, tids, online] = [enclave.cpus(), enclave.taskTids(), enclave.isOnline()];
  const errno = [cpus, tids, online].find((value) => typeof value === "number");
  return {
    path: enclave.path,
    id: enclave.id,
    kernel,
    cpus: typeof cpus === "number" ? null : cpuText(cpus),
    task_count: typeof tids === "number" ? null : tids.length,
    is_agent_online: typeof online === "number" ? null : online,
    error: errno === undefined ? null : errnoName(-errno),
  };
}

function listText(rows: readonly EnclaveRow[]): string {
  if (rows.length === 0) return "no enclaves";
  const cells = rows.map(({ path, kernel, cpus, task_count, is_agent_online, error }) => [
    path,
    kernel,
    cpus ?? "?",
    String(task_count ?? "?"),
    error === null ? (is_agent_online ? "online" : "offline") : `unreadable: ${error}`,
  ]);
  return tableText(COLUMNS, cells).trimEnd();
}

/** The ends of agents that were none as they should be; "" without any. */
function exitsText(exits: readonly KeptExit[]): string {
  if (exits.length === 0) return "";
  const rows = exits.map((exit) => [
    exitTime(exit),
    exit.program,
    exit.enclave ?? "?",
    cpuText(exit.cpus) || "?",
    exit.kind,
  ]);
  // What is said of an end stands below its row: it is longer than a line of a terminal.
  const [head, rule, ...lines] = tableText(EXIT_COLUMNS, rows).trimEnd().split("\n");
  const said = exits.map(({ reason, dump }, index) =>
    `${lines[index]}\n    ${reason}${dump === null ? "" : `\n    state: ${dump}`}`
  );
  return ["", "", "abnormal ends of agents:", head, rule, ...said].join("\n");
}

/** Destroys enclaves; what could not be is told, and does not keep the others. */
function destroyAll(enclaves: readonly EnclaveView[], host: ToolHost): number {
  let status = 0;
  for (const enclave of enclaves) {
    const result = enclave.destroy();
    if (result === 0) {
      host.stdout(`destroyed ${enclave.path}`);
      continue;
    }
    host.stderr(`${PROGRAM}: ${enclave.path} was not destroyed (${errnoName(-result)})`);
    status = EXIT_FAILURE;
  }
  return status;
}

/** The enclaves that were named, or the first name that is none's. */
function named(
  enclaves: readonly EnclaveView[],
  names: readonly string[],
): EnclaveView[] | OperatingError {
  const found: EnclaveView[] = [];
  for (const name of names) {
    const enclave = enclaves.find((one) => isNamed(one, name));
    if (enclave === undefined) {
      const cure = `\`${PROGRAM}\` lists those there are`;
      return new OperatingError(`no enclave ${name}, so nothing was destroyed`, cure);
    }
    if (!found.includes(enclave)) found.push(enclave);
  }
  return found;
}

function destroyFault(names: readonly string[], is_all: boolean): UsageError | undefined {
  if (is_all && names.length > 0) {
    return new UsageError("destroy takes names or --all, not both", `\`${PROGRAM} --help\``);
  }
  if (!is_all && names.length === 0) {
    return new UsageError("destroy what?", "give an enclave's name, or --all");
  }
  return undefined;
}

async function run(args: readonly string[], host: ToolHost): Promise<number | OperatingError> {
  const { flag_args, words } = splitArgs(FLAGS, args);
  const flags = parseFlags(FLAGS, flag_args, PROGRAM);
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    host.stdout(USAGE + flagsHelp(FLAGS).trimEnd());
    return 0;
  }
  const [command, ...names] = words;
  const is_destroy = command === "destroy";
  if (command !== undefined && !is_destroy) {
    return new UsageError(`unknown command ${JSON.stringify(command)}`, `\`${PROGRAM} --help\``);
  }
  if (flags.has("all") && !is_destroy) {
    return new UsageError("--all is for destroy", "leave it away to list all enclaves");
  }
  const fault = is_destroy ? destroyFault(names, flags.has("all")) : undefined;
  if (fault !== undefined) return fault;
  const views = await kernelViews(flags.text("kernel"), host, is_destroy);
  if (views instanceof OperatingError) return views;
  if (is_destroy) {
    const enclaves = views.flatMap((view) => view.enclaves());
    const chosen = flags.has("all") ? enclaves : named(enclaves, names);
    return chosen instanceof OperatingError ? chosen : destroyAll(chosen, host);
  }
  const rows = views.flatMap((view) => view.enclaves().map((one) => rowOf(view.kind, one)));
  if (host.uid() !== 0 && views.some(({ kind }) => kind === "scx")) {
    host.stderr(`${PROGRAM}: not root: enclaves under sched_ext and ends are seen by root only`);
  }
  const exits = host.exits() ?? [];
  const json = { schema: SCHEMA_VERSION, enclaves: rows, exits };
  const text = listText(rows) + exitsText(exits);
  host.stdout(flags.has("json") ? JSON.stringify(json, null, 2) : text);
  return 0;
}

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @param host The process; another one for tests.
 * @returns The exit status.
 */
export function main(
  args: readonly string[],
  host: ToolHost = PROCESS_TOOL_HOST,
): Promise<number> {
  return toolMain(PROGRAM, host, () => run(args, host));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
