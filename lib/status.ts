/**
 * Results that travel between processes as bytes: a code with a message, or a value. The layouts
 * are those of ghost-userspace's `trivial_status`. Source: reference section 3.5.
 *
 * @module
 */

/** Codes of {@linkcode Status}, numbered as everywhere else. */
export const STATUS_OK = 0;
/** Something failed without a better code. */
export const STATUS_UNKNOWN = 2;
/** The caller gave a bad argument. */
export const STATUS_INVALID_ARGUMENT = 3;

/** Bytes of a status: an i32 code and a message of up to 999 bytes with its NUL. */
export const TRIVIAL_STATUS_BYTES = 1004;
const MESSAGE_BYTES = 1000;

/** How a call ended. */
export class Status {
  /** One of STATUS_*. */
  readonly code: number;
  /** What went wrong; empty if nothing did. */
  readonly message: string;

  /**
   * A status by code.
   *
   * @param code One of STATUS_*.
   * @param message What went wrong.
   */
  constructor(code: number = STATUS_OK, message = "") {
    this.code = code;
    this.message = message;
  }

  /** True if nothing went wrong. */
  ok(): boolean {
    return this.code === STATUS_OK;
  }
}

/** The status of what went well. */
export const OK_STATUS: Status = new Status();

/** A value, or why there is none. */
export class StatusOr<T> {
  /** OK if there is a value. */
  readonly status: Status;
  readonly #value: T | undefined;

  private constructor(status: Status, value: T | undefined) {
    this.status = status;
    this.#value = value;
  }

  /** A value. */
  static of<T>(value: T): StatusOr<T> {
    return new StatusOr<T>(OK_STATUS, value);
  }

  /** No value, for a reason; an OK status is no reason. */
  static error<T>(status: Status): StatusOr<T> {
    if (status.ok()) throw new RangeError("an OK status is no reason to have no value");
    return new StatusOr<T>(status, undefined);
  }

  /** True if there is a value. */
  ok(): boolean {
    return this.status.ok();
  }

  /** The value; asking for one that is not there is a RangeError. */
  value(): T {
    if (!this.ok()) throw new RangeError(`no value: ${this.status.message}`);
    return this.#value as T;
  }
}

/** A status for a bad argument. */
export function invalidArgument(message: string): Status {
  return new Status(STATUS_INVALID_ARGUMENT, message);
}

/** How values of one type are laid out in bytes, as C would. */
export interface RpcType<T> {
  /** Bytes of one value, padding included. */
  readonly bytes: number;
  /** Alignment in bytes. */
  readonly align: number;
  /** Writes a value. */
  write(view: DataView, offset: number, value: T): void;
  /** Reads a value. */
  read(view: DataView, offset: number): T;
}

/** A signed 32-bit integer. */
export const I32: RpcType<number> = {
  bytes: 4,
  align: 4,
  write: (view, offset, value) => view.setInt32(offset, value, true),
  read: (view, offset) => view.getInt32(offset, true),
};

/** A signed 64-bit integer. */
export const I64: RpcType<bigint> = {
  bytes: 8,
  align: 8,
  write: (view, offset, value) => view.setBigInt64(offset, value, true),
  read: (view, offset) => view.getBigInt64(offset, true),
};

/** A double. */
export const F64: RpcType<number> = {
  bytes: 8,
  align: 8,
  write: (view, offset, value) => view.setFloat64(offset, value, true),
  read: (view, offset) => view.getFloat64(offset, true),
};

/** An array of bytes of fixed length; a shorter value is filled up with zeros. */
export function bytesType(bytes: number): RpcType<Uint8Array> {
  const at = (view: DataView, offset: number): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset + offset, bytes);
  return {
    bytes,
    align: 1,
    write(view, offset, value) {
      at(view, offset).fill(0);
      at(view, offset).set(value);
    },
    read: (view, offset) => at(view, offset).slice(),
  };
}

function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align;
}

