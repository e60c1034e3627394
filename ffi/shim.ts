/**
 * Loads the shim. This is the only place that calls Deno.dlopen for it, and nothing is opened
 * before {@linkcode loadShim} is called: the simulated kernel runs with no compiler and anywhere.
 *
 * ```ts
 * const { futexWait, futexWake } = loadShim(); // once; then call the functions
 * ```
 *
 * @module
 */
import { buildShim } from "./build.ts";
import { shimInMemory } from "./embedded_shim.ts";
import { ShimError } from "./errors.ts";
import { installFence } from "./memory.ts";
import { fetchShim } from "./remote_shim.ts";
import { shimLocation } from "./shim_location.ts";
import { type Shim, SHIM_VERSION, shimSymbols } from "./symbols.ts";

export { type Shim } from "./symbols.ts";

let loaded: Shim | undefined;
let loaded_path = "";

function loadError(path: string, error: unknown): ShimError {
  const text = (error as Error).message.split("\n")[0];
  return new ShimError(
    `cannot load ${path} (${text})`,
    "remove native/build/ so that it is built again, or run with --allow-ffi",
  );
}

/**
 * The functions, each of which is made when it is first taken out of the object. All at once they
 * take 6 ms in each isolate, 0.1 ms each, and no isolate needs them all.
 */
function functionsOf(path: string): Shim {
  const symbols = shimSymbols();
  const shim = {};
  for (const name of Object.keys(symbols)) {
    const get = (): unknown => {
      try {
        const value = Deno.dlopen(path, { [name]: symbols[name] }).symbols[name];
        Object.defineProperty(shim, name, { value });
        return value;
      } catch (error) {
        throw loadError(path, error);
      }
    };
    Object.defineProperty(shim, name, { get, configurable: true, enumerable: true });
  }
  return shim as Shim;
}

/** Opens a library and looks at its version. */
function openShim(path: string): Shim {
  const shim = functionsOf(path);
  const version = shim.version();
  if (version !== SHIM_VERSION) {
    throw new ShimError(
      `${path} has version ${version} instead of ${SHIM_VERSION}`,
      "remove native/build/ so that it is built again, or pack the executable again",
    );
  }
  loaded_path = path;
  return shim;
}

function keep(shim: Shim): Shim {
  installFence(shim.fenceFull, shim.fenceRelease);
  loaded = shim;
  return shim;
}

function requireLinux(): void {
  if (Deno.build.os === "linux") return;
  throw new ShimError(`the shim needs Linux, this is ${Deno.build.os}`, "use --kernel=sim");
}

/**
 * The native functions; the library is opened at the first call in each isolate.
 *
 * @param explicit_path A library to load instead of the usual one.
 * @returns The functions.
 * @throws {ShimError} If the library can neither be found, built nor loaded; also, when this
 * module came from a web server, if {@linkcode prepareShim} was not awaited before.
 */
export function loadShim(explicit_path?: string): Shim {
  if (loaded !== undefined) return loaded;
  requireLinux();
  const location = shimLocation(import.meta.url, explicit_path);
  if (location.kind === "remote") {
    throw new ShimError("the shim is not fetched yet", "await prepareShim() first");
  }
  if (location.kind === "clone") return keep(openShim(buildShim(location.source_dir)));
  const embedded = Deno.build.standalone && explicit_path === undefined;
  return keep(openShim(embedded ? shimInMemory(location.path) : location.path));
}

/**
 * Path of the library, so that parts of it can be opened apart (ffi/peer.ts).
 *
 * @returns The path; the library is loaded if it was not.
 * @throws {ShimError} As {@linkcode loadShim}.
 */
export function shimPath(): string {
  loadShim();
  return loaded_path;
}

/**
 * Like {@linkcode loadShim}, for modules that came from a web server: fetches the library first.
 *
 * @param explicit_path A library to load instead of the usual one.
 * @returns The functions.
 * @throws {ShimError} If the library can neither be found, fetched, built nor loaded.
 */
export async function prepareShim(explicit_path?: string): Promise<Shim> {
  if (loaded !== undefined) return loaded;
  requireLinux();
  const location = shimLocation(import.meta.url, explicit_path);
  if (location.kind !== "remote") return loadShim(explicit_path);
  return keep(openShim(await fetchShim(location.native_url)));
}

/**
 * An ArrayBuffer over memory that C or the kernel owns. Make one per region and keep it; it must
 * not be used after the region is unmapped.
 *
 * @param address Address of the region, for example from `mmap`.
 * @param length_bytes Length of the region.
 * @returns The buffer; it is not copied.
 * @throws {ShimError} If the address is null.
 */
export function bufferAt(address: number, length_bytes: number): ArrayBuffer {
  const pointer = loadShim().addressToPointer(address);
  if (pointer === null) {
    throw new ShimError("a buffer at address 0", "check the result of mmap before using it");
  }
  return Deno.UnsafePointerView.getArrayBuffer(pointer, length_bytes);
}
