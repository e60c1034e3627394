/**
 * What this project uses of `@std/cli`: parseArgs, for machines that cannot reach JSR.
 * std_table_test.ts fixes the behaviour that both have in common. Left out because unused:
 * `boolean: true` and dotted names (`--a.b 1`).
 *
 * @module
 */

type OneOrMore<T extends string> = T | readonly T[];
type AliasNames = Readonly<Record<string, string | readonly string[]>>;

/** Options of {@linkcode parseArgs}. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
  N extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
  A extends AliasNames = AliasNames,
  P extends boolean = boolean,
> {
  /** Put what follows `--` into the result's `--` and not into `_`. */
  "--"?: P;
  /** Other names of a flag. */
  alias?: A;
  /** Flags that take no value. */
  boolean?: OneOrMore<B>;
  /** Values of flags that are not given. */
  default?: D;
  /** End at the first argument that is no flag. */
  stopEarly?: boolean;
  /** Flags whose value stays a text, also when it looks like a number. */
  string?: OneOrMore<S>;
  /** Flags that may be given more than once and whose value is an array. */
  collect?: OneOrMore<C>;
  /** Flags that `--no-NAME` makes false. */
  negatable?: OneOrMore<N>;
  /** Called for a flag that no option names, and for each positional; false drops it. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

type FlagTypes<B extends string, S extends string, C extends string, N extends string> =
  & { [K in Exclude<B, C>]: boolean }
  & { [K in Exclude<S, C>]?: string | (K extends N ? false : never) }
  & { [K in C]: K extends S ? string[] : K extends B ? boolean[] : unknown[] };

type WithDefaults<T, D> = string extends keyof D ? T
  : Omit<T, keyof D> & { [K in keyof D]: K extends keyof T ? D[K] | NonNullable<T[K]> : unknown };

type NamesOf<K, A> = K extends keyof A
  ? A[K] extends string ? K | A[K] : A[K] extends readonly string[] ? K | A[K][number] : K
  : K;

type WithAliases<T, A> = string extends keyof A ? T
  : { [K in keyof T as NamesOf<K, A> & PropertyKey]: T[K] };

/** The value returned from {@linkcode parseArgs}. */
// deno-lint-ignore no-explicit-any -- as in @std/cli: untyped flags are any
export type Args<T = Record<string, any>, P extends boolean = boolean> =
  & T
  & { _: Array<string | number> }
  & (true extends P ? false extends P ? { "--"?: string[] } : { "--": string[] } : unknown);

function listOf(names: OneOrMore<string> | undefined): readonly string[] {
  return names === undefined ? [] : typeof names === "string" ? [names] : names;
}

function isNumber(text: string): boolean {
  return /\S/.test(text) && Number.isFinite(Number(text));
}

/** State of one call of {@linkcode parseArgs}. */
class Parser {
  readonly result: Record<string, unknown> & { _: Array<string | number> } = { _: [] };
  readonly #aliases = new Map<string, string[]>();
  readonly #booleans: Set<string>;
  readonly #strings: Set<string>;
  readonly #collect: Set<string>;
  readonly #negatable: Set<string>;
  readonly #options: ParseOptions;

  constructor(options: ParseOptions) {
    this.#options = options;
    for (const [key, value] of Object.entries(options.alias ?? {})) {
      const names = [key, ...listOf(value)];
      for (const name of names) this.#aliases.set(name, names.filter((other) => other !== name));
    }
    this.#booleans = this.#withAliases(options.boolean);
    this.#strings = this.#withAliases(options.string);
    this.#collect = this.#withAliases(options.collect);
    this.#negatable = this.#withAliases(options.negatable);
  }

