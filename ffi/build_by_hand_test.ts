/** The commands of native/README.md against what ffi/build.ts compiles. */
import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { GUARD_SOURCES, SHIM_SOURCES } from "./build.ts";

const NATIVE = fileURLToPath(new URL("../native", import.meta.url));

function commands(): string {
  const text = Deno.readTextFileSync(`${NATIVE}/README.md`);
  return text.match(/By hand:\n\n```sh\n([^`]*)```/)![1];
}

Deno.test("native/README.md names the sources that the shim is built from, and no others", () => {
  const named = [...commands().matchAll(/\b\w+\.c\b/g)].map(([name]) => name);
  assertEquals(named.toSorted(), [...GUARD_SOURCES, ...SHIM_SOURCES].toSorted());
});

Deno.test("native/README.md's commands make a shim that can be loaded", async () => {
  const folder = await Deno.makeTempDir({ prefix: "by_hand_" });
  try {
    await new Deno.Command("cp", { args: ["-r", NATIVE, `${folder}/native`] }).output();
    await Deno.remove(`${folder}/native/build`, { recursive: true });
    const options = { args: ["-ec", commands()], cwd: folder, stdout: "piped", stderr: "piped" };
    const { success, stderr } = await new Deno.Command("sh", options as Deno.CommandOptions)
      .output();
    assert(success, new TextDecoder().decode(stderr));
    const path = `${folder}/native/build/libghost_shim.so`;
    const library = Deno.dlopen(path, { shim_version: { parameters: [], result: "i32" } });
    assert(library.symbols.shim_version() > 0);
    library.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
