/**
 * Arguments of commands that take words beside flags, such as a process id or a whole command.
 *
 * @module
 */
import type { Flag } from "./flags.ts";

/** Arguments by what they are. */
export interface CommandArgs {
  /** Flags with their values, for parseFlags. */
  readonly flag_args: string[];
  /** The words. */
  readonly words: string[];
}

/**
 * Separates flags from words.
 *
 * @param flags The flags there are; those with a value take the next argument.
 * @param args The arguments.
 * @param is_command True if everything from the first word on belongs to it, flags included.
 * @returns Both; after "--" all is words.
 */
export function splitArgs(
  flags: readonly Flag[],
  args: readonly string[],
  is_command = false,
): CommandArgs {
  const with_value = new Set(
    flags.filter(({ value }) => value !== undefined).map(({ name }) => `--${name}`),
  );
  const flag_args: string[] = [];
  const words: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index];
    if (arg === "--") return { flag_args, words: [...words, ...args.slice(index + 1)] };
    if (!arg.startsWith("-")) {
      if (is_command) return { flag_args, words: args.slice(index) };
      words.push(arg);
      continue;
    }
    flag_args.push(arg);
    if (with_value.has(arg) && index + 1 < args.length) flag_args.push(args[++index]);
  }
  return { flag_args, words };
}
