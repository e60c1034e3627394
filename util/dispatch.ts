/**
 * Which program a multi-call executable is: chosen by the name it was called by, or by its first
 * argument.
 *
 * @module
 */

/** The name under which one executable offers every program by its first argument. */
export const MULTI_CALL_NAME = "ghostctl";

/** What {@linkcode dispatch} decides from. */
export interface Invocation {
  /** Paths the executable may have been called by, the likeliest first. */
  called_as: readonly string[];
  /** The program that runs when none of these is a known name. */
  default_name: string;
  /** The arguments. */
  args: readonly string[];
}

/** A program and its arguments; `name` is {@linkcode MULTI_CALL_NAME} if none was chosen. */
export interface Choice {
  /** Name of the program. */
  name: string;
  /** Its arguments. */
  args: string[];
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Chooses the program.
 *
 * @param names The programs there are.
 * @param invocation How the executable was called.
 * @returns The program, without the argument that named it.
 */
export function dispatch(names: readonly string[], invocation: Invocation): Choice {
  const { called_as, default_name, args } = invocation;
  const known = [MULTI_CALL_NAME, ...names];
  const own_name = called_as.map(basename).find((name) => known.includes(name)) ?? default_name;
  if (own_name !== MULTI_CALL_NAME) return { name: own_name, args: [...args] };
  if (args.length > 0 && names.includes(args[0])) return { name: args[0], args: args.slice(1) };
  return { name: MULTI_CALL_NAME, args: [...args] };
}
