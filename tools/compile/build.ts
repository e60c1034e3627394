/**
 * Builds one executable: bundle, shim, runtime.
 *
 * @module
 */

import { stdSource } from "../std_source.ts";
import { bundle, bundleParts, withBuildFacts } from "./bundle.ts";
import { buildShimBytes, CompileError, hasCompiler } from "./cc.ts";
import { baseRuntime, denoCompile } from "./deno_compile.ts";
import { licensesText, readRuntimeLicense, scanRuntime } from "./licenses.ts";
import { type Parts, scriptTexts, TEXT_LOADER, withTexts } from "./script_bundle.ts";
import { buildScxLoader } from "./scx.ts";
import { packLauncher, packStub, type Program, runtimePath, writeExecutable } from "./pack.ts";

/**
 * How an executable is made: by `deno compile`, by a segment and a start stub in the installed
 * `deno`, by a launcher that carries it, or by the first of these that works here.
 */
export type Mode = "auto" | "compile" | "patch" | "launcher";

/** The modes. */
export const MODES: readonly Mode[] = ["auto", "compile", "patch", "launcher"];

/** What to build. */
export interface BuildOptions {
  /** Path of the program. */
  entry: string;
  /** Path of the executable. */
  out: string;
  /** How to make it. */
  mode: Mode;
  /** V8 flags in addition to the usual ones. */
  v8_flags?: readonly string[];
  /** The program that it is under a foreign name; without it no build facts are written. */
  default_name?: string;
  /** Gets a line per step. */
  progress?: (line: string) => void;
}

/** What was built. */
export interface BuildReport {
  /** How. */
  mode: Exclude<Mode, "auto">;
  /** Size of the executable in bytes. */
  file_bytes: number;
  /** Size of the runtime it was made from in bytes; 0 when it is not known (a download). */
  base_bytes: number;
}

/** What a build without the scx program says. */
export function noScxNote(missing: string): string {
  return `note: no ${missing}, so no --kernel=scx in this executable; on Debian ` +
    "`deno task test:vm --fetch` gets what it takes, without installing anything";
}

const WHOLE_NOTE = "note: the bundle cannot be run in parts, so the file starts slowly";
const NO_SHIM_NOTE = "note: no C compiler, so no shim: this executable runs --kernel=sim only";

function sizeText(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

/** Runs a step and reports what it took. */
async function step<T>(
  options: BuildOptions,
  name: string,
  run: () => Promise<T>,
  describe: (result: T) => string,
): Promise<T> {
  const start_ms = performance.now();
  const result = await run();
  const seconds = ((performance.now() - start_ms) / 1000).toFixed(1);
  options.progress?.(`${name.padEnd(9)} ${describe(result)}  ${seconds} s`);
  return result;
}

/** The bundle whole and in parts. */
interface Bundles {
  readonly whole: string;
  readonly parts: Parts;
}

async function makeBundles(
  options: BuildOptions,
  runtime: Uint8Array,
  has_scx: boolean,
): Promise<Bundles> {
  const [whole, parts] = await Promise.all([bundle(options.entry), bundleParts(options.entry)]);
  const { default_name } = options;
  if (default_name === undefined) return { whole, parts };
  const contents = scanRuntime(runtime);
  const is_offline = await stdSource() === "offline";
  const runtime_license = readRuntimeLicense(runtimePath());
  const licenses = licensesText(contents, runtime_license, is_offline, has_scx);
  const facts = { default_name, licenses };
  const sources = withBuildFacts([...parts.texts.values()], facts);
  const texts = new Map([...parts.texts.keys()].map((name, index) => [name, sources[index]]));
  return { whole: withBuildFacts([whole], facts)[0], parts: { ...parts, texts } };
}

/** The shim; empty where none can be built and the mode does not need a compiler anyway. */
async function makeShim(mode: Mode, scx: string | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const is_optional = mode === "compile" && (Deno.build.os !== "linux" || !await hasCompiler());
  return is_optional ? new Uint8Array() : await buildShimBytes(scx);
}

/** The scx program with its loader; undefined where it cannot be built. */
async function makeScx(options: BuildOptions): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || !await hasCompiler()) return undefined;
  const built = await buildScxLoader();
  if ("path" in built) return built.path;
  options.progress?.(noScxNote(built.missing));
  return undefined;
}

