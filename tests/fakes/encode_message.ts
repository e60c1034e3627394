/**
 * Writes messages field by field as the structs of an ABI version have them, for tests that do not
 * want to rely on the simulated kernel's own writer.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import { MSG_HEADER_BYTES } from "../../ffi/abi/constants.ts";

const WRITERS: Readonly<Record<string, (view: DataView, at: number, value: number) => void>> = {
  i8: (view, at, value) => view.setInt8(at, value),
  u16: (view, at, value) => view.setUint16(at, value, true),
  i32: (view, at, value) => view.setInt32(at, value, true),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
};

/** Payload of a type that the ABI does not have: a gtid, as in all task messages. */
const GTID_BYTES = 8;

/** What a message says, by the names of the struct's fields; `sw_index` for the status word. */
export type MessageFields = Readonly<Record<string, number>>;

/** The task that a message is about. */
export interface GtidWords {
  /** Low word. */
  readonly lo: number;
  /** High word. */
  readonly hi: number;
}

/**
 * One message.
 *
 * @param abi ABI version.
 * @param type Type of the message; it may be one that the ABI does not have.
 * @param seqnum Its sequence number.
 * @param gtid The task; not used in CPU messages.
 * @param fields Other fields; 0 where left out. Padding is not 0.
 * @returns Header and payload.
 */
export function encodeMessage(
  abi: Abi,
  type: number,
  seqnum: number,
  gtid: GtidWords,
  fields: MessageFields,
): Int32Array {
  const payload = abi.messages.get(type)?.payload;
  const is_new_type = !abi.messages.has(type);
  const length_bytes = MSG_HEADER_BYTES + (is_new_type ? GTID_BYTES : payload?.size ?? 0);
  const bytes = new Uint8Array(Math.ceil(length_bytes / 8) * 8).fill(0xff).buffer;
  const view = new DataView(bytes);
  view.setUint16(0, type, true);
  view.setUint16(2, length_bytes, true);
  view.setInt32(4, seqnum, true);
  if (is_new_type) {
    view.setInt32(MSG_HEADER_BYTES, gtid.lo, true);
    view.setInt32(MSG_HEADER_BYTES + 4, gtid.hi, true);
  }
  for (const field of payload?.fields ?? []) {
    const at = MSG_HEADER_BYTES + field.offset;
    if (field.name === "gtid") {
      view.setInt32(at, gtid.lo, true);
      view.setInt32(at + 4, gtid.hi, true);
    } else if (field.name === "sw_info") {
      view.setUint32(at + 4, fields.sw_index ?? 0, true);
    } else WRITERS[field.type](view, at, fields[field.name] ?? 0);
  }
  return new Int32Array(bytes);
}
