import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { MODE_AGENT, MODE_DEFAULT, MODE_GHOST } from "../../kernels/sim/thread.ts";
import { Prng } from "../../lib/prng.ts";
import { type PageData, SpanPacker } from "./page_data.ts";
import { FakeBrowser } from "./test_browser.ts";
import { TimelineView } from "./view.ts";

type Span = readonly [cpu_index: number, mode: number, thread: number, start: number, end: number];

function dataOf(cpus: readonly number[], spans: readonly Span[], end_ns: number): PageData {
  let text = "";
  const packer = new SpanPacker(cpus.length, (piece) => text += piece);
  for (const span of spans) packer.add(...span);
  packer.end();
  return {
    cpus,
    end_ns,
    marks: [["One", 0, end_ns / 2], ["Two", end_ns / 2, end_ns]],
    span_count: spans.length,
    spans: text,
    threads: [[1000, "main"], [1001, "worker"], [1002, "third"]],
    refusals: [[end_ns / 4, cpus[0], "GHOST_TXN_TARGET_STALE"]],
  };
}

const SPANS: readonly Span[] = [
  [0, MODE_AGENT, 0, 0, 100_000],
  [1, MODE_DEFAULT, 0, 0, 500_000],
  [0, MODE_GHOST, 1, 100_000, 600_000],
  [0, MODE_GHOST, 2, 700_000, 1_000_000],
];

/** A page that shows 1 ms on 1000 pixels: 1 pixel is 1 us, and 62 is the left edge. */
function withView(test: (view: TimelineView, browser: FakeBrowser) => void, hash = ""): void {
  const browser = new FakeBrowser(hash);
  try {
    test(new TimelineView(browser.document, dataOf([0, 3], SPANS, 1_000_000)), browser);
  } finally {
    browser.close();
  }
}

function rowRects(browser: FakeBrowser, color: RegExp): (readonly number[])[] {
  return browser.canvas.pen.rects
    .filter((rect) => color.test(rect.color) && rect.y >= TimelineView.ROWS_TOP && rect.width > 1)
    .map(({ x, width }) => [x, width] as const);
}

Deno.test("packed spans come back exactly, for times of hours and lengths of nanoseconds", () => {
  const prng = new Prng(1);
  const ends = [0, 0, 0];
  const spans: Span[] = Array.from({ length: 20_000 }, () => {
    const cpu = prng.below(3);
    const start = ends[cpu] + prng.below(prng.chance(1, 10) ? 1e12 : 1000);
    ends[cpu] = start + 1 + prng.below(prng.chance(1, 10) ? 1e10 : 200);
    return [cpu, 1 + prng.below(3), prng.below(5000), start, ends[cpu]] as const;
  });
  const tracks = TimelineView.unpack(dataOf([0, 1, 2], spans, Math.max(...ends)));
  tracks.forEach((track, cpu) => {
    const own = spans.filter((span) => span[0] === cpu);
    assertEquals(track.mode, own.map((span) => span[1]));
    assertEquals(track.thread, own.map((span) => span[2]));
    assertEquals(track.start, own.map((span) => span[3]));
    assertEquals(track.end, own.map((span) => span[4]));
  });
});

Deno.test("a timeline without spans is a page without spans", () => {
  assertEquals(TimelineView.unpack(dataOf([0], [], 0))[0].start, []);
});

Deno.test("spans stand where their times are, in the colour of their class", () => {
  withView((_view, browser) => {
    assertEquals(rowRects(browser, /^agent$/), [[62, 99.5]]);
    assertEquals(rowRects(browser, /^default$/), [[62, 499.5]]);
    const threads = rowRects(browser, /^g\d$/);
    assertAlmostEquals(threads[0][0], 162, 1e-6);
    assertAlmostEquals(threads[0][1], 499.5, 1e-6);
    assertAlmostEquals(threads[1][0], 762, 1e-6);
  });
});

Deno.test("a hash in the address shows a sub-test or a window", () => {
  withView(({ from, to }) => assertEquals([from, to], [0, 520_000]), "#One");
  withView(({ from, to }) => assertEquals([from, to], [200_000, 300_000]), "#200000-300000");
  withView(({ from, to }) => assertEquals([from, to], [0, 1_000_000]), "#nothing");
});