async function chooseMode(options: BuildOptions): Promise<Exclude<Mode, "auto">> {
  if (options.mode !== "auto") return options.mode;
  if (await baseRuntime() !== "none") return "compile";
  if (Deno.build.os !== "linux") {
    throw new CompileError(
      "the base runtime of `deno compile` cannot be downloaded, and other ways need Linux; " +
        "name a denort in DENORT_BIN, or compile on Linux",
    );
  }
  return "patch";
}

async function packFile(
  options: BuildOptions,
  mode: "patch" | "launcher",
  runtime: Uint8Array<ArrayBuffer>,
  program: Program,
  parts: Parts,
): Promise<"patch" | "launcher"> {
  if (mode === "patch") {
    const scripts = scriptTexts(parts);
    if (scripts === undefined) options.progress?.(WHOLE_NOTE);
    const module = scripts === undefined ? program.bundle : TEXT_LOADER;
    const packed = await packStub(runtime, { ...program, bundle: module });
    if ("bytes" in packed) {
      const { bytes } = packed;
      const file = scripts === undefined ? bytes : withTexts(bytes, scripts);
      await writeExecutable(options.out, file);
      return "patch";
    }
    if (options.mode === "patch") {
      throw new CompileError(
        `${runtimePath()} cannot be patched: ${packed.refusal}; use --mode=launcher`,
      );
    }
    options.progress?.(
      `note: ${packed.refusal}, so the file is a launcher that unpacks the runtime once`,
    );
  }
  await writeExecutable(options.out, await packLauncher(runtime, program));
  return "launcher";
}

async function compileFile(
  options: BuildOptions,
  program: Program,
): Promise<{ base_bytes: number } | undefined> {
  try {
    await denoCompile(program, options.out);
  } catch (error) {
    if (!(error instanceof CompileError) || options.mode === "compile") throw error;
    if (Deno.build.os !== "linux") throw error;
    options.progress?.(`note: ${error.message.split("\n")[0]}; packing the installed deno instead`);
    return undefined;
  }
  const denort = Deno.env.get("DENORT_BIN");
  return { base_bytes: denort ? Deno.statSync(denort).size : 0 };
}

/**
 * Builds an executable.
 *
 * @param options What and how.
 * @returns What was built.
 * @throws CompileError with cause and cure when a step fails.
 */
export async function buildExecutable(options: BuildOptions): Promise<BuildReport> {
  let mode = await chooseMode(options);
  const runtime = await Deno.readFile(runtimePath());
  const scx = await makeScx(options);
  const { whole, parts } = await step(
    options,
    "bundle",
    () => makeBundles(options, runtime, scx !== undefined),
    ({ whole }) => `${options.entry} with all it imports: ${sizeText(whole.length)}`,
  );
  const shim = await step(
    options,
    "shim",
    () => makeShim(mode, scx),
    (shim) => `${sizeText(shim.length)}${scx === undefined ? "" : ", with the scx program"}`,
  );
  if (shim.length === 0) options.progress?.(NO_SHIM_NOTE);
  const program: Program = { bundle: whole, shim, v8_flags: options.v8_flags ?? [] };
  let base_bytes = runtime.length;
  const describe = (): string => `${options.out} (${sizeText(Deno.statSync(options.out).size)})`;
  if (mode === "compile") {
    const compile = () => compileFile(options, program);
    const compiled = await step(
      options,
      "compile",
      compile,
      (done) => done ? describe() : "failed",
    );
    if (compiled === undefined) mode = "patch";
    else base_bytes = compiled.base_bytes;
  }
  if (mode !== "compile") {
    const way = mode;
    const pack = () => packFile(options, way, runtime, program, parts);
    mode = await step(options, "pack", pack, () => `deno ${Deno.version.deno} -> ${describe()}`);
  }
  return { mode, file_bytes: Deno.statSync(options.out).size, base_bytes };
}
