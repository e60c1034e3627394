import { assert, assertEquals, assertMatch } from "@std/assert";
import { rootPath } from "../std_source.ts";
import { bundleParts } from "./bundle.ts";
import { type Parts, scriptTexts, TEXT_LOADER, withTexts } from "./script_bundle.ts";

const FOLDER = Deno.makeTempDirSync({ prefix: "ghost_script_bundle_test_" });

Deno.test.afterAll(() => Deno.removeSync(FOLDER, { recursive: true }));

function parts(texts: Record<string, string>, entry = "main.js"): Parts {
  return { entry, texts: new Map(Object.entries(texts)) };
}

/** Runs texts as the loader does, from a file that has them behind other bytes. */
async function run(texts: Record<string, string>): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  Object.assign(globalThis, { script_bundle_seen: seen });
  const path = `${FOLDER}/file`;
  const file = withTexts(new Uint8Array(100), scriptTexts(parts(texts)) as Parts);
  Deno.writeFileSync(path, file);
  const loader = TEXT_LOADER.replace("/proc/self/exe", path) + "\nfile.close();\n";
  await import(`data:text/javascript,${encodeURIComponent(loader)}#${crypto.randomUUID()}`);
  return seen;
}

Deno.test("a bundle's texts run as the modules did: strict, awaiting, with import.meta", async () => {
  const seen = await run({
    "main.js": `const seen = globalThis.script_bundle_seen;
seen.url = import.meta.url.slice(0, 5);
seen.is_strict = (function () { return this === undefined; })();
seen.awaited = await Promise.resolve(42);
seen.comment = "*/";
// More than ASCII: \u2265
seen.signs = "\u2212\u2265 \u{1f47b}" + \`\u2265\`;
`,
  });
  assertEquals(seen, {
    url: "data:",
    is_strict: true,
    awaited: 42,
    comment: "*/",
    signs: "\u2212\u2265 \u{1f47b}\u2265",
  });
});

Deno.test("parts get from each other what they export, and each runs once, when it is needed", async () => {
  const seen = await run({
    "main.js": `import {
  a,
  b as c
} from "./chunk-A.js";
import "./chunk-B.js";
const seen = globalThis.script_bundle_seen;
seen.order.push("main");
const { later } = await import("./later.js");
Object.assign(seen, { sum: a + c(), later });
`,
    "chunk-A.js": `(globalThis.script_bundle_seen.order ??= []).push("A");
const a = 1;
function two() { return 2; }
export {
  a,
  two as b
};
`,
    "chunk-B.js": `import {
  a as one
} from "./chunk-A.js";
globalThis.script_bundle_seen.order.push("B" + one);
`,
    // As programs are: they run when they are the main module, which no other part is.
    "later.js": `import "./chunk-B.js";
globalThis.script_bundle_seen.order.push("later");
if (import.meta.main) Deno.exit(await later());
function later() { return 3; }
export {
  later
};
`,
  });
  assertEquals(seen.order, ["A", "B1", "main", "later"]);
  assertEquals([seen.sum, (seen.later as () => number)()], [3, 3]);
});

Deno.test("texts are ASCII, which V8 keeps at one byte a character", () => {
  const [text] = scriptTexts(parts({ "main.js": `f("\u2212\u{1f47b}");\n` }))!.texts.values();
  assertEquals(/[\u0080-\uffff]/.test(text), false);
});

Deno.test("stack traces name the part", async () => {
  const { stack } = await run({
    "main.js": `globalThis.script_bundle_seen.stack = new Error("oops").stack;\n`,
  });
  assertMatch(stack as string, /ghost-agents\/main\.js.*:2:/);
});

Deno.test("what is linked to other than parts, or in a circle, is not carried as text", () => {
  const outside = [`import x from "node:fs";`, `import"a";`, `export * as a`];
  for (const line of [...outside, `import "./b.js";`, `await import("./b.js");`]) {
    assertEquals(scriptTexts(parts({ "main.js": `let a;\n${line}\n` })), undefined, line);
  }
  const circle = { "main.js": `import "./a.js";\n`, "a.js": `import "./main.js";\n` };
  assertEquals(scriptTexts(parts(circle)), undefined);
  const waits = { "main.js": `import "./a.js";\n`, "a.js": `await 1;\n` };
  assertEquals(scriptTexts(parts(waits)), undefined);
  const fine = `const importer = 1;\nawait import("node:fs");\n`;
  assertEquals(scriptTexts(parts({ "main.js": fine }))?.texts.size, 1);
});

/** Bytes of a part and of all that it needs before it can run. */
function loadedBytes({ texts }: Parts, name: string, seen = new Set<string>()): number {
  if (seen.has(name)) return 0;
  seen.add(name);
  const text = texts.get(name) as string;
  const needed = [...text.matchAll(/load_part\("([\w.-]+)"\)/g)].map(([, part]) => part);
  return text.length +
    needed.reduce((sum, part) => sum + loadedBytes({ texts, entry: "" }, part, seen), 0);
}

Deno.test("the programs' bundle runs in parts, and an agent loads a third of it at most", async () => {
  const texts = scriptTexts(await bundleParts(`${rootPath()}/util/main.ts`));
  assert(texts !== undefined);
  const all = [...texts.texts.values()].join("").length;
  const of = (prefix: string): number[] =>
    [...texts.texts.keys()].filter((name) => name.startsWith(prefix))
      .map((name) => loadedBytes(texts, name));
  assertEquals(of("main.js").length, 1);
  assert(of("main.js")[0] < all / 20, `${of("main.js")} of ${all} bytes`);
  for (const prefix of ["agent-", "agent_worker-"]) {
    const bytes = of(prefix);
    assert(bytes.length > 0 && Math.max(...bytes) < all / 3, `${prefix}: ${bytes} of ${all} bytes`);
  }
});
