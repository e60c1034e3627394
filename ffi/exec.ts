/**
 * Turns this process into another program (native/exec.c).
 *
 * @module
 */
import { shimPath } from "./shim.ts";

/** What to run. */
export interface ExecRequest {
  /** The program, looked for in PATH, and its arguments; no zero characters. */
  readonly argv: readonly string[];
  /** Its environment, as "NAME=value". */
  readonly environment: readonly string[];
  /** Soft limit of open files; −1 leaves it. */
  readonly file_count: number;
}

function block(strings: readonly string[]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(strings.map((text) => `${text}\0`).join("") || "\0");
}

/**
 * Runs a program in place of this one: signals as at a program's start, none blocked. The thread
 * that calls keeps its scheduling class, and must be the process's first.
 *
 * @param request What to run.
 * @returns Only if that fails: −errno. Signals are reset all the same.
 * @throws {ShimError} If the shim can neither be found, built nor loaded.
 */
export function execProgram({ argv, environment, file_count }: ExecRequest): number {
  const { exec } = Deno.dlopen(shimPath(), {
    exec: {
      name: "shim_exec",
      parameters: ["buffer", "i32", "buffer", "i32", "f64"],
      result: "i32",
    },
  }).symbols;
  return exec(block(argv), argv.length, block(environment), environment.length, file_count);
}
