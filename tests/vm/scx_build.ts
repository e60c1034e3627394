/**
 * Builds the scx program of bpf/ and the probe that loads it, on the host.
 *
 * @module
 */

import { OperatingError } from "../../lib/errors.ts";
import { runProcess } from "./process.ts";

const BUILD_TIMEOUT_S = 120;
/** Libraries without their -dev packages: the probe uses no header of theirs. */
const LIBRARIES = ["-l:libelf.so.1", "-l:libz.so.1"];

/** Where things are. */
export interface ScxBuildOptions {
  /** The repository. */
  readonly root: string;
  /** The cache folder, with the unpacked packages. */
  readonly cache: string;
  /** Folder for what is built. */
  readonly out: string;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** The compiler for BPF: the host's, else the one that was fetched. */
function clangPath(cache: string): string {
  const fetched = `${cache}/tools/usr/bin/clang`;
  try {
    return Deno.statSync(fetched).isFile ? fetched : "clang";
  } catch {
    return "clang";
  }
}

/** Folders of fetched libraries. */
export function libraryFolders(cache: string): string[] {
  return ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map((name) =>
    `${cache}/tools/${name}`
  );
}

async function compile(what: string, command: string[], options: ScxBuildOptions): Promise<void> {
  const { code, stderr } = await runProcess({
    command,
    timeout_s: BUILD_TIMEOUT_S,
    env: { LD_LIBRARY_PATH: libraryFolders(options.cache).join(":") },
    signal: options.signal,
  });
  if (code === 0) return;
  const lines = stderr.trim().split("\n");
  throw new OperatingError(
    `${what} cannot be built (${lines.find((line) => /error|not found/i.test(line)) ?? lines[0]})`,
    "mend the source it names; if a compiler is missing, `apt-get install gcc clang` or --update",
  );
}

/**
 * Compiles bpf/scx_ghost.bpf.c and tests/vm/scx_probe.c.
 *
 * @param options Where things are.
 * @throws {OperatingError} If a compiler is missing or refuses a source.
 */
export async function buildScxProbe(options: ScxBuildOptions): Promise<void> {
  const { root, cache, out } = options;
  const include = `-I${cache}/libbpf/usr/include`;
  await Deno.mkdir(out, { recursive: true });
  const target = ["-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-g", "-O2"];
  const warnings = ["-Wall", "-Wextra", "-Werror"];
  const object = ["-c", `${root}/bpf/scx_ghost.bpf.c`, "-o", `${out}/scx_ghost.bpf.o`];
  // BPF_PROG makes functions whose parameters are not all used.
  const flags = [...target, ...warnings, "-Wno-unused-parameter", include];
  await compile("the scx program", [clangPath(cache), ...flags, ...object], options);
  const sources = ["scx_probe.c", "newer_libc.c"].map((name) => `${root}/tests/vm/${name}`);
  const archive = `${cache}/libbpf/usr/lib/x86_64-linux-gnu/libbpf.a`;
  const folders = libraryFolders(cache).map((folder) => `-L${folder}`);
  const link = [archive, ...folders, ...LIBRARIES, "-pthread", "-o", `${out}/scx_probe`];
  const c_flags = ["-std=gnu11", "-O2", ...warnings, include];
  await compile("the scx probe", ["cc", ...c_flags, ...sources, ...link], options);
}
