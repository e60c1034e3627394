import { assert, assertEquals } from "@std/assert";
import { inspectElf, patchElf } from "./elf.ts";

interface Header {
  type: number;
  vaddr?: number;
  bytes?: number;
}

const [LOAD, INTERP, NOTE, STACK] = [1, 3, 4, 0x6474e551];
const USUAL: Header[] = [
  { type: INTERP },
  { type: LOAD, vaddr: 0, bytes: 0x1234 },
  { type: LOAD, vaddr: 0x5000, bytes: 0x2001 },
  { type: NOTE },
  { type: STACK },
];

/** A file of 8 KiB with the given program headers and nothing in its segments. */
function elfWith(headers: Header[], machine = 62): Uint8Array {
  const bytes = new Uint8Array(8192);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(18, machine, true);
  view.setUint32(24, 0x1000, true); // entry
  view.setUint32(32, 64, true); // program headers
  view.setUint16(54, 56, true);
  view.setUint16(56, headers.length, true);
  headers.forEach(({ type, vaddr = 0, bytes: length = 0 }, i) => {
    const at = 64 + i * 56;
    view.setUint32(at, type, true);
    view.setUint32(at + 16, vaddr, true);
    view.setUint32(at + 32, length, true);
    view.setUint32(at + 40, length, true);
    view.setUint32(at + 48, 4096, true);
  });
  return bytes;
}

Deno.test("an executable of the usual layout can take one more segment", () => {
  const elf = inspectElf(elfWith(USUAL));
  assertEquals(elf, {
    note_header_offset: 64 + 3 * 56,
    entry: 0x1000,
    free_vaddr: 0x8000,
    page_bytes: 4096,
    environ_slot: 0,
  });
});

Deno.test("the new segment is mapped behind all others, and the file starts in it", () => {
  const bytes = elfWith(USUAL).subarray(0, 8000);
  const elf = inspectElf(bytes);
  assert(typeof elf !== "string");
  const patched = patchElf(bytes, elf, new Uint8Array(100).fill(7), 32);
  const view = new DataView(patched.buffer);
  const field = (at: number): number =>
    Number(view.getBigUint64(elf.note_header_offset + at, true));
  assertEquals(patched.length, 8192 + 100);
  assertEquals(patched.subarray(8192), new Uint8Array(100).fill(7));
  assertEquals(view.getBigUint64(24, true), 0x8020n);
  assertEquals(view.getUint32(elf.note_header_offset, true), LOAD);
  assertEquals(view.getUint32(elf.note_header_offset + 4, true), 5);
  assertEquals([8, 16, 24, 32, 40, 48].map(field), [8192, 0x8000, 0x8000, 100, 100, 4096]);
});

const REFUSED: [string, Uint8Array, string][] = [
  ["an empty file", new Uint8Array(), "it is not an ELF file"],
  ["a script", new TextEncoder().encode("#!/bin/sh\n".repeat(20)), "it is not an ELF file"],
  ["a 32-bit file", elfWith(USUAL).with(4, 1), "it is not a 64-bit little-endian ELF file"],
  ["a big-endian file", elfWith(USUAL).with(5, 2), "it is not a 64-bit little-endian ELF file"],
  ["an arm64 file", elfWith(USUAL, 183), "it is not built for x86-64"],
  ["a static file", elfWith(USUAL.slice(1)), "it is not dynamically linked"],
  ["a file without notes", elfWith(USUAL.slice(0, 3)), "it has no PT_NOTE header to give up"],
  [
    "a file with a note before a segment",
    elfWith([USUAL[0], USUAL[1], { type: NOTE }, USUAL[2]]),
    "its last PT_NOTE header stands before a loaded segment",
  ],
];

for (const [what, bytes, reason] of REFUSED) {
  Deno.test(`${what} is refused`, () => {
    assertEquals(inspectElf(bytes), reason);
  });
}
