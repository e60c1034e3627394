/**
 * Programs of this repository as processes of their own, for experiments that need several.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { stdFlags, stdSource } from "../tools/std_source.ts";

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
  readonly done: Promise<void>;
  #more = Promise.withResolvers<void>();

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.done = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
      this.text += piece;
      this.#more.resolve();
      this.#more = Promise.withResolvers();
    }
  }

  async waitFor(line: string): Promise<boolean> {
    let is_over = false;
    const over = this.done.then(() => {
      is_over = true;
    });
    while (!`\n${this.text}`.includes(`\n${line}\n`)) {
      if (is_over) return false;
      await Promise.race([this.#more.promise, over]);
    }
    return true;
  }
}

/**
 * Starts a program.
 *
 * @param name Its name, as `ghostctl --help` has it.
 * @param args Its arguments.
 * @param nice Its nice value; 0 leaves it.
 */
export async function startOwnProgram(
  name: string,
  args: readonly string[],
  nice = 0,
): Promise<OwnProgram> {
  const root = fileURLToPath(new URL("../", import.meta.url));
  const flags = stdFlags(await stdSource());
  const command = [
    ...(nice === 0 ? [] : ["nice", "-n", String(nice)]),
    ...[Deno.execPath(), "run", "-A", "--no-check", "--quiet", ...flags],
    ...[`${root}util/main.ts`, name, ...args],
  ];
  const child = new Deno.Command(command[0], {
    args: command.slice(1),
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = new Lines(child.stdout);
  const stderr = new Lines(child.stderr);
  return {
    waitForLine: (line) => stdout.waitFor(line),
    interrupt: () => child.kill("SIGINT"),
    async ended() {
      const [{ code }] = await Promise.all([child.status, stdout.done, stderr.done]);
      return { code, stdout: stdout.text, stderr: stderr.text };
    },
  };
}
