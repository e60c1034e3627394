import { assert, assertEquals } from "@std/assert";
import { buildShim } from "./build.ts";
import { shimInMemory } from "./embedded_shim.ts";
import { SHIM_VERSION } from "./symbols.ts";

const NATIVE = decodeURIComponent(new URL("../native", import.meta.url).pathname);

Deno.test("an embedded shim is loaded from memory, once for all Workers", () => {
  const embedded = buildShim(NATIVE);
  const path = shimInMemory(embedded);
  assert(Deno.readLinkSync(path).startsWith("/memfd:"));
  const library = Deno.dlopen(path, { shim_version: { parameters: [], result: "i32" } });
  assertEquals(library.symbols.shim_version(), SHIM_VERSION);
  library.close();
  assertEquals(shimInMemory(embedded), path);
});
