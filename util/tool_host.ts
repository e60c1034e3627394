/**
 * What the tools for enclaves use of their process, and how they end: errors as one line with an
 * exit status.
 *
 * @module
 */
import { ShimError, SystemError } from "../ffi/errors.ts";
import { EXIT_FAILURE, OperatingError } from "../lib/errors.ts";
import { type EnclaveHost, THIS_HOST } from "./enclave_choice.ts";
import { type KeptExit, readExits } from "./guard/last_exit.ts";

/** The process of a tool; another one for tests. */
export interface ToolHost extends EnclaveHost {
  /** Writes lines to stdout. */
  readonly stdout: (text: string) => void;
  /** Writes lines to stderr. */
  readonly stderr: (text: string) => void;
  /** See {@linkcode readExits}. */
  readonly exits: () => readonly KeptExit[] | undefined;
}

/** The process itself. */
export const PROCESS_TOOL_HOST: ToolHost = {
  ...THIS_HOST,
  stdout: (text) => console.log(text),
  stderr: (text) => console.error(text),
  exits: () => readExits(),
};

/**
 * Runs a tool.
 *
 * @param name Its name, for its errors.
 * @param host Where its last words go.
 * @param body What it does: an exit status, or what went wrong.
 * @returns The exit status.
 */
export async function toolMain(
  name: string,
  host: ToolHost,
  body: () => Promise<number | OperatingError>,
): Promise<number> {
  let result: number | Error;
  try {
    result = await body();
  } catch (error) {
    if (!(error instanceof ShimError || error instanceof SystemError)) throw error;
    result = error;
  }
  if (typeof result === "number") return result;
  host.stderr(`${name}: ${result.message}`);
  return result instanceof OperatingError ? result.exit_status : EXIT_FAILURE;
}
