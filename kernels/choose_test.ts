import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { OperatingError, UsageError } from "../lib/errors.ts";
import { chooseKernel, type KernelFacts, probeKernel, rootFault } from "./choose.ts";

/** A host with these files and no others. */
function hostOf(files: Readonly<Record<string, string>>): KernelFacts {
  return probeKernel((path) => Object.hasOwn(files, path) ? files[path] : undefined);
}

const RELEASE = { "/proc/sys/kernel/osrelease": "6.12.3-test\n" };
const PLAIN = hostOf(RELEASE);
const GHOST = hostOf({ ...RELEASE, "/sys/fs/ghost/version": "90\n91\n" });
const SCX = hostOf({ ...RELEASE, "/sys/kernel/sched_ext/state": "disabled\n" });
const BOTH = hostOf({
  "/sys/fs/ghost/version": "91\n",
  "/sys/kernel/sched_ext/state": "disabled\n",
});
const OLD_GHOST = hostOf({ "/sys/fs/ghost/version": "12\n13\n" });
const UNMOUNTED = hostOf({ "/proc/filesystems": "nodev\tsysfs\nnodev\tghost\n\text4\n" });

function fault(kernel: string, facts: KernelFacts): OperatingError {
  const result = chooseKernel(kernel, facts);
  assertInstanceOf(result, OperatingError);
  assertEquals(result.message.includes("\n"), false);
  return result;
}

Deno.test("the host's kernel is read from its own files", () => {
  assertEquals(GHOST, {
    release: "6.12.3-test",
    ghost_versions: [90, 91],
    is_ghost_unmounted: false,
    has_scx: false,
  });
  assertEquals(PLAIN.ghost_versions, undefined);
  assertEquals([PLAIN.has_scx, SCX.has_scx], [false, true]);
  assertEquals(hostOf({}).release, "unknown");
  assertEquals([PLAIN.is_ghost_unmounted, UNMOUNTED.is_ghost_unmounted], [false, true]);
});

Deno.test("auto takes ghost before scx, and scx before nothing", () => {
  assertEquals(chooseKernel("auto", BOTH), "ghost");
  assertEquals(chooseKernel("auto", GHOST), "ghost");
  assertEquals(chooseKernel("auto", SCX), "scx");
});

Deno.test("auto never simulates: it names what is missing and both ways on", () => {
  const { message, exit_status } = fault("auto", PLAIN);
  assertEquals(exit_status, 1);
  const parts = [
    "Linux 6.12.3-test",
    "/sys/fs/ghost/version is missing",
    "/sys/kernel/sched_ext/state is missing",
    "boot a kernel with ghOSt",
    "CONFIG_SCHED_CLASS_EXT=y",
    "--kernel=sim --workload=simple_exp",
  ];
  for (const part of parts) assertStringIncludes(message, part);
});

Deno.test("sim is taken on any host, but only when asked for", () => {
  for (const facts of [PLAIN, GHOST, SCX, BOTH]) assertEquals(chooseKernel("sim", facts), "sim");
});

Deno.test("a kernel that was asked for and is missing is told alone", () => {
  const ghost = fault("ghost", SCX).message;
  assertStringIncludes(ghost, "no ghOSt (/sys/fs/ghost/version is missing)");
  assertEquals(ghost.includes("CONFIG_SCHED_CLASS_EXT"), false);
  const scx = fault("scx", GHOST).message;
  assertStringIncludes(scx, "no sched_ext");
  assertEquals(scx.includes("no ghOSt"), false);
  for (const message of [ghost, scx]) assertStringIncludes(message, "--kernel=sim");
});

Deno.test("ghostfs that is not mounted is no obstacle: who opens the kernel mounts it", () => {
  for (const kernel of ["auto", "ghost"]) assertEquals(chooseKernel(kernel, UNMOUNTED), "ghost");
});

Deno.test("a ghOSt of other ABI versions is not taken", () => {
  assertStringIncludes(fault("ghost", OLD_GHOST).message, "ABI 12, 13 only");
  assertStringIncludes(fault("auto", OLD_GHOST).message, "speaks 69, 84, 90, 91");
});

Deno.test("an unknown kernel is a usage error that lists the known ones", () => {
  const result = fault("linux", GHOST);
  assertInstanceOf(result, UsageError);
  assertEquals(result.exit_status, 2);
  assertStringIncludes(result.message, '"linux"');
  assertStringIncludes(result.message, "auto, ghost, scx, sim");
});

Deno.test("on a real kernel one must be root", () => {
  for (const uid of [1000, null]) {
    const { message, exit_status } = rootFault(uid)!;
    assertEquals(exit_status, 1);
    assertStringIncludes(message, "not root");
    assertStringIncludes(message, "sudo");
    assertStringIncludes(message, "--kernel=sim");
  }
  assertEquals(rootFault(0), undefined);
});
