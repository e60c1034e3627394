import { assertEquals } from "@std/assert";
import type { KernelFacts } from "./choose.ts";
import { type KernelViewOpeners, openViews } from "./open_view.ts";
import type { KernelView } from "./real_kernel.ts";

const NONE: KernelFacts = {
  release: "6.12",
  ghost_versions: undefined,
  is_ghost_unmounted: false,
  has_scx: false,
};
const BOTH: KernelFacts = { ...NONE, ghost_versions: [90], has_scx: true };

/** Openers that make empty views. */
const OPENERS: KernelViewOpeners = {
  ghost: () => Promise.resolve({ kind: "ghost", enclaves: () => [] }),
  scx: () => Promise.resolve({ kind: "scx", enclaves: () => [] }),
};

async function kinds(...args: Parameters<typeof openViews>): Promise<KernelView["kind"][]> {
  return (await openViews(...args)).map(({ kind }) => kind);
}

Deno.test("auto takes all kernels that the host has, ghOSt first; a name takes that one", async () => {
  assertEquals(await kinds("auto", BOTH, OPENERS), ["ghost", "scx"]);
  assertEquals(await kinds("scx", BOTH, OPENERS), ["scx"]);
  assertEquals(await kinds("ghost", { ...NONE, has_scx: true }, OPENERS), []);
  assertEquals(await kinds("auto", NONE, OPENERS), []);
});

Deno.test("a ghOSt kernel whose ghostfs is not mounted is there, without enclaves", async () => {
  assertEquals(await kinds("auto", { ...NONE, is_ghost_unmounted: true }, OPENERS), ["ghost"]);
});

Deno.test("a kernel that this program has no view of is left out", async () => {
  assertEquals(await kinds("auto", BOTH, { scx: OPENERS.scx }), ["scx"]);
});
