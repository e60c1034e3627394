/**
 * Builds the C parts of an executable: the start stub, the launcher and the shim.
 *
 * @module
 */

import { buildShim, runCc, SHIM_FILE } from "../../ffi/build.ts";
import { ShimError } from "../../ffi/errors.ts";

/** A build step that failed, with cause and cure in one line. */
export class CompileError extends Error {
  override name = "CompileError";
}

const NATIVE_FOLDER = decodeURIComponent(new URL("../../native", import.meta.url).pathname);

/** The C compiler: CC, or "cc". */
export function compiler(): string {
  return Deno.env.get("CC") || "cc";
}

/** Whether there is a C compiler at all. */
export async function hasCompiler(): Promise<boolean> {
  try {
    const args = ["--version"];
    const options = { args, stdin: "null", stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(compiler(), options).output()).success;
  } catch {
    return false;
  }
}

async function build(
  what: string,
  make: (out: string) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_cc_" });
  try {
    make(`${folder}/${SHIM_FILE}`);
    return await Deno.readFile(`${folder}/${SHIM_FILE}`);
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    const cause = error.message.slice(0, -error.cure.length - 2);
    throw new CompileError(
      `cannot build ${what}: ${cause}; install a C compiler ` +
        "(Debian: apt-get install gcc libc6-dev) or name one in CC",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The start stub as a flat image that is entered at its first byte; x86-64 only. */
export function buildStub(): Promise<Uint8Array<ArrayBuffer>> {
  const flags = [
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fPIE",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-mno-sse",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none",
    `-Wl,-T,${NATIVE_FOLDER}/stub/stub.ld`,
  ];
  const source = `${NATIVE_FOLDER}/stub/stub.c`;
  return build("the start stub", (out) => runCc([...flags, "-o", out, source], compiler()));
}

/** The launcher that unpacks a runtime once and starts it; any Linux machine. */
export function buildLauncher(): Promise<Uint8Array<ArrayBuffer>> {
  const flags = ["-O2", "-Wall", "-Wextra", "-Werror"];
  const source = `${NATIVE_FOLDER}/stub/launcher.c`;
  return build("the launcher", (out) => runCc([...flags, "-o", out, source], compiler()));
}

/**
 * The shim of ffi/, without what only a debugger reads.
 *
 * @param scx_loader The loader of the scx program that it is to carry, if any.
 */
export function buildShimBytes(scx_loader?: string): Promise<Uint8Array<ArrayBuffer>> {
  return build("the shim", (out) => void buildShim(NATIVE_FOLDER, out, compiler(), scx_loader));
}
