/**
 * Just enough of ELF to add one segment to a finished executable: where its parts are mapped,
 * whether a PT_NOTE header can be given up for the new segment, and where the global offset table
 * keeps the address of libc's `environ`.
 *
 * @module
 */

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_NOTE = 4;
const PF_READ_EXECUTE = 5;
const EM_X86_64 = 62;
const PHDR_BYTES = 56;
const DT_RELA = 7;
const DT_RELASZ = 8;
const DT_SYMTAB = 6;
const DT_STRTAB = 5;
const RELA_BYTES = 24;
const SYM_BYTES = 24;
const R_X86_64_GLOB_DAT = 6;

/** What {@linkcode inspectElf} found out about an executable that can take one more segment. */
export interface PatchableElf {
  /** Byte offset of the program header that becomes the new segment. */
  note_header_offset: number;
  /** e_entry, as linked. */
  entry: number;
  /** First page-aligned address above every mapped segment, as linked. */
  free_vaddr: number;
  /** Largest alignment of a loaded segment, in bytes. */
  page_bytes: number;
  /** Address, as linked, of the GOT slot that holds `&environ`; 0 when there is none. */
  environ_slot: number;
}

interface ProgramHeader {
  type: number;
  offset: number;
  vaddr: number;
  file_bytes: number;
  memory_bytes: number;
  align: number;
}

function u64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000;
}

function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

function programHeaders(view: DataView): ProgramHeader[] {
  const table_offset = u64(view, 32);
  const headers: ProgramHeader[] = [];
  for (let i = 0; i < view.getUint16(56, true); i++) {
    const at = table_offset + i * PHDR_BYTES;
    headers.push({
      type: view.getUint32(at, true),
      offset: u64(view, at + 8),
      vaddr: u64(view, at + 16),
      file_bytes: u64(view, at + 32),
      memory_bytes: u64(view, at + 40),
      align: u64(view, at + 48),
    });
  }
  return headers;
}

/** File offset of a mapped address, or -1. */
function fileOffset(headers: ProgramHeader[], vaddr: number): number {
  for (const { type, offset, vaddr: start, file_bytes } of headers) {
    if (type === PT_LOAD && vaddr >= start && vaddr < start + file_bytes) {
      return vaddr - start + offset;
    }
  }
  return -1;
}

function cString(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return new TextDecoder().decode(bytes.subarray(offset, end));
}

function findEnvironSlot(bytes: Uint8Array, view: DataView, headers: ProgramHeader[]): number {
  const dynamic = headers.find((header) => header.type === PT_DYNAMIC);
  if (dynamic === undefined) return 0;
  const tags = new Map<number, number>();
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.file_bytes; at += 16) {
    tags.set(u64(view, at), u64(view, at + 8));
  }
  const rela = fileOffset(headers, tags.get(DT_RELA) ?? -1);
  const symbols = fileOffset(headers, tags.get(DT_SYMTAB) ?? -1);
  const strings = fileOffset(headers, tags.get(DT_STRTAB) ?? -1);
  if (rela < 0 || symbols < 0 || strings < 0) return 0;
  const rela_end = rela + (tags.get(DT_RELASZ) ?? 0);
  for (let at = rela; at < rela_end; at += RELA_BYTES) {
    if (view.getUint32(at + 8, true) !== R_X86_64_GLOB_DAT) continue;
    const symbol = symbols + view.getUint32(at + 12, true) * SYM_BYTES;
    const name = cString(bytes, strings + view.getUint32(symbol, true));
    if (name === "environ" || name === "__environ") return u64(view, at);
  }
  return 0;
}

/**
 * Finds where a start stub can be put into an executable.
 *
 * @param bytes The whole file.
 * @returns What {@linkcode patchElf} needs, or one line that says why the file cannot be patched.
 */
export function inspectElf(bytes: Uint8Array): PatchableElf | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 64 || view.getUint32(0, false) !== 0x7f454c46) return "it is not an ELF file";
  if (bytes[4] !== 2 || bytes[5] !== 1) return "it is not a 64-bit little-endian ELF file";
  if (view.getUint16(18, true) !== EM_X86_64) return "it is not built for x86-64";
  if (view.getUint16(54, true) !== PHDR_BYTES) return "its program headers have an unknown size";
  const headers = programHeaders(view);
  if (!headers.some((header) => header.type === PT_INTERP)) return "it is not dynamically linked";
  const note_index = headers.findLastIndex((header) => header.type === PT_NOTE);
  if (note_index < 0) return "it has no PT_NOTE header to give up";
  if (headers.findLastIndex((header) => header.type === PT_LOAD) > note_index) {
    // ld.so wants loaded segments in ascending order and ours has the highest address.
    return "its last PT_NOTE header stands before a loaded segment";
  }
  const loads = headers.filter((header) => header.type === PT_LOAD);
  const page_bytes = Math.max(4096, ...loads.map((header) => header.align));
  const end = Math.max(...loads.map((header) => header.vaddr + header.memory_bytes));
  return {
    note_header_offset: u64(view, 32) + note_index * PHDR_BYTES,
    entry: u64(view, 24),
    free_vaddr: Math.ceil(end / page_bytes) * page_bytes,
    page_bytes,
    environ_slot: findEnvironSlot(bytes, view, headers),
  };
}

/**
 * Appends a segment that is mapped readable and executable and makes the file start in it.
 *
 * @param bytes The executable that {@linkcode inspectElf} looked at; it is not changed.
 * @param elf The result of that look.
 * @param segment What to append; it is mapped at `elf.free_vaddr`.
 * @param entry_offset Where in the segment to start, in bytes.
 * @returns The new executable.
 */
export function patchElf(
  bytes: Uint8Array,
  elf: PatchableElf,
  segment: Uint8Array,
  entry_offset: number,
): Uint8Array<ArrayBuffer> {
  const segment_offset = Math.ceil(bytes.length / elf.page_bytes) * elf.page_bytes;
  const result = new Uint8Array(segment_offset + segment.length);
  result.set(bytes);
  result.set(segment, segment_offset);
  const view = new DataView(result.buffer);
  setU64(view, 24, elf.free_vaddr + entry_offset);
  view.setUint32(elf.note_header_offset, PT_LOAD, true);
  view.setUint32(elf.note_header_offset + 4, PF_READ_EXECUTE, true);
  const fields = [
    segment_offset,
    elf.free_vaddr,
    elf.free_vaddr,
    segment.length,
    segment.length,
    elf.page_bytes,
  ];
  fields.forEach((value, i) => setU64(view, elf.note_header_offset + 8 + i * 8, value));
  return result;
}
