/**
 * Child processes that end: after their time, when the caller is interrupted, and when this process
 * dies, even by SIGKILL.
 *
 * @module
 */

/** Time between SIGTERM and SIGKILL, in seconds. */
const KILL_AFTER_S = 5;
/** What timeout(1) says of a command that it ended by SIGTERM, and by SIGKILL. */
const TIMED_OUT_CODES: readonly number[] = [124, 137];

/** How to run a process. */
export interface ProcessOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Time it may take, in seconds. */
  readonly timeout_s: number;
  /** Environment, in addition to the caller's. */
  readonly env?: Readonly<Record<string, string>>;
  /** Folder to run in. */
  readonly cwd?: string;
  /** Gets each line of its stdout as it comes; else stdout is kept as a whole. */
  readonly on_line?: (line: string) => void;
  /** Ends the process early. */
  readonly signal?: AbortSignal;
}

/** How a process ended. */
export interface ProcessResult {
  /** Exit status. */
  readonly code: number;
  /** Whether it ran out of time. */
  readonly is_timed_out: boolean;
  /** Its stdout; empty if lines were handed out. */
  readonly stdout: string;
  /** Its stderr. */
  readonly stderr: string;
}

/** Arguments of setpriv(1): the kernel ends the command when its parent dies. */
const WITH_PARENT: readonly string[] = ["--pdeathsig", "TERM", "--"];

/**
 * The command under timeout(1). Each ends with its parent: timeout(1) too forgets its child when it
 * is ended before it knows its id.
 */
function boundedCommand({ command, timeout_s }: ProcessOptions): string[] {
  const limit = Math.max(1, Math.ceil(timeout_s));
  const timeout = ["timeout", `--kill-after=${KILL_AFTER_S}`, `${limit}`];
  return [...WITH_PARENT, ...timeout, "setpriv", ...WITH_PARENT, ...command];
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  on_line: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) on_line(line.replace(/\r$/, ""));
  }
  if (rest !== "") on_line(rest);
}

/**
 * Runs a process to its end.
 *
 * @param options What and how.
 * @returns How it ended; a program that is missing ends with 127.
 * @throws {Deno.errors.NotFound} If setpriv (util-linux) is missing.
 */
export async function runProcess(options: ProcessOptions): Promise<ProcessResult> {
  options.signal?.throwIfAborted();
  const child = new Deno.Command("setpriv", {
    args: boundedCommand(options),
    env: { ...options.env },
    cwd: options.cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const end = () => {
    try {
      child.kill("SIGTERM"); // timeout(1) hands it to the whole group
    } catch { /* it has ended meanwhile */ }
  };
  options.signal?.addEventListener("abort", end);
  try {
    const { on_line } = options;
    const [stdout, stderr, { code }] = await Promise.all([
      on_line === undefined
        ? new Response(child.stdout).text()
        : readLines(child.stdout, on_line).then(() => ""),
      new Response(child.stderr).text(),
      child.status,
    ]);
    options.signal?.throwIfAborted();
    return { code, is_timed_out: TIMED_OUT_CODES.includes(code), stdout, stderr };
  } finally {
    options.signal?.removeEventListener("abort", end);
  }
}
