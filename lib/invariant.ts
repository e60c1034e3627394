/**
 * Assertions that stay in production: a broken invariant stops the agent, which dumps its state
 * and leaves its threads to the default scheduler.
 *
 * @module
 */

/** A broken invariant of the library or of a policy; exit status 3. */
export class InvariantError extends Error {
  /** Name of the class. */
  override name = "InvariantError";
}

/**
 * Stops the agent unless a condition holds.
 *
 * @param condition What must hold.
 * @param message What is broken; built only from constants on the scheduling path.
 * @throws {InvariantError} If the condition does not hold.
 */
export function assertInvariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
