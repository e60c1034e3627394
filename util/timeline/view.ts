/**
 * The script of a timeline's page. The class is put into the page as its own source text, so it
 * uses nothing from outside but the browser.
 *
 * @module
 */
import type { PageData } from "./page_data.ts";

/** Spans of one CPU. */
interface Track {
  readonly cpu: number;
  readonly start: number[];
  readonly end: number[];
  readonly mode: number[];
  readonly thread: number[];
}

/** What is under the pointer. */
interface Spot {
  readonly track: Track;
  readonly index: number;
}

/** Draws the chart and answers to wheel, pointer and keys. */
export class TimelineView {
  static readonly GUTTER = 62;
  static readonly OVERVIEW_TOP = 0;
  static readonly OVERVIEW_HEIGHT = 40;
  static readonly RULER_TOP = 52;
  static readonly MARKS_TOP = 74;
  static readonly MARKS_HEIGHT = 20;
  static readonly ROWS_TOP = 102;
  static readonly WINDOW_NS_MIN = 200;
  static readonly AGENT = 1;
  static readonly DEFAULT = 2;
  static readonly CLASSES = ["idle", "agent", "default class", "ghOSt"];
  /** The window shown, in ns. */
  from = 0;
  /** See {@linkcode from}. */
  to: number;
  readonly #document: Document;
  readonly #data: PageData;
  readonly #canvas: HTMLCanvasElement;
  readonly #tip: HTMLElement;
  readonly #tracks: readonly Track[];
  readonly #row_height: number;
  #colors: Record<string, string> = {};
  #overview: { width: number; bars: Float64Array } = { width: 0, bars: new Float64Array(0) };
  #width = 0;
  #drag: { x: number; from: number; to: number; moved: boolean; overview: boolean } | null = null;
  #spot: Spot | null = null;
  #pinned = -1;
  #is_queued = false;

  constructor(document: Document, data: PageData) {
    this.#document = document;
    this.#data = data;
    this.to = Math.max(data.end_ns, 1);
    this.#canvas = document.querySelector("canvas") as HTMLCanvasElement;
    this.#tip = document.querySelector("#tip") as HTMLElement;
    this.#tracks = TimelineView.unpack(data);
    const count = data.cpus.length;
    this.#row_height = count <= 4 ? 58 : count <= 12 ? 38 : count <= 32 ? 24 : 14;
    this.#makeButtons();
    this.#listen();
    this.draw();
    this.#showHash();
  }

