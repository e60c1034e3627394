/**
 * Errors that a user can mend. They are handed back as values; only a command's outermost function
 * turns one into a line on stderr and an exit status.
 *
 * @module
 */

/** Exit status of a run that failed while operating. */
export const EXIT_FAILURE = 1;
/** Exit status of a run that was asked for in a wrong way. */
export const EXIT_USAGE = 2;

/** What went wrong and how to mend it, in one line. */
export class OperatingError extends Error {
  /** See {@linkcode Error.name}. */
  override name = "OperatingError";
  /** The exit status that a command ends with when this is its last word. */
  readonly exit_status: number = EXIT_FAILURE;
  /** What is wrong. */
  readonly fault: string;
  /** How to mend it. */
  readonly cure: string;

  /**
   * An error with the message "fault; cure".
   *
   * @param fault What is wrong.
   * @param cure How to mend it.
   */
  constructor(fault: string, cure: string) {
    super(`${fault}; ${cure}`);
    this.fault = fault;
    this.cure = cure;
  }
}

/** A bad flag or argument. */
export class UsageError extends OperatingError {
  /** See {@linkcode Error.name}. */
  override name = "UsageError";
  /** See {@linkcode OperatingError.exit_status}. */
  override readonly exit_status: number = EXIT_USAGE;
}
