/**
 * Files that appear whole or not at all: written beside their place under another name, and renamed
 * when they are complete.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { ioReason } from "../lib/host_files.ts";

const FLUSH_CHARS = 8_192;
/** UTF-8 needs at most 3 bytes per UTF-16 unit. */
const BUFFER_BYTES = 3 * FLUSH_CHARS;

/** A text file that is being written. */
export class OutputFile {
  /** As the user gave it. */
  readonly path: string;
  readonly #target: string;
  readonly #temporary: string | null;
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #text = "";
  #is_open = true;

  private constructor(path: string, target: string, temporary: string | null, file: Deno.FsFile) {
    this.path = path;
    this.#target = target;
    this.#temporary = temporary;
    this.#file = file;
  }

  /**
   * Begins a file.
   *
   * @param path Where it will be; a pipe or device there is written to directly.
   * @returns The file, or why it cannot be written.
   */
  static open(path: string): OutputFile | UsageError {
    if (path === "") return new UsageError("empty file name", "give the path of a file to write");
    try {
      const kind = kindOf(path);
      if (kind === "special") {
        return new OutputFile(path, path, null, Deno.openSync(path, { write: true }));
      }
      const target = kind === "file" ? Deno.realPathSync(path) : path;
      const temporary = `${target}.${Deno.pid}.tmp`;
      const file = Deno.openSync(temporary, { write: true, createNew: true });
      return new OutputFile(path, target, temporary, file);
    } catch (error) {
      return new UsageError(
        `cannot write ${path}: ${ioReason(error)}`,
        "give a path in a folder that exists and that you may write to",
      );
    }
  }

  /** Adds text. */
  write(text: string): void {
    this.#text += text;
    if (this.#text.length >= FLUSH_CHARS) this.#flush();
  }

  #flush(): void {
    // One buffer for all text: the process stays small while it writes large files.
    for (let text = this.#text; text !== "";) {
      const { read, written } = this.#encoder.encodeInto(text, this.#buffer);
      for (let at = 0; at < written;) {
        at += this.#file.writeSync(this.#buffer.subarray(at, written));
      }
      text = text.slice(read);
    }
    this.#text = "";
  }

  /** Puts the complete file in its place. */
  commit(): void {
    if (!this.#is_open) return;
    this.#flush();
    this.#is_open = false;
    this.#file.close();
    if (this.#temporary !== null) Deno.renameSync(this.#temporary, this.#target);
  }

  /** Leaves no file, unless it is complete already. */
  abandon(): void {
    if (!this.#is_open) return;
    this.#is_open = false;
    this.#file.close();
    if (this.#temporary !== null) Deno.removeSync(this.#temporary);
  }
}

/** What is at a path; a link counts as what it leads to. */
function kindOf(path: string): "nothing" | "file" | "special" {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    throw error;
  }
  if (info.isDirectory) throw new Error("it is a folder");
  return info.isFile ? "file" : "special";
}
