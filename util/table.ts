/**
 * Tables of figures as text.
 *
 * @module
 */

/** A column: its head, and which side its cells stand on. */
export interface Column {
  /** The head; lines are separated by "\n" and stand at the bottom. */
  readonly head: string;
  /** True for names, false for numbers. */
  readonly is_left: boolean;
}

/**
 * Lays a table out.
 *
 * @param columns The columns.
 * @param rows One text per column each.
 * @returns Lines that end with "\n"; two spaces between columns.
 */
export function tableText(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const heads = columns.map((column) => column.head.split("\n"));
  const head_count = Math.max(...heads.map((lines) => lines.length));
  const head_rows = Array.from(
    { length: head_count },
    (_, line) => heads.map((lines) => lines[line - head_count + lines.length] ?? ""),
  );
  const all = [...head_rows, ...rows];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => row[index].length)));
  const lineOf = (row: readonly string[]): string =>
    row.map((cell, index) =>
      columns[index].is_left ? cell.padEnd(widths[index]) : cell.padStart(widths[index])
    ).join("  ").trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [...head_rows.map(lineOf), rule, ...rows.map(lineOf)].join("\n") + "\n";
}

/** A whole number with its thousands apart: 12345 is "12,345". */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Three digits of a number of at least 1. */
function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

/** A duration in ns with a unit that suits it: "888 ns", "1.61 us", "10.1 ms", "502 ms"; "-". */
export function durationText(ns: number): string {
  if (Number.isNaN(ns)) return "-";
  if (ns < 1_000) return `${Math.round(ns)} ns`;
  if (ns < 1_000_000) return `${threeDigits(ns / 1_000)} us`;
  if (ns < 1_000_000_000) return `${threeDigits(ns / 1_000_000)} ms`;
  return `${threeDigits(ns / 1_000_000_000)} s`;
}
