/**
 * Makes the one module that is both the main program and every Worker.
 *
 * @module
 */

import { stdFlags, stdSource } from "../std_source.ts";
import { CompileError } from "./cc.ts";

/** Facts about a build that the bundle carries; util/build.ts reads them. */
export interface BuildFacts {
  /** The program that runs when the file's own name is not in the table. */
  default_name: string;
  /** What `--licenses` prints. */
  licenses: string;
}

const BUILD_MARK = '"@build-facts@"';

function failure(stderr: string): CompileError {
  const text = stderr.trim();
  if (text.includes("@esbuild/")) {
    const first = text.split("\n")[0];
    return new CompileError(
      `deno bundle could not fetch esbuild (${first}); ` +
        `run once where the npm registry can be reached, it is kept in DENO_DIR afterwards`,
    );
  }
  return new CompileError(`deno bundle failed:\n${text}`);
}

/**
 * Bundles a program with everything it imports, also what it imports dynamically.
 *
 * @param entry Path of the program.
 * @returns The module's source text.
 * @throws CompileError when `deno bundle` fails.
 */
export async function bundle(entry: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_bundle_" });
  try {
    const out = `${folder}/bundle.js`;
    const flags = stdFlags(await stdSource());
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--platform=deno", ...flags, "-o", out, entry],
      cwd: new URL("../../", import.meta.url),
      env: { NO_COLOR: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw failure(new TextDecoder().decode(stderr));
    return await Deno.readTextFile(out);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Writes facts about this build into a bundle of util/main.ts.
 *
 * @param source The bundle.
 * @param facts What to write.
 * @throws CompileError when the bundle has no place for them.
 */
export function withBuildFacts(source: string, facts: BuildFacts): string {
  const parts = source.split(BUILD_MARK);
  if (parts.length !== 2) throw new CompileError("the bundle has no place for the build facts");
  // V8 keeps a source of Latin-1 characters at one byte each; anything else doubles it.
  const text = JSON.stringify(JSON.stringify(facts))
    .replace(/[^\x20-\x7e]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  return parts.join(text);
}
