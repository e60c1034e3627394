/**
 * Command-line flags: read strictly, and explained by `--help` from the same table.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { UsageError } from "../lib/errors.ts";

/** One flag. */
export interface Flag {
  /** Name without the dashes. */
  readonly name: string;
  /** What stands for its value in the help; a flag without it takes none. */
  readonly value?: string;
  /** Value if it is not given. */
  readonly fallback?: string;
  /** What it does, in one line. */
  readonly help: string;
}

/** Values of flags by name; a flag without a value is "true" if given. */
export class FlagValues {
  readonly #values: ReadonlyMap<string, string>;

  /** @param values Given flags and fallbacks. */
  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  /** True if the flag was given or has a fallback. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value; "" if there is none. */
  text(name: string): string {
    return this.#values.get(name) ?? "";
  }

  /**
   * The value as a whole number.
   *
   * @param name Name of a flag that is given or has a fallback.
   * @param min Smallest number it may be.
   * @param max Greatest number it may be.
   */
  integer(name: string, min: number, max: number): number | UsageError {
    const text = this.text(name);
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    return new UsageError(
      `bad value ${JSON.stringify(text)} of --${name}`,
      `give a whole number from ${min} to ${max}`,
    );
  }
}

/**
 * Writes "--name value" as "--name=value" where the value is empty or a negative number, which
 * would not be taken for a value otherwise.
 */
function joinValues(flags: readonly Flag[], args: readonly string[]): string[] {
  const names = new Set(flags.filter((flag) => flag.value !== undefined).map(({ name }) => name));
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const takes_value = args[index].startsWith("--") && names.has(args[index].slice(2));
    const next = args[index + 1];
    if (takes_value && /^(-\d.*)?$/.test(next ?? "x")) joined.push(`${args[index++]}=${next}`);
    else joined.push(args[index]);
  }
  return joined;
}

/**
 * Reads arguments.
 *
 * @param flags The flags there are.
 * @param args The arguments.
 * @param program Name of the program, for the cure.
 * @returns The values, or the first argument that is wrong.
 */
export function parseFlags(
  flags: readonly Flag[],
  args: readonly string[],
  program: string,
): FlagValues | UsageError {
  let unknown: string | undefined;
  const parsed: Record<string, unknown> = parseArgs(joinValues(flags, args), {
    string: flags.filter((flag) => flag.value !== undefined).map((flag) => flag.name),
    boolean: flags.filter((flag) => flag.value === undefined).map((flag) => flag.name),
    unknown: (arg) => {
      unknown ??= arg;
      return false;
    },
  });
  // What stands behind "--" is not reported as unknown.
  unknown ??= (parsed._ as unknown[]).map(String)[0];
  if (unknown !== undefined) {
    const kind = unknown.startsWith("-") ? "unknown flag" : "unexpected argument";
    return new UsageError(
      `${kind} ${unknown.split("=")[0] || '""'}`,
      `\`${program} --help\` lists the flags`,
    );
  }
  const values = new Map<string, string>();
  for (const { name, value, fallback } of flags) {
    const given = parsed[name];
    if (value === undefined) {
      if (given === true) values.set(name, "true");
    } else if (typeof given === "string") values.set(name, given);
    else if (fallback !== undefined) values.set(name, fallback);
  }
  return new FlagValues(values);
}

/** The help's lines on flags. */
export function flagsHelp(flags: readonly Flag[]): string {
  const heads = flags.map(({ name, value }) =>
    `  --${name}${value === undefined ? "" : ` ${value}`}`
  );
  const width = Math.max(...heads.map((head) => head.length)) + 2;
  return flags.map(({ help, fallback }, index) => {
    const note = fallback === undefined || fallback === "" ? "" : ` (default ${fallback})`;
    return `${heads[index].padEnd(width)}${help}${note}\n`;
  }).join("");
}
