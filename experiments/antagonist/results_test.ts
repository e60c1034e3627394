import { assertEquals } from "@std/assert";
import { resultsText, streamText } from "./results.ts";

const RUNTIME_NS = 4e9;
const NOTHING = Array<number>(8).fill(0);
/** Worker i has run for i times 100 ms. */
const STANDARD = NOTHING.map((_, i) => i * 100e6);
const STANDARD_ROWS = [
  "0,0,0",
  "1,100000000,0.025",
  "2,200000000,0.05",
  "3,300000000,0.075",
  "4,400000000,0.1",
  "5,500000000,0.125",
  "6,600000000,0.15",
  "7,700000000,0.175",
  "Total,2800000000,0.0875",
];
const EMPTY_ROWS = [...NOTHING.map((_, i) => `${i},0,0`), "Total,0,0"];
const HEAD = `Worker   Run Duration (ns)    Work Share   \n${"-".repeat(42)}\n`;

/** Rows as the table has them: each cell in its column, with a space behind. */
function pretty(rows: readonly string[]): string {
  return HEAD + rows.map((row) => {
    const [worker, time, share] = row.split(",");
    return `${worker.padEnd(8)} ${time.padEnd(20)} ${share.padEnd(12)} \n`;
  }).join("");
}

function csv(rows: readonly string[]): string {
  return rows.map((row) => `${row}\n`).join("");
}

Deno.test("results_test EmptyResultsPretty: threads that got nothing", () => {
  assertEquals(resultsText(NOTHING, RUNTIME_NS, true), pretty(EMPTY_ROWS));
});

Deno.test("results_test EmptyResultsCsv: threads that got nothing", () => {
  assertEquals(resultsText(NOTHING, RUNTIME_NS, false), csv(EMPTY_ROWS));
});

Deno.test("results_test StandardResultsPretty: times, shares, and their mean", () => {
  assertEquals(resultsText(STANDARD, RUNTIME_NS, true), pretty(STANDARD_ROWS));
});

Deno.test("results_test StandardResultsCsv: times, shares, and their mean", () => {
  assertEquals(resultsText(STANDARD, RUNTIME_NS, false), csv(STANDARD_ROWS));
});

Deno.test("shares are written with six digits that count, as C++ streams write them", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [1, "1"],
    [0.99987654, "0.999877"],
    [2 / 3, "0.666667"],
    [0.0001, "0.0001"],
    [0.00001234567, "1.23457e-05"],
    [1e-5, "1e-05"],
    [1234567, "1.23457e+06"],
  ];
  for (const [value, text] of cases) assertEquals(streamText(value), text);
});
