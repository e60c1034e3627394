import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  AgentRpcArgs,
  AgentRpcBuffer,
  AgentRpcResponse,
  RPC_ARGS_BYTES,
  RPC_RESPONSE_BYTES,
  rpcBufferBytes,
} from "./agent_rpc.ts";
import { RPC_BUFFER_BYTES } from "./limits.ts";
import {
  bytesType,
  F64,
  I32,
  I64,
  OK_STATUS,
  Status,
  STATUS_INVALID_ARGUMENT,
  STATUS_OR_STRING_TYPE,
  STATUS_TYPE,
  STATUS_UNKNOWN,
  StatusOr,
  statusOrType,
  structType,
} from "./status.ts";

const INT_MIN = -2147483648;
const POINT = structType({ x: I32, y: I32, z: I32 });
const STRINGS = ["Hello World", "World", "", "Hello"];

/** The text of a failure, which must be a bad argument. */
function refusal(result: Status | StatusOr<unknown>): string {
  const status = result instanceof Status ? result : result.status;
  assertEquals(status.code, STATUS_INVALID_ARGUMENT);
  return status.message;
}

/** Runs something and returns what it said on stderr. */
function stderrOf(run: () => void): string[] {
  const said: string[] = [];
  const original = console.error;
  console.error = (text: string) => void said.push(text);
  try {
    run();
  } finally {
    console.error = original;
  }
  return said;
}

Deno.test("agent_test RpcSerializationSimple: a structure comes out as it went in", () => {
  const { buffer } = new AgentRpcResponse();
  const point = { x: 3, y: 5, z: INT_MIN };
  assert(buffer.serialize(POINT, point).ok());
  assertEquals(buffer.deserialize(POINT).value(), point);
});

Deno.test("agent_test RpcSerializationSimpleSize: as many bytes as asked for", () => {
  const { buffer } = new AgentRpcResponse();
  const bytes = new Uint8Array(new Int32Array([3, 5, INT_MIN, 99]).buffer);
  assert(buffer.serializeBytes(bytes, 12).ok());
  const out = buffer.deserializeBytes(12).value();
  assertEquals([...new Int32Array(out.buffer)], [3, 5, INT_MIN]);
  assertEquals(buffer.data[12], 0, "the rest was not copied");
});

Deno.test("agent_test RpcSerializationSimpleVector: ten structures in order", () => {
  const { buffer } = new AgentRpcResponse();
  const points = Array.from({ length: 10 }, (_, i) => ({ x: i, y: i + 2, z: INT_MIN + i }));
  assert(buffer.serializeVector(POINT, points).ok());
  assertEquals(buffer.deserializeVector(POINT, 10).value(), points);
});

Deno.test("agent_test RpcSerializationString: texts, also empty, shorter and with NULs", () => {
  const { buffer } = new AgentRpcResponse();
  for (const text of [...STRINGS, "a\0b\0", "grüße", "\0"]) {
    assert(buffer.serializeString(text).ok());
    assertEquals(buffer.deserializeString().value(), text);
  }
});

Deno.test("agent_test RpcSerializationErrorStatus: a failure stays a failure", () => {
  const { buffer } = new AgentRpcResponse();
  assert(buffer.serializeStatus(new Status(STATUS_UNKNOWN)).ok());
  const result = buffer.deserializeStatus();
  assert(result.ok());
  assert(!result.value().ok());
  assert(buffer.serializeStatus(new Status(STATUS_UNKNOWN, "why")).ok());
  assertEquals(buffer.deserializeStatus().value(), new Status(STATUS_UNKNOWN, "why"));
});

Deno.test("agent_test RpcSerializationErrorStatusOr: a missing value stays missing", () => {
  const { buffer } = new AgentRpcResponse();
  const missing = StatusOr.error<number>(new Status(STATUS_UNKNOWN));
  assert(buffer.serializeStatusOr(I32, missing).ok());
  const result = buffer.deserializeStatusOr(I32);
  assert(result.ok());
  assert(!result.value().ok());
});

Deno.test("agent_test RpcDeserializationWithoutSerialization: nothing comes out of nothing", () => {
  const { buffer } = new AgentRpcResponse();
  const results = [
    buffer.deserializeBytes(4),
    buffer.deserialize(I32),
    buffer.deserializeString(),
    buffer.deserializeVector(I32, 1),
    buffer.deserializeStatus(),
    buffer.deserializeStatusOr(I32),
    buffer.deserializeStatusOrString(),
  ];
  for (const result of results) {
    assertEquals(refusal(result), "Calling deserialize without a successful serialize");
  }
});

