import { assert, assertEquals } from "@std/assert";
import { workerModuleUrl } from "./worker_module.ts";

Deno.test("from the sources Workers start from util/main.ts", () => {
  const url = workerModuleUrl();
  assert(url.endsWith("/util/main.ts"));
  assert(Deno.statSync(new URL(url)).isFile);
  const published = "https://example.test/@x/y/1.0.0/lib/worker_module.ts";
  assertEquals(workerModuleUrl(published), "https://example.test/@x/y/1.0.0/util/main.ts");
});

Deno.test("in a bundle Workers start from the bundle itself", () => {
  for (const url of ["file:///proc/self/fd/100", "file:///tmp/deno-compile-x/bundle.js"]) {
    assertEquals(workerModuleUrl(url), url);
  }
});