/** A C structure: fields in order, each at its natural alignment. */
export function structType<T extends Record<string, unknown>>(
  fields: { readonly [K in keyof T]: RpcType<T[K]> },
): RpcType<T> {
  const places: [keyof T & string, RpcType<unknown>, number][] = [];
  let end = 0;
  let align = 1;
  for (const [name, type] of Object.entries(fields) as [keyof T & string, RpcType<unknown>][]) {
    const offset = alignUp(end, type.align);
    places.push([name, type, offset]);
    end = offset + type.bytes;
    align = Math.max(align, type.align);
  }
  return {
    bytes: alignUp(end, align),
    align,
    write(view, offset, value) {
      for (const [name, type, place] of places) type.write(view, offset + place, value[name]);
    },
    read(view, offset) {
      const read = places.map(([name, type, place]) => [name, type.read(view, offset + place)]);
      return Object.fromEntries(read) as T;
    },
  };
}

/** Copies text as UTF-8 with a NUL; what does not fit is cut off, and said on stderr. */
function copyString(target: Uint8Array, text: string): number {
  const source = new TextEncoder().encode(text);
  const length = Math.min(source.length, target.length - 1);
  if (length < source.length) {
    console.error(
      `Source string too large to fit in TrivialStatus: ${source.length}, vs max_size ${length}`,
    );
  }
  target.fill(0);
  target.set(source.subarray(0, length));
  return source.length;
}

function bytesAt(view: DataView, offset: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}

function decode(bytes: Uint8Array): string {
  // A copy, since text cannot be decoded from shared memory.
  return new TextDecoder().decode(bytes.slice());
}

/** A status (upstream's TrivialStatus). */
export const STATUS_TYPE: RpcType<Status> = {
  bytes: TRIVIAL_STATUS_BYTES,
  align: 4,
  write(view, offset, status) {
    view.setInt32(offset, status.code, true);
    copyString(bytesAt(view, offset + 4, MESSAGE_BYTES), status.message);
  },
  read(view, offset) {
    const message = bytesAt(view, offset + 4, MESSAGE_BYTES);
    const end = message.indexOf(0);
    return new Status(
      view.getInt32(offset, true),
      decode(message.subarray(0, end < 0 ? MESSAGE_BYTES : end)),
    );
  },
};

/** A status and a value (upstream's TrivialStatusOr). */
export function statusOrType<T>(type: RpcType<T>): RpcType<StatusOr<T>> {
  const place = alignUp(TRIVIAL_STATUS_BYTES, type.align);
  const align = Math.max(STATUS_TYPE.align, type.align);
  return {
    bytes: alignUp(place + type.bytes, align),
    align,
    write(view, offset, value) {
      STATUS_TYPE.write(view, offset, value.status);
      if (value.ok()) type.write(view, offset + place, value.value());
    },
    read(view, offset) {
      const status = STATUS_TYPE.read(view, offset);
      return status.ok() ? StatusOr.of(type.read(view, offset + place)) : StatusOr.error(status);
    },
  };
}

const STRING_BYTES = 30000;
const STRING_LENGTH_OFFSET = 31008;

/**
 * A status and a text of up to 29999 bytes (upstream's TrivialStatusOrString). Upstream stores the
 * length before cutting and then reads past the end; here what was cut is gone.
 */
export const STATUS_OR_STRING_TYPE: RpcType<StatusOr<string>> = {
  bytes: 31016,
  align: 8,
  write(view, offset, value) {
    STATUS_TYPE.write(view, offset, value.status);
    const text = value.ok() ? value.value() : "";
    const length = copyString(bytesAt(view, offset + TRIVIAL_STATUS_BYTES, STRING_BYTES), text);
    view.setBigUint64(offset + STRING_LENGTH_OFFSET, BigInt(length), true);
  },
  read(view, offset) {
    const status = STATUS_TYPE.read(view, offset);
    if (!status.ok()) return StatusOr.error(status);
    const length = Number(view.getBigUint64(offset + STRING_LENGTH_OFFSET, true));
    const text = bytesAt(view, offset + TRIVIAL_STATUS_BYTES, STRING_BYTES);
    return StatusOr.of(decode(text.subarray(0, Math.min(length, STRING_BYTES - 1))));
  },
};
