/**
 * Builds the loads of the scx jobs, on the host.
 *
 * @module
 */
import { runCc } from "../../ffi/build.ts";

/**
 * Compiles tests/vm/scx_load.c.
 *
 * @param root The repository.
 * @param out Folder for what is built.
 * @throws {ShimError} If the compiler is missing or refuses the source.
 */
export async function buildScxLoads(root: string, out: string): Promise<void> {
  await Deno.mkdir(out, { recursive: true });
  const flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"];
  runCc([...flags, "-o", `${out}/scx_load`, `${root}/tests/vm/scx_load.c`]);
}
