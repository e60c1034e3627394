/**
 * `deno task compile [NAME...]`: makes executables. With names, one file in the current folder and
 * a hard link per further name; without, dist/ghostctl and a hard link for every program.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { MULTI_CALL_NAME } from "../../util/dispatch.ts";
import { PROGRAMS } from "../../util/programs.ts";
import { rootPath } from "../std_source.ts";
import { buildExecutable, type Mode, MODES } from "./build.ts";
import { CompileError } from "./cc.ts";

const HELP = `usage: deno task compile [NAME...] [--out DIR] [--mode MODE] [--v8-flags A,B]

Makes an executable NAME in the current folder (further names become hard links to it). Without
a name: dist/${MULTI_CALL_NAME} and a hard link for every agent and tool.

  --out DIR        write there
  --mode MODE      auto (the default): compile, else patch, else launcher
                   compile: deno compile; its base runtime is DENORT_BIN or is downloaded
                   patch: the installed deno with a segment and a start stub added (needs cc)
                   launcher: carries the installed deno and unpacks it once (needs cc)
  --v8-flags A,B   V8 flags to build in, in addition to the usual ones`;

/** What the command line asks for. */
interface Request {
  names: string[];
  folder: string;
  mode: Mode;
  v8_flags: string[];
}

/** Names that can be made: every program that has a file, and the one that is all of them. */
function fileNames(): string[] {
  const programs = Object.keys(PROGRAMS).filter((name) => PROGRAMS[name].has_file);
  return [MULTI_CALL_NAME, ...programs.sort()];
}

function parseRequest(args: readonly string[]): Request | string {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    string: ["out", "mode", "v8-flags", "_"],
    unknown: (arg, key) => key === undefined ? undefined : void unknown.push(arg),
  });
  if (unknown.length > 0) return `unknown flag ${unknown[0]}; --help lists them`;
  const asked = flags._.map(String);
  const strange = asked.find((name) => !fileNames().includes(name));
  if (strange !== undefined) {
    return `no program "${strange}"; there are: ${fileNames().join(", ")}`;
  }
  const mode = flags.mode ?? "auto";
  if (!MODES.includes(mode as Mode)) {
    return `--mode=${mode} is none of ${MODES.join(", ")}`;
  }
  if (flags.out === "") return "--out needs a folder";
  // `deno task` changes to the repository's folder and keeps the caller's here.
  const caller_folder = Deno.env.get("INIT_CWD") ?? Deno.cwd();
  const out = flags.out?.startsWith("/") ? flags.out : `${caller_folder}/${flags.out ?? "."}`;
  const dist = `${rootPath()}/dist`;
  return {
    names: asked.length > 0 ? asked : fileNames(),
    folder: asked.length > 0 || flags.out !== undefined ? out.replace(/\/\.$/, "") : dist,
    mode: mode as Mode,
    v8_flags: flags["v8-flags"]?.split(",").filter((flag) => flag !== "") ?? [],
  };
}

async function makeFiles(request: Request): Promise<void> {
  const { folder, names: [first, ...links], mode, v8_flags } = request;
  const out = `${folder}/${first}`;
  await Deno.mkdir(folder, { recursive: true });
  await buildExecutable({
    entry: "util/main.ts",
    out,
    mode,
    v8_flags,
    default_name: first,
    progress: (line) => console.error(line),
  });
  for (const link of links) {
    await Deno.remove(`${folder}/${link}`).catch(() => {});
    await Deno.link(out, `${folder}/${link}`);
  }
  if (links.length > 0) console.error(`links     ${links.join(", ")}`);
}

/**
 * The task.
 *
 * @param args Its arguments.
 * @returns The exit status: 0, 1 when a step failed, 2 on wrong usage.
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  const request = parseRequest(args);
  if (typeof request === "string") {
    console.error(`compile: ${request}`);
    return 2;
  }
  try {
    await makeFiles(request);
    return 0;
  } catch (error) {
    const is_expected = error instanceof CompileError || error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotADirectory ||
      error instanceof Deno.errors.AlreadyExists;
    if (!is_expected) throw error;
    console.error(`compile: ${error.message}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
