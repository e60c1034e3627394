/**
 * Durations on the command line, in the form of upstream's flags (absl): "50us", "1.5ms", "1m30s",
 * "inf".
 *
 * @module
 */

/** Nanoseconds per unit. */
const UNITS_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

const PART = /(\d+\.?\d*|\.\d+)(ns|us|ms|s|m|h)/y;

/**
 * Reads a duration.
 *
 * @param text The text.
 * @returns Nanoseconds, Infinity for "inf", or NaN if it is no duration.
 */
export function parseDurationNs(text: string): number {
  const negative = text.startsWith("-");
  const rest = /^[+-]/.test(text) ? text.slice(1) : text;
  let sum_ns = rest === "inf" ? Infinity : 0;
  PART.lastIndex = 0;
  let end = rest === "inf" || rest === "0" ? rest.length : 0;
  while (end < rest.length) {
    const part = PART.exec(rest);
    if (part === null) return NaN;
    sum_ns += Number(part[1]) * UNITS_NS[part[2]];
    end = PART.lastIndex;
  }
  if (rest === "") return NaN;
  return negative ? -sum_ns : sum_ns;
}
