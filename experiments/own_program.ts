/**
 * Programs of this repository as processes of their own, for experiments that need several. In a
 * clone they run as this process does, with its flags of deno; packed, they are links beside this
 * executable, or this one itself if it is `ghostctl`.
 *
 * @module
 */

/** A program that runs. */
export interface OwnProgram {
  /**
   * Waits for a line on stdout.
   *
   * @returns False if the program ended without it.
   */
  waitForLine(line: string): Promise<boolean>;
  /** Asks it to end (SIGINT). */
  interrupt(): void;
  /** Waits for its end. */
  ended(): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
}

/** Collects what a stream says. */
class Lines {
  text = "";
  is_over = false;
  #more = Promise.withResolvers<void>();

  /** Fulfilled when the stream has ended. */
  readonly over: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.over = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) this.#tell(piece, false);
    this.#tell("", true);
  }

  #tell(piece: string, is_over: boolean): void {
    this.text += piece;
    this.is_over = is_over;
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }

  async waitFor(line: string): Promise<boolean> {
    while (!`\n${this.text}`.includes(`\n${line}\n`)) {
      if (this.is_over) return false;
      await this.#more.promise;
    }
    return true;
  }
}

/** A command. */
export interface OwnCommand {
  /** What is executed. */
  readonly file: string;
  /** Its arguments. */
  readonly args: readonly string[];
}

/** The path of a file: URL. */
function pathOf(url: string | URL): string {
  return decodeURIComponent(new URL(url).pathname);
}

function hasFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/**
 * How a program of this repository is started.
 *
 * @param name Its name, as `ghostctl --help` has it.
 * @param module_url URL of this module, or of the bundle that contains it.
 * @param command_line The arguments of this process, the program first.
 * @param main_module URL of the module that this process runs.
 */
export function ownCommand(
  name: string,
  module_url: string,
  command_line: readonly string[],
  main_module: string,
): OwnCommand {
  const is_clone = module_url.endsWith("/experiments/own_program.ts");
  if (!is_clone) {
    const beside = Deno.execPath().replace(/[^/]*$/, name);
    return hasFile(beside) ? { file: beside, args: [] } : { file: Deno.execPath(), args: [name] };
  }
  const main_path = pathOf(main_module);
  const at = command_line.findIndex((arg) => arg !== "" && main_path.endsWith(arg));
  const flags = at < 2 ? ["run", "-A"] : command_line.slice(1, at);
  const entry = pathOf(new URL("../util/main.ts", module_url));
  return { file: Deno.execPath(), args: [...flags, entry, name] };
}

/**
 * Starts a command and collects what it says.
 *
 * @param command What to run.
 * @param nice Its nice value; 0 leaves it.
 */
export function startCommand(command: OwnCommand, nice = 0): OwnProgram {
  const { file, args } = command;
  // `nice` goes before, so that threads of the start have the value, too.
  const [first, rest] = nice === 0 ? [file, args] : ["nice", ["-n", String(nice), file, ...args]];
  const child = new Deno.Command(first, {
    args: [...rest],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = new Lines(child.stdout);
  const stderr = new Lines(child.stderr);
  return {
    waitForLine: (line) => stdout.waitFor(line),
    interrupt() {
      try {
        child.kill("SIGINT");
      } catch { /* it has ended already */ }
    },
    async ended() {
      const [{ code }] = await Promise.all([child.status, stdout.over, stderr.over]);
      return { code, stdout: stdout.text, stderr: stderr.text };
    },
  };
}

/**
 * Starts a program of this repository.
 *
 * @param name Its name, as `ghostctl --help` has it.
 * @param args Its arguments.
 * @param nice Its nice value; 0 leaves it.
 */
export function startOwnProgram(name: string, args: readonly string[], nice = 0): OwnProgram {
  const line = Deno.readTextFileSync("/proc/self/cmdline").split("\0");
  const own = ownCommand(name, import.meta.url, line, Deno.mainModule);
  return startCommand({ ...own, args: [...own.args, ...args] }, nice);
}
