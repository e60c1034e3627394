/**
 * Makes the one module that is both the main program and every Worker.
 *
 * @module
 */

import { stdFlags, stdSource } from "../std_source.ts";
import { CompileError } from "./cc.ts";
import type { Parts } from "./script_bundle.ts";

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

/** Runs the bundler; what it has written is read by `read`, from a folder that goes afterwards. */
async function runBundler<T>(
  entry: string,
  flagsFor: (folder: string) => string[],
  read: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_bundle_" });
  try {
    const flags = [...stdFlags(await stdSource()), ...flagsFor(folder)];
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--platform=deno", ...flags, entry],
      cwd: new URL("../../", import.meta.url),
      env: { NO_COLOR: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw failure(new TextDecoder().decode(stderr));
    return await read(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Bundles a program with everything it imports, also what it imports dynamically.
 *
 * @param entry Path of the program.
 * @returns The module's source text.
 * @throws CompileError when `deno bundle` fails.
 */
export async function bundle(entry: string): Promise<string> {
  const out = (folder: string): string => `${folder}/bundle.js`;
  return await runBundler(
    entry,
    (folder) => ["-o", out(folder)],
    (folder) => Deno.readTextFile(out(folder)),
  );
}

/**
 * Bundles a program in parts: what it imports dynamically is apart, and what several need is there
 * once.
 *
 * @param entry Path of the program.
 * @returns The parts.
 * @throws CompileError when `deno bundle` fails.
 */
export async function bundleParts(entry: string): Promise<Parts> {
  return await runBundler(
    entry,
    (folder) => ["--code-splitting", "--outdir", folder],
    async (folder) => {
      const texts = new Map<string, string>();
      const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      for (const name of names) texts.set(name, await Deno.readTextFile(`${folder}/${name}`));
      const [, stem] = /([^/]+)\.\w+$/.exec(entry) ?? [];
      return { entry: `${stem}.js`, texts };
    },
  );
}

/**
 * Writes facts about this build into a bundle of util/main.ts.
 *
 * @param sources The bundle; or its parts, one of which has a place for them.
 * @param facts What to write.
 * @returns The same with the facts.
 * @throws CompileError when there is no place for them, or more than one.
 */
export function withBuildFacts(sources: readonly string[], facts: BuildFacts): string[] {
  const place_count = sources.join("").split(BUILD_MARK).length - 1;
  if (place_count !== 1) throw new CompileError("the bundle has no place for the build facts");
  // V8 keeps a source of Latin-1 characters at one byte each; anything else doubles it.
  const text = JSON.stringify(JSON.stringify(facts))
    .replace(/[^\x20-\x7e]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  return sources.map((source) => source.split(BUILD_MARK).join(text));
}
