import { assert, assertEquals } from "@std/assert";
import {
  addedSuites,
  aptConfText,
  hostSources,
  parseDeb822,
  parseOneLine,
  preferencesText,
  privateSources,
  sourcesText,
} from "./apt_sources.ts";

const DEB822 = `# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://other.example/
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main
`;

Deno.test("apt sources: a stanza gives its addresses, suites, components and keyring", () => {
  const [archive, security, other, ...rest] = parseDeb822(DEB822);
  assertEquals(archive, {
    uris: ["http://mirror.example/debian"],
    suites: ["bookworm", "bookworm-updates"],
    components: ["main", "contrib"],
    signed_by: "/usr/share/keyrings/archive.gpg",
  });
  assertEquals(security.signed_by, "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc");
  assertEquals(other.components, ["stable"]);
  assertEquals(rest, []);
});

Deno.test("apt sources: deb-src alone, comments and disabled stanzas count for nothing", () => {
  assertEquals(parseDeb822("Types: deb-src\nURIs: x\nSuites: y\nComponents: main\n"), []);
  assertEquals(parseDeb822("# Types: deb\n\n"), []);
  assertEquals(
    parseOneLine("# deb http://a.example x main\ndeb-src http://a.example x main\n"),
    [],
  );
});

Deno.test("apt sources: one-line sources are read with and without options", () => {
  const text = "deb http://a.example/d bookworm main contrib # ours\n" +
    "deb [arch=amd64 signed-by=/k.gpg] http://b.example/d bookworm-updates main\n";
  assertEquals(parseOneLine(text), [
    {
      uris: ["http://a.example/d"],
      suites: ["bookworm"],
      components: ["main", "contrib"],
      signed_by: undefined,
    },
    {
      uris: ["http://b.example/d"],
      suites: ["bookworm-updates"],
      components: ["main"],
      signed_by: "/k.gpg",
    },
  ]);
});

Deno.test("apt sources: the private ones keep mirror and keyring and add the suites", () => {
  const sources = privateSources(parseDeb822(DEB822), "bookworm")!;
  assertEquals(sources.map(({ suites }) => suites), [
    ["bookworm", "bookworm-updates"],
    ["bookworm-security"],
    ["trixie", "trixie-backports", "bookworm-backports"],
  ]);
  assertEquals(sources[2].uris, ["http://mirror.example/debian"]);
  assertEquals(sources[2].signed_by, "/usr/share/keyrings/archive.gpg");
  assertEquals(parseDeb822(sourcesText(sources)), sources);
});

Deno.test("apt sources: a suite that the host has is not added twice", () => {
  const host = parseOneLine(
    "deb http://a.example trixie main\n" +
      "deb http://a.example trixie-backports main\n",
  );
  assertEquals(privateSources(host, "trixie")!.map(({ suites }) => suites), [
    ["trixie"],
    ["trixie-backports"],
  ]);
});

Deno.test("apt sources: a host without its own release in them has no private ones", () => {
  assertEquals(privateSources(parseDeb822(DEB822), "trixie"), undefined);
  assertEquals(privateSources([], "bookworm"), undefined);
});

Deno.test("apt sources: only suites of another release are held back", () => {
  assertEquals(addedSuites("trixie"), ["trixie", "trixie-backports"]);
  assertEquals(preferencesText("trixie"), "");
  const pins = preferencesText("bookworm").match(/(?<=Package: ).*\nPin: .*\nPin-Priority: .*/g);
  assertEquals(pins?.map((pin) => pin.replace(/\nPin[^:]*: (release n=)?/g, " ")), [
    "linux-* trixie 1",
    "* trixie -1",
    "linux-* trixie-backports 1",
    "* trixie-backports -1",
  ]);
});

Deno.test("apt sources: of the host's settings only those about fetching are kept", () => {
  const dump = 'Acquire::http::Proxy "http://proxy.example";\n' +
    'Acquire::IndexTargets::deb::DEP-11::MetaKey "x";\n' +
    'DPkg::Post-Invoke:: "rm -f /y";\nDir::Cache "/var/cache/apt";\n';
  const text = aptConfText("/c/apt", dump);
  assert(text.includes('Acquire::http::Proxy "http://proxy.example";'));
  assert(!text.includes("Post-Invoke"));
  assert(!text.includes("DEP-11"));
  assert(!text.includes("/var/cache/apt"));
  assert(text.includes('Dir::Cache "/c/apt/cache";'));
});

Deno.test("apt sources: the host's files are read in order, and no others", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assertEquals(hostSources(folder), []);
    await Deno.mkdir(`${folder}/sources.list.d`);
    await Deno.writeTextFile(`${folder}/sources.list`, "deb http://a.example a main\n");
    const parts = `${folder}/sources.list.d`;
    await Deno.writeTextFile(`${parts}/z.list`, "deb http://z.example z main\n");
    await Deno.writeTextFile(`${parts}/d.sources`, DEB822);
    await Deno.writeTextFile(`${parts}/e.list.disabled`, "deb http://e.example e main\n");
    assertEquals(hostSources(folder).map(({ suites }) => suites[0]), [
      "a",
      "bookworm",
      "bookworm-security",
      "bookworm",
      "z",
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
