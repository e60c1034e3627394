import { assertEquals } from "@std/assert";
import {
  FILE_LINES_MAX,
  FUNCTION_LINES_MAX,
  LINE_COLUMNS_MAX,
  tidyFaults,
  tidyTree,
} from "./tidy.ts";

/** Long enough to break the limit of a C function when put between head and brace. */
const C_BODY = "  x++;\n".repeat(FUNCTION_LINES_MAX - 1);

/** [path, text, line and start of what is reported]. */
const PLANTED: readonly [path: string, text: string, expected: string][] = [
  ["a.ts", "\n".repeat(FILE_LINES_MAX + 1), `${FILE_LINES_MAX + 1} file of`],
  ["a.c", "\n".repeat(FILE_LINES_MAX + 1), `${FILE_LINES_MAX + 1} file of`],
  ["a.ts", `\n${"x".repeat(LINE_COLUMNS_MAX + 1)}\n`, "2 line of more"],
  ["a.h", `${"x".repeat(LINE_COLUMNS_MAX + 1)}`, "1 line of more"],
  ["a_test.ts", `Deno.test("${"x".repeat(91)}", () => {`, "1 line of more"],
  ["a.ts", "a\n// TO" + "DO: later", "2 mark of"],
  ["a.md", "FIX" + "ME", "1 mark of"],
  ["a.c", "/* X" + "XX */", "1 mark of"],
  ["a.ts", 'const path = "/wo' + 'rk/main";', "1 path of one machine"],
  ["a.md", "see /ho" + "me/someone/x", "1 path of one machine"],
  ["a.json", '{"a": "/ro' + 'ot/.cache"}', "1 path of one machine"],
  ["a.ts", "// deno-lint" + "-ignore ghost/dlopen-in-ffi", "1 switches a rule"],
  ["a.ts", "// deno-lint" + "-ignore-file", "1 switches a rule"],
  ["a.c", `int x;\nint f(void)\n{\n${C_BODY}}\n`, "2 function of 72 lines"],
  ["a.c", `int f(void)\n{\n${C_BODY}out:\n}\n`, "1 function of 73 lines"],
  ["a.c", `static int f(int a,\n             int b) {\n${C_BODY}}\n`, "1 function of 72 lines"],
];

const CLEAN: readonly [path: string, text: string][] = [
  ["a.ts", "x\n".repeat(FILE_LINES_MAX)],
  ["a.ts", "é".repeat(LINE_COLUMNS_MAX)],
  ["a_test.ts", `Deno.test("${"x".repeat(90)}", async () => {`],
  ["a.md", "x".repeat(LINE_COLUMNS_MAX + 1)],
  ["a.c", 'char name[] = "/tmp/aXXXXXX";'],
  ["a.ts", 'const a = "net/work/x", b = `${root}/work/x`, c = "/proc/self/root.txt";'],
  ["a.md", "as in /home/user/x or /home/u"],
  ["a.ts", "// deno-lint-ignore no-explicit-any -- the type of any class"],
  ["a.c", `int f(void) {\n${"  x++;\n".repeat(FUNCTION_LINES_MAX - 2)}}\n`],
  ["a.c", `int f(int a,\n      int b);\n${"\n".repeat(80)}int g(void) {\n}\n`],
  ["a.c", `static const char *const names[] = {\n${'  "a",\n'.repeat(80)}};\n`],
];

Deno.test("tidy: every planted fault is reported at its line, and nothing else", () => {
  for (const [path, text, expected] of PLANTED) {
    const found = tidyFaults(path, text).map(({ line, what }) => `${line} ${what}`);
    assertEquals(found.map((one) => one.slice(0, expected.length)), [expected], text.slice(0, 80));
  }
});

Deno.test("tidy: clean texts pass, at the limits too", () => {
  for (const [path, text] of CLEAN) assertEquals(tidyFaults(path, text), [], text.slice(0, 80));
});

Deno.test("tidy: a tree is reported line by line, skipped folders are not", async () => {
  const root = await Deno.makeTempDir();
  try {
    for (const folder of [".cache", "lib", "native/build", "native/stub"]) {
      await Deno.mkdir(`${root}/${folder}`, { recursive: true });
      await Deno.writeTextFile(`${root}/${folder}/a.ts`, "\n// FIX" + "ME\n");
    }
    const report = "2: mark of unfinished work; do it, or leave it to an issue";
    assertEquals(tidyTree(root), [`lib/a.ts:${report}`, `native/stub/a.ts:${report}`]);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
