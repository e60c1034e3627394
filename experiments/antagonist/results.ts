/**
 * What the antagonist's threads got, in upstream's columns (reference section 6.2).
 *
 * @module
 */

/** Widths of the worker, the time and the share; a space follows each. */
const WIDTHS: readonly number[] = [8, 20, 12];
/** Number of dashes below the head. */
const DASH_COUNT = 42;

/**
 * A share as C++ streams write a double: six digits that count, no zeros at the end.
 *
 * @param value The number.
 */
export function streamText(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(6)))));
  if (exponent >= -4 && exponent < 6) return String(Number(value.toPrecision(6)));
  const [mantissa, power] = value.toExponential(5).split("e");
  const digits = mantissa.replace(/\.?0+$/, "");
  return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

/**
 * The results: a row per thread, and their sum with the mean share.
 *
 * @param run_ns CPU time of each thread in ns.
 * @param runtime_ns How long they ran.
 * @param is_pretty A table, else values with commas.
 * @returns Lines that end with "\n".
 */
export function resultsText(
  run_ns: readonly number[],
  runtime_ns: number,
  is_pretty: boolean,
): string {
  const line = (cells: readonly string[]): string =>
    is_pretty
      ? cells.map((cell, index) => `${cell.padEnd(WIDTHS[index])} `).join("") + "\n"
      : `${cells.join(",")}\n`;
  const row = (name: string, ns: number, share: number): string =>
    line([name, String(Math.floor(ns)), streamText(share)]);
  const total_ns = run_ns.reduce((sum, ns) => sum + ns, 0);
  const head = is_pretty
    ? line(["Worker", "Run Duration (ns)", "Work Share"]) + `${"-".repeat(DASH_COUNT)}\n`
    : "";
  return head + run_ns.map((ns, sid) => row(String(sid), ns, ns / runtime_ns)).join("") +
    row("Total", total_ns, total_ns / (run_ns.length * runtime_ns));
}
