/**
 * Small text files of the host, such as those under /sys and /proc. Readers are handed in, so that
 * tests and simulated machines can give their own.
 *
 * @module
 */

/** Reads one file as text; undefined if it does not exist or cannot be read. */
export type ReadText = (path: string) => string | undefined;

/** The text of a real file, or undefined. */
export function readTextFile(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/** Why a call on a file failed, for a message that names the file already. */
export function ioReason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\s*\(os error.*/s, "") : "?";
}