  #withAliases(names: OneOrMore<string> | undefined): Set<string> {
    return new Set(listOf(names).flatMap((name) => [name, ...this.#aliases.get(name) ?? []]));
  }

  /** Reads one argument at `i`; returns the index of the next. */
  argument(args: readonly string[], i: number): number {
    const arg = args[i];
    if (arg.startsWith("--") && arg.length > 2) return this.#long(args, i);
    if (arg.startsWith("-") && arg.length > 1) return this.#short(args, i);
    this.#positional(arg);
    if (!this.#options.stopEarly) return i + 1;
    this.result._.push(...args.slice(i + 1));
    return args.length;
  }

  #positional(arg: string): void {
    if (this.#options.unknown?.(arg) === false) return;
    this.result._.push(this.#strings.has("_") || !isNumber(arg) ? arg : Number(arg));
  }

  /** `--key=value`, `--no-key`, `--key value` and `--key`. */
  #long(args: readonly string[], i: number): number {
    const arg = args[i];
    const equals = arg.indexOf("=", 3);
    if (equals > 0) {
      const key = arg.slice(2, equals);
      const value = arg.slice(equals + 1);
      this.#set(key, this.#booleans.has(key) ? value !== "false" : value, arg);
      return i + 1;
    }
    const key = arg.slice(2);
    if (key.startsWith("no-") && this.#negatable.has(key.slice(3))) {
      this.#set(key.slice(3), false, arg, false);
      return i + 1;
    }
    return this.#valueFromNext(key, args, i, (next) => !next.startsWith("-"));
  }

  /** `-k value`, `-k`, `-kvalue` with a numeric value, `-k=value` and grouped `-abc`. */
  #short(args: readonly string[], i: number): number {
    const arg = args[i];
    for (let j = 1; j < arg.length - 1; j++) {
      const letter = arg[j];
      const rest = arg.slice(j + 1);
      const equals = rest.indexOf("=");
      const is_letter = /[A-Za-z]/.test(letter);
      if (rest === "-") {
        this.#set(letter, rest, arg);
        return i + 1;
      }
      if (rest === "=" || is_letter && equals >= 0 && equals < rest.length - 1) {
        this.#set(letter, rest.slice(equals + 1), arg);
        return i + 1;
      }
      if (is_letter && /-?\d+(\.\d*)?(e-?\d+)?$/.test(rest) || /^\W./.test(rest)) {
        this.#set(letter, rest, arg);
        return i + 1;
      }
      this.#set(letter, this.#strings.has(letter) ? "" : true, arg);
    }
    return this.#valueFromNext(arg.slice(-1), args, i, (next) => !/^--?[^-]/.test(next));
  }

  /** Takes the next argument as the value of `key` where the flag has one. */
  #valueFromNext(
    key: string,
    args: readonly string[],
    i: number,
    isValue: (next: string) => boolean,
  ): number {
    const arg = args[i];
    const next = args[i + 1];
    if (next && !this.#booleans.has(key) && isValue(next)) {
      this.#set(key, next, arg);
      return i + 2;
    }
    if (next === "true" || next === "false") {
      this.#set(key, next === "true", arg);
      return i + 2;
    }
    this.#set(key, this.#strings.has(key) ? "" : true, arg);
    return i + 1;
  }

  #set(key: string, value: string | boolean, arg: string, may_collect = true): void {
    const is_known = this.#booleans.has(key) || this.#strings.has(key) || this.#aliases.has(key);
    if (!is_known && this.#options.unknown?.(arg, key, value) === false) return;
    const is_numeric = typeof value === "string" && !this.#strings.has(key) && isNumber(value);
    const converted = is_numeric ? Number(value) : value;
    for (const name of [key, ...this.#aliases.get(key) ?? []]) {
      const old = this.result[name];
      const is_collected = may_collect && this.#collect.has(key);
      this.result[name] = !is_collected
        ? converted
        : Array.isArray(old)
        ? [...old, converted]
        : [converted];
    }
  }

  /** Defaults, then false or an empty array for what has neither. */
  finish(): void {
    for (const [key, value] of Object.entries(this.#options.default ?? {})) {
      if (Object.hasOwn(this.result, key)) continue;
      for (const name of [key, ...this.#aliases.get(key) ?? []]) this.result[name] = value;
    }
    for (const name of [...this.#booleans, ...this.#strings]) {
      if (Object.hasOwn(this.result, name)) continue;
      if (this.#collect.has(name)) this.result[name] = [];
      else if (this.#booleans.has(name)) this.result[name] = false;
    }
  }
}

/**
 * Reads command-line arguments by the rules of `@std/cli`.
 *
 * @param args The arguments, as in `Deno.args`.
 * @param options Names of flags by type, defaults and callbacks.
 * @returns Flags by name, positionals in `_`.
 */
export function parseArgs<
  B extends string = never,
  S extends string = never,
  C extends string = never,
  N extends string = never,
  D extends Record<string, unknown> = Record<string, unknown>,
  const A extends AliasNames = AliasNames,
  P extends boolean = false,
>(
  args: string[],
  options: ParseOptions<B, S, C, N, D, A, P> = {},
): Args<
  // deno-lint-ignore no-explicit-any -- as in @std/cli: untyped flags are any
  [B | S | C] extends [never] ? Record<string, any>
    : Record<string, unknown> & WithAliases<WithDefaults<FlagTypes<B, S, C, N>, D>, A>,
  P
> {
  const parser = new Parser(options as ParseOptions);
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  const rest = end < 0 ? [] : args.slice(end + 1);
  for (let i = 0; i < flags.length;) i = parser.argument(flags, i);
  parser.finish();
  if (options["--"]) parser.result["--"] = rest;
  else parser.result._.push(...rest);
  return parser.result as never;
}
