/**
 * Makes an executable out of the installed `deno`: either with a segment and a start stub added to
 * it, or as a launcher that carries it and unpacks it once.
 *
 * @module
 */

import { buildLauncher, buildStub, CompileError } from "./cc.ts";
import { inspectElf, patchElf } from "./elf.ts";
import { buildPayload, PAYLOAD_HEADER_BYTES, runtimeArgs } from "./payload.ts";

/** What goes into an executable beside the runtime. */
export interface Program {
  /** The bundle's source text. */
  bundle: string;
  /** The shared object; empty when only the simulated kernel is wanted. */
  shim: Uint8Array<ArrayBuffer>;
  /** V8 flags in addition to the usual ones. */
  v8_flags: readonly string[];
}

/** A packed file, or why it could not be made that way. */
export type Packed = { bytes: Uint8Array<ArrayBuffer> } | { refusal: string };

/** The runtime's executable itself, also when it was started through the npm package's wrapper. */
export function runtimePath(): string {
  return Deno.realPathSync(Deno.execPath());
}

/**
 * Turns a runtime into the program by one more segment and a start stub.
 *
 * @param runtime The `deno` executable.
 * @param program What it is to run.
 * @returns The file, or one line that says why this runtime cannot be patched.
 * @throws CompileError when the stub cannot be built.
 */
export async function packStub(runtime: Uint8Array, program: Program): Promise<Packed> {
  const elf = inspectElf(runtime);
  if (typeof elf === "string") return { refusal: elf };
  const segment = buildPayload({
    args: runtimeArgs(program.v8_flags),
    bundle: new TextEncoder().encode(program.bundle),
    shim: program.shim,
    stub: {
      code: await buildStub(),
      segment_vaddr: elf.free_vaddr,
      original_entry: elf.entry,
      environ_slot: elf.environ_slot,
    },
  });
  return { bytes: patchElf(runtime, elf, segment, PAYLOAD_HEADER_BYTES) };
}

/**
 * Puts the runtime behind a launcher, which unpacks it into the user's cache folder at its first
 * start. For runtimes that {@linkcode packStub} refuses.
 *
 * @param runtime The `deno` executable.
 * @param program What it is to run.
 * @returns The file.
 * @throws CompileError when the launcher cannot be built.
 */
export async function packLauncher(
  runtime: Uint8Array<ArrayBuffer>,
  program: Program,
): Promise<Uint8Array<ArrayBuffer>> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", runtime));
  const payload = buildPayload({
    args: runtimeArgs(program.v8_flags),
    bundle: new TextEncoder().encode(program.bundle),
    shim: program.shim,
    runtime: { bytes: runtime, hash: digest.toHex() },
  });
  const launcher = await buildLauncher();
  const payload_offset = Math.ceil(launcher.length / 4096) * 4096;
  const result = new Uint8Array(payload_offset + payload.length + 8);
  result.set(launcher);
  result.set(payload, payload_offset);
  // The launcher finds the payload by the file's last eight bytes.
  new DataView(result.buffer).setBigUint64(result.length - 8, BigInt(payload_offset), true);
  return result;
}

/**
 * Writes an executable so that a file of that name which is running stays as it is.
 *
 * @param path Where to.
 * @param bytes The file.
 * @throws CompileError when it cannot be written.
 */
export async function writeExecutable(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${Deno.pid}.new`;
  try {
    await Deno.writeFile(temporary, bytes, { mode: 0o755 });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw new CompileError(`cannot write ${path}: ${(error as Error).message}`);
  }
}