Deno.test("agent_test RpcSerializationMaxSize: a value may fill the buffer", () => {
  const buffer = new AgentRpcBuffer(1024);
  const type = bytesType(1024);
  const value = new Uint8Array(1024).fill(10);
  assert(buffer.serialize(type, value).ok());
  assertEquals(buffer.deserialize(type).value(), value);
});

Deno.test("agent_test RpcSerializationExceedMaxSize: one byte more is refused, both ways", () => {
  const buffer = new AgentRpcBuffer(100);
  const bytes = new Uint8Array(101).fill(10);
  const too_large = "Serialize used with too large of a type: 101";
  assertEquals(refusal(buffer.serializeBytes(bytes)), too_large);
  assertEquals(refusal(buffer.serialize(bytesType(101), bytes)), too_large);
  const failed = "Deserialize failed; too large of type: 101";
  assertEquals(refusal(buffer.deserializeBytes(101)), failed);
  assertEquals(refusal(buffer.deserialize(bytesType(101))), failed);
});

Deno.test("agent_test RpcStatusOrStringSerialization: texts, also the empty one", () => {
  const { buffer } = new AgentRpcResponse();
  for (const text of STRINGS) {
    assert(buffer.serializeStatusOrString(StatusOr.of(text)).ok());
    assertEquals(buffer.deserializeStatusOrString().value().value(), text);
  }
  const missing = StatusOr.error<string>(new Status(STATUS_UNKNOWN, "gone"));
  assert(buffer.serializeStatusOrString(missing).ok());
  assertEquals(buffer.deserializeStatusOrString().value().status.message, "gone");
});

Deno.test("agent rpc: an OK status and a value go through as such", () => {
  const { buffer } = new AgentRpcResponse();
  assert(buffer.serializeStatus(OK_STATUS).ok());
  assert(buffer.deserializeStatus().value().ok());
  assert(buffer.serializeStatusOr(I32, StatusOr.of(42)).ok());
  assertEquals(buffer.deserializeStatusOr(I32).value().value(), 42);
  assert(buffer.serializeStatusOr(I64, StatusOr.of(-42n)).ok());
  assertEquals(buffer.deserializeStatusOr(I64).value().value(), -42n);
});

Deno.test("agent rpc: sizes and places are those of upstream on x86-64", () => {
  assertEquals(rpcBufferBytes(RPC_BUFFER_BYTES), 32784);
  assertEquals([RPC_ARGS_BYTES, RPC_RESPONSE_BYTES], [32800, 32792]);
  assertEquals(STATUS_TYPE.bytes, 1004);
  assertEquals([statusOrType(I32).bytes, statusOrType(I64).bytes], [1008, 1016]);
  assertEquals(STATUS_OR_STRING_TYPE.bytes, 31016);
  assertEquals(structType({ a: I32, b: F64, c: I32 }).bytes, 24);

  const memory = new Uint8Array(RPC_ARGS_BYTES);
  const args = new AgentRpcArgs(memory);
  args.arg0 = 7n;
  args.arg1 = -1n;
  assert(args.buffer.serializeString("abc").ok());
  const view = new DataView(memory.buffer);
  assertEquals([view.getBigInt64(0, true), view.getBigInt64(8, true)], [7n, -1n]);
  assertEquals([...memory.subarray(16, 20)], [97, 98, 99, 0]);
  assertEquals(view.getBigUint64(16 + 32768, true), 3n);
  assertEquals(memory[16 + 32776], 1);

  const status_or = new AgentRpcBuffer();
  assert(status_or.serializeStatusOr(I64, StatusOr.of(5n)).ok());
  assertEquals(new DataView(status_or.data.buffer).getBigInt64(1008, true), 5n);
  assert(status_or.serializeStatusOrString(StatusOr.of("xy")).ok());
  assertEquals([...status_or.data.subarray(1004, 1007)], [120, 121, 0]);
  assertEquals(new DataView(status_or.data.buffer).getBigUint64(31008, true), 2n);
});

Deno.test("agent rpc: what is too large is refused with upstream's text", () => {
  const buffer = new AgentRpcBuffer(100);
  assertEquals(
    refusal(buffer.serializeVector(POINT, Array(9).fill({ x: 0, y: 0, z: 0 }))),
    "SerializeVector used with too large of a type: 12 items: 9",
  );
  assertEquals(
    refusal(buffer.deserializeVector(POINT, 9)),
    "DeserializeVector failed; too large of type: 12 items: 9",
  );
  assertEquals(
    refusal(buffer.serializeString("x".repeat(100))),
    "SerializeString used with too large of a string: 100",
  );
  assert(buffer.serializeString("x".repeat(99)).ok());
  assertEquals(refusal(buffer.serializeStatus(OK_STATUS)).slice(-4), "1004");
});

