/**
 * What is inside an executable and under which licence: compiled when it is built, from the
 * runtime's own licence file and from what the runtime's bytes show.
 *
 * @module
 */

/** A library that is part of `deno`, known by a text in it. */
interface Library {
  name: string;
  license: string;
  /** A text that only this library has. */
  mark: string;
}

const LIBRARIES: readonly Library[] = [
  { name: "V8", license: "BSD-3-Clause", mark: "V8 is " },
  { name: "ICU", license: "Unicode-3.0", mark: "icudt" },
  {
    name: "Rust standard library",
    license: "MIT OR Apache-2.0",
    mark: "/rustlib/src/rust/library/",
  },
  { name: "SQLite", license: "public domain", mark: "SQLite format 3" },
  { name: "AWS-LC", license: "ISC AND (Apache-2.0 OR ISC) AND OpenSSL", mark: "/aws-lc/crypto/" },
  { name: "D-Bus library", license: "AFL-2.1 OR GPL-2.0-or-later", mark: "the D-Bus library" },
  { name: "TypeScript", license: "Apache-2.0", mark: "typescript" },
  { name: "parts of Node.js", license: "MIT", mark: "ext:deno_node/" },
];

const CHUNK_BYTES = 1 << 22;
const OVERLAP_BYTES = 512;
const CRATE = /registry\/src\/[\w.-]+\/([A-Za-z][\w-]*-\d+\.\d+\.\d+[\w.+-]*)\//g;

/** The loader of the scx program is a program of its own, linked statically. */
const SCX_LICENSES: readonly string[] = [
  "",
  "For --kernel=scx there is a separate program inside, which is run and not linked with the rest:",
  "  the scx BPF program (bpf/ of the sources): GPL-2.0",
  "  its loader: Apache-2.0, linked with libbpf (LGPL-2.1 OR BSD-2-Clause), libelf (LGPL-3.0+ OR",
  "  GPL-2.0+), zlib (Zlib), perhaps Zstandard (BSD-3-Clause), and the GNU C library (LGPL-2.1+);",
  "  their sources are Debian's, and `deno task compile` in a clone links it anew.",
];

/** What {@linkcode scanRuntime} found. */
export interface RuntimeContents {
  /** Names and versions of Rust crates, sorted. */
  crates: string[];
  /** Known libraries, as "name (licence)". */
  libraries: string[];
}

/**
 * Looks into an executable for the crates and libraries it was built from. Crates show where their
 * source paths are kept for panic messages, so one that never panics may be missing.
 *
 * @param bytes The executable.
 */
export function scanRuntime(bytes: Uint8Array): RuntimeContents {
  const decoder = new TextDecoder("latin1");
  const crates = new Set<string>();
  const libraries = new Set<Library>();
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const text = decoder.decode(bytes.subarray(at, at + CHUNK_BYTES + OVERLAP_BYTES));
    for (const [, crate] of text.matchAll(CRATE)) crates.add(crate);
    for (const library of LIBRARIES) {
      if (!libraries.has(library) && text.includes(library.mark)) libraries.add(library);
    }
  }
  return {
    crates: [...crates].sort(),
    libraries: LIBRARIES.filter((library) => libraries.has(library))
      .map(({ name, license }) => `${name} (${license})`),
  };
}

/** The licence file of the installed npm package or archive of `deno`, if there is one. */
export function readRuntimeLicense(runtime_path: string): string | undefined {
  const folder = runtime_path.slice(0, runtime_path.lastIndexOf("/"));
  for (const name of ["LICENSE", "LICENSE.md", "../LICENSE"]) {
    try {
      const text = Deno.readTextFileSync(`${folder}/${name}`);
      if (text.includes("Deno authors")) return text.trim();
    } catch { /* not there; the next may be */ }
  }
  return undefined;
}

function wrap(words: readonly string[], columns: number): string {
  const lines: string[] = [];
  let line = " ";
  for (const word of words) {
    if (line.length + 1 + word.length > columns) {
      lines.push(line);
      line = " ";
    }
    line += ` ${word}`;
  }
  return [...lines, line].join("\n");
}

/**
 * The text of `--licenses`.
 *
 * @param contents What the runtime contains.
 * @param runtime_license Text of the runtime's own licence file; undefined if it came without one.
 * @param adapters Whether the adapters of tools/std_offline stand in for the Deno standard library.
 * @param has_scx Whether the scx program and its loader are inside.
 */
export function licensesText(
  contents: RuntimeContents,
  runtime_license: string | undefined,
  adapters: boolean,
  has_scx = false,
): string {
  const { deno, v8 } = Deno.version;
  const std = adapters ? [] : ["Deno standard library (parts): MIT, the Deno authors"];
  return [
    "The programs, the shim and the start stub: Apache-2.0, the text is in the file LICENSE of",
    "their sources.",
    ...std,
    ...(has_scx ? SCX_LICENSES : []),
    "",
    `The rest of this file is Deno ${deno} (with V8 ${v8}), unchanged but for its start: MIT.`,
    "",
    (runtime_license ?? "It was installed without a licence file; the licence is MIT, the authors" +
        "\nare the Deno authors.").replace(/^(?=.)/gm, "  "),
    "",
    "Deno contains, as its bytes show:",
    ...contents.libraries.map((library) => `  ${library}`),
    "",
    `and ${contents.crates.length} or more Rust crates, each under its own licence (most: MIT OR`,
    "Apache-2.0; some: BSD, ISC, MPL-2.0, Unicode-3.0, Zlib):",
    wrap(contents.crates, 99),
    "",
    "This list is made from the file itself and may be incomplete; Deno's sources have the rest.",
    "",
  ].join("\n");
}
