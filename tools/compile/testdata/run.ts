/**
 * Runs a file the way the tests of executables need it: with a known environment.
 *
 * @module
 */

/** How to run it. */
export interface RunOptions {
  args?: readonly string[];
  /** The whole environment; nothing else is passed on. */
  env?: Record<string, string>;
  cwd?: string;
  uid?: number;
}

/** What came of it. */
export interface RunResult {
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs a file to its end.
 *
 * @param file The executable.
 * @param options How.
 */
export async function run(file: string, options: RunOptions = {}): Promise<RunResult> {
  const { args = [], env = {}, ...rest } = options;
  const command = new Deno.Command(file, { args: [...args], env, clearEnv: true, ...rest });
  const { code, signal, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  return { code, signal, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/**
 * Runs the fixture and parses what it prints.
 *
 * @param file The packed fixture.
 * @param options How; the first argument chooses what it does.
 */
export async function ask<T>(file: string, options: RunOptions = {}): Promise<T> {
  const { code, stdout, stderr } = await run(file, options);
  if (code !== 0 || stderr !== "") throw new Error(`status ${code}: ${stderr}`);
  return JSON.parse(stdout);
}