Deno.test("the wheel zooms around the pointer, and no further than 200 ns or the whole run", () => {
  withView((view, browser) => {
    const wheel = (deltaY: number) =>
      browser.fire("wheel", { deltaX: 0, deltaY, deltaMode: 0, offsetX: 62 + 250 });
    wheel(-300);
    assertAlmostEquals(view.from, 250_000 * (1 - Math.exp(-1)), 1);
    assertAlmostEquals(view.to - view.from, 1_000_000 * Math.exp(-1), 1);
    for (let count = 0; count < 20; count++) wheel(-300);
    assertAlmostEquals(view.to - view.from, 200, 1e-3);
    assert(view.from < 250_000 && view.to > 250_000);
    for (let count = 0; count < 30; count++) wheel(300);
    assertEquals([view.from, view.to], [0, 1_000_000]);
  });
});

Deno.test("dragging moves the window, and stops at the ends", () => {
  withView((view, browser) => {
    view.show(400_000, 600_000);
    const at = (offsetX: number) => ({ offsetX, offsetY: 120, pointerId: 1 });
    browser.fire("pointerdown", at(500));
    browser.fire("pointermove", at(600));
    assertAlmostEquals(view.from, 380_000, 1);
    browser.fire("pointermove", at(-9000));
    assertEquals(view.to, 1_000_000);
    browser.fire("pointerup", at(-9000));
  });
});

Deno.test("keys move, zoom and go home", () => {
  withView((view, browser) => {
    browser.fire("keydown", { key: "+" });
    assertAlmostEquals(view.to - view.from, 700_000, 1);
    browser.fire("keydown", { key: "ArrowLeft" });
    assertAlmostEquals(view.from, 10_000, 1);
    browser.fire("keydown", { key: "Home" });
    assertEquals([view.from, view.to], [0, 1_000_000]);
    browser.fire("keydown", { key: "x" });
    assertEquals([view.from, view.to], [0, 1_000_000]);
  });
});

Deno.test("the tooltip tells thread, class, CPU, start, length and sub-test", () => {
  withView((_view, browser) => {
    browser.fire("pointermove", { offsetX: 62 + 300, offsetY: TimelineView.ROWS_TOP + 5 });
    assertEquals(browser.tip.hidden, false);
    const lines = [
      "worker   tid 1001",
      "ghOSt on CPU 0",
      "start   100.000 µs",
      "length  500.000 µs",
      "One + 100.000 µs",
    ];
    for (const line of lines) assertStringIncludes(browser.tip.textContent, line);
    browser.fire("pointermove", { offsetX: 62 + 650, offsetY: TimelineView.ROWS_TOP + 5 });
    assertEquals(browser.tip.hidden, true);
  });
});

Deno.test("a click on a thread dims the others until Escape", () => {
  withView((_view, browser) => {
    const all = rowRects(browser, /^g\d$/).length;
    const at = { offsetX: 62 + 300, offsetY: TimelineView.ROWS_TOP + 5, pointerId: 1 };
    browser.fire("pointerdown", at);
    browser.fire("pointerup", at);
    // The thread is drawn again over the dimmed ones.
    assertEquals(rowRects(browser, /^g\d$/).length, all + 1);
    browser.fire("keydown", { key: "Escape" });
    assertEquals(rowRects(browser, /^g\d$/).length, all);
  });
});

Deno.test("spans too short for a pixel add up to bars whose height is their share", () => {
  const bars = new Float64Array(3 * 4);
  TimelineView.addToBars(bars, MODE_GHOST, 0.25, 0.75);
  TimelineView.addToBars(bars, MODE_AGENT, 0.75, 1.5);
  TimelineView.addToBars(bars, MODE_DEFAULT, -5, 0.125);
  TimelineView.addToBars(bars, MODE_GHOST, 3.5, 900);
  assertEquals([...bars], [0.25, 0.125, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0.5]);
});

Deno.test("times have the unit that suits them, and as many digits as the ruler's step needs", () => {
  const { time } = TimelineView;
  assertEquals([time(5), time(1_613), time(10_055_628)], ["5 ns", "1.613 µs", "10.056 ms"]);
  assertEquals([time(26_020_000, 20_000), time(5_000_000, 5_000_000)], ["26.02 ms", "5 ms"]);
});
