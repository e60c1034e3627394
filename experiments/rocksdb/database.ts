/**
 * The database of the rocksdb experiment: a real RocksDB in a folder, filled and read once so that
 * everything is in memory (reference section 6.1, Database).
 *
 * @module
 */
import { type ExperimentLibrary, loadExperiments } from "../../ffi/experiments.ts";
import { textIn } from "../../ffi/rocksdb.ts";
import { cString } from "../../ffi/symbols.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { ioReason } from "../../lib/host_files.ts";

/** Entries of the experiment's database. */
export const ENTRY_COUNT = 1_000_000;

const TEXT_BYTES = 512;
const VALUE_BYTES = 21;
/** RocksDB says so when what is in the folder is no whole database. */
const BROKEN = /^Corruption|MANIFEST|CURRENT/;

/** Called now and then while a database is made ready. */
export type DatabaseProgress = (what: "filling" | "reading", done: number, all: number) => void;

/**
 * Makes sure that files can be written in a folder, and makes the folder if it is missing.
 *
 * @param path The folder.
 * @returns Undefined, or why not.
 */
export function prepareFolder(path: string): UsageError | undefined {
  const probe = `${path}/.${crypto.randomUUID()}`;
  try {
    Deno.mkdirSync(path, { recursive: true });
    Deno.writeFileSync(probe, new Uint8Array(1), { createNew: true });
    Deno.removeSync(probe);
    return undefined;
  } catch (error) {
    return new UsageError(
      `cannot write the database folder ${path}: ${ioReason(error)}`,
      "give --rocksdb_db_path a folder that you may write to",
    );
  }
}

/** An open database. */
export class Database {
  /** For native code. */
  readonly handle: number;
  /** Number of entries. */
  readonly entry_count: number;
  readonly #library: ExperimentLibrary;

  private constructor(library: ExperimentLibrary, handle: number, entry_count: number) {
    this.#library = library;
    this.handle = handle;
    this.entry_count = entry_count;
  }

  /**
   * Opens a database; one that cannot be read is made again. RocksDB must be loaded.
   *
   * @param path Folder that can be written.
   * @param entry_count Entries.
   * @returns The database, which may be empty; or why it cannot be opened.
   */
  static async open(path: string, entry_count = ENTRY_COUNT): Promise<Database | OperatingError> {
    const library = loadExperiments();
    const text = new Uint8Array(TEXT_BYTES);
    const attempt = async (rebuild: number): Promise<number> =>
      await library.databaseOpen(cString(path), entry_count, rebuild, text, TEXT_BYTES);
    let handle = await attempt(0);
    if (handle < 0 && BROKEN.test(textIn(text))) handle = await attempt(1);
    if (handle > 0) return new Database(library, handle, entry_count);
    const reason = textIn(text);
    const is_locked = /lock/i.test(reason);
    return new OperatingError(
      `RocksDB cannot open ${path} (${reason})`,
      is_locked
        ? "end the process that has it open, or give another folder"
        : "give another folder",
    );
  }

  /**
   * Makes sure that every entry is there and in memory.
   *
   * @param progress Told how far it is.
   * @returns Undefined, or what is wrong.
   */
  async prepare(progress: DatabaseProgress = () => {}): Promise<OperatingError | undefined> {
    const last = new Uint8Array(VALUE_BYTES);
    // Entries are written in order, so the last one says that there are all.
    const has_last = this.#library.databaseGet(this.handle, this.entry_count - 1, last) > 0;
    if (has_last && await this.#read(progress) === this.entry_count) return undefined;
    const text = new Uint8Array(TEXT_BYTES);
    const filled = await this.#watched(
      "filling",
      progress,
      async () => await this.#library.databaseFill(this.handle, text, TEXT_BYTES),
    );
    if (filled !== 0) {
      return new OperatingError(
        `the database cannot be filled (${textIn(text)})`,
        "look whether its file system is full",
      );
    }
    const right_count = await this.#read(progress);
    if (right_count === this.entry_count) return undefined;
    return new OperatingError(
      `the database has ${right_count} right entries of ${this.entry_count} after it was filled`,
      "give another folder, and look at the file system",
    );
  }

  async #read(progress: DatabaseProgress): Promise<number> {
    return await this.#watched(
      "reading",
      progress,
      async () => await this.#library.databaseWarm(this.handle),
    );
  }

  async #watched(
    what: "filling" | "reading",
    progress: DatabaseProgress,
    work: () => Promise<number>,
  ): Promise<number> {
    const show = (): void =>
      progress(what, this.#library.databaseDone(this.handle), this.entry_count);
    const timer = setInterval(show, 100);
    try {
      return await work();
    } finally {
      clearInterval(timer);
    }
  }

  /**
   * Reads one value.
   *
   * @returns The value; undefined if there is no such entry or its value is wrong.
   */
  get(entry: number): string | undefined {
    const into = new Uint8Array(VALUE_BYTES);
    const length = this.#library.databaseGet(this.handle, entry, into);
    return length > 0 ? new TextDecoder().decode(into.subarray(0, length)) : undefined;
  }

  /**
   * Reads the values of consecutive entries.
   *
   * @returns The values with commas between them; undefined if one is missing or wrong.
   */
  range(entry: number, count: number): string | undefined {
    const into = new Uint8Array(count * (VALUE_BYTES + 1));
    const length = this.#library.databaseRange(this.handle, entry, count, into);
    return length > 0 ? new TextDecoder().decode(into.subarray(0, length)) : undefined;
  }

  /** Closes it. */
  close(): void {
    this.#library.databaseClose(this.handle);
  }
}
