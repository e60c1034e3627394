/**
 * The kernels of a host as tools see them. Each adds one line here; its modules are loaded when
 * they are asked for.
 *
 * @module
 */
import { readTextFile } from "../lib/host_files.ts";
import { type KernelFacts, probeKernel } from "./choose.ts";
import type { RealKernelName } from "./open.ts";
import type { KernelView } from "./real_kernel.ts";

/** Makes the view of a kernel that the host has. */
export type KernelViewOpener = () => Promise<KernelView>;

/** Openers by kernel, in the order in which `--kernel=auto` asks them. */
export type KernelViewOpeners = Readonly<Partial<Record<RealKernelName, KernelViewOpener>>>;

/** The openers. */
export const KERNEL_VIEW_OPENERS: KernelViewOpeners = {
  ghost: async () => (await import("./ghost/ghost_view.ts")).ghostView(),
  scx: async () => (await import("./scx/scx_view.ts")).scxView(),
};

/** Kernels that a host has. */
function present(facts: KernelFacts): RealKernelName[] {
  const names: RealKernelName[] = [];
  // Where ghostfs is not mounted there is no enclave, but the kernel is there.
  if (facts.ghost_versions !== undefined || facts.is_ghost_unmounted) names.push("ghost");
  if (facts.has_scx) names.push("scx");
  return names;
}

/**
 * Opens the views of a host's kernels.
 *
 * @param wanted Which kernel; "auto": all that the host has.
 * @param facts What the host has.
 * @param openers What can be opened; other ones are for tests.
 * @returns The views, ghOSt first; none if there is no kernel of that name.
 */
export async function openViews(
  wanted: "auto" | RealKernelName,
  facts: KernelFacts = probeKernel(readTextFile),
  openers: KernelViewOpeners = KERNEL_VIEW_OPENERS,
): Promise<KernelView[]> {
  const names = present(facts).filter((name) => wanted === "auto" || name === wanted);
  const views: KernelView[] = [];
  for (const name of names) {
    const open = openers[name];
    if (open !== undefined) views.push(await open());
  }
  return views;
}
