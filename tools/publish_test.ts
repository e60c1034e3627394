import { assert, assertEquals } from "@std/assert";
import { SHIM_HEADERS, SHIM_SOURCES } from "../ffi/build.ts";
import { startStubRegistry } from "./std_offline/stub_registry.ts";
import { rootPath } from "./std_source.ts";

/** Paths of the files that `deno publish` would upload, from the repository's root. */
async function publishedPaths(): Promise<string[]> {
  const registry = await startStubRegistry();
  const deno_dir = await Deno.makeTempDir();
  try {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
      cwd: rootPath(),
      env: { JSR_URL: registry.url, DENO_DIR: deno_dir, NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 0, text);
    const root_url = new URL("../", import.meta.url).href;
    return [...text.matchAll(/^\s+(file:\/\/\S+) \(/gm)].map(([, url]) =>
      url.slice(root_url.length)
    );
  } finally {
    await registry.close();
    await Deno.remove(deno_dir, { recursive: true });
  }
}

Deno.test("publish: the package holds its entry, its licence and the shim's sources", async () => {
  const paths = await publishedPaths();
  const native = [...SHIM_SOURCES, ...SHIM_HEADERS].map((name) => `native/${name}`);
  for (const path of ["mod.ts", "deno.json", "LICENSE", "ffi/shim.ts", ...native]) {
    assert(paths.includes(path), `${path} is not among ${paths.join(" ")}`);
  }
  const foreign = /_test\.ts$|\/test_\w+\.ts$|^(tests|tools|experiments|bench|out|dist|cov)\//;
  assertEquals(paths.filter((path) => foreign.test(path)), []);
});
