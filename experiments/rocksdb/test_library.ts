/**
 * RocksDB for tests: a stand-in that is built here, and the real one where it is installed.
 *
 * @module
 */
import { buildLibrary } from "../../ffi/build.ts";
import { loadRocksdb, ROCKSDB_NAMES } from "../../ffi/rocksdb.ts";

/** Builds the stand-in if that is needed. Returns its path. */
export function fakeRocksdb(): string {
  const path = (name: string): string =>
    decodeURIComponent(new URL(name, import.meta.url).pathname);
  return buildLibrary({
    source_dir: path("testdata"),
    sources: ["fake_rocksdb.c"],
    out: path("../../native/build/libfake_rocksdb.so"),
  });
}

/** True if the real library can be loaded. */
export const HAS_ROCKSDB: boolean = loadRocksdb() === undefined;

/** A library to test with. */
export interface TestLibrary {
  /** For the name of a step. */
  readonly name: string;
  /** What is loaded. */
  readonly paths: readonly string[];
}

/** The libraries there are. */
export function testLibraries(): TestLibrary[] {
  const fake = { name: "a stand-in", paths: [fakeRocksdb()] };
  return HAS_ROCKSDB ? [fake, { name: "RocksDB", paths: ROCKSDB_NAMES }] : [fake];
}

/** Loads a library and makes a folder for its database; removes the folder in the end. */
export async function withLibrary(
  library: TestLibrary,
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const fault = loadRocksdb(library.paths);
  if (fault !== undefined) throw fault;
  const folder = Deno.makeTempDirSync();
  try {
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
