/**
 * Builds what the scx jobs run beside the executables, on the host.
 *
 * @module
 */
import { buildShim, runCc } from "../../ffi/build.ts";
import { OperatingError } from "../../lib/errors.ts";
import { CompileError } from "../../tools/compile/cc.ts";
import { buildBpfObject, buildLoader, findScxTools } from "../../tools/compile/scx.ts";

/** The BPF programs, each of which gets a loader. */
const BPF_PROGRAMS: readonly string[] = ["scx_fifo", "scx_ghost"];
/** Of the shim, what an agent in C takes. */
const AGENT_SOURCES: readonly string[] = ["shim.c", "memory.c", "scx_agent.c"];

/**
 * Compiles tests/vm/scx_load.c and scx_floor_agent.c, loaders of the BPF programs, and the shim for
 * scripts that run from the clone: compilers are slow in the guest.
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
  const agent_sources = AGENT_SOURCES.map((name) => `${root}/native/${name}`);
  const agent = `${root}/tests/vm/scx_floor_agent.c`;
  runCc([...flags, "-o", `${out}/scx_floor_agent`, agent, ...agent_sources]);
  buildShim(`${root}/native`);
  const tools = findScxTools(root);
  if (typeof tools === "string") {
    throw new OperatingError(`no ${tools} to build the scx program`, "try again with --update");
  }
  try {
    for (const name of BPF_PROGRAMS) {
      await buildBpfObject(root, `${name}.bpf.c`, `${out}/${name}.bpf.o`, tools);
      await buildLoader(root, `${out}/${name}.bpf.o`, `${out}/${name}_loader`, tools);
    }
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    throw new OperatingError(error.message, "or try again with --update");
  }
}