Deno.test("agent rpc: a failed serialize leaves no value behind", () => {
  const buffer = new AgentRpcBuffer(100);
  const spoil: (() => Status)[] = [
    () => buffer.serialize(bytesType(101), new Uint8Array(101)),
    () => buffer.serializeBytes(new Uint8Array(101)),
    () => buffer.serializeVector(I64, Array(13).fill(0n)),
    () => buffer.serializeString("x".repeat(100)),
  ];
  for (const run of spoil) {
    assert(buffer.serialize(I32, 1).ok() && buffer.is_serialized);
    assert(!run().ok() && !buffer.is_serialized);
    assert(!buffer.deserialize(I32).ok());
  }
  buffer.forceMarkSerialized();
  assert(buffer.deserialize(I32).ok());
});

Deno.test("agent rpc: a string length that a broken peer wrote is refused", () => {
  const memory = new Uint8Array(rpcBufferBytes(100));
  const buffer = new AgentRpcBuffer(100, memory);
  assert(buffer.serializeString("abc").ok());
  new DataView(memory.buffer).setBigUint64(memory.length - 16, 100n, true);
  assertEquals(
    refusal(buffer.deserializeString()),
    "Deserialize using invalid string length: 100",
  );
});

Deno.test("agent rpc: long messages and texts are cut, said on stderr, and never overread", () => {
  const { buffer } = new AgentRpcResponse();
  const said = stderrOf(() => {
    assert(buffer.serializeStatus(new Status(STATUS_UNKNOWN, "m".repeat(1000))).ok());
  });
  assertEquals(said, [
    "Source string too large to fit in TrivialStatus: 1000, vs max_size 999",
  ]);
  assertEquals(buffer.deserializeStatus().value().message, "m".repeat(999));
  const more = stderrOf(() => {
    assert(buffer.serializeStatusOrString(StatusOr.of("t".repeat(30001))).ok());
  });
  assertEquals(more, [
    "Source string too large to fit in TrivialStatus: 30001, vs max_size 29999",
  ]);
  assertEquals(buffer.deserializeStatusOrString().value().value(), "t".repeat(29999));
});

Deno.test("agent rpc: a fresh response says that nobody answered", () => {
  assertEquals(new AgentRpcResponse().response_code, -1n);
  const memory = new Uint8Array(RPC_RESPONSE_BYTES);
  new AgentRpcResponse(memory).response_code = -19n;
  assertEquals(new AgentRpcResponse(memory).response_code, -19n);
});

Deno.test("agent rpc: arguments are equal by numbers and data alone", () => {
  const [a, b] = [new AgentRpcArgs(), new AgentRpcArgs()];
  assert(a.equals(b));
  assert(a.buffer.serialize(I32, 0).ok());
  assert(a.equals(b), "whether the data is a value does not count");
  assert(a.buffer.serialize(I32, 1).ok());
  assert(!a.equals(b));
  assert(b.buffer.serialize(I32, 1).ok());
  assert(a.equals(b));
  b.arg1 = 1n;
  assert(!a.equals(b));
});

Deno.test("agent rpc: values travel through memory that threads share", () => {
  const memory = new Uint8Array(new SharedArrayBuffer(RPC_RESPONSE_BYTES));
  const { buffer } = new AgentRpcResponse(memory);
  assert(buffer.serializeString("shared").ok());
  assertEquals(buffer.deserializeString().value(), "shared");
  assert(buffer.serializeStatus(new Status(STATUS_UNKNOWN, "shared")).ok());
  assertEquals(buffer.deserializeStatus().value().message, "shared");
  assert(buffer.serialize(POINT, { x: 1, y: 2, z: 3 }).ok());
  assertEquals(buffer.deserialize(POINT).value(), { x: 1, y: 2, z: 3 });
});

Deno.test("agent rpc: what is no memory for it, and what is no value, is refused", () => {
  assertThrows(() => new AgentRpcBuffer(100, new Uint8Array(100)), RangeError, "other memory");
  assertThrows(() => StatusOr.error(OK_STATUS), RangeError, "no reason");
  assertThrows(() => StatusOr.error(new Status(2, "gone")).value(), RangeError, "gone");
});
