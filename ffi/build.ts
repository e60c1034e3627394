/**
 * Builds the native libraries with `cc`, for work in a clone and for use from JSR. A library is
 * built when a source is newer than it; it is moved into place whole, so that processes which
 * build at the same time do not disturb each other.
 *
 * @module
 */
import { ShimError } from "./errors.ts";

/** C sources of the shim, in native/. */
export const SHIM_SOURCES: readonly string[] = [
  "shim.c",
  "memory.c",
  "thread.c",
  "satellite.c",
  "shared_file.c",
  "unix_socket.c",
  "peer.c",
  "peer_message.c",
  "peer_agent.c",
  "peer_task.c",
  "peer_satellite.c",
  "ghost_satellite.c",
  "load.c",
  "actor.c",
  "load_ops.c",
  "exec.c",
  "experiment.c",
  "arrivals.c",
  "rocksdb_database.c",
  "rocksdb_load.c",
  "antagonist.c",
  "guard_image.c",
  "scx_agent.c",
  "scx_satellite.c",
  "scx_image.c",
];
/** C sources of the guard, a program that the shim carries. */
export const GUARD_SOURCES: readonly string[] = ["guard.c", "guard_watch.c", "guard_process.c"];
/** Headers of the shim, in native/, and what else it contains. */
export const SHIM_HEADERS: readonly string[] = [
  "shim.h",
  "satellite.h",
  "peer.h",
  "load.h",
  "experiment.h",
  "hint_table.h",
  "rocksdb_database.h",
  "guard.h",
  "ghost_abi.h",
  ...GUARD_SOURCES,
];
/** File name of the shim. */
export const SHIM_FILE = "libghost_shim.so";

/** What every native program and library is compiled with. */
export const CC_FLAGS: readonly string[] = [
  "-std=gnu11",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-O2",
  "-fPIC",
  "-fvisibility=hidden",
  "-pthread",
];

/** nodelete: Deno unloads a library at exit, while threads of it may still run. */
const LIBRARY_FLAGS: readonly string[] = ["-shared", "-Wl,-z,nodelete"];

const CC_CURE = "install a C compiler, for example `apt-get install gcc libc6-dev`; " +
  "--kernel=sim and the packed executable need none";

/** Options of {@linkcode buildLibrary}. */
export interface BuildOptions {
  /** Directory of the sources, without a slash at the end. */
  readonly source_dir: string;
  /** Sources, relative to it. */
  readonly sources: readonly string[];
  /** Headers, relative to it; a newer one causes a build. */
  readonly headers?: readonly string[];
  /** The library to write; its directory is created. */
  readonly out: string;
  /** More flags for the compiler. */
  readonly flags?: readonly string[];
  /** The compiler; "cc" unless a test says otherwise. */
  readonly cc?: string;
}

/**
 * Runs the C compiler.
 *
 * @param args Its arguments.
 * @param cc The compiler.
 * @throws {ShimError} If there is none, or if it refuses the source.
 */
export function runCc(args: readonly string[], cc = "cc"): void {
  let output: Deno.CommandOutput;
  try {
    output = new Deno.Command(cc, { args: [...args], stdin: "null" }).outputSync();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new ShimError(`no "${cc}" on PATH`, CC_CURE);
    throw new ShimError(`"${cc}" cannot be run (${(error as Error).message})`, CC_CURE);
  }
  if (output.success) return;
  const text = new TextDecoder().decode(output.stderr).trim();
  const first = text.split("\n").find((line) => /error/i.test(line)) ?? text.split("\n")[0];
  throw new ShimError(
    `${cc} failed with status ${output.code} (${first})`,
    "mend the source it names, or install libc6-dev if a system header is missing",
  );
}

function modifiedMs(path: string): number {
  try {
    return Deno.statSync(path).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return -1;
    throw error;
  }
}

/**
 * True if a library is missing or older than one of its sources.
 *
 * @param options The library.
 * @returns Whether {@linkcode buildLibrary} would compile.
 * @throws {ShimError} If a source is missing.
 */
export function isStale(options: BuildOptions): boolean {
  const built_ms = modifiedMs(options.out);
  let stale = built_ms < 0;
  for (const name of [...options.sources, ...(options.headers ?? [])]) {
    const source_ms = modifiedMs(`${options.source_dir}/${name}`);
    if (source_ms < 0) {
      throw new ShimError(
        `${options.source_dir}/${name} is missing`,
        "check out the whole repository, native/ included",
      );
    }
    if (source_ms >= built_ms) stale = true;
  }
  return stale;
}

/**
 * Compiles a shared library if that is needed.
 *
 * @param options What to build from what.
 * @returns The path of the library.
 * @throws {ShimError} If a source is missing, or the compiler is missing or fails.
 */
export function buildLibrary(options: BuildOptions): string {
  if (!isStale(options)) return options.out;
  const directory = options.out.slice(0, options.out.lastIndexOf("/"));
  Deno.mkdirSync(directory, { recursive: true });
  const partial = `${options.out}.${Deno.pid}.${crypto.randomUUID()}`;
  const sources = options.sources.map((name) => `${options.source_dir}/${name}`);
  try {
    runCc(
      [...CC_FLAGS, ...options.flags ?? [], ...LIBRARY_FLAGS, "-o", partial, ...sources],
      options.cc,
    );
    Deno.renameSync(partial, options.out);
  } catch (error) {
    removeFile(partial);
    throw error;
  }
  return options.out;
}

/** What the guard is compiled with: small, and able to run where no library is. */
const GUARD_FLAGS: readonly string[] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Os", "-s"];

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch { /* not made */ }
}

/** Compiles the guard into a directory; its path. Where libc has no static form, without that. */
function buildGuard(source_dir: string, directory: string, cc?: string): string {
  const out = `${directory}/guard.${Deno.pid}.${crypto.randomUUID()}`;
  const sources = GUARD_SOURCES.map((name) => `${source_dir}/${name}`);
  try {
    runCc([...GUARD_FLAGS, "-static", "-o", out, ...sources], cc);
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    runCc([...GUARD_FLAGS, "-o", out, ...sources], cc);
  }
  return out;
}

/**
 * Compiles the shim, with the guard in it, if that is needed.
 *
 * @param source_dir Directory with {@linkcode SHIM_SOURCES}.
 * @param out The library to write.
 * @param cc The compiler.
 * @param scx_loader The loader of the scx program that the shim is to carry, if any.
 * @returns The path of the library.
 * @throws {ShimError} If a source is missing, or the compiler is missing or fails.
 */
export function buildShim(
  source_dir: string,
  out: string = `${source_dir}/build/${SHIM_FILE}`,
  cc?: string,
  scx_loader?: string,
): string {
  const options = { source_dir, sources: SHIM_SOURCES, headers: SHIM_HEADERS, out, cc };
  if (!isStale(options)) return out;
  const directory = out.slice(0, out.lastIndexOf("/"));
  Deno.mkdirSync(directory, { recursive: true });
  const guard = buildGuard(source_dir, directory, cc);
  try {
    const scx = scx_loader === undefined ? [] : [`-DSCX_LOADER_FILE="${scx_loader}"`];
    return buildLibrary({ ...options, flags: [`-DGUARD_FILE="${guard}"`, ...scx] });
  } finally {
    removeFile(guard);
  }
}
