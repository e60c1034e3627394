/**
 * Programs of this repository as processes of their own, for tests.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { stdFlags, stdSource } from "../tools/std_source.ts";

/** How a program ended. */
export interface Ended {
  /** Exit status. */
  readonly code: number;
  /** What it wrote. */
  readonly stdout: string;
  /** See {@linkcode stdout}. */
  readonly stderr: string;
}

/** A program that runs. */
export interface Started {
  /** The process. */
  readonly child: Deno.ChildProcess;
  /** What it has said so far, stdout before stderr. */
  text(): string;
  /** Waits until stdout or stderr has a text. */
  waitFor(text: string): Promise<void>;
  /** Waits for the end. */
  ended(): Promise<Ended>;
}

/** Collects a stream's text as it comes. */
class Collected {
  text = "";
  readonly done: Promise<void>;
  #wake: () => void = () => {};

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.done = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
      this.text += piece;
      this.#wake();
    }
    this.#wake();
  }

  /** Waits for more text. */
  more(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }
}

/**
 * Starts a module as a process with pipes for stdout and stderr.
 *
 * @param module Its path from the repository's root.
 * @param args Its arguments.
 * @param cwd Folder it runs in; the repository's root if left out.
 * @param stdin Whether it gets an open pipe.
 */
export async function spawnProgram(
  module: string,
  args: readonly string[],
  cwd?: string,
  stdin: "null" | "piped" = "null",
): Promise<Deno.ChildProcess> {
  const root = fileURLToPath(new URL("../", import.meta.url));
  const flags = stdFlags(await stdSource());
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", ...flags, root + module, ...args],
    cwd: cwd ?? root,
    env: { NO_COLOR: "1" },
    stdin,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Starts a module as a program and collects what it says; see {@linkcode spawnProgram}. */
export async function startProgram(
  module: string,
  args: readonly string[],
  cwd?: string,
): Promise<Started> {
  const child = await spawnProgram(module, args, cwd);
  const stdout = new Collected(child.stdout);
  const stderr = new Collected(child.stderr);
  return {
    child,
    text: () => stdout.text + stderr.text,
    async waitFor(text) {
      let is_over = false;
      const over = Promise.all([stdout.done, stderr.done]).then(() => is_over = true);
      while (!stdout.text.includes(text) && !stderr.text.includes(text)) {
        if (is_over) throw new Error(`ended without "${text}": ${stdout.text}${stderr.text}`);
        await Promise.race([stdout.more(), stderr.more(), over]);
      }
    },
    async ended() {
      const [{ code }] = await Promise.all([child.status, stdout.done, stderr.done]);
      return { code, stdout: stdout.text, stderr: stderr.text };
    },
  };
}

/** Runs a module as a program to its end; see {@linkcode startProgram}. */
export async function runProgram(
  module: string,
  args: readonly string[],
  cwd?: string,
): Promise<Ended> {
  const started = await startProgram(module, args, cwd);
  return await started.ended();
}
