/**
 * Writes a timeline as one HTML page with everything in it: no network, no other file.
 *
 * @module
 */
import { txnStateName } from "../../lib/transaction.ts";
import { type PageData, SpanPacker } from "./page_data.ts";
import { PAGE_STYLE } from "./page_style.ts";
import { type TextSink, type Timeline, type TimelineTable, truncationNote } from "./timeline.ts";
import { TimelineView } from "./view.ts";

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** JSON that may stand inside a script element. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

function tableHtml(table: TimelineTable): string {
  const cells = (row: readonly string[], tag: string): string =>
    `<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>\n`;
  const head = cells(table.heads, "th");
  const body = table.rows.map((row) => cells(row, "td")).join("");
  return `<table><thead>${head}</thead><tbody>\n${body}</tbody></table>`;
}

const LEGEND = [
  ["ghost", "ghOSt thread (a colour per thread when there is room)"],
  ["agent", "agent"],
  ["default", "default class"],
  ["refused", "refused commit"],
].map(([color, text]) => `<li><i style="background:var(--${color})"></i>${text}</li>`).join("");

const HELP = "Wheel: zoom. Drag or shift-wheel: move. Click a thread: show only it. " +
  "Double click: zoom to it. Keys: arrows, +, −, Home, Esc. A #name in the address: a sub-test.";

function head(timeline: Timeline): string {
  const note = truncationNote(timeline.log);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(timeline.title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
<h1>${escaped(timeline.title)}</h1>
<p>${escaped(timeline.subtitle)}</p>
</header>
<nav id="marks" aria-label="Sub-tests"></nav>
<div id="chart">
<canvas tabindex="0" role="img" aria-label="Who had which CPU when; the table has the figures">
</canvas>
<div id="tip" hidden></div>
</div>
<ul id="legend">${LEGEND}</ul>
${note === undefined ? "" : `<p id="note">${escaped(note)}</p>\n`}<p id="help">${HELP}</p>
${tableHtml(timeline.table)}
<noscript><p id="note">The chart needs JavaScript; the table does not.</p></noscript>
`;
}

/**
 * Writes the page.
 *
 * @param timeline What to show; the same timeline gives the same bytes.
 * @param sink Takes the text.
 */
export function writeHtml(timeline: Timeline, sink: TextSink): void {
  const { cpus, log } = timeline;
  sink.write(head(timeline));
  sink.write('<script>\nconst data = {spans: "');
  const packer = new SpanPacker(cpus.length, (base64) => sink.write(base64));
  const cpu_index = new Map(cpus.map((cpu, index) => [cpu, index]));
  const thread_index = new Map<number, number>();
  let span_count = 0;
  log.forEach((cpu, mode, tid, start_ns, end_ns) => {
    const index = cpu_index.get(cpu);
    if (index === undefined) return;
    if (!thread_index.has(tid)) thread_index.set(tid, thread_index.size);
    packer.add(index, mode, thread_index.get(tid) as number, start_ns, end_ns);
    span_count++;
  });
  packer.end();
  const rest: Omit<PageData, "spans"> = {
    cpus,
    end_ns: timeline.end_ns,
    marks: timeline.marks.map(({ name, start_ns, end_ns }) => [name, start_ns, end_ns] as const),
    span_count,
    threads: [...thread_index.keys()].map((tid) =>
      [tid, tid < 0 ? "" : timeline.threadName(tid)] as const
    ),
    refusals: log.refusals.map(({ time_ns, cpu, state }) =>
      [time_ns, cpu, txnStateName(state)] as const
    ),
  };
  sink.write(`", ...${scriptJson(rest)}};\n`);
  sink.write(`new (${TimelineView.toString()})(document, data);\n</script>\n</body>\n</html>\n`);
}
