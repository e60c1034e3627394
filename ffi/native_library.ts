/**
 * Opens native libraries beside the shim: the other side of benchmarks and of tests. Only ffi/
 * calls Deno.dlopen, so that it is seen in one place what native code there is.
 *
 * @module
 */
import { buildLibrary } from "./build.ts";

/** What {@linkcode openNativeLibrary} opens. */
export interface NativeLibraryOptions {
  /** Name of the library without "lib" and ".so". */
  readonly name: string;
  /** Sources in native/. */
  readonly sources: readonly string[];
}

/**
 * Builds a library in native/ if a source is newer, and opens it.
 *
 * @param options The library.
 * @param symbols Its functions, as for Deno.dlopen.
 * @returns The functions.
 * @throws {ShimError} If there is no compiler, or if it refuses the source.
 */
export function openNativeLibrary<const S extends Deno.ForeignLibraryInterface>(
  options: NativeLibraryOptions,
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] {
  const source_dir = decodeURIComponent(new URL("../native", import.meta.url).pathname);
  const path = buildLibrary({
    source_dir,
    sources: options.sources,
    headers: ["shim.h"],
    out: `${source_dir}/build/lib${options.name}.so`,
  });
  return Deno.dlopen(path, symbols).symbols;
}
