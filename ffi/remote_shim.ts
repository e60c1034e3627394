/**
 * The shim for a program that imports this package from a web server (JSR): the prebuilt library
 * beside the modules if there is one, else the C sources, compiled here. Kept in a cache that only
 * this user can write; a JSR address names a version, so what is cached stays right.
 *
 * @module
 */
import { buildShim, SHIM_FILE, SHIM_HEADERS, SHIM_SOURCES } from "./build.ts";
import { ShimError } from "./errors.ts";

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const FETCH_CURE = "check the network, or work from a clone or a packed executable";

/** Fetches a file; undefined if the server has none. */
async function fetchFile(url: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new ShimError(`cannot fetch ${url} (${(error as Error).message})`, FETCH_CURE);
  }
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  await response.body?.cancel();
  if (response.status === 404) return undefined;
  throw new ShimError(`cannot fetch ${url} (status ${response.status})`, FETCH_CURE);
}

/** Directory for caches: XDG_CACHE_HOME, else .cache in the home directory. */
function cacheRoot(): string | undefined {
  const xdg = Deno.env.get("XDG_CACHE_HOME");
  if (xdg !== undefined && xdg.startsWith("/")) return xdg;
  const home = Deno.env.get("HOME");
  return home === undefined || home === "" ? undefined : `${home}/.cache`;
}

/**
 * A directory of this user for one address. A directory that somebody else owns or can write is
 * not used, because what lies there will be executed.
 */
async function cacheDirectory(native_url: string, root: string | undefined): Promise<string> {
  const bytes = new TextEncoder().encode(native_url);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const key = Array.from(digest.subarray(0, 12), (byte) => byte.toString(16).padStart(2, "0"));
  if (root !== undefined) {
    const directory = `${root}/ghost_shim/${key.join("")}`;
    try {
      await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
      const info = await Deno.lstat(directory);
      const safe = info.isDirectory && info.uid === Deno.uid() && ((info.mode ?? 0) & 0o022) === 0;
      if (safe) return directory;
    } catch { /* read-only or foreign: a temporary directory does as well */ }
  }
  return await Deno.makeTempDir({ prefix: "ghost_shim_" });
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${crypto.randomUUID()}`;
  await Deno.writeFile(partial, bytes, { mode: 0o700 });
  await Deno.rename(partial, path);
}

async function fetchSources(native_url: string, directory: string): Promise<void> {
  for (const name of [...SHIM_SOURCES, ...SHIM_HEADERS]) {
    const bytes = await fetchFile(`${native_url}${name}`);
    if (bytes === undefined) {
      throw new ShimError(`${native_url}${name} is missing`, "use a complete version");
    }
    await writeWhole(`${directory}/${name}`, bytes);
  }
}

/** Options of {@linkcode fetchShim}; for tests. */
export interface FetchOptions {
  /** Directory for the cache instead of the user's. */
  readonly cache_root?: string;
  /** The compiler instead of "cc". */
  readonly cc?: string;
}

/**
 * Brings the shim to this machine.
 *
 * @param native_url Address of the package's native/ directory, with a slash at the end.
 * @param options Other places than the usual ones.
 * @returns Path of the library.
 * @throws {ShimError} If it can neither be fetched nor compiled.
 */
export async function fetchShim(native_url: string, options: FetchOptions = {}): Promise<string> {
  const directory = await cacheDirectory(native_url, options.cache_root ?? cacheRoot());
  const path = `${directory}/${SHIM_FILE}`;
  try {
    await Deno.stat(path);
    return path;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const url = `${native_url}prebuilt/${Deno.build.arch}/${SHIM_FILE}`;
  const library = await fetchFile(url);
  if (library === undefined) {
    await fetchSources(native_url, directory);
    return buildShim(directory, path, options.cc);
  }
  if (!ELF_MAGIC.every((byte, index) => library[index] === byte)) {
    throw new ShimError(`${url} is not a library`, "the server gave another file; check it");
  }
  await writeWhole(path, library);
  return path;
}
