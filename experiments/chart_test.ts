import { assert, assertEquals } from "@std/assert";
import { axisTicks, type Chart, chartPage, powerOfTenAbove } from "./chart.ts";

const CHART: Chart = {
  title: "p99",
  x: { label: "krps", min: 0, max: 100 },
  y: { label: "us", min: 1, max: 1000, is_log: true },
  series: [{
    name: "a < b",
    color: "#123456",
    points: [{ x: 0, y: 1 }, { x: 50, y: NaN }, { x: 100, y: 5_000 }],
  }],
  marks: [{ name: "paper", x: 50 }],
};

function page(chart: Chart): string {
  return chartPage({ title: "T", origin: "simulated", intro: "I", charts: [chart], summary: "S" });
}

Deno.test("ticks are round numbers within the axis", () => {
  const ticks = (min: number, max: number, is_log = false): number[] =>
    axisTicks({ label: "", min, max, is_log });
  assertEquals(ticks(0, 360), [0, 50, 100, 150, 200, 250, 300, 350]);
  assertEquals(ticks(0, 1), [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  assertEquals(ticks(3, 8), [3, 4, 5, 6, 7, 8]);
  assertEquals(ticks(1, 10_000, true), [1, 10, 100, 1000, 10_000]);
});

Deno.test("a chart has its points in place, gaps where there is no value, and its marks", () => {
  const html = page(CHART);
  assert(html.includes('<polyline class="line" points="76.0,352.0"/>'), "the first point alone");
  assert(html.includes('<polyline class="line" points="836.0,16.0"/>'), "beyond the end: at it");
  assert(html.includes("a &lt; b: 100 krps, 5,000 us"), "the note has the value itself");
  assert(html.includes('<line class="mark" x1="456.0" x2="456.0"'));
  assert(!html.includes("NaN"));
});

Deno.test("a page says where its figures come from, and needs nothing from elsewhere", () => {
  const html = page(CHART);
  assert(html.includes('<span class="origin">simulated</span>'));
  assert(!html.includes("http") && !html.includes("<script"), html);
  assert(!html.includes("a < b"), "text is no markup");
});

Deno.test("the end of a logarithmic axis is a power of ten", () => {
  assertEquals([0, 1, 2, 10, 11, 1000].map(powerOfTenAbove), [1, 1, 10, 10, 100, 1000]);
});
