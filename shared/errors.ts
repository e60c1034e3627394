/**
 * Why shared memory of another process is not used. Applications are not trusted: what is wrong
 * with their memory is an ordinary answer, handed back as a value.
 *
 * @module
 */

/** What is wrong, for code that decides by it. */
export type SharedMemoryFault =
  | "NO_PROCESS"
  | "NOT_PERMITTED"
  | "NO_REGION"
  | "TOO_MANY_FILES"
  | "NOT_MEMFD"
  | "NOT_SEALED"
  | "BAD_SIZE"
  | "NOT_MAPPED"
  | "NOT_READY"
  | "BAD_HEADER"
  | "BAD_LAYOUT"
  | "WRONG_VERSION"
  | "WRONG_OWNER"
  | "EXISTS"
  | "OUT_OF_RANGE";

/** Shared memory cannot be made, or is refused; one line says why and what to do. */
export class SharedMemoryError extends Error {
  /** See {@linkcode Error.name}. */
  override readonly name = "SharedMemoryError";
  /** What is wrong, for code. */
  readonly fault: SharedMemoryFault;
  /** What to do about it. */
  readonly cure: string;

  /**
   * An error with the message "what; cure".
   *
   * @param fault What is wrong, for code.
   * @param what What is wrong, for a reader.
   * @param cure What to do about it.
   */
  constructor(fault: SharedMemoryFault, what: string, cure: string) {
    super(`${what}; ${cure}`);
    this.fault = fault;
    this.cure = cure;
  }
}
