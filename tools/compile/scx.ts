/**
 * Builds the loader of the scx program (native/scx/) with the program (bpf/) in it: one static
 * executable, so that a host needs neither clang nor libbpf.
 *
 * @module
 */
import { rootPath } from "../std_source.ts";
import { CompileError, compiler } from "./cc.ts";

/** What the build takes beside a C compiler. */
export interface ScxTools {
  /** clang, for BPF. */
  readonly clang: string;
  /** Folder with bpf/bpf.h. */
  readonly include: string;
  /** libbpf.a, 1.2 or later. */
  readonly libbpf: string;
  /** libelf.a. */
  readonly libelf: string;
  /** libz.a, and libzstd.a where there is one: newer versions of libelf use it. */
  readonly libz: readonly string[];
  /** Folders of libraries that clang needs. */
  readonly library_folders: readonly string[];
}

/** Where the task test:vm unpacks Debian packages. */
export const VM_CACHE = ".cache/vm";
/** The built loader, from the repository's folder. */
export const SCX_LOADER_FILE = "native/build/scx_loader";
const LIBBPF_MIN_MINOR = 2;
const MULTIARCH = "usr/lib/x86_64-linux-gnu";
const BPF_FILES = [
  "scx_ghost.bpf.c",
  "scx_control.h",
  "scx_agents.h",
  "scx_commit.h",
  "scx_switch.h",
  "scx_send.h",
  "scx_maps.h",
  "scx_kernel.h",
];

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function firstFile(paths: readonly string[]): string | undefined {
  return paths.find(isFile);
}

/** Whether a folder has headers of a libbpf that links struct_ops. */
function hasHeaders(include: string): boolean {
  try {
    const text = Deno.readTextFileSync(`${include}/bpf/libbpf_version.h`);
    const part = (name: string) =>
      Number(text.match(new RegExp(`LIBBPF_${name}_VERSION\\s+(\\d+)`))?.[1] ?? 0);
    return part("MAJOR") > 1 || part("MINOR") >= LIBBPF_MIN_MINOR;
  } catch {
    return false;
  }
}

/**
 * Looks for the tools: those that test:vm has fetched, then the host's.
 *
 * @param root The repository.
 * @returns The tools, or what is missing.
 */
export function findScxTools(root: string = rootPath()): ScxTools | string {
  const cache = `${root}/${VM_CACHE}`;
  const path = (Deno.env.get("PATH") ?? "").split(":");
  const clang = firstFile([
    `${cache}/tools/usr/bin/clang`,
    ...path.map((folder) => `${folder}/clang`),
  ]);
  if (clang === undefined) return "clang";
  const include = [`${cache}/libbpf/usr/include`, "/usr/include"].find(hasHeaders);
  const libbpf = firstFile([`${cache}/libbpf/${MULTIARCH}/libbpf.a`, `/${MULTIARCH}/libbpf.a`]);
  if (include === undefined || libbpf === undefined) return "libbpf 1.2 or later (libbpf-dev)";
  const archive = (name: string) =>
    firstFile([`${cache}/libbpf/${MULTIARCH}/${name}`, `/${MULTIARCH}/${name}`]);
  const [libelf, libz] = [archive("libelf.a"), archive("libz.a")];
  if (libelf === undefined) return "libelf.a (libelf-dev)";
  if (libz === undefined) return "libz.a (zlib1g-dev)";
  const library_folders = [`${cache}/tools/${MULTIARCH}`, `${cache}/tools/lib/x86_64-linux-gnu`];
  const libzstd = archive("libzstd.a");
  const compression = libzstd === undefined ? [libz] : [libz, libzstd];
  return { clang, include, libbpf, libelf, libz: compression, library_folders };
}

async function run(what: string, command: readonly string[], tools: ScxTools): Promise<void> {
  const [program, ...args] = command;
  const { success, stderr } = await new Deno.Command(program, {
    args,
    env: { LD_LIBRARY_PATH: tools.library_folders.join(":") },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const lines = new TextDecoder().decode(stderr).trim().split("\n");
  const line = lines.find((text) => /error|not found/i.test(text)) ?? lines[0];
  throw new CompileError(`cannot build ${what} (${line}); mend the source it names`);
}

function isStale(root: string, out: string): boolean {
  const sources = [
    ...BPF_FILES.map((name) => `${root}/bpf/${name}`),
    `${root}/native/ghost_abi.h`,
    `${root}/native/scx/scx_loader.c`,
    `${root}/native/scx/newer_libc.c`,
  ];
  const modified = (path: string) => Deno.statSync(path).mtime?.getTime() ?? 0;
  return !isFile(out) || sources.some((path) => modified(path) >= modified(out));
}

/** Compiles a BPF program. */
export async function buildBpfObject(
  root: string,
  source: string,
  out: string,
  tools: ScxTools,
): Promise<void> {
  const target = ["-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-g", "-O2"];
  // BPF_PROG makes functions whose parameters are not all used.
  const warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"];
  const files = ["-c", `${root}/bpf/${source}`, "-o", out];
  const command = [tools.clang, ...target, ...warnings, `-I${tools.include}`, ...files];
  await run(`bpf/${source}`, command, tools);
}

/** Compiles the loader with a program in it. */
export async function buildLoader(
  root: string,
  object: string,
  out: string,
  tools: ScxTools,
): Promise<void> {
  const flags = ["-std=gnu11", "-O2", "-s", "-static", "-Wall", "-Wextra", "-Werror"];
  const sources = ["scx_loader.c", "newer_libc.c"].map((name) => `${root}/native/scx/${name}`);
  const archives = [tools.libbpf, tools.libelf, ...tools.libz];
  await run("the scx loader", [
    compiler(),
    ...flags,
    `-I${tools.include}`,
    `-DSCX_OBJECT="${object}"`,
    ...sources,
    ...archives,
    "-o",
    out,
  ], tools);
}

/**
 * Builds the loader if that is needed.
 *
 * @param root The repository.
 * @returns Its path, or what is missing to build it.
 * @throws {CompileError} If a compiler refuses a source.
 */
export async function buildScxLoader(
  root: string = rootPath(),
): Promise<{ path: string } | { missing: string }> {
  const path = `${root}/${SCX_LOADER_FILE}`;
  const tools = Deno.build.arch === "x86_64" ? findScxTools(root) : "a build for x86-64";
  if (typeof tools === "string") return { missing: tools };
  if (!isStale(root, path)) return { path };
  await Deno.mkdir(`${root}/native/build`, { recursive: true });
  const partial = `${path}.${Deno.pid}`;
  const object = `${partial}.bpf.o`;
  try {
    await buildBpfObject(root, "scx_ghost.bpf.c", object, tools);
    await buildLoader(root, object, partial, tools);
    await Deno.rename(partial, path);
  } finally {
    for (const file of [partial, object]) await Deno.remove(file).catch(() => {});
  }
  return { path };
}
