/**
 * Flags in the forms of upstream's executables (absl): booleans that can be switched off, and
 * durations as absl writes them.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { parseDurationNs } from "../../util/duration.ts";
import type { FlagValues } from "../../util/flags.ts";

/**
 * Takes boolean flags apart: "--name", "--noname", "--name=false". An empty argument behind one is
 * what upstream's scripts write, and is dropped.
 *
 * @param names Names of the boolean flags.
 * @param args All arguments.
 * @returns The flags that are on, and the other arguments; or the first bad value.
 */
export function takeBooleans(
  names: readonly string[],
  args: readonly string[],
): { readonly on: ReadonlySet<string>; readonly rest: readonly string[] } | UsageError {
  const on = new Set<string>();
  const rest: string[] = [];
  let is_behind_boolean = false;
  for (const arg of args) {
    const match = /^--(no)?([a-z_0-9]+)(?:=(.*))?$/s.exec(arg);
    const name = names.find((one) => match !== null && one === match[2]);
    if (match === null || name === undefined) {
      if (arg !== "" || !is_behind_boolean) rest.push(arg);
      is_behind_boolean = false;
      continue;
    }
    is_behind_boolean = true;
    const [, no, , value] = match;
    const is_true = no === undefined && /^(true|t|yes|y|1)$/i.test(value ?? "true");
    const is_false = no === undefined
      ? /^(false|f|no|n|0)$/i.test(value ?? "")
      : value === undefined;
    if (is_true) on.add(name);
    else if (is_false) on.delete(name);
    else return new UsageError(`bad value of --${no ?? ""}${name}`, "give true or false");
  }
  return { on, rest };
}

/**
 * A flag's duration.
 *
 * @param flags The flags.
 * @param name Name of the flag.
 * @returns Nanoseconds, 0 or more, perhaps Infinity; or what is wrong.
 */
export function durationFlag(flags: FlagValues, name: string): number | UsageError {
  const text = flags.text(name);
  const ns = parseDurationNs(text);
  if (ns >= 0) return ns;
  const what = Number.isNaN(ns) ? "is no duration" : "is negative";
  return new UsageError(
    `--${name}: ${JSON.stringify(text)} ${what}`,
    "give a number with ns, us, ms, s, m or h, such as 10us, or 0 or inf",
  );
}

/**
 * A flag's number, with a fraction or without.
 *
 * @param flags The flags.
 * @param name Name of the flag.
 * @param max The greatest value; the least is 0.
 */
export function numberFlag(flags: FlagValues, name: string, max: number): number | UsageError {
  const text = flags.text(name);
  const value = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  if (value <= max) return value;
  const range = max === Infinity ? "of 0 or more" : `from 0 to ${max}`;
  return new UsageError(`--${name}: bad value ${JSON.stringify(text)}`, `give a number ${range}`);
}

/**
 * A flag that is one of some words.
 *
 * @param flags The flags.
 * @param name Name of the flag.
 * @param words What it may be.
 */
export function wordFlag<const W extends string>(
  flags: FlagValues,
  name: string,
  words: readonly W[],
): W | UsageError {
  const text = flags.text(name);
  const word = words.find((one) => one === text);
  if (word !== undefined) return word;
  return new UsageError(
    `--${name}: unknown value ${JSON.stringify(text)}`,
    `give ${words.join(" or ")}`,
  );
}

/** A number of a unit as absl writes it: no zeros at the end. */
function unitText(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/**
 * A duration as absl::FormatDuration writes it: "0", "10us", "1.5ms", "1h2m3.5s", "inf".
 *
 * @param ns Nanoseconds, 0 or more.
 */
export function abslDurationText(ns: number): string {
  if (ns === Infinity) return "inf";
  if (ns === 0) return "0";
  if (ns < 1e3) return `${unitText(ns, 2)}ns`;
  if (ns < 1e6) return `${unitText(ns / 1e3, 5)}us`;
  if (ns < 1e9) return `${unitText(ns / 1e6, 8)}ms`;
  const hours = Math.floor(ns / 3600e9);
  const minutes = Math.floor((ns - hours * 3600e9) / 60e9);
  const seconds_ns = ns - hours * 3600e9 - minutes * 60e9;
  return (hours > 0 ? `${hours}h` : "") + (minutes > 0 ? `${minutes}m` : "") +
    (seconds_ns > 0 ? `${unitText(seconds_ns / 1e9, 11)}s` : "");
}
