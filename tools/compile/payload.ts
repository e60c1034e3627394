/**
 * What a packed executable carries: a header page, the start stub, the strings it inserts, the
 * bundle and the shim. The layout is that of native/stub/payload.h.
 *
 * @module
 */

import { RUNTIME_VARIABLES } from "../../util/build.ts";

const PAYLOAD_MAGIC = 0x31304b4341504847n;

/** Bytes of the header page; the start stub follows it. */
export const PAYLOAD_HEADER_BYTES = 4096;

/** Stands in a payload's `args` for the path under which the bundle can be read. */
export const BUNDLE_PATH = "%B";

/**
 * V8 flags that every executable runs with. `--single-threaded-gc`: no helper thread that an agent
 * could starve takes part in a collection. `--no-maglev`: hot code goes straight to TurboFan, the
 * only tier that calls the shim fast; saves about 10 MB, since Maglev's concurrent compile jobs
 * keep what they allocate, and a warmed-up run is as fast. `--max-semi-space-size=1`: 10 MB less
 * for programs that make garbage; an agent's steps make none.
 * `--max-inlined-bytecode-size-cumulative=4000`: TurboFan may inline the whole way from a message
 * to its transaction into the agent's loop: 29 ns a message instead of 37.
 * `--concurrent-turbofan-max-threads=1`: one of the large functions that this makes is compiled at
 * a time, not one per CPU: 3 MB less.
 * `--function-context-cells-max-size`: the bundle is the body of one function, so that what was a
 * constant of a module is a variable of a context; cells let V8 compile in what never changes.
 * `--no-enable-lazy-source-positions`: else the first exception, such as that of a file that is not
 * there, has V8 parse the bundle again for its line, 15 ms in each isolate.
 */
export const BASE_V8_FLAGS: readonly string[] = [
  "--single-threaded-gc",
  "--no-maglev",
  "--max-semi-space-size=1",
  "--max-inlined-bytecode-size-cumulative=4000",
  "--concurrent-turbofan-max-threads=1",
  "--function-context-cells-max-size=100000",
  "--no-enable-lazy-source-positions",
];

/**
 * The first letters of environment variables that the runtime must not see: they would change how
 * an agent runs. Children get the caller's own values from /proc/self/environ where it matters.
 */
export const DROPPED_VARIABLES: readonly string[] = [
  "DENO_",
  "NODE_",
  "OTEL_",
  "NPM_CONFIG_",
  "npm_config_",
  "RUST_",
];

/**
 * The runtime's arguments between the program's name and the user's arguments.
 *
 * @param v8_flags V8 flags in addition to {@linkcode BASE_V8_FLAGS}.
 */
export function runtimeArgs(v8_flags: readonly string[]): string[] {
  return [
    "run",
    "-A",
    "--no-config",
    "--no-lock",
    "--cached-only",
    "--no-remote",
    "--no-npm",
    "--no-code-cache",
    "--ext=js",
    `--v8-flags=${[...BASE_V8_FLAGS, ...v8_flags].join(",")}`,
    BUNDLE_PATH,
  ];
}

/** What goes into a payload. */
export interface PayloadParts {
  /** The runtime's arguments, {@linkcode runtimeArgs}. */
  args: readonly string[];
  /** The JavaScript module. */
  bundle: Uint8Array;
  /** The shared object; empty when there is none. */
  shim: Uint8Array;
  /** Start stub, for a patched runtime. */
  stub?: { code: Uint8Array; segment_vaddr: number; original_entry: number; environ_slot: number };
  /** The runtime itself and its SHA-256 in hex, for the launcher. */
  runtime?: { bytes: Uint8Array; hash: string };
}

function stringList(strings: readonly string[]): Uint8Array {
  return new TextEncoder().encode(strings.map((string) => string + "\0").join(""));
}

/**
 * Lays a payload out.
 *
 * @param parts What it is to carry.
 * @returns The bytes; the stub's entry is at {@linkcode PAYLOAD_HEADER_BYTES}.
 */
export function buildPayload(parts: PayloadParts): Uint8Array<ArrayBuffer> {
  const chunks: { bytes: Uint8Array; offset: number }[] = [];
  let end = PAYLOAD_HEADER_BYTES;
  const place = (bytes: Uint8Array): [bigint, bigint] => {
    const offset = end;
    chunks.push({ bytes, offset });
    end = Math.ceil((offset + bytes.length) / 16) * 16;
    return [BigInt(offset), BigInt(bytes.length)];
  };
  const list = (strings: readonly string[]): bigint[] => [
    ...place(stringList(strings)),
    BigInt(strings.length),
  ];
  place(parts.stub?.code ?? new Uint8Array());
  const fields: bigint[] = [
    PAYLOAD_MAGIC,
    BigInt(parts.stub?.segment_vaddr ?? 0),
    BigInt(parts.stub?.original_entry ?? 0),
    BigInt(parts.stub?.environ_slot ?? 0),
    ...list(parts.args),
    ...list(DROPPED_VARIABLES),
    ...list(RUNTIME_VARIABLES),
    ...place(parts.bundle),
    ...place(parts.shim),
    ...place(parts.runtime?.bytes ?? new Uint8Array()),
  ];
  const payload = new Uint8Array(end);
  const view = new DataView(payload.buffer);
  fields.forEach((field, i) => view.setBigUint64(i * 8, field, true));
  payload.set(new TextEncoder().encode(parts.runtime?.hash ?? ""), fields.length * 8);
  for (const { bytes, offset } of chunks) payload.set(bytes, offset);
  return payload;
}
