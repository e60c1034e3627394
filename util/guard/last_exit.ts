/**
 * Ends of agents that were no ends as they should be, as small files in a run-time folder: what
 * `ghostctl enclaves` and `ghostctl doctor` show of them, and the state that the agent left. The
 * folder is root's alone; it goes with the machine's next start.
 *
 * @module
 */
import { DUMP_BYTES_MAX } from "../../lib/limits.ts";
import { ioReason } from "../../lib/host_files.ts";

/** Where they are. */
export const EXITS_FOLDER = "/run/ghostctl/last_exit";
/** How many are kept. */
export const EXIT_COUNT_MAX = 16;
const AGE_MS_MAX = 7 * 24 * 3600 * 1000;
/** What is still being written is younger. */
const UNFINISHED_MS_MAX = 600_000;
/** Version of the files. */
const SCHEMA_VERSION = 1;

/** How an agent came to its end. */
export const EXIT_KINDS = [
  /** Its process was killed by a signal. */
  "killed",
  /** It had something to do and stood still; the guard has killed it. */
  "stalled",
  /** Its process ended of itself, without a word. */
  "ended",
  /** Its policy threw, or broke an invariant. */
  "thrown",
  /** Its threads failed otherwise. */
  "failed",
  /** The kernel has unloaded its sched_ext program: the kernel's watchdog, or an error. */
  "ejected",
  /** Its enclave was destroyed under it. */
  "destroyed",
  /** Its guard died, so it left. */
  "unguarded",
] as const;
/** One of {@linkcode EXIT_KINDS}. */
export type ExitKind = typeof EXIT_KINDS[number];

/** The end of an agent. */
export interface AgentExit {
  /** When, in ms since 1970. */
  readonly time_ms: number;
  /** The agent's name. */
  readonly program: string;
  /** Process of the agent. */
  readonly pid: number;
  /** The kernel it ran on; null if nothing is known of its enclave. */
  readonly kernel: string | null;
  /** What a user calls its enclave; null if nothing is known of it. */
  readonly enclave: string | null;
  /** CPUs of the enclave. */
  readonly cpus: readonly number[];
  /** See {@linkcode EXIT_KINDS}. */
  readonly kind: ExitKind;
  /** What happened, in one line. */
  readonly reason: string;
}

/** An end as it was kept. */
export interface KeptExit extends AgentExit {
  /** The file with the state that the agent left; null if there was none. */
  readonly dump: string | null;
}

const NAME = /^(\d+)_\d+\.(?:json|txt)$/;
const UNFINISHED_NAME = /^\.(\d+)_\d+\.\w+$/;

/** Takes away what is old and what is too much. */
function prune(folder: string, now_ms: number): void {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort().reverse();
  const stems = new Set<string>();
  for (const name of names) {
    const time_ms = Number((NAME.exec(name) ?? UNFINISHED_NAME.exec(name))?.[1] ?? NaN);
    const is_finished = NAME.test(name);
    if (is_finished) stems.add(name.replace(/\.\w+$/, ""));
    const age_ms_max = is_finished ? AGE_MS_MAX : UNFINISHED_MS_MAX;
    const is_due = stems.size > EXIT_COUNT_MAX || now_ms - time_ms > age_ms_max;
    if (is_due && !Number.isNaN(time_ms)) Deno.removeSync(`${folder}/${name}`);
  }
}

/** Nobody finds a file that is not whole. */
function writeWhole(folder: string, name: string, text: string): void {
  const unfinished = `${folder}/.${name}`;
  Deno.writeTextFileSync(unfinished, text, { mode: 0o600 });
  Deno.renameSync(unfinished, `${folder}/${name}`);
}

/**
 * A state of bounded size.
 *
 * @param text The state.
 * @returns At most DUMP_BYTES_MAX bytes of it, cut off behind a line.
 */
export function boundedDump(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= DUMP_BYTES_MAX) return text;
  const end = bytes.lastIndexOf(10, DUMP_BYTES_MAX - 1) + 1;
  return new TextDecoder().decode(bytes.subarray(0, end === 0 ? DUMP_BYTES_MAX : end));
}

/**
 * Keeps an end, and removes what is too old or too much.
 *
 * @param exit The end.
 * @param dump The state that the agent left; of it DUMP_BYTES_MAX bytes are kept.
 * @param folder Where to.
 * @returns Undefined, or why it could not be kept.
 */
export function keepExit(
  exit: AgentExit,
  dump: string,
  folder: string = EXITS_FOLDER,
): string | undefined {
  const stem = `${exit.time_ms}_${exit.pid}`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    // The state first: an end names no file that is not there.
    if (dump !== "") writeWhole(folder, `${stem}.txt`, boundedDump(dump));
    // What a policy throws, and what a kernel says, may have lines.
    const reason = exit.reason.trim().replaceAll(/\s*\n\s*/g, " ");
    const kept: KeptExit = { ...exit, reason, dump: dump === "" ? null : `${folder}/${stem}.txt` };
    const text = JSON.stringify({ schema: SCHEMA_VERSION, ...kept });
    writeWhole(folder, `${stem}.json`, `${text}\n`);
    prune(folder, exit.time_ms);
    return undefined;
  } catch (error) {
    return `${folder}: ${ioReason(error)}`;
  }
}

/** What keeping an agent's end takes of its process. */
export interface ExitHost {
  /** Where ends are kept; nowhere if left out. */
  readonly exits_folder?: string;
  /** Writes text to stderr. */
  stderr(text: string): void;
}

/**
 * Keeps an agent's end where its host keeps them; says so if that fails.
 *
 * @param host The agent's process.
 * @param exit The end.
 * @param dump The state that the agent left.
 */
export function keepExitOf(host: ExitHost, exit: AgentExit, dump: string): void {
  if (host.exits_folder === undefined) return;
  const why = keepExit(exit, dump, host.exits_folder);
  if (why !== undefined) host.stderr(`${exit.program}: this end is not kept (${why})\n`);
}

function isKept(value: unknown): value is KeptExit & { schema: number } {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return one.schema === SCHEMA_VERSION && typeof one.time_ms === "number" &&
    typeof one.program === "string" && typeof one.reason === "string" &&
    Array.isArray(one.cpus) && EXIT_KINDS.some((kind) => kind === one.kind);
}

/**
 * The ends that were kept.
 *
 * @param folder Where.
 * @returns The newest first; files of another version are left out. Undefined if the folder cannot
 * be read, as by a user who is not root.
 */
export function readExits(folder: string = EXITS_FOLDER): readonly KeptExit[] | undefined {
  const exits: KeptExit[] = [];
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      if (!NAME.test(name) || !name.endsWith(".json")) continue;
      try {
        const value: unknown = JSON.parse(Deno.readTextFileSync(`${folder}/${name}`));
        if (!isKept(value)) continue;
        const { schema: _, ...exit } = value;
        exits.push(exit);
      } catch { /* gone meanwhile, or no file of ours */ }
    }
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? [] : undefined;
  }
  return exits.sort((a, b) => b.time_ms - a.time_ms);
}

/** When an end was, for people: UTC to the second. */
export function exitTime({ time_ms }: AgentExit): string {
  return new Date(time_ms).toISOString().replace(/\.\d+Z$/, "Z");
}
