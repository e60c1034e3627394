/**
 * What an agent process and its parent hand each other: requests with arguments and responses, as
 * bytes in shared memory with upstream's layout. Failures are {@linkcode Status} values with
 * upstream's texts. Source: reference section 3.5.
 *
 * @module
 */

import { RPC_BUFFER_BYTES } from "./limits.ts";
import {
  I64,
  invalidArgument,
  OK_STATUS,
  type RpcType,
  type Status,
  STATUS_OR_STRING_TYPE,
  STATUS_TYPE,
  StatusOr,
  statusOrType,
} from "./status.ts";

/** Bytes after the data: string length (u64), then is_serialized (bool) and padding. */
const TRAILER_BYTES = 16;
const NOT_SERIALIZED = "Calling deserialize without a successful serialize";

/** Bytes of a buffer with its trailer. */
export function rpcBufferBytes(data_bytes: number): number {
  return Math.ceil(data_bytes / 8) * 8 + TRAILER_BYTES;
}

/** A place for one value of any type. */
export class AgentRpcBuffer {
  /** The bytes that hold the value. */
  readonly data: Uint8Array;
  readonly #view: DataView;
  readonly #trailer: number;

  /**
   * A buffer over some memory, or over memory of its own.
   *
   * @param data_bytes How much it can hold, in bytes.
   * @param memory Memory of {@linkcode rpcBufferBytes} bytes.
   */
  constructor(
    data_bytes: number = RPC_BUFFER_BYTES,
    memory: Uint8Array = new Uint8Array(rpcBufferBytes(data_bytes)),
  ) {
    if (memory.length !== rpcBufferBytes(data_bytes)) {
      throw new RangeError(`an RPC buffer of ${data_bytes} bytes needs other memory`);
    }
    this.data = memory.subarray(0, data_bytes);
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.length);
    this.#trailer = memory.length - TRAILER_BYTES;
  }

  /** True if a value is in the buffer. */
  get is_serialized(): boolean {
    return this.#view.getUint8(this.#trailer + 8) !== 0;
  }

  #setSerialized(is_serialized: boolean): void {
    this.#view.setUint8(this.#trailer + 8, is_serialized ? 1 : 0);
  }

  /** Declares what was put into the data by other means to be a value. */
  forceMarkSerialized(): void {
    this.#setSerialized(true);
  }

  /**
   * Puts a value into the buffer.
   *
   * @param type How it is laid out.
   * @param value The value.
   * @returns A bad argument if the type is larger than the buffer, which then holds no value.
   */
  serialize<T>(type: RpcType<T>, value: T): Status {
    this.#setSerialized(false);
    if (type.bytes > this.data.length) {
      return invalidArgument(`Serialize used with too large of a type: ${type.bytes}`);
    }
    type.write(this.#view, 0, value);
    this.#setSerialized(true);
    return OK_STATUS;
  }

  /** Takes a value out of the buffer. */
  deserialize<T>(type: RpcType<T>): StatusOr<T> {
    if (type.bytes > this.data.length) {
      return failed(`Deserialize failed; too large of type: ${type.bytes}`);
    }
    if (!this.is_serialized) return failed(NOT_SERIALIZED);
    return StatusOr.of(type.read(this.#view, 0));
  }

  /** Puts the first bytes of an array into the buffer (upstream's Serialize with a size). */
  serializeBytes(bytes: Uint8Array, size: number = bytes.length): Status {
    this.#setSerialized(false);
    if (size > this.data.length) {
      return invalidArgument(`Serialize used with too large of a type: ${size}`);
    }
    this.data.set(bytes.subarray(0, size));
    this.#setSerialized(true);
    return OK_STATUS;
  }

  /** Takes the first bytes out of the buffer (upstream's Deserialize with a size). */
  deserializeBytes(size: number): StatusOr<Uint8Array> {
    if (size > this.data.length) {
      return failed(`Deserialize failed; too large of type: ${size}`);
    }
    if (!this.is_serialized) return failed(NOT_SERIALIZED);
    return StatusOr.of(this.data.slice(0, size));
  }

  /** Puts values of one type into the buffer, one after the other. Their number is not kept. */
  serializeVector<T>(type: RpcType<T>, values: readonly T[]): Status {
    this.#setSerialized(false);
    if (type.bytes * values.length > this.data.length) {
      return invalidArgument(
        "SerializeVector used with too large of a type: " +
          `${type.bytes} items: ${values.length}`,
      );
    }
    for (const [i, value] of values.entries()) type.write(this.#view, i * type.bytes, value);
    this.#setSerialized(true);
    return OK_STATUS;
  }

  /** Takes a number of values of one type out of the buffer. */
  deserializeVector<T>(type: RpcType<T>, count: number): StatusOr<T[]> {
    if (type.bytes * count > this.data.length) {
      return failed(
        `DeserializeVector failed; too large of type: ${type.bytes} items: ${count}`,
      );
    }
    if (!this.is_serialized) return failed(NOT_SERIALIZED);
    const at = (i: number): T => type.read(this.#view, i * type.bytes);
    return StatusOr.of(Array.from({ length: count }, (_, i) => at(i)));
  }

  /** Puts a text into the buffer, as UTF-8 and one byte for its end; it may hold NULs. */
  serializeString(text: string): Status {
    this.#setSerialized(false);
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > this.data.length - 1) {
      return invalidArgument(`SerializeString used with too large of a string: ${bytes.length}`);
    }
    this.data.set(bytes);
    this.data[bytes.length] = 0;
    this.#view.setBigUint64(this.#trailer, BigInt(bytes.length), true);
    this.#setSerialized(true);
    return OK_STATUS;
  }

  /** Takes a text out of the buffer. */
  deserializeString(): StatusOr<string> {
    const length = this.#view.getBigUint64(this.#trailer, true);
    if (length > BigInt(this.data.length - 1)) {
      return failed(`Deserialize using invalid string length: ${length}`);
    }
    if (!this.is_serialized) return failed(NOT_SERIALIZED);
    return StatusOr.of(new TextDecoder().decode(this.data.slice(0, Number(length))));
  }

  /** Puts a status into the buffer. */
  serializeStatus(status: Status): Status {
    return this.serialize(STATUS_TYPE, status);
  }

  /** Takes a status out of the buffer. */
  deserializeStatus(): StatusOr<Status> {
    return this.deserialize(STATUS_TYPE);
  }

  /** Puts a value, or why there is none, into the buffer. */
  serializeStatusOr<T>(type: RpcType<T>, value: StatusOr<T>): Status {
    return this.serialize(statusOrType(type), value);
  }

  /** Takes a value, or why there is none, out of the buffer. */
  deserializeStatusOr<T>(type: RpcType<T>): StatusOr<StatusOr<T>> {
    return this.deserialize(statusOrType(type));
  }

  /** Puts a text of up to 29999 bytes, or why there is none, into the buffer. */
  serializeStatusOrString(value: StatusOr<string>): Status {
    return this.serialize(STATUS_OR_STRING_TYPE, value);
  }

  /** Takes a text, or why there is none, out of the buffer. */
  deserializeStatusOrString(): StatusOr<StatusOr<string>> {
    return this.deserialize(STATUS_OR_STRING_TYPE);
  }
}

function failed<T>(message: string): StatusOr<T> {
  return StatusOr.error(invalidArgument(message));
}

/** Bytes of {@linkcode AgentRpcArgs}. */
export const RPC_ARGS_BYTES: number = 16 + rpcBufferBytes(RPC_BUFFER_BYTES);
/** Bytes of {@linkcode AgentRpcResponse}. */
export const RPC_RESPONSE_BYTES: number = 8 + rpcBufferBytes(RPC_BUFFER_BYTES);
/** Response code of a request that nobody answered, such as an unknown one. */
export const RPC_NO_RESPONSE: number = -1;

/** Arguments of a request. */
export class AgentRpcArgs {
  /** All bytes. */
  readonly bytes: Uint8Array;
  /** A value of any type. */
  readonly buffer: AgentRpcBuffer;
  readonly #view: DataView;

  /**
   * Arguments in some memory, or in memory of their own.
   *
   * @param memory Memory of {@linkcode RPC_ARGS_BYTES} bytes.
   */
  constructor(memory: Uint8Array = new Uint8Array(RPC_ARGS_BYTES)) {
    this.bytes = memory;
    this.#view = new DataView(memory.buffer, memory.byteOffset, RPC_ARGS_BYTES);
    this.buffer = new AgentRpcBuffer(RPC_BUFFER_BYTES, memory.subarray(16));
  }

  /** First number. */
  get arg0(): bigint {
    return I64.read(this.#view, 0);
  }

  /** First number. */
  set arg0(value: bigint) {
    I64.write(this.#view, 0, value);
  }

  /** Second number. */
  get arg1(): bigint {
    return I64.read(this.#view, 8);
  }

  /** Second number. */
  set arg1(value: bigint) {
    I64.write(this.#view, 8, value);
  }

  /** True if numbers and data are the same; whether the data is a value is not compared. */
  equals(other: AgentRpcArgs): boolean {
    return this.arg0 === other.arg0 && this.arg1 === other.arg1 &&
      this.buffer.data.every((byte, i) => byte === other.buffer.data[i]);
  }
}

/** What a request is answered with. */
export class AgentRpcResponse {
  /** A value of any type. */
  readonly buffer: AgentRpcBuffer;
  readonly #view: DataView;

  /**
   * A response in some memory, or in memory of its own, which then says that nobody answered.
   *
   * @param memory Memory of {@linkcode RPC_RESPONSE_BYTES} bytes.
   */
  constructor(memory?: Uint8Array) {
    const bytes = memory ?? new Uint8Array(RPC_RESPONSE_BYTES);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, RPC_RESPONSE_BYTES);
    this.buffer = new AgentRpcBuffer(RPC_BUFFER_BYTES, bytes.subarray(8));
    if (memory === undefined) this.response_code = BigInt(RPC_NO_RESPONSE);
  }

  /** The answer, if a number is enough. */
  get response_code(): bigint {
    return I64.read(this.#view, 0);
  }

  /** The answer, if a number is enough. */
  set response_code(value: bigint) {
    I64.write(this.#view, 0, value);
  }
}