  /** `#NAME` shows a sub-test, `#FROM-TO` a window in ns. */
  #showHash(): void {
    const hash = decodeURIComponent(globalThis.location.hash.slice(1));
    const mark = this.#data.marks.find(([name]) => name === hash);
    if (mark !== undefined) return this.#showMark(mark[1], mark[2]);
    const [from, to] = hash.split("-").map(Number);
    if (to > from) this.show(from, to);
  }

  #showMark(start: number, end: number): void {
    const margin = (end - start) * 0.02;
    this.show(start - margin, end + margin);
  }

  /** Reads the packed spans. */
  static unpack(data: PageData): Track[] {
    const tracks = data.cpus.map((cpu) => ({ cpu, start: [], end: [], mode: [], thread: [] }));
    const text = atob(data.spans);
    let at = 0;
    const number = (): number => {
      let value = 0;
      for (let scale = 1;; scale *= 128) {
        const byte = text.charCodeAt(at++);
        value += (byte & 127) * scale;
        if (byte < 128) return value;
      }
    };
    for (let index = 0; index < data.span_count; index++) {
      const track: Track = tracks[number()];
      track.mode.push(number());
      track.thread.push(number());
      const start = (track.end.at(-1) ?? 0) + number();
      track.start.push(start);
      track.end.push(start + number());
    }
    return tracks;
  }

  /** First span of a track that ends after a time. */
  static firstAfter(track: Track, ns: number): number {
    let low = 0;
    let high = track.end.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (track.end[middle] > ns) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** A duration with a unit that suits it. */
  static time(ns: number, step = 0): string {
    const units: [number, string][] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
    const [scale, unit] = units.find(([size]) => Math.abs(ns) >= size) ?? [1, "ns"];
    const digits = step > 0
      ? Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9))
      : Math.min(3, Math.round(Math.log10(scale)));
    return `${(ns / scale).toFixed(digits)} ${unit}`;
  }

  #makeButtons(): void {
    const bar = this.#document.querySelector("#marks") as HTMLElement;
    const add = (name: string, show: () => void): void => {
      const button = this.#document.createElement("button");
      button.textContent = name;
      button.addEventListener("click", show);
      bar.append(button);
    };
    add("whole run", () => this.show(0, this.#data.end_ns));
    for (const [name, start, end] of this.#data.marks) add(name, () => this.#showMark(start, end));
  }

  #listen(): void {
    const canvas = this.#canvas;
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.#hover(null, 0, 0));
    canvas.addEventListener("dblclick", (event) => this.#zoomToSpot(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    globalThis.addEventListener("resize", () => this.redraw());
    globalThis.addEventListener("hashchange", () => this.#showHash());
    globalThis.matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", () => this.redraw());
  }

  /** Shows a window of time. */
  show(from: number, to: number): void {
    const end = Math.max(this.#data.end_ns, 1);
    const length = Math.min(Math.max(to - from, TimelineView.WINDOW_NS_MIN), end);
    this.from = Math.min(Math.max(from, 0), end - length);
    this.to = this.from + length;
    this.redraw();
  }

  /** Draws before the next frame. */
  redraw(): void {
    if (this.#is_queued) return;
    this.#is_queued = true;
    globalThis.requestAnimationFrame(() => {
      this.#is_queued = false;
      this.draw();
    });
  }

  #zoom(factor: number, x: number): void {
    const at = this.#timeAt(x);
    const length = this.to - this.from;
    const zoomed = Math.max(length * factor, TimelineView.WINDOW_NS_MIN);
    const from = at - (at - this.from) * zoomed / length;
    this.show(from, from + zoomed);
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const delta = (sideways && event.deltaX !== 0 ? event.deltaX : event.deltaY) *
      (event.deltaMode === 1 ? 30 : 1);
    if (!sideways) {
      return this.#zoom(Math.exp(Math.max(-1, Math.min(1, delta / 300))), event.offsetX);
    }
    const step = delta * (this.to - this.from) / this.#chartWidth();
    this.show(this.from + step, this.to + step);
  }

  #down(event: PointerEvent): void {
    const overview = event.offsetY < TimelineView.OVERVIEW_HEIGHT;
    this.#drag = { x: event.offsetX, from: this.from, to: this.to, moved: false, overview };
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus();
    if (overview) this.#centre(event.offsetX);
  }

  #centre(x: number): void {
    const at = (x - TimelineView.GUTTER) / this.#chartWidth() * this.#data.end_ns;
    const half = (this.to - this.from) / 2;
    this.show(at - half, at + half);
  }

  #move(event: PointerEvent): void {
    const drag = this.#drag;
    if (drag === null) {
      return this.#hover(this.#find(event.offsetX, event.offsetY), event.offsetX, event.offsetY);
    }
    if (Math.abs(event.offsetX - drag.x) > 3) drag.moved = true;
    if (drag.overview) return this.#centre(event.offsetX);
    if (!drag.moved) return;
    this.#hover(null, 0, 0);
    const step = (drag.x - event.offsetX) * (drag.to - drag.from) / this.#chartWidth();
    this.show(drag.from + step, drag.to + step);
  }

  #up(event: PointerEvent): void {
    const drag = this.#drag;
    this.#drag = null;
    if (drag === null || drag.moved || drag.overview) return;
    const spot = this.#find(event.offsetX, event.offsetY);
    const is_thread = spot !== null && spot.track.mode[spot.index] !== TimelineView.AGENT;
    this.#pinned = is_thread ? spot.track.thread[spot.index] : -1;
    this.redraw();
  }

  #zoomToSpot(event: MouseEvent): void {
    const spot = this.#find(event.offsetX, event.offsetY);
    if (spot === null) return;
    const start = spot.track.start[spot.index];
    const length = spot.track.end[spot.index] - start;
    this.show(start - length * 2, start + length * 3);
  }

  #key(event: KeyboardEvent): void {
    const step = (this.to - this.from) / 5;
    const middle = TimelineView.GUTTER + this.#chartWidth() / 2;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => this.show(this.from - step, this.to - step),
      ArrowRight: () => this.show(this.from + step, this.to + step),
      "+": () => this.#zoom(0.7, middle),
      "=": () => this.#zoom(0.7, middle),
      "-": () => this.#zoom(1 / 0.7, middle),
      Home: () => this.show(0, this.#data.end_ns),
      Escape: () => {
        this.#pinned = -1;
        this.redraw();
      },
    };
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  }

  #chartWidth(): number {
    return Math.max(this.#width - TimelineView.GUTTER - 8, 1);
  }

  #x(ns: number): number {
    return TimelineView.GUTTER + (ns - this.from) / (this.to - this.from) * this.#chartWidth();
  }

  #timeAt(x: number): number {
    return this.from + (x - TimelineView.GUTTER) / this.#chartWidth() * (this.to - this.from);
  }

  #rowTop(row: number): number {
    return TimelineView.ROWS_TOP + row * (this.#row_height + 8);
  }

  /** The span nearest to a place, at most 3 pixels away. */
  #find(x: number, y: number): Spot | null {
    const row = Math.floor((y - TimelineView.ROWS_TOP) / (this.#row_height + 8));
    const track = this.#tracks[row];
    if (track === undefined || x < TimelineView.GUTTER) return null;
    const reach = 3 * (this.to - this.from) / this.#chartWidth();
    const at = this.#timeAt(x);
    let best: Spot | null = null;
    let best_away = reach;
    for (
      let index = TimelineView.firstAfter(track, at - reach);
      index < track.end.length;
      index++
    ) {
      if (track.start[index] > at + reach) break;
      const away = Math.max(track.start[index] - at, at - track.end[index], 0);
      if (away < best_away) {
        best_away = away;
        best = { track, index };
      }
    }
    return best;
  }

  #hover(spot: Spot | null, x: number, y: number): void {
    const tip = this.#tip;
    const changed = spot?.track !== this.#spot?.track || spot?.index !== this.#spot?.index;
    this.#spot = spot;
    tip.hidden = spot === null;
    if (spot !== null) {
      tip.textContent = this.#describe(spot);
      tip.style.left = `${Math.max(0, Math.min(x + 14, this.#width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${y + 18}px`;
    }
    if (changed) this.redraw();
  }

  #describe({ track, index }: Spot): string {
    const mode = track.mode[index];
    const start = track.start[index];
    const [tid, name] = this.#data.threads[track.thread[index]] ?? [-1, ""];
    const mark = this.#data.marks.find(([, from, to]) => start >= from && start <= to);
    const { time } = TimelineView;
    return [
      mode === TimelineView.AGENT ? `agent of CPU ${track.cpu}` : `${name}   tid ${tid}`,
      `${TimelineView.CLASSES[mode]} on CPU ${track.cpu}`,
      `start   ${time(start, 1)}`,
      `length  ${time(track.end[index] - start)}`,
      mark === undefined ? "between sub-tests" : `${mark[0]} + ${time(start - mark[1])}`,
    ].join("\n");
  }

  #readColors(): void {
    const style = globalThis.getComputedStyle(this.#document.documentElement);
    const names = ["fg", "muted", "grid", "row", "band", "agent", "default", "ghost", "refused"];
    for (let hue = 0; hue < 8; hue++) names.push(`g${hue}`);
    for (const name of names) this.#colors[name] = style.getPropertyValue(`--${name}`).trim();
  }

  /** Draws everything. */
  draw(): void {
    const canvas = this.#canvas;
    const ratio = globalThis.devicePixelRatio || 1;
    this.#width = canvas.clientWidth;
    const height = this.#rowTop(this.#tracks.length);
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(this.#width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.#width, height);
    pen.textBaseline = "middle";
    pen.font = "12px system-ui, sans-serif";
    this.#readColors();
    this.#drawOverview(pen);
    this.#drawMarks(pen, height);
    this.#drawRuler(pen, height);
    this.#tracks.forEach((track, row) => this.#drawTrack(pen, track, row));
    this.#drawRefusals(pen);
  }

  /** Adds a span to bars of one pixel each: for each pixel the shares of three classes. */
  static addToBars(bars: Float64Array, mode: number, x0: number, x1: number): void {
    const last = bars.length / 3 - 1;
    for (let px = Math.max(0, Math.floor(x0)); px <= Math.min(last, Math.floor(x1)); px++) {
      const share = Math.min(x1, px + 1) - Math.max(x0, px);
      if (share > 0) bars[px * 3 + mode - 1] += share;
    }
  }

  #drawBars(
    pen: CanvasRenderingContext2D,
    bars: Float64Array,
    top: number,
    height: number,
    full: number,
  ): void {
    const { ghost, default: default_color, agent } = this.#colors;
    for (const [mode, color] of [[2, ghost], [1, default_color], [0, agent]] as const) {
      pen.fillStyle = color;
      for (let px = 0; px < bars.length / 3; px++) {
        const share = bars[px * 3 + mode] / full;
        if (share <= 0) continue;
        const below = (mode < 2 ? bars[px * 3 + 2] : 0) + (mode < 1 ? bars[px * 3 + 1] : 0);
        const bar = Math.max(share * height, 0.7);
        const bottom = top + height - below / full * height;
        pen.fillRect(TimelineView.GUTTER + px, Math.max(bottom - bar, top), 1, bar);
      }
    }
  }

  #drawOverview(pen: CanvasRenderingContext2D): void {
    const width = Math.floor(this.#chartWidth());
    const end = Math.max(this.#data.end_ns, 1);
    if (this.#overview.width !== width) {
      const bars = new Float64Array(width * 3);
      for (const { start, end: ends, mode } of this.#tracks) {
        start.forEach((ns, i) =>
          TimelineView.addToBars(bars, mode[i], ns / end * width, ends[i] / end * width)
        );
      }
      this.#overview = { width, bars };
    }
    const { GUTTER, OVERVIEW_TOP, OVERVIEW_HEIGHT } = TimelineView;
    pen.fillStyle = this.#colors.row;
    pen.fillRect(GUTTER, OVERVIEW_TOP, width, OVERVIEW_HEIGHT);
    const top = OVERVIEW_TOP + 4;
    this.#drawBars(pen, this.#overview.bars, top, OVERVIEW_HEIGHT - 8, this.#tracks.length);
    const left = GUTTER + this.from / end * width;
    const right = Math.max(GUTTER + this.to / end * width, left + 2);
    pen.fillStyle = this.#colors.band;
    pen.fillRect(GUTTER, OVERVIEW_TOP, left - GUTTER, OVERVIEW_HEIGHT);
    pen.fillRect(right, OVERVIEW_TOP, GUTTER + width - right, OVERVIEW_HEIGHT);
    pen.strokeStyle = this.#colors.fg;
    pen.lineWidth = 1.5;
    pen.strokeRect(left + 0.75, OVERVIEW_TOP + 0.75, right - left - 1.5, OVERVIEW_HEIGHT - 1.5);
    pen.fillStyle = this.#colors.muted;
    pen.fillText("all CPUs", 0, OVERVIEW_TOP + OVERVIEW_HEIGHT / 2);
  }

  #drawRuler(pen: CanvasRenderingContext2D, height: number): void {
    const rough = (this.to - this.from) / this.#chartWidth() * 110;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ??
      rough;
    pen.textAlign = "center";
    for (let ns = Math.ceil(this.from / step) * step; ns <= this.to; ns += step) {
      const x = Math.round(this.#x(ns)) + 0.5;
      pen.fillStyle = this.#colors.grid;
      pen.fillRect(x - 0.5, TimelineView.MARKS_TOP, 1, height - TimelineView.MARKS_TOP);
      pen.fillStyle = this.#colors.muted;
      if (x < this.#width - 24) {
        pen.fillText(TimelineView.time(ns, step), x, TimelineView.RULER_TOP + 10);
      }
    }
    pen.textAlign = "left";
  }

  #drawMarks(pen: CanvasRenderingContext2D, height: number): void {
    const { GUTTER, MARKS_TOP, MARKS_HEIGHT } = TimelineView;
    for (const [name, start, end] of this.#data.marks) {
      if (end < this.from || start > this.to) continue;
      const left = Math.max(this.#x(start), GUTTER);
      const right = Math.min(this.#x(end), this.#width - 8);
      const width = Math.max(right - left, 1);
      pen.fillStyle = this.#colors.band;
      pen.fillRect(left, MARKS_TOP, width, height - MARKS_TOP);
      this.#label(pen, name, left, MARKS_TOP + MARKS_HEIGHT / 2, width, this.#colors.fg);
    }
  }

  /** Text that fits into a width, or nothing. */
  #label(
    pen: CanvasRenderingContext2D,
    text: string,
    left: number,
    middle: number,
    width: number,
    color: string,
  ): void {
    const room = Math.floor((width - 8) / 6.5);
    if (room < 3) return;
    pen.fillStyle = color;
    const shown = text.length <= room ? text : text.slice(0, room - 1) + "…";
    pen.fillText(shown, left + 4, middle, width - 8);
  }

  #drawTrack(pen: CanvasRenderingContext2D, track: Track, row: number): void {
    const top = this.#rowTop(row);
    const height = this.#row_height;
    pen.fillStyle = this.#colors.fg;
    pen.fillText(`CPU ${track.cpu}`, 0, top + height / 2);
    pen.fillStyle = this.#colors.row;
    pen.fillRect(TimelineView.GUTTER, top, this.#chartWidth(), height);
    const bars = new Float64Array(Math.floor(this.#chartWidth()) * 3);
    const wide: number[] = [];
    const pinned: number[] = [];
    for (
      let index = TimelineView.firstAfter(track, this.from);
      index < track.end.length && track.start[index] < this.to;
      index++
    ) {
      const x0 = this.#x(track.start[index]);
      const x1 = this.#x(track.end[index]);
      if (x1 - x0 >= 2) wide.push(index);
      else {
        const { GUTTER } = TimelineView;
        TimelineView.addToBars(bars, track.mode[index], x0 - GUTTER, x1 - GUTTER);
      }
      if (this.#isPinned(track, index)) pinned.push(index);
    }
    if (this.#pinned >= 0) pen.globalAlpha = 0.3;
    this.#drawBars(pen, bars, top, height, 1);
    for (const index of wide) this.#drawSpan(pen, track, index, top);
    pen.globalAlpha = 1;
    for (const index of pinned) this.#drawSpan(pen, track, index, top);
    if (this.#spot?.track === track) this.#outline(pen, track, this.#spot.index, top);
  }

  #isPinned(track: Track, index: number): boolean {
    return track.mode[index] !== TimelineView.AGENT && track.thread[index] === this.#pinned;
  }

  #drawSpan(pen: CanvasRenderingContext2D, track: Track, index: number, top: number): void {
    const left = Math.max(this.#x(track.start[index]), TimelineView.GUTTER);
    const right = Math.min(this.#x(track.end[index]), TimelineView.GUTTER + this.#chartWidth());
    const width = Math.max(right - left, 1.5);
    const height = this.#row_height;
    const mode = track.mode[index];
    const [tid, name] = this.#data.threads[track.thread[index]] ?? [-1, ""];
    // Agents are lower, so that one sees at a glance where threads ran.
    const inset = mode === TimelineView.AGENT ? Math.round(height * 0.3) : 0;
    pen.fillStyle = mode === TimelineView.AGENT
      ? this.#colors.agent
      : mode === TimelineView.DEFAULT
      ? this.#colors.default
      : this.#colors[`g${Math.imul(tid, 0x9e3779b1) >>> 29}`];
    pen.fillRect(left, top + inset, width > 4 ? width - 0.5 : width, height - 2 * inset);
    const text = mode === TimelineView.AGENT ? "agent" : name;
    this.#label(pen, text, left, top + height / 2, width, "#fff");
  }

  #outline(pen: CanvasRenderingContext2D, track: Track, index: number, top: number): void {
    const left = Math.max(this.#x(track.start[index]), TimelineView.GUTTER);
    const right = Math.min(this.#x(track.end[index]), TimelineView.GUTTER + this.#chartWidth());
    pen.strokeStyle = this.#colors.fg;
    pen.lineWidth = 2;
    pen.strokeRect(left, top, Math.max(right - left, 2), this.#row_height);
  }

  #drawRefusals(pen: CanvasRenderingContext2D): void {
    pen.fillStyle = this.#colors.refused;
    for (const [ns, cpu] of this.#data.refusals) {
      if (ns < this.from || ns > this.to) continue;
      const row = this.#data.cpus.indexOf(cpu);
      if (row < 0) continue;
      const x = this.#x(ns);
      const top = this.#rowTop(row) - 1;
      pen.beginPath();
      pen.moveTo(x - 4, top - 5);
      pen.lineTo(x + 4, top - 5);
      pen.lineTo(x, top + 2);
      pen.fill();
    }
  }
}
