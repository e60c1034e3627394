import { assertEquals } from "@std/assert";
import plugin, { FUNCTION_LINES_MAX } from "./lint_plugin.ts";

/** Ids of the rules that a source breaks when it lies at `path`. */
function brokenRules(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, path, source).map(({ id }) => id.replace("ghost/", ""));
}

const LIB = "lib/example.ts";
const SIM = '"../kernels/sim/machine.ts"';

/** Sources with one fault each: [rule, path, source]. */
const PLANTED: readonly [rule: string, path: string, source: string][] = [
  ["import-direction", LIB, `import { Machine } from ${SIM};`],
  ["import-direction", LIB, `import type { Machine } from ${SIM};`],
  ["import-direction", LIB, `import ${SIM};`],
  ["import-direction", LIB, `export * from ${SIM};`],
  ["import-direction", LIB, `export { Machine } from ${SIM};`],
  ["import-direction", LIB, `const sim = await import(${SIM});`],
  ["import-direction", LIB, `new Worker(new URL(${SIM}, import.meta.url), { type: "module" });`],
  ["dlopen-in-ffi", LIB, 'Deno.dlopen("x.so", {});'],
  ["dlopen-in-ffi", LIB, 'Deno["dlopen"]("x.so", {});'],
  ["dlopen-in-ffi", LIB, "const open = Deno.dlopen;"],
  ["no-test-off", "lib/x_test.ts", 'Deno.test.ignore("x", () => {});'],
  ["no-test-off", "lib/x_test.ts", 'Deno.test.only("x", () => {});'],
  ["no-test-off", "lib/x_test.ts", 'Deno.test({ name: "x", ignore: true, fn() {} });'],
  ["no-test-off", "lib/x_test.ts", 'Deno.test({ name: "x", only: true, fn() {} });'],
  ["no-test-off", "lib/x_test.ts", 'it.skip("x", () => {});'],
  ["no-test-off", "lib/x_test.ts", 'describe.only("x", () => {});'],
  ["function-lines", LIB, `function long() {${"\n".repeat(FUNCTION_LINES_MAX)}}`],
  ["function-lines", LIB, `class A { long() {${"\n".repeat(FUNCTION_LINES_MAX)}} }`],
  ["function-lines", LIB, `const long = () => {${"\n".repeat(FUNCTION_LINES_MAX)}};`],
];

const CLEAN: readonly [path: string, source: string][] = [
  [LIB, 'import { Ring } from "./ring.ts"; export { Ring }; export const a = 1;'],
  [LIB, 'const url = new URL("../util/main.ts", import.meta.url);'],
  [LIB, "// Deno.dlopen is for ffi/\nconst other = { dlopen: 1 }.dlopen;"],
  [LIB, `function fits() {${"\n".repeat(FUNCTION_LINES_MAX - 1)}}`],
  ["ffi/shim.ts", 'Deno.dlopen("x.so", {});'],
  ["lib/x_test.ts", 'Deno.test("x", () => {}); list.only("x"); const o = { ignore: false };'],
];

Deno.test("lint plugin: every planted fault is reported under its rule, and nothing else", () => {
  for (const [rule, path, source] of PLANTED) {
    assertEquals(brokenRules(path, source), [rule], source);
  }
});

Deno.test("lint plugin: every rule has a planted fault", () => {
  const planted = new Set(PLANTED.map(([rule]) => rule));
  assertEquals(Object.keys(plugin.rules).filter((rule) => !planted.has(rule)), []);
});

Deno.test("lint plugin: clean sources pass", () => {
  for (const [path, source] of CLEAN) assertEquals(brokenRules(path, source), [], source);
});

Deno.test("lint plugin: a report names what is wrong and the cure", () => {
  const [report] = Deno.lint.runPlugin(plugin, LIB, 'Deno.dlopen("x.so", {});');
  assertEquals(report.message, "calls Deno.dlopen");
  assertEquals(report.hint, "only ffi/ opens native code; add what is missing there");
});
