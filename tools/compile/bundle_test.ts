import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { bundle, withBuildFacts } from "./bundle.ts";
import { CompileError } from "./cc.ts";

const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_bundle_test_" });

Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

function write(name: string, text: string): string {
  Deno.writeTextFileSync(`${FOLDER}/${name}`, text);
  return `${FOLDER}/${name}`;
}

Deno.test("a bundle holds what is imported dynamically and knows only itself as main", async () => {
  write(
    "part.ts",
    `
    export const url: string = import.meta.url;
    if (import.meta.main) console.log("the part is not the main module");
  `,
  );
  const entry = write(
    "entry.ts",
    `
    const table = { part: () => import("./part.ts") };
    if (import.meta.main) console.log((await table.part()).url === import.meta.url);
  `,
  );
  const file = write("bundle.js", await bundle(entry));
  Deno.removeSync(`${FOLDER}/part.ts`);
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", file] }).output();
  assertEquals(new TextDecoder().decode(stdout), "true\n");
});

Deno.test("a program that cannot be bundled is an error that shows the place", async () => {
  const entry = write("broken.ts", `import "./nowhere.ts";`);
  const error = await assertRejects(() => bundle(entry), CompileError);
  assert(error.message.includes("nowhere.ts"));
});

Deno.test("build facts survive the way into a bundle", async () => {
  const source =
    `const BUILD_FACTS = "@build-facts@"; export const facts = JSON.parse(BUILD_FACTS);`;
  const facts = { default_name: "a", licenses: 'line\n"quoted" \\ © 😀 $& </script>' };
  const [text, other] = withBuildFacts([source, "other"], facts);
  assertEquals(other, "other");
  assert(/^[\x20-\x7e]*$/.test(text));
  const module = await import(`data:text/javascript,${encodeURIComponent(text)}`);
  assertEquals(module.facts, facts);
});

Deno.test("a bundle without a place for build facts, or with two, is refused", () => {
  const facts = { default_name: "a", licenses: "" };
  const mark = `"@build-facts@"`;
  for (const sources of [[""], [`${mark}; ${mark}`], [mark, mark]]) {
    assertThrows(() => withBuildFacts(sources, facts), CompileError, "no place");
  }
});
