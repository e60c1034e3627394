/**
 * Loads RocksDB's shared library, which nothing needs but the rocksdb experiment. It is opened by
 * name when that experiment runs; nothing is linked against it.
 *
 * @module
 */
import { ShimError } from "./errors.ts";
import { loadExperiments } from "./experiments.ts";
import { cString } from "./symbols.ts";

/**
 * Names under which distributions ship it, the tested one first: Debian 12, Debian 13, Ubuntu
 * 24.04, Debian 11 and Ubuntu 22.04, others; the plain name comes with the headers.
 */
export const ROCKSDB_NAMES: readonly string[] = [
  "librocksdb.so.7.8",
  "librocksdb.so.9.10",
  "librocksdb.so.8.9",
  "librocksdb.so.6.11",
  "librocksdb.so.10",
  "librocksdb.so.9",
  "librocksdb.so.8",
  "librocksdb.so",
];

const TEXT_BYTES = 512;
const CURE = "install it, `apt install librocksdb7.8` on Debian 12, or name it: --rocksdb_library";

/** Reads text that C has written into a buffer. */
export function textIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? bytes.length : end));
}

/**
 * Loads the library.
 *
 * @param names Names to try in this order, as dlopen takes them.
 * @returns Undefined, or why there is none.
 * @throws {ShimError} If the shim itself cannot be had.
 */
export function loadRocksdb(names: readonly string[] = ROCKSDB_NAMES): ShimError | undefined {
  const { rocksdbLoad } = loadExperiments();
  const text = new Uint8Array(TEXT_BYTES);
  let reason = "";
  for (const name of names) {
    if (rocksdbLoad(cString(name), text, TEXT_BYTES) === 0) return undefined;
    const said = textIn(text).split("\n")[0];
    // A library that is there but cannot be used says more than one that is not there.
    if (reason === "" || !said.includes("No such file")) reason = said;
  }
  return new ShimError(`RocksDB cannot be loaded (${reason})`, CURE);
}
