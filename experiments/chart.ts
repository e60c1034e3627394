/**
 * Charts of experiments: lines over a linear axis, as SVG in one HTML page that needs nothing from
 * elsewhere.
 *
 * @module
 */

/** A place on a line. */
export interface ChartPoint {
  readonly x: number;
  /** NaN leaves a gap. */
  readonly y: number;
}

/** A line. */
export interface ChartSeries {
  readonly name: string;
  readonly color: string;
  readonly points: readonly ChartPoint[];
}

/** An axis. */
export interface ChartAxis {
  /** What it shows, with its unit. */
  readonly label: string;
  readonly min: number;
  readonly max: number;
  /** In powers of ten; `min` and `max` are such. */
  readonly is_log?: boolean;
}

/** A place on the x axis that comes from elsewhere. */
export interface ChartMark {
  readonly name: string;
  readonly x: number;
}

/** A chart. */
export interface Chart {
  readonly title: string;
  readonly x: ChartAxis;
  readonly y: ChartAxis;
  readonly series: readonly ChartSeries[];
  readonly marks?: readonly ChartMark[];
}

/** A page of charts. */
export interface ChartPage {
  readonly title: string;
  /** Where the figures come from, in two or three words: "simulated", "measured". */
  readonly origin: string;
  /** What was done, in sentences. */
  readonly intro: string;
  readonly charts: readonly Chart[];
  /** Lines below the charts. */
  readonly summary: string;
}

/** Colours that differ also for those who see no red or no green, on white and on black. */
export const CHART_COLORS: readonly string[] = [
  "#d9720d",
  "#1f6feb",
  "#6e7781",
  "#1a9e77",
  "#b4539b",
];

const WIDTH = 860;
const HEIGHT = 400;
const LEFT = 76;
const RIGHT = 24;
const TOP = 16;
const BOTTOM = 48;
const TICKS_MAX = 8;

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.55 system-ui, sans-serif; }
body { margin: 2.5rem auto; max-width: ${WIDTH}px; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .2rem; }
.origin { display: inline-block; padding: 0 .6em; border: 1px solid; border-radius: 1em;
  font-size: .8rem; opacity: .75; margin-bottom: .6rem; }
