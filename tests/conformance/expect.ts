/**
 * Assertions of the contract suite. They throw {@linkcode ContractFailure} with one line, and need
 * no test runner: the suite also runs from the shipped executable.
 *
 * @module
 */
import { errnoName } from "../../ffi/errno.ts";
import { GHOST_TXN_READY, TXN_STATE_NAMES } from "../../ffi/abi/constants.ts";
import { txnStateName } from "../../lib/transaction.ts";
import { ContractFailure } from "./contract.ts";

const TXN_STATE_FIRST = -2147483648;

/** A number as the ABI calls it: a state, an errno, or itself. */
function show(value: unknown): string {
  if (typeof value !== "number") return JSON.stringify(value);
  const is_state = value === GHOST_TXN_READY ||
    (value >= TXN_STATE_FIRST && value < TXN_STATE_FIRST + TXN_STATE_NAMES.length);
  if (is_state) return txnStateName(value);
  return value < 0 && value > -134 ? `${value} (${errnoName(-value)})` : String(value);
}

/** Fails with a line. */
export function fail(text: string): never {
  throw new ContractFailure(text);
}

/** Fails unless a condition holds. */
export function expect(condition: boolean, what: string): asserts condition {
  if (!condition) fail(what);
}

/** Fails unless two values are the same; arrays and records are compared by content. */
export function expectEqual<T>(actual: T, expected: T, what: string): void {
  const same = Object.is(actual, expected) ||
    (typeof actual === "object" && JSON.stringify(actual) === JSON.stringify(expected));
  if (!same) fail(`${what}: ${show(actual)}, want ${show(expected)}`);
}

/** Fails unless a value is one of several. */
export function expectOneOf(actual: number, expected: readonly number[], what: string): void {
  if (!expected.includes(actual)) {
    fail(`${what}: ${show(actual)}, want ${expected.map(show).join(" or ")}`);
  }
}

/** Fails unless a value lies between two others, both included. */
export function expectBetween(actual: number, low: number, high: number, what: string): void {
  if (!(actual >= low && actual <= high)) fail(`${what}: ${actual}, want ${low} to ${high}`);
}

/** The value of a call that must not fail. */
export function expectOk<T>(result: T | number, what: string): T {
  if (typeof result === "number" && result < 0) fail(`${what}: ${show(result)}`);
  return result as T;
}
