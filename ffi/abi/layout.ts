/**
 * C struct layouts as data: offsets and sizes follow from the field types by the x86-64 and arm64
 * alignment rules, so that a table names types only and a test can hold every number against cc.
 *
 * @module
 */

/** A scalar type of the ghOSt uapi; `ptr` is a 64-bit user pointer, `cacheline` aligns to 64. */
export type Scalar = "i8" | "u8" | "u16" | "i32" | "u32" | "i64" | "u64" | "ptr";

/** One field of a {@linkcode StructLayout}. */
export interface FieldLayout {
  /** Name of the field in the uapi header. */
  readonly name: string;
  /** Scalar type, or the name of a nested struct. */
  readonly type: Scalar | string;
  /** Number of array elements; 1 for a plain field, 0 for a flexible array. */
  readonly count: number;
  /** Offset from the start of the struct, in bytes. */
  readonly offset: number;
  /** Size of the whole field, in bytes. */
  readonly size: number;
}

/** Layout of one struct of the ghOSt uapi. */
export interface StructLayout {
  /** Name of the struct in the uapi header. */
  readonly name: string;
  /** Size in bytes, padded to the alignment. */
  readonly size: number;
  /** Alignment in bytes. */
  readonly align: number;
  /** Fields in declaration order. */
  readonly fields: readonly FieldLayout[];
}

const SCALAR_BYTES: Readonly<Record<string, number>> = {
  i8: 1,
  u8: 1,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
  ptr: 8,
};

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/**
 * Lays out a struct (or a union) by the C rules.
 *
 * @param name Name of the struct.
 * @param spec Fields as `"name:type name:type[count]"`, separated by blanks.
 * @param known Structs that fields may nest, by name.
 * @param options `align`: forced minimum alignment in bytes; `union`: every field at offset 0.
 * @returns The layout.
 * @throws {TypeError} If a field names an unknown type.
 */
export function layoutStruct(
  name: string,
  spec: string,
  known: Readonly<Record<string, StructLayout>>,
  options: { align?: number; union?: boolean } = {},
): StructLayout {
  let end = 0;
  let align = options.align ?? 1;
  const fields: FieldLayout[] = [];
  for (const word of spec.split(/\s+/).filter((text) => text !== "")) {
    const match = /^(\w+):(\w+)(?:\[(\d+)\])?$/.exec(word);
    if (match === null) throw new TypeError(`Cannot lay out ${name}: bad field "${word}"`);
    const [, field, type, count_text] = match as unknown as [string, string, string, string?];
    const count = count_text === undefined ? 1 : Number(count_text);
    const nested = known[type];
    const bytes = nested?.size ?? SCALAR_BYTES[type];
    if (bytes === undefined) throw new TypeError(`Cannot lay out ${name}: unknown type ${type}`);
    const field_align = nested?.align ?? bytes;
    const offset = options.union === true ? 0 : roundUp(end, field_align);
    fields.push({ name: field, type, count, offset, size: bytes * count });
    end = Math.max(end, offset + bytes * count);
    align = Math.max(align, field_align);
  }
  return { name, size: roundUp(end, align), align, fields };
}

/**
 * Offset of a field.
 *
 * @param layout The struct.
 * @param field Name of the field.
 * @returns Offset in bytes, or −1 if the struct has no such field (the ABI version lacks it).
 */
export function offsetOf(layout: StructLayout | undefined, field: string): number {
  return layout?.fields.find((candidate) => candidate.name === field)?.offset ?? -1;
}
