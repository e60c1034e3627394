/**
 * Carries the bundle of an executable as plain text behind the ELF file. Deno parses every module
 * that it has no cached analysis of with a parser of its own before V8 does: 40 ms and 12 MB for a
 * bundle of 600 kB, at each start of an executable that keeps nothing on disk. Text goes straight
 * to V8, which compiles functions when they are called.
 *
 * @module
 */

/** Bytes at the end of the file: the length of the text before them, in decimal. */
const TRAILER_BYTES = 16;

/**
 * The module that Deno starts, as main program and as Worker: it reads the text from the end of the
 * executable and runs it as the body of an async function.
 */
export const TEXT_LOADER = `const file = Deno.openSync("/proc/self/exe");
const read = (offset, count) => {
  const bytes = new Uint8Array(count);
  file.seekSync(offset, Deno.SeekMode.End);
  for (let at = 0; at < count;) at += file.readSync(bytes.subarray(at)) ?? count;
  return new TextDecoder().decode(bytes);
};
const text_bytes = Number(read(-${TRAILER_BYTES}, ${TRAILER_BYTES}));
const text = read(-${TRAILER_BYTES} - text_bytes, text_bytes);
file.close();
await (0, eval)(text)(import.meta);
`;

/** V8 keeps a text with one character beyond Latin-1 at two bytes per character. */
function asciiText(source: string): string {
  return source.replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Turns a bundled module into the text that {@linkcode TEXT_LOADER} runs.
 *
 * @param source A bundle: a module that imports nothing statically and exports nothing.
 * @param name What stack traces call it.
 * @returns The text; undefined if the bundle is linked to other modules.
 */
export function scriptText(source: string, name: string): string | undefined {
  if (/^(import|export)[\s{*"']/m.test(source)) return undefined;
  return `(async function (import_meta) { "use strict";\n` +
    asciiText(source).replaceAll("import.meta", "import_meta") +
    `\n})\n//# sourceURL=${name}\n`;
}

/** The file with the text behind it. */
export function withText(file: Uint8Array, text: string): Uint8Array<ArrayBuffer> {
  const text_bytes = new TextEncoder().encode(text);
  const trailer = new TextEncoder().encode(String(text_bytes.length).padStart(TRAILER_BYTES, "0"));
  const whole = new Uint8Array(file.length + text_bytes.length + trailer.length);
  whole.set(file);
  whole.set(text_bytes, file.length);
  whole.set(trailer, file.length + text_bytes.length);
  return whole;
}
