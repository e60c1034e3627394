import { assert, assertEquals } from "@std/assert";
import { licensesText, readRuntimeLicense, scanRuntime } from "./licenses.ts";
import { runtimePath } from "./pack.ts";

const CHUNK_BYTES = 1 << 22;

function source(crate: string): string {
  return `/home/x/.cargo/registry/src/index-1949cf8c/${crate}/src/lib.rs`;
}

Deno.test("crates are found once, sorted, also where two chunks meet", () => {
  const bytes = new Uint8Array(CHUNK_BYTES * 2);
  const put = (at: number, text: string): void => bytes.set(new TextEncoder().encode(text), at);
  put(100, source("zip-2.4.1"));
  put(300, source("zip-2.4.1"));
  put(500, source("der-0.7.0-rc.1"));
  put(CHUNK_BYTES - 30, source("ash-0.38.0+1.3.281"));
  put(CHUNK_BYTES + 500, "registry/src/index/not a crate/");
  put(CHUNK_BYTES + 900, "SQLite format 3\0");
  const { crates, libraries } = scanRuntime(bytes);
  assertEquals(crates, ["ash-0.38.0+1.3.281", "der-0.7.0-rc.1", "zip-2.4.1"]);
  assertEquals(libraries, ["SQLite (public domain)"]);
});

Deno.test("the text names this project, the runtime, V8 and the runtime's crates", async () => {
  const contents = scanRuntime(await Deno.readFile(runtimePath()));
  const license = readRuntimeLicense(runtimePath());
  const text = licensesText(contents, license, false);
  const start = "The programs, the shim and the start stub: Apache-2.0";
  assert(text.startsWith(start));
  for (const part of ["V8 (BSD-3-Clause)", "Rust standard library", "tokio-1.", "Deno stand"]) {
    assert(text.includes(part), part);
  }
  assert(text.includes(`Deno ${Deno.version.deno} (with V8 ${Deno.version.v8})`));
  assert(contents.crates.length > 100);
  if (license !== undefined) assert(text.includes("Permission is hereby granted"));
});

Deno.test("without adapters' parts the standard library is not named, nor a missing file", () => {
  const text = licensesText({ crates: [], libraries: [] }, undefined, true);
  assert(!text.includes("Deno standard library"));
  assert(text.includes("installed without a licence file"));
});

Deno.test("the licences of the scx program and its loader are told where they are inside", () => {
  const contents = { crates: [], libraries: [] };
  const text = licensesText(contents, undefined, true, true);
  for (const part of ["GPL-2.0", "libbpf", "libelf", "zlib"]) assert(text.includes(part), part);
  assert(!licensesText(contents, undefined, true, false).includes("libbpf"));
});