svg { width: 100%; height: auto; display: block; } text { fill: currentColor; font-size: 12px; }
.grid { stroke: currentColor; opacity: .14; } .axis { stroke: currentColor; opacity: .5; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
line.mark { stroke: currentColor; stroke-dasharray: 4 4; opacity: .45; } text.mark { opacity: .8;
  paint-order: stroke; stroke: Canvas; stroke-width: 4px; }
ul { list-style: none; padding: 0; margin: .3rem 0 0 ${LEFT}px; display: flex; flex-wrap: wrap;
  gap: .2rem 1.6rem; font-size: .9rem; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .45em; border-radius: 2px; }
pre { font: .85rem/1.5 ui-monospace, monospace; opacity: .85; white-space: pre-wrap; }
`;

/** Text within HTML. */
function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** A number as a tick or a note has it: thousands apart, three digits of fractions. */
function numberText(value: number): string {
  return Number(value.toPrecision(Math.abs(value) >= 1000 ? 6 : 3)).toLocaleString("en");
}

/** Round numbers between the ends of an axis. */
export function axisTicks(axis: ChartAxis): number[] {
  const ticks: number[] = [];
  if (axis.is_log === true) {
    const [first, last] = [axis.min, axis.max].map((value) => Math.round(Math.log10(value)));
    for (let power = first; power <= last; power++) ticks.push(10 ** power);
    return ticks;
  }
  const rough = (axis.max - axis.min) / TICKS_MAX;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= rough) as number;
  for (let at = Math.ceil(axis.min / step); at * step <= axis.max * (1 + 1e-9); at++) {
    ticks.push(at * step);
  }
  return ticks;
}

/** Where a value is along an axis, 0 to 1; values beyond the ends are at the ends. */
function partOf(value: number, { min, max, is_log }: ChartAxis): number {
  const clamped = Math.min(Math.max(value, min), max);
  return is_log === true
    ? Math.log10(clamped / min) / Math.log10(max / min)
    : (clamped - min) / (max - min);
}

function xOf(x: number, chart: Chart): string {
  return (LEFT + partOf(x, chart.x) * (WIDTH - LEFT - RIGHT)).toFixed(1);
}

function yOf(y: number, chart: Chart): string {
  return (HEIGHT - BOTTOM - partOf(y, chart.y) * (HEIGHT - BOTTOM - TOP)).toFixed(1);
}

function axesSvg(chart: Chart): string {
  const rows = axisTicks(chart.y).map((value) => {
    const y = yOf(value, chart);
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>` +
      `<text x="${LEFT - 8}" y="${y}" dy="4" text-anchor="end">${numberText(value)}</text>`;
  });
  const bottom = HEIGHT - BOTTOM;
  const columns = axisTicks(chart.x).map((value) => {
    const x = xOf(value, chart);
    return `<line class="axis" x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 4}"/>` +
      `<text x="${x}" y="${bottom + 18}" text-anchor="middle">${numberText(value)}</text>`;
  });
  return [
    ...rows,
    ...columns,
    `<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}"/>`,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${
      escaped(chart.x.label)
    }</text>`,
    `<text transform="translate(16 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">${
      escaped(chart.y.label)
    }</text>`,
  ].join("\n");
}

/** A line in pieces, where points are missing, and a dot with a note for each point. */
function seriesSvg(series: ChartSeries, chart: Chart): string {
  const pieces: string[][] = [[]];
  const dots: string[] = [];
  for (const { x, y } of series.points) {
    if (Number.isNaN(y)) {
      pieces.push([]);
      continue;
    }
    const [at_x, at_y] = [xOf(x, chart), yOf(y, chart)];
    pieces[pieces.length - 1].push(`${at_x},${at_y}`);
    const note = `${series.name}: ${numberText(x)} ${chart.x.label}, ` +
      `${numberText(y)} ${chart.y.label}`;
    dots.push(`<circle cx="${at_x}" cy="${at_y}" r="3"><title>${escaped(note)}</title></circle>`);
  }
  const lines = pieces.filter((piece) => piece.length > 0)
    .map((piece) => `<polyline class="line" points="${piece.join(" ")}"/>`);
  return `<g style="stroke:${series.color};fill:${series.color}">` +
    `${[...lines, ...dots].join("")}</g>`;
}

function marksSvg(chart: Chart): string {
  return (chart.marks ?? []).map(({ name, x }, index) => {
    const at_x = xOf(x, chart);
    const y = HEIGHT - BOTTOM - 10 - index * 16;
    return `<line class="mark" x1="${at_x}" x2="${at_x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>` +
      `<text class="mark" x="${at_x}" y="${y}" dx="-5" text-anchor="end">${escaped(name)}</text>`;
  }).join("\n");
}

function chartHtml(chart: Chart): string {
  const legend = chart.series.map(({ name, color }) =>
    `<li><i style="background:${color}"></i>${escaped(name)}</li>`
  ).join("");
  return `<h2>${escaped(chart.title)}</h2>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(chart.title)}">
${axesSvg(chart)}
${marksSvg(chart)}
${chart.series.map((series) => seriesSvg(series, chart)).join("\n")}
</svg>
<ul>${legend}</ul>`;
}

/**
 * A page of charts.
 *
 * @param page What is on it.
 * @returns HTML with everything in it.
 */
export function chartPage(page: ChartPage): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${escaped(page.title)}</title>
<style>${STYLE}</style></head><body>
<h1>${escaped(page.title)}</h1>
<span class="origin">${escaped(page.origin)}</span>
<p>${escaped(page.intro)}</p>
${page.charts.map(chartHtml).join("\n")}
<pre>${escaped(page.summary)}</pre>
</body></html>
`;
}

/** The power of ten at or above a value, for the end of a logarithmic axis. */
export function powerOfTenAbove(value: number): number {
  return 10 ** Math.ceil(Math.log10(Math.max(value, 1)) - 1e-9);
}
