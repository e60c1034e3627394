/**
 * Where the shim comes from. The module's own URL decides, so no flag and no environment variable
 * is needed, and none can change what a packed executable loads:
 *
 * | module | shim |
 * |---|---|
 * | `file:///proc/self/fd/100`, the bundle in a packed executable | descriptor 101, a memfd |
 * | a bundle in a file (deno compile) | the .so beside the bundle, by way of a memfd |
 * | `ffi/shim.ts` in a clone | native/build/, compiled when the sources are newer |
 * | `https://…/ffi/shim.ts` (JSR) | the .so or the C sources beside it, into a cache |
 *
 * @module
 */
import { SHIM_FILE } from "./build.ts";
import { ShimError } from "./errors.ts";

/**
 * URL of the bundle in a packed executable. Its start stub puts it at descriptor 100, or the next
 * free one if the caller uses that, and the shim at the descriptor after it.
 */
const PACKED_BUNDLE_URL = /^file:\/\/\/proc\/self\/fd\/(\d+)$/;

/** Where the shim is, or what it is made from. */
export type ShimLocation =
  /** A library that is there already. */
  | { readonly kind: "file"; readonly path: string }
  /** C sources on this machine. */
  | { readonly kind: "clone"; readonly source_dir: string }
  /** A directory, with a slash at the end, on a web server. */
  | { readonly kind: "remote"; readonly native_url: string };

/**
 * Says where the shim is.
 *
 * @param module_url URL of ffi/shim.ts, or of the bundle that contains it.
 * @param explicit_path A library that the caller names; goes before everything else.
 * @returns The location; nothing is opened yet.
 * @throws {ShimError} If the URL is of a kind that has no shim.
 */
export function shimLocation(module_url: string, explicit_path?: string): ShimLocation {
  if (explicit_path !== undefined) return { kind: "file", path: explicit_path };
  const packed = PACKED_BUNDLE_URL.exec(module_url);
  if (packed !== null) return { kind: "file", path: `/proc/self/fd/${Number(packed[1]) + 1}` };
  const url = new URL(module_url);
  const bundled = !url.pathname.endsWith("/ffi/shim.ts");
  if (url.protocol === "file:") {
    if (bundled) return { kind: "file", path: filePath(new URL(`./${SHIM_FILE}`, url)) };
    return { kind: "clone", source_dir: filePath(new URL("../native", url)) };
  }
  if (url.protocol === "https:" || url.protocol === "http:") {
    return { kind: "remote", native_url: new URL("../native/", url).href };
  }
  throw new ShimError(
    `no shim can be found for a module at ${url.protocol}`,
    "name the library: loadShim(path)",
  );
}

/** Path of a file: URL. Only Linux has a shim, so there are no drive letters to think of. */
function filePath(url: URL): string {
  return decodeURIComponent(url.pathname);
}
