import { assertEquals, assertMatch } from "@std/assert";
import { rootPath } from "../std_source.ts";
import { bundle } from "./bundle.ts";
import { scriptText, withText } from "./script_bundle.ts";

/** Runs a text as the loader does. */
async function runText(text: string, meta: unknown): Promise<void> {
  await (0, eval)(text)(meta);
}

Deno.test("a bundle's text runs as the module did: strict, awaiting, with import.meta", async () => {
  const seen: Record<string, unknown> = {};
  Object.assign(globalThis, { script_bundle_seen: seen });
  const source = `const seen = globalThis.script_bundle_seen;
seen.url = import.meta.url;
seen.is_strict = (function () { return this === undefined; })();
seen.awaited = await Promise.resolve(42);
seen.comment = "*/";
// More than ASCII: \u2265
seen.signs = "\u2212\u2265 \u{1f47b}" + \`\u2265\`;
`;
  const text = scriptText(source, "a.js") as string;
  assertEquals(/[\u0080-\uffff]/.test(text), false);
  await runText(text, { url: "file:///x" });
  assertEquals(seen, {
    url: "file:///x",
    is_strict: true,
    awaited: 42,
    comment: "*/",
    signs: "\u2212\u2265 \u{1f47b}\u2265",
  });
});

Deno.test("stack traces name the text", async () => {
  let stack = "";
  try {
    await runText(scriptText(`throw new Error("oops");\n`, "ghost-agents.js") as string, {});
  } catch (error) {
    stack = (error as Error).stack ?? "";
  }
  assertMatch(stack, /ghost-agents\.js.*:2:/);
});

Deno.test("a module that is linked to others is not carried as text", () => {
  for (const line of [`import x from "node:fs";`, `import"a";`, `export { x };`, `export * as a`]) {
    assertEquals(scriptText(`let a;\n${line}\n`, "a.js"), undefined, line);
  }
  assertEquals(typeof scriptText(`const importer = 1;\nawait import("a");\n`, "a.js"), "string");
});

Deno.test("the text stands behind the file, its length in the last 16 bytes", () => {
  const file = withText(new Uint8Array([1, 2, 3]), "h\u00e9");
  assertEquals([...file.subarray(0, 6)], [1, 2, 3, 0x68, 0xc3, 0xa9]);
  assertEquals(new TextDecoder().decode(file.subarray(6)), "0000000000000003");
});

Deno.test("the bundle of all programs imports nothing statically, so that its start is short", async () => {
  const source = await bundle(`${rootPath()}/util/main.ts`);
  const linked = source.split("\n").filter((line) => scriptText(`${line}\n`, "a.js") === undefined);
  assertEquals(linked, []);
  assertEquals(typeof scriptText(source, "a.js"), "string");
});
