import { assert, assertEquals } from "@std/assert";
import {
  CACHE_FORMAT,
  compareVersions,
  majorVersion,
  megabytes,
  parseCandidate,
  parseMadison,
  parseVersions,
  pickKernel,
} from "./versions.ts";

/** Names of both packages of kernels. */
function kernels(...releases: string[]): string[] {
  return releases.flatMap((release) => [
    `linux-binary-unsigned-${release}`,
    `linux-modules-${release}`,
  ]);
}

Deno.test("versions: numbers are compared as numbers, and what follows them is not", () => {
  assert(compareVersions("7.10.1", "7.9.12") > 0);
  assert(compareVersions("7.3", "7.3.4+deb13") < 0);
  assertEquals(compareVersions("7.3.4+deb13", "7.3.4+deb14"), 0);
});

Deno.test("versions: the newest cloud kernel of 7.3 or later is taken", () => {
  const names = kernels("7.2.12+deb13-cloud-amd64", "7.9.2+deb13-cloud-amd64").concat(
    kernels("7.10.1+deb13-cloud-amd64", "8.1.0+deb13-amd64", "8.1.0+deb13-rt-cloud-amd64"),
  );
  assertEquals(pickKernel(names), {
    release: "7.10.1+deb13-cloud-amd64",
    names: kernels("7.10.1+deb13-cloud-amd64"),
  });
});

Deno.test("versions: a kernel that is older, or without its modules, is not taken", () => {
  assertEquals(pickKernel(kernels("7.2.12+deb13-cloud-amd64")), undefined);
  assertEquals(pickKernel(["linux-binary-unsigned-7.3.4+deb13-cloud-amd64"]), undefined);
  assertEquals(pickKernel(["linux-image-7.3.4+deb13-cloud-amd64-dbg"]), undefined);
});

Deno.test("versions: the major version is upstream's, behind the epoch", () => {
  assertEquals(majorVersion("1:10.0.2+ds-2+deb13u1~bpo12+1"), 10);
  assertEquals(majorVersion("7.2+dfsg-7"), 7);
  assertEquals(majorVersion("none"), NaN);
});

Deno.test("versions: apt's answers are read", () => {
  const madison = " qemu | 1:10.0 | mirror trixie/main\n qemu | 1:7.2 | mirror bookworm/main\n\n";
  assertEquals(parseMadison(madison), [
    { name: "qemu", version: "1:10.0" },
    { name: "qemu", version: "1:7.2" },
  ]);
  assertEquals(parseCandidate("qemu:\n  Installed: (none)\n  Candidate: 1:7.2\n"), "1:7.2");
  assertEquals(parseCandidate("qemu:\n  Candidate: (none)\n"), undefined);
  assertEquals(parseCandidate(""), undefined);
});

Deno.test("versions: a record of another layout, release or cut short is not believed", () => {
  const record = { format: CACHE_FORMAT, codename: "bookworm", packages: [] };
  const text = JSON.stringify(record);
  assertEquals(parseVersions(text, "bookworm")?.codename, "bookworm");
  assertEquals(parseVersions(text, "trixie"), undefined);
  assertEquals(parseVersions(text.slice(0, -3), "bookworm"), undefined);
  assertEquals(parseVersions(JSON.stringify({ ...record, format: 0 }), "bookworm"), undefined);
});

Deno.test("versions: sizes are in megabytes", () => {
  assertEquals(megabytes(22_900_000), "22.9 MB");
});
