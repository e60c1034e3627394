import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CC_FLAGS, runCc } from "../build.ts";
import { ABI_VERSIONS, abiOf } from "./abi.ts";
import type { FieldLayout, StructLayout } from "./layout.ts";

/*
 * The tables' numbers follow from rules in layout.ts; here the C compiler says whether the rules
 * are C's. One program holds the structs of all versions, generated from the types alone, and
 * prints what sizeof, _Alignof and offsetof give.
 */

const C_TYPES: Readonly<Record<string, string>> = {
  i8: "int8_t",
  u8: "uint8_t",
  u16: "uint16_t",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
  ptr: "void *",
};

function cField(prefix: string, field: FieldLayout): string {
  const type = C_TYPES[field.type] ?? `struct ${prefix}${field.type}`;
  return `${type} ${field.name}${field.count === 1 ? "" : `[${field.count}]`};`;
}

/** A struct definition; alignment is forced only where the uapi header does so. */
function cStruct(prefix: string, layout: StructLayout): string {
  const fields = layout.fields;
  const members = fields.filter((field) => field.type.startsWith("ghost_msg_payload_"));
  const others = fields.filter((field) => !members.includes(field));
  const union = members.length === 0
    ? ""
    : `union { ${members.map((field) => cField(prefix, field)).join(" ")} };`;
  const align = layout.align > 8 ? `__attribute__((aligned(${layout.align})))` : "";
  const body = others.map((field) => cField(prefix, field)).join(" ");
  return `struct ${prefix}${layout.name} { ${union} ${body} } ${align};`;
}

function cPrints(prefix: string, layout: StructLayout): string {
  const type = `struct ${prefix}${layout.name}`;
  const fields = layout.fields.map((field) =>
    `printf(" ${field.name}@%zu:%zu", offsetof(${type}, ${field.name}), ` +
    `sizeof(((${type} *)0)->${field.name}));`
  );
  return `printf("${prefix}${layout.name} %zu %zu", sizeof(${type}), _Alignof(${type}));` +
    `${fields.join("\n")} puts("");`;
}

function ourText(prefix: string, layout: StructLayout): string {
  const fields = layout.fields.map((field) => ` ${field.name}@${field.offset}:${field.size}`);
  return `${prefix}${layout.name} ${layout.size} ${layout.align}${fields.join("")}`;
}

/** Every [prefix, struct] of every version; the helper union is compared as bpf_ghost_msg. */
function allStructs(): [string, StructLayout][] {
  return ABI_VERSIONS.flatMap((version) =>
    Object.values(abiOf(version)?.structs ?? {})
      .filter((layout) => layout.name !== "bpf_ghost_msg_body")
      .map((layout): [string, StructLayout] => [`v${version}_`, layout])
  );
}

function compileAndRun(source: string, cc?: string): string {
  const directory = Deno.makeTempDirSync({ prefix: "abi_test_" });
  try {
    Deno.writeTextFileSync(`${directory}/layout.c`, source);
    runCc([...CC_FLAGS, "-o", `${directory}/layout`, `${directory}/layout.c`], cc);
    const output = new Deno.Command(`${directory}/layout`).outputSync();
    assert(output.success, `the compiled program ended with status ${output.code}`);
    return new TextDecoder().decode(output.stdout);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function cProgram(structs: readonly [string, StructLayout][]): string {
  return [
    "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>",
    ...structs.map(([prefix, layout]) => cStruct(prefix, layout)),
    "int main(void) {",
    ...structs.map(([prefix, layout]) => cPrints(prefix, layout)),
    "return 0; }",
  ].join("\n");
}

Deno.test("cc gives every struct of every ABI version the table's offsets and sizes", () => {
  const structs = allStructs();
  const from_cc = compileAndRun(cProgram(structs)).trim().split("\n");
  assertEquals(from_cc, structs.map(([prefix, layout]) => ourText(prefix, layout)));
  assert(from_cc.length > 4 * 40, `${from_cc.length} structs compared`);
});

Deno.test("the comparison with cc notices a wrong offset", () => {
  const [prefix, layout] = allStructs()[0];
  const fields = layout.fields.map((field, index) => ({ ...field, offset: index * 8 }));
  const from_cc = compileAndRun(cProgram([[prefix, layout]])).trim();
  assert(from_cc !== ourText(prefix, { ...layout, fields }));
});

Deno.test("without a compiler the comparison fails and says what to install", () => {
  const error = assertThrows(() => compileAndRun(cProgram([]), "no-such-cc"), Error);
  assertStringIncludes((error as Error).message, `no "no-such-cc" on PATH: install a C compiler`);
});
