/**
 * What a machine is made of: the unpacked programs, the kernel, and an initramfs made of busybox
 * and the kernel's overlay module.
 *
 * @module
 */

import { OperatingError } from "../../lib/errors.ts";
import { initScript } from "./guest.ts";
import type { Versions } from "./versions.ts";

/** What a machine is made of. */
export interface VmTools {
  /** QEMU's executable. */
  readonly qemu: string;
  /** The virtiofs daemon. */
  readonly virtiofsd: string;
  /** Environment of both. */
  readonly env: Readonly<Record<string, string>>;
  /** Folders with QEMU's firmware. */
  readonly firmware: readonly string[];
  /** The kernel's image. */
  readonly kernel_image: string;
  /** The initramfs. */
  readonly initramfs: string;
}

/** Runs busybox; returns its stdout as bytes. */
async function busybox(path: string, args: readonly string[], cwd: string, input?: string) {
  const child = new Deno.Command(path, {
    args: [...args],
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input ?? ""));
  await writer.close();
  const [bytes, { code }] = await Promise.all([
    new Response(child.stdout).bytes(),
    child.status,
  ]);
  if (code === 0) return bytes;
  throw new OperatingError(
    `busybox ${args[0]} failed with status ${code}`,
    "fetch the packages again with --update",
  );
}

/** Folders that the init mounts on. */
const MOUNT_POINTS = ["proc", "sys", "dev", "mnt/host", "mnt/rw", "mnt/root"];

/** Unpacks a kernel's module, if it is packed. */
async function moduleBytes(box: string, module: string, tree: string): Promise<Uint8Array> {
  return module.endsWith(".xz")
    ? await busybox(box, ["unxz", "-c", module], tree)
    : await Deno.readFile(module);
}

/** Makes an initramfs in a folder; a run beside this one may do the same. */
async function makeInitramfs(folder: string, box: string, module: string): Promise<string> {
  const tree = await Deno.makeTempDir({ dir: folder, prefix: "initramfs_" });
  const initramfs = `${folder}/initramfs.cpio`;
  try {
    for (const name of ["bin", "lib", ...MOUNT_POINTS]) {
      await Deno.mkdir(`${tree}/${name}`, { recursive: true });
    }
    await Deno.copyFile(box, `${tree}/bin/busybox`);
    await Deno.writeFile(`${tree}/lib/overlay.ko`, await moduleBytes(box, module, tree));
    await Deno.writeTextFile(`${tree}/init`, initScript(), { mode: 0o755 });
    const names = ["init", "bin", "bin/busybox", "lib", "lib/overlay.ko", "mnt", ...MOUNT_POINTS];
    const input = names.map((name) => `${name}\n`).join("");
    const archive = await busybox(box, ["cpio", "-o", "-H", "newc"], tree, input);
    await Deno.writeFile(`${tree}.cpio`, archive);
    await Deno.rename(`${tree}.cpio`, initramfs);
  } finally {
    await Deno.remove(tree, { recursive: true });
  }
  return initramfs;
}

/**
 * Makes the initramfs and says where everything is.
 *
 * @param cache The cache folder.
 * @param versions What it holds.
 * @param other The overlayfs of a kernel that the user named, and a folder for its initramfs.
 * @returns What a machine is made of.
 * @throws {OperatingError} If busybox refuses a file.
 */
export async function prepareTools(
  cache: string,
  versions: Versions,
  other?: { readonly overlay_module: string; readonly folder: string },
): Promise<VmTools> {
  const root = `${cache}/tools`;
  const module = `${cache}/kernel/usr/lib/modules/${versions.kernel_release}` +
    "/kernel/fs/overlayfs/overlay.ko.xz";
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  return {
    qemu: `${root}/usr/bin/qemu-system-x86_64`,
    virtiofsd: `${cache}/${versions.virtiofsd}`,
    env: {
      LD_LIBRARY_PATH: `${libraries}:${root}/lib/x86_64-linux-gnu`,
      QEMU_MODULE_DIR: `${libraries}/qemu`,
    },
    firmware: [`${root}/usr/share/qemu`, `${root}/usr/share/seabios`],
    kernel_image: `${cache}/${versions.kernel_image}`,
    initramfs: await makeInitramfs(
      other?.folder ?? cache,
      `${root}/bin/busybox`,
      other?.overlay_module ?? module,
    ),
  };
}
