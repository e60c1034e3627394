/**
 * Carries the bundle of an executable as plain text behind the ELF file. Deno parses every module
 * that it has no cached analysis of with a parser of its own before V8 does: 40 ms and 12 MB for a
 * bundle of 600 kB, at each start of an executable that keeps nothing on disk. Text goes straight
 * to V8. It is in parts, read when they are needed: V8 looks for the end of every function of a
 * text that it is given, 20 ms for all programs, in the main isolate and in each Worker.
 *
 * @module
 */

/** Bytes at the end of the file: the length of the index before them, in decimal. */
const TRAILER_BYTES = 16;

/**
 * The module that Deno starts, as main program and as Worker: it reads the parts from the end of
 * the executable and runs each as the body of a function that returns what the part exports. The
 * file stays open: what comes later is of the same build though the file has been replaced.
 */
export const TEXT_LOADER = `const file = Deno.openSync("/proc/self/exe");
const read = (offset, count) => {
  const bytes = new Uint8Array(count);
  file.seekSync(offset, Deno.SeekMode.End);
  for (let at = 0; at < count;) at += file.readSync(bytes.subarray(at)) ?? count;
  return new TextDecoder().decode(bytes);
};
const index_bytes = Number(read(-${TRAILER_BYTES}, ${TRAILER_BYTES}));
const { entry, parts } = JSON.parse(read(-${TRAILER_BYTES} - index_bytes, index_bytes));
const loaded = {};
const load = (name) => {
  if (name in loaded) return loaded[name];
  const [offset, count] = parts[name];
  const run = (0, eval)(read(offset - index_bytes - ${TRAILER_BYTES}, count));
  return loaded[name] = run(import.meta, load, loadLater);
};
const loadLater = async (name) => await load(name);
await load(entry);
`;

/** The parts of a bundle, by file name, and which of them is the program. */
export interface Parts {
  /** Name of the part that is run first. */
  readonly entry: string;
  /** Source texts; or, of {@linkcode scriptTexts}, what the loader runs. */
  readonly texts: ReadonlyMap<string, string>;
}

/** V8 keeps a text with one character beyond Latin-1 at two bytes per character. */
function asciiText(source: string): string {
  return source.replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const STATIC_IMPORT = /^import (?:\{([^}]*)\} from )?"\.\/([\w.-]+)";$/gm;
const DYNAMIC_IMPORT = /\bimport\("\.\/([\w.-]+)"\)/g;
const EXPORTS = /^export \{([^}]*)\};$/gm;

/** Turns "a, b as c" into what a pattern or an object has for it. */
function members(names: string, swap: boolean): string {
  return names.split(",").map((name) => {
    const [from, to = from] = name.trim().split(" as ");
    return swap ? `${to}: ${from}` : `${from}: ${to}`;
  }).join(", ");
}

/** Parts that a part needs before it can run. */
function staticImports(text = ""): string[] {
  return [...text.matchAll(STATIC_IMPORT)].map(([, , part]) => part);
}

/**
 * One part as the text of a function; undefined if it is linked to what is no part.
 *
 * @param kind Of the function: who imports a part statically goes on at once.
 */
function scriptText(
  name: string,
  { entry, texts }: Parts,
  kind: "function" | "async function",
): string | undefined {
  let is_known = true;
  const check = (part: string): string => {
    is_known &&= texts.has(part);
    return JSON.stringify(part);
  };
  const is_main = name === entry ? "import_meta.main" : "false";
  const body = asciiText(texts.get(name) ?? "")
    .replaceAll(/\bimport\.meta\.main\b/g, is_main)
    .replaceAll("import.meta", "import_meta")
    .replaceAll(STATIC_IMPORT, (_, names: string | undefined, part: string) => {
      const load = `load_part(${check(part)});`;
      return names === undefined ? load : `const { ${members(names, false)} } = ${load}`;
    })
    .replaceAll(DYNAMIC_IMPORT, (_, part: string) => `load_later(${check(part)})`)
    .replaceAll(EXPORTS, (_, names: string) => `return { ${members(names, true)} };`);
  if (!is_known || /^(import|export)[\s{*"']/m.test(body)) return undefined;
  const begin = `(${kind} (import_meta, load_part, load_later) { "use strict";\n`;
  return `${begin}${body}\n})\n//# sourceURL=ghost-agents/${name}\n`;
}

/** True if no part needs itself, by way of others, before it has run. */
function isAcyclic({ texts }: Parts): boolean {
  const under_way = new Set<string>();
  const done = new Set<string>();
  const visit = (name: string): boolean => {
    if (done.has(name)) return true;
    if (under_way.has(name)) return false;
    under_way.add(name);
    const is_fine = staticImports(texts.get(name)).every(visit);
    done.add(name);
    return is_fine;
  };
  return [...texts.keys()].every(visit);
}

/** V8's word on a text. */
function isScript(text: string): boolean {
  try {
    new Function(`return ${text}`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Turns a bundle in parts into the texts that {@linkcode TEXT_LOADER} runs. An import is a copy of
 * what its part exports at its end, so a variable that a module exports must not change later.
 *
 * @param parts The bundle, as a bundler has split it.
 * @returns The texts; undefined if a part is linked to what is no part, needs itself, or waits
 * while another one needs it.
 */
export function scriptTexts(parts: Parts): Parts | undefined {
  if (!isAcyclic(parts)) return undefined;
  const texts = new Map<string, string>();
  const needed = new Set([...parts.texts.values()].flatMap(staticImports));
  for (const name of parts.texts.keys()) {
    const kind = needed.has(name) ? "function" : "async function";
    const text = scriptText(name, parts, kind);
    if (text === undefined || !isScript(text)) return undefined;
    texts.set(name, text);
  }
  return { entry: parts.entry, texts };
}

/**
 * Puts texts behind a file, and after them where each begins, counted from their common end.
 *
 * @param file The file.
 * @param texts The texts, in ASCII.
 * @returns Both.
 */
export function withTexts(file: Uint8Array, { entry, texts }: Parts): Uint8Array<ArrayBuffer> {
  const rows: Record<string, [offset: number, bytes: number]> = {};
  const body = [...texts.values()].join("");
  let at = -body.length;
  for (const [name, { length }] of texts) {
    rows[name] = [at, length];
    at += length;
  }
  const index = JSON.stringify({ entry, parts: rows });
  const trailer = String(index.length).padStart(TRAILER_BYTES, "0");
  const tail = new TextEncoder().encode(body + index + trailer);
  const whole = new Uint8Array(file.length + tail.length);
  whole.set(file);
  whole.set(tail, file.length);
  return whole;
}
