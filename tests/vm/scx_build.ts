/**
 * Builds what the scx jobs run beside the executables, on the host.
 *
 * @module
 */
import { buildShim, runCc } from "../../ffi/build.ts";
import { OperatingError } from "../../lib/errors.ts";
import { CompileError } from "../../tools/compile/cc.ts";
import { buildBpfObject, buildLoader, findScxTools } from "../../tools/compile/scx.ts";

/**
 * Compiles tests/vm/scx_load.c, the loader of bpf/scx_fifo.bpf.c, and the shim for scripts that run
 * from the clone: compilers are slow in the guest.
 *
 * @param root The repository.
 * @param out Folder for what is built.
 * @throws {ShimError} If the C compiler is missing or refuses a source.
 * @throws {OperatingError} If what BPF takes is missing.
 */
export async function buildScxLoads(root: string, out: string): Promise<void> {
  await Deno.mkdir(out, { recursive: true });
  const flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"];
  runCc([...flags, "-o", `${out}/scx_load`, `${root}/tests/vm/scx_load.c`]);
  buildShim(`${root}/native`);
  const tools = findScxTools(root);
  if (typeof tools === "string") {
    throw new OperatingError(`no ${tools} to build the scx program`, "try again with --update");
  }
  try {
    await buildBpfObject(root, "scx_fifo.bpf.c", `${out}/scx_fifo.bpf.o`, tools);
    await buildLoader(root, `${out}/scx_fifo.bpf.o`, `${out}/scx_fifo_loader`, tools);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    throw new OperatingError(error.message, "or try again with --update");
  }
}
