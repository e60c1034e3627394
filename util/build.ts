/**
 * Facts that the packer writes into an executable (tools/compile/bundle.ts), and what holds when
 * the program is run from its sources.
 *
 * @module
 */

/**
 * Variables that the runtime of a packed executable sees instead of the caller's: no cache on disk,
 * no update check, no prompt. util/main.ts takes them out again, so that children do not get them.
 */
export const RUNTIME_VARIABLES: readonly string[] = [
  "DENO_DIR=/dev/null/none",
  "DENO_NO_PACKAGE_JSON=1",
  "DENO_NO_PROMPT=1",
  "DENO_NO_UPDATE_CHECK=1",
];

/** What a build knows about itself. */
export interface BuildFacts {
  /** The program that runs when the file's own name is not one of the table's. */
  default_name: string;
  /** What `--licenses` prints. */
  licenses: string;
}

// The packer replaces this text, so it stands nowhere else.
const BUILD_FACTS: string = "@build-facts@";

/** Facts about this build. */
export const build: BuildFacts = BUILD_FACTS.startsWith("@")
  ? {
    default_name: "ghostctl",
    licenses: "This project: Apache-2.0, see LICENSE.\n" +
      "Run from its sources: Deno is a program of its own here; an executable made by\n" +
      "`deno task compile` lists what is inside it.\n",
  }
  : JSON.parse(BUILD_FACTS);
