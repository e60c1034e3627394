/**
 * What /proc and the cgroup file system say of processes and threads, for tools that move threads.
 *
 * @module
 */
import { OperatingError, UsageError } from "../lib/errors.ts";

/** Root of the cgroup file system. */
const CGROUP_ROOT = "/sys/fs/cgroup";
const PID_MAX = 4_194_304;

/** What the file systems are read with; another one for tests. */
export interface ProcessFiles {
  /** Text of a file; undefined if it cannot be read. */
  readonly read: (path: string) => string | undefined;
  /** Names in a directory; undefined if it cannot be read. */
  readonly list: (path: string) => string[] | undefined;
}

function listDirectory(path: string): string[] | undefined {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name);
  } catch {
    return undefined;
  }
}

function readFile(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/** The host's files. */
export const HOST_FILES: ProcessFiles = { read: readFile, list: listDirectory };

/** Threads that a user means by one argument. */
export interface ThreadSource {
  /** For messages, such as "process 123". */
  readonly name: string;
  /** Those there are now; undefined once there is no such thing any more. */
  readonly tids: () => number[] | undefined;
}

function numbersIn(words: readonly string[]): number[] {
  return words.filter((word) => /^\d+$/.test(word)).map(Number);
}

/** A field of /proc/PID/status as a number; −1 if there is none. */
function statusNumber(files: ProcessFiles, pid: number, field: string): number {
  const text = files.read(`/proc/${pid}/status`) ?? "";
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? -1);
}

/** The process that a thread is of; −1 if there is no such thread. */
export function processOf(files: ProcessFiles, tid: number): number {
  return statusNumber(files, tid, "Tgid");
}

/** The parent of a process; −1 if there is no such process. */
export function parentOf(files: ProcessFiles, pid: number): number {
  return statusNumber(files, pid, "PPid");
}

/** The name of a thread; "" if there is no such thread. */
export function nameOf(files: ProcessFiles, tid: number): string {
  return (files.read(`/proc/${tid}/comm`) ?? "").trimEnd();
}

/** Threads of a process; undefined if there is no such process. */
export function threadsOf(files: ProcessFiles, pid: number): number[] | undefined {
  const names = files.list(`/proc/${pid}/task`);
  return names === undefined ? undefined : numbersIn(names);
}

/** All processes. */
export function allProcesses(files: ProcessFiles): number[] {
  return numbersIn(files.list("/proc") ?? []);
}

/** Threads of a cgroup and of those below it. */
function cgroupThreads(files: ProcessFiles, folder: string): number[] | undefined {
  const text = files.read(`${folder}/cgroup.threads`) ?? files.read(`${folder}/tasks`);
  if (text === undefined) return undefined;
  const tids = numbersIn(text.split(/\s+/));
  for (const name of files.list(folder) ?? []) {
    // Only folders have this file; others answer undefined.
    tids.push(...cgroupThreads(files, `${folder}/${name}`) ?? []);
  }
  return tids;
}

function cgroupSource(files: ProcessFiles, text: string): ThreadSource | OperatingError {
  const path = text.replace(/\/+$/, "");
  const folders = [path, `${CGROUP_ROOT}/${path.replace(/^\/+/, "")}`];
  const folder = folders.find((one) => cgroupThreads(files, one) !== undefined);
  if (folder === undefined) {
    return new OperatingError(
      `no cgroup ${text}`,
      `give its folder, such as ${CGROUP_ROOT}/system.slice/nginx.service`,
    );
  }
  return { name: `cgroup ${folder}`, tids: () => cgroupThreads(files, folder) };
}

/** Threads of a process and of all that it has started, directly or not. */
function treeThreads(files: ProcessFiles, root_pid: number): number[] | undefined {
  const parents = new Map(allProcesses(files).map((pid) => [pid, parentOf(files, pid)]));
  const isBelow = (pid: number): boolean => {
    let [at, left] = [pid, parents.size];
    // What is read one by one may be inconsistent, but is no endless chain.
    while (at !== root_pid && at > 0 && left-- > 0) at = parents.get(at) ?? 0;
    return at === root_pid;
  };
  if (!parents.has(root_pid)) return undefined;
  return [...parents.keys()].filter(isBelow).flatMap((pid) => threadsOf(files, pid) ?? []);
}

/** What a number stands for. */
export type ThreadReach = "process" | "thread" | "tree";

/**
 * What a user means by an argument: a number is a process, or a thread that is not the first of
 * its process; anything else is a cgroup.
 *
 * @param files The file systems.
 * @param text The argument.
 * @param reach "thread": a number is a thread in any case; "tree": with all below the process.
 * @returns The threads, or why there are none.
 */
export function threadSource(
  files: ProcessFiles,
  text: string,
  reach: ThreadReach = "process",
): ThreadSource | OperatingError {
  if (!/^\d/.test(text)) {
    return text === ""
      ? new UsageError('bad argument ""', "give a PID, a TID or a cgroup's folder")
      : cgroupSource(files, text);
  }
  const id = Number(text);
  if (!/^\d{1,7}$/.test(text) || id < 1 || id > PID_MAX) {
    return new UsageError(`bad PID ${JSON.stringify(text)}`, `give a number from 1 to ${PID_MAX}`);
  }
  const pid = processOf(files, id);
  if (pid < 0) return new OperatingError(`no process or thread ${id}`, "see `ps -eL`");
  if (reach === "tree" && pid === id) {
    return { name: `process ${id} and all below it`, tids: () => treeThreads(files, id) };
  }
  if (reach === "thread" || pid !== id) {
    const tids = () => files.read(`/proc/${id}/comm`) === undefined ? undefined : [id];
    return { name: `thread ${id}`, tids };
  }
  return { name: `process ${id}`, tids: () => threadsOf(files, id) };
}
