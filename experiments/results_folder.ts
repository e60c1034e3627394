/**
 * Where an experiment's points and plots go: two files in a folder, each there whole or not at all.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { ioReason } from "../lib/host_files.ts";
import type { Flag } from "../util/flags.ts";
import { OutputFile } from "../util/output_file.ts";

/** The flag that names the folder. */
export const OUT_FLAG: Flag = {
  name: "out",
  value: "FOLDER",
  fallback: "out",
  help: "where the points (CSV) and the plot (HTML) go; made if it is missing",
};

/** The files of one experiment. */
export class ResultsFolder {
  readonly #csv: OutputFile;
  readonly #html: OutputFile;

  private constructor(csv: OutputFile, html: OutputFile) {
    this.#csv = csv;
    this.#html = html;
  }

  /**
   * Begins the files, so that a folder that cannot be written is known before the work.
   *
   * @param folder The folder.
   * @param name Name of the files without their endings.
   */
  static open(folder: string, name: string): ResultsFolder | UsageError {
    if (folder === "") return new UsageError("--out: empty folder name", "give a folder");
    try {
      Deno.mkdirSync(folder, { recursive: true });
    } catch (error) {
      return new UsageError(
        `cannot make the folder ${folder}: ${ioReason(error)}`,
        "give --out a folder that you may write to",
      );
    }
    const csv = OutputFile.open(`${folder}/${name}.csv`);
    if (csv instanceof UsageError) return csv;
    const html = OutputFile.open(`${folder}/${name}.html`);
    if (!(html instanceof UsageError)) return new ResultsFolder(csv, html);
    csv.abandon();
    return html;
  }

  /**
   * Writes both files.
   *
   * @param csv Points, with a head line.
   * @param html The plot.
   * @returns A line that says where they are.
   */
  commit(csv: string, html: string): string {
    this.#csv.write(csv);
    this.#csv.commit();
    this.#html.write(html);
    this.#html.commit();
    return `wrote ${this.#csv.path} and ${this.#html.path}`;
  }

  /** Leaves no file. */
  abandon(): void {
    this.#csv.abandon();
    this.#html.abandon();
  }
}
