/**
 * What this project uses of `@std/assert`, for machines that cannot reach JSR. std_table_test.ts
 * fixes the behaviour that both have in common; names and types are those of `@std/assert`.
 *
 * @module
 */
import { inspect } from "node:util";
import { equal } from "./equal.ts";

export { equal };

// deno-lint-ignore no-explicit-any -- the type of any class, abstract ones included
type AnyConstructor = abstract new (...args: any[]) => any;
// deno-lint-ignore no-explicit-any -- as above
type ErrorConstructor<E extends Error> = abstract new (...args: any[]) => E;

/** What a failed assertion throws. */
export class AssertionError extends Error {
  /** Makes the error of a failed assertion. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

const INSPECT_OPTIONS = { depth: 20, maxArrayLength: 200, maxStringLength: 4000, sorted: true };

function show(value: unknown): string {
  return inspect(value, INSPECT_OPTIONS);
}

/** Throws with `what`, followed by the text the caller gave. */
function failWith(what: string, msg?: string): never {
  throw new AssertionError(msg ? `${what.replace(/[.:]?$/, ":")} ${msg}` : what);
}

/** Asserts that a value is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Asserts that a value is falsy. */
export function assertFalse(expr: unknown, msg = ""): void {
  if (expr) failWith("Expected expression to be falsy", msg);
}

/** Asserts that two values are structurally equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  const values = `\n  actual:   ${show(actual)}\n  expected: ${show(expected)}`;
  failWith(`Values are not equal${msg ? `: ${msg}` : "."}${values}`);
}

/** Asserts that two values are not structurally equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) failWith(`Expected other than ${show(actual)}`, msg);
}

/** Asserts that two values are the same by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  failWith(`Values are not strictly equal: ${show(actual)} is not ${show(expected)}`, msg);
}

/** Asserts that two values are not the same by `Object.is`. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (Object.is(actual, expected)) failWith(`Expected not strictly ${show(expected)}`, msg);
}

/** Asserts that a number lies within `tolerance` of another; 1e-7 of `expected` by default. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const default_tolerance = Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7;
  const limit = tolerance ?? default_tolerance;
  if (Math.abs(expected - actual) <= limit) return;
  failWith(`Expected ${actual} to be within ${limit} of ${expected}`, msg);
}

/** Asserts that `actual` is greater than `expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) failWith(`Expect ${show(actual)} > ${show(expected)}`, msg);
}

/** Asserts that `actual` is at least `expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) failWith(`Expect ${show(actual)} >= ${show(expected)}`, msg);
}

/** Asserts that `actual` is less than `expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) failWith(`Expect ${show(actual)} < ${show(expected)}`, msg);
}

/** Asserts that `actual` is at most `expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) failWith(`Expect ${show(actual)} <= ${show(expected)}`, msg);
}

/** Asserts that a value is neither null nor undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    failWith(`Expected actual: "${actual}" to not be null or undefined`, msg);
  }
}

/** Asserts that a text contains another. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  failWith(`Expected actual: "${actual}" to contain: "${expected}"`, msg);
}

/** Asserts that a text matches a regular expression. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) failWith(`Expected actual: "${actual}" to match: "${expected}"`, msg);
}

/** Asserts that a text does not match a regular expression. */
export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) return;
  failWith(`Expected actual: "${actual}" to not match: "${expected}"`, msg);
}

/** Asserts that a sequence contains every one of some values, in any order. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  msg?: string,
): void {
  const values = Array.from(actual);
  const missing = Array.from(expected).filter((one) => !values.some((value) => equal(value, one)));
  if (missing.length > 0) failWith(`Expected ${show(values)} to include ${show(missing)}`, msg);
}

/** Asserts that a value is an instance of a class. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  failWith(`Expected ${show(actual)} to be an instance of "${expectedType.name}"`, msg);
}

/** Holds what was thrown against the class and the part of the message that were expected. */
function checkThrown(
  thrown: unknown,
  expected_class?: ErrorConstructor<Error>,
  msg_includes?: string,
  msg?: string,
): void {
  if (expected_class === undefined) return;
  if (!(thrown instanceof Error)) failWith(`A non-Error object was thrown: ${show(thrown)}`, msg);
  const error: Error = thrown;
  if (!(thrown instanceof expected_class)) {
    const names = `"${expected_class.name}", but was "${error.constructor.name}"`;
    failWith(`Expected error to be instance of ${names} (${error.message})`, msg);
  }
  if (msg_includes !== undefined && !error.message.includes(msg_includes)) {
    failWith(
      `Expected error message to include "${msg_includes}", but got "${error.message}"`,
      msg,
    );
  }
}

/** Arguments of assertThrows and assertRejects after the function. */
type ThrowArguments =
  | [msg?: string]
  | [error_class: ErrorConstructor<Error>, msg_includes?: string, msg?: string];

function splitArguments(
  args: ThrowArguments,
): [ErrorConstructor<Error> | undefined, string | undefined, string | undefined] {
  const [first, msg_includes, msg] = args;
  return typeof first === "function" ? [first, msg_includes, msg] : [undefined, undefined, first];
}

/** Asserts that a function throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that a function throws an error of a class, with a message that includes a text. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(fn: () => unknown, ...args: ThrowArguments): unknown {
  const [expected_class, msg_includes, msg] = splitArguments(args);
  try {
    fn();
  } catch (thrown) {
    checkThrown(thrown, expected_class, msg_includes, msg);
    return thrown;
  }
  failWith("Expected function to throw.", msg);
}

/** Asserts that a promise is rejected; returns the reason. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Asserts that a promise is rejected with an error of a class and a text in its message. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  ...args: ThrowArguments
): Promise<unknown> {
  const [expected_class, msg_includes, msg] = splitArguments(args);
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (thrown) {
    throw new AssertionError("Function throws when expected to reject", { cause: thrown });
  }
  try {
    await promise;
  } catch (thrown) {
    checkThrown(thrown, expected_class, msg_includes, msg);
    return thrown;
  }
  failWith("Expected function to reject", msg);
}

/** Fails always. */
export function fail(msg?: string): never {
  failWith("Failed assertion", msg);
}

/** Marks a place that is never reached; fails when it is. */
export function unreachable(reason?: string): never {
  failWith("Unreachable", reason);
}
