/**
 * The shim of an executable made by `deno compile`. Deno.dlopen of an embedded file would write it
 * to a temporary folder first; from a memfd it is loaded without leaving anything on disk.
 *
 * @module
 */
import { SystemError } from "./errors.ts";
import { MFD_ALLOW_SEALING, MFD_CLOEXEC } from "./linux.ts";

const MEMFD_NAME = "ghost_shim";
const DESCRIPTORS = "/proc/self/fd";

/**
 * Path of the memfd that another Worker has made, so that all share one copy of the library. One
 * that is shorter is still being written.
 */
function existingMemfd(length_bytes: number): string | undefined {
  for (const { name } of Deno.readDirSync(DESCRIPTORS)) {
    try {
      const path = `${DESCRIPTORS}/${name}`;
      const is_shim = Deno.readLinkSync(path).startsWith(`/memfd:${MEMFD_NAME}`);
      if (is_shim && Deno.statSync(path).size === length_bytes) return path;
    } catch { /* closed meanwhile */ }
  }
  return undefined;
}

function newMemfd(): string {
  const libc = Deno.dlopen("libc.so.6", {
    memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  });
  const name = new TextEncoder().encode(`${MEMFD_NAME}\0`);
  const fd = libc.symbols.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  libc.close();
  // errno is lost by now; a full descriptor table is what happens.
  if (fd < 0) throw new SystemError("memfd_create", 24, MEMFD_NAME);
  return `${DESCRIPTORS}/${fd}`;
}

/**
 * Copies an embedded library into memory.
 *
 * @param path The embedded file.
 * @returns A path to give to Deno.dlopen; the same for all Workers of the process.
 * @throws {SystemError} If the kernel refuses a memfd.
 */
export function shimInMemory(path: string): string {
  const bytes = Deno.readFileSync(path);
  const existing = existingMemfd(bytes.length);
  if (existing !== undefined) return existing;
  const memfd = newMemfd();
  Deno.writeFileSync(memfd, bytes);
  return memfd;
}
