import { assertEquals } from "@std/assert";
import { Prng } from "../../lib/prng.ts";
import { DASH_COUNT, latencyText, type PrintOptions, type RequestTimes } from "./latency.ts";

const PRETTY: PrintOptions = {
  is_pretty: true,
  is_last_only: false,
  has_distribution: false,
  is_ns: false,
};
const CSV = { ...PRETTY, is_pretty: false };
const RUNTIME_NS = 4e9;
const NO_REQUESTS = times([]);

/** Requests by their five times. */
function times(rows: readonly (readonly number[])[]): RequestTimes {
  const column = (index: number): Float64Array => Float64Array.from(rows, (row) => row[index]);
  return {
    generated: column(0),
    received: column(1),
    assigned: column(2),
    start: column(3),
    finished: column(4),
  };
}

/** 1000 requests in any order: the latencies of each stage are 1, 2 ... 1000 us. */
function standard(): RequestTimes {
  const prng = new Prng(7);
  const rows = Array.from(
    { length: 1000 },
    (_, i) => [1, 2, 3, 4, 5].map((stage) => 1e15 + stage * (i + 1) * 1000),
  );
  for (let i = rows.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [rows[i], rows[j]] = [rows[j], rows[i]];
  }
  return times(rows);
}

/** As upstream's tests: without the spaces that make columns. */
function bare(text: string): string {
  return text.replaceAll(" ", "");
}

function head(unit: string): string {
  return `Stage TotalRequests Throughput(req/s) Min(${unit}) 50%(${unit}) 99%(${unit}) ` +
    `99.5%(${unit}) 99.9%(${unit}) Max(${unit})\n${"-".repeat(DASH_COUNT)}\n`;
}

const STAGES = [
  "Ingress Queue Time",
  "Repeatable Handle Time",
  "Worker Queue Time",
  "Worker Handle Time",
];

Deno.test("latency_test EmptyResultsPretty: a stage without requests has dashes", () => {
  const rows = [...STAGES, "Total"].map((stage) => `${stage}${"-".repeat(8)}\n`).join("");
  assertEquals(bare(latencyText(NO_REQUESTS, RUNTIME_NS, PRETTY)), bare(head("us") + rows));
});

Deno.test("latency_test EmptyResultsCsv: a stage without requests has dashes", () => {
  assertEquals(latencyText(NO_REQUESTS, RUNTIME_NS, CSV), "-,-,-,-,-,-,-,-\n".repeat(5));
});

const STAGE_US = "1000,250,1,500,990,995,999,1000\n";
const TOTAL_US = "1000,250,4,2000,3960,3980,3996,4000\n";
const STAGE_NS = "1000,250,1000,500000,990000,995000,999000,1000000\n";
const TOTAL_NS = "1000,250,4000,2000000,3960000,3980000,3996000,4000000\n";

/** Rows of the table from rows with commas. */
function prettyRows(stage_row: string, total_row: string): string {
  const rows = [...STAGES.map((stage) => stage + stage_row), `Total${total_row}`];
  return rows.join("").replaceAll(",", "");
}

Deno.test("latency_test StandardResultsPretty: percentiles of requests in any order", () => {
  const want = head("us") + prettyRows(STAGE_US, TOTAL_US);
  assertEquals(bare(latencyText(standard(), RUNTIME_NS, PRETTY)), bare(want));
});

Deno.test("latency_test StandardResultsCsv: percentiles of requests in any order", () => {
  assertEquals(latencyText(standard(), RUNTIME_NS, CSV), STAGE_US.repeat(4) + TOTAL_US);
});

Deno.test("latency_test StandardResultsPrettyNs: the same in nanoseconds", () => {
  const want = head("ns") + prettyRows(STAGE_NS, TOTAL_NS);
  const text = latencyText(standard(), RUNTIME_NS, { ...PRETTY, is_ns: true });
  assertEquals(bare(text), bare(want));
});

Deno.test("latency_test StandardResultsCsvNs: the same in nanoseconds", () => {
  const text = latencyText(standard(), RUNTIME_NS, { ...CSV, is_ns: true });
  assertEquals(text, STAGE_NS.repeat(4) + TOTAL_NS);
});

Deno.test("latencies: columns are as wide as upstream's", () => {
  const [head_line, dashes, row] = latencyText(standard(), RUNTIME_NS, PRETTY).split("\n");
  assertEquals(head_line.indexOf("Total Requests"), 29);
  assertEquals(head_line.indexOf("Throughput"), 48);
  assertEquals(head_line.indexOf("Min (us)"), 71);
  assertEquals(head_line.indexOf("50% (us)"), 84);
  assertEquals([head_line.length, dashes.length, row.length], [148, 148, 148]);
});

Deno.test("latencies: a request counts for the stages that it has come through", () => {
  const half = times([[1000, 3000, 0, 0, 0], [1000, 2000, 4000, 8000, 16000]]);
  const lines = latencyText(half, 1e9, CSV).split("\n");
  assertEquals(lines.slice(0, 5).map((line) => line.split(",")[0]), ["2", "1", "1", "1", "1"]);
  assertEquals(lines[4], "1,1,15,15,15,15,15,15");
});

Deno.test("latencies: the last stage alone, with every value, in the order of size", () => {
  const requests = times([[0, 1, 1, 1, 9000], [0, 1, 1, 1, 3999]]);
  const print = { ...CSV, is_last_only: true, has_distribution: true };
  assertEquals(latencyText(requests, 1e9, print), "2,2,3,3,3,3,3,9\nDistribution:\n3 9 \n");
});

Deno.test("latencies: of an odd number the middle one is the 50th percentile", () => {
  const odd = times([1, 2, 3, 4, 5, 6, 7, 8, 9].map((us) => [0, 1, 1, 1, us * 1000]));
  assertEquals(latencyText(odd, 1e9, { ...CSV, is_last_only: true }), "9,9,1,5,9,9,9,9\n");
  const even = times([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((us) => [0, 1, 1, 1, us * 1000]));
  assertEquals(latencyText(even, 1e9, { ...CSV, is_last_only: true }), "10,10,1,5,9,9,9,10\n");
});
