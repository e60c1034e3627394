/**
 * The plot of the experiment: p99 on a logarithmic axis against load, as SVG in one HTML page, with
 * what the paper's figure shows beside it.
 *
 * @module
 */
import { type LoadPoint, type System, SYSTEMS } from "./model.ts";

const WIDTH = 860;
const HEIGHT = 460;
const LEFT = 70;
const BOTTOM = 50;
const TOP = 20;
const RIGHT = 20;
const P99_MIN_US = 1;
const P99_MAX_US = 10_000;

const COLORS: Readonly<Record<System, string>> = {
  fifo: "#d9720d",
  shinjuku: "#1f6feb",
  default: "#57606a",
};
const NAMES: Readonly<Record<System, string>> = {
  fifo: "centralized FIFO, no preemption",
  shinjuku: "Shinjuku policy, 30 us slice",
  default: "model of the default class",
};

/**
 * Loads at which curves of figure 6a turn up, read off the printed figure (± 5 krps). The paper's
 * requests include a RocksDB GET of about 6 us, so that its ideal is 333 krps, not 371.
 */
const PAPER_KNEES: readonly (readonly [string, number])[] = [
  ["paper: CFS", 190],
  ["paper: ghOSt", 307],
  ["paper: Shinjuku", 322],
];

function xOf(krps: number, max_krps: number): number {
  return LEFT + krps / max_krps * (WIDTH - LEFT - RIGHT);
}

function yOf(p99_us: number): number {
  const clamped = Math.min(Math.max(p99_us, P99_MIN_US), P99_MAX_US);
  const part = Math.log10(clamped / P99_MIN_US) / Math.log10(P99_MAX_US / P99_MIN_US);
  return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);
}

function axes(max_krps: number): string {
  let svg = "";
  for (let us = P99_MIN_US; us <= P99_MAX_US; us *= 10) {
    const y = yOf(us).toFixed(1);
    svg += `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>` +
      `<text x="${LEFT - 8}" y="${y}" dy="4" text-anchor="end">${us.toLocaleString("en")}</text>`;
  }
  for (let krps = 0; krps <= max_krps; krps += 50) {
    const x = xOf(krps, max_krps).toFixed(1);
    svg += `<text x="${x}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${krps}</text>`;
  }
  return svg +
    `<text x="${(LEFT + WIDTH) / 2}" y="${HEIGHT - 10}" text-anchor="middle">load (krps)</text>` +
    `<text transform="translate(16 ${
      HEIGHT / 2
    }) rotate(-90)" text-anchor="middle">p99 (us)</text>`;
}

function curve(points: readonly LoadPoint[], system: System, max_krps: number): string {
  const spots = points.filter((point) => point.system === system).map((point) => ({
    x: xOf(point.offered_rps / 1000, max_krps).toFixed(1),
    y: yOf(point.p99_ns / 1000).toFixed(1),
    point,
  }));
  const line = spots.map(({ x, y }) => `${x},${y}`).join(" ");
  const dots = spots.map(({ x, y, point }) =>
    `<circle cx="${x}" cy="${y}" r="3.5"><title>${NAMES[system]}: ${
      point.offered_rps / 1000
    } krps, p99 ${(point.p99_ns / 1000).toFixed(1)} us</title></circle>`
  ).join("");
  return `<g style="stroke:${COLORS[system]};fill:${COLORS[system]}">` +
    `<polyline fill="none" points="${line}"/>${dots}</g>`;
}

function paperMarks(max_krps: number): string {
  return PAPER_KNEES.map(([name, krps], index) => {
    const x = xOf(krps, max_krps).toFixed(1);
    const y = HEIGHT - BOTTOM - 10 - index * 16;
    return `<line class="paper" x1="${x}" x2="${x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>` +
      `<text class="paper" x="${x}" y="${y}" dx="-5" text-anchor="end">${name}</text>`;
  }).join("");
}

/**
 * The page.
 *
 * @param points All points.
 * @param summary Lines to stand below the plot.
 * @returns HTML with everything in it.
 */
export function plotPage(points: readonly LoadPoint[], summary: string): string {
  const max_krps = Math.max(...points.map((point) => point.offered_rps / 1000), 350);
  const legend = SYSTEMS.map((system) =>
    `<li><i style="background:${COLORS[system]}"></i>${NAMES[system]}</li>`
  ).join("");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shinjuku on the simulated kernel</title>
<style>
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem; max-width: ${WIDTH}px; }
svg { width: 100%; height: auto; } text { fill: currentColor; font-size: 12px; }
.grid { stroke: currentColor; opacity: .15; } polyline { stroke-width: 2; }
line.paper { stroke: currentColor; stroke-dasharray: 4 4; opacity: .45; }
text.paper { opacity: .7; } ul { list-style: none; padding: 0; display: flex; gap: 1.5rem; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
pre { opacity: .8; white-space: pre-wrap; }
</style></head><body>
<h1>p99 latency against load</h1>
<p>SOSP'21 figure 6a on a simulated machine: 20 worker CPUs, 200 worker threads, 99.5 % of the
requests take 4 us and 0.5 % take 10 ms; costs are those of the paper's Table 3. A simulation, not
a measurement. Dashed: loads at which the paper's own curves turn up.</p>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="p99 against load">
${axes(max_krps)}
${paperMarks(max_krps)}
${SYSTEMS.map((system) => curve(points, system, max_krps)).join("\n")}
</svg>
<ul>${legend}</ul>
<pre>${summary}</pre>
</body></html>
`;
}
