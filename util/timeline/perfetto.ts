/**
 * Writes a timeline as a Chrome trace (JSON), which ui.perfetto.dev and chrome://tracing open. One
 * track per CPU, one for the sub-tests; refused transactions are instants on their CPU's track.
 * Source: the format document "Trace Event Format" of the Chromium project.
 *
 * @module
 */
import { MODE_AGENT, MODE_DEFAULT } from "../../kernels/sim/thread.ts";
import { txnStateName } from "../../lib/transaction.ts";
import { type TextSink, type Timeline, truncationNote } from "./timeline.ts";

/** The machine as a process of the trace; sub-tests are another one. */
const CPUS_PID = 1;
const MARKS_PID = 2;

function us(ns: number): number {
  return ns / 1000;
}

function named(kind: string, pid: number, tid: number, name: string): string {
  return JSON.stringify({ ph: "M", name: kind, pid, tid, args: { name } });
}

function sorted(kind: string, pid: number, tid: number, sort_index: number): string {
  return JSON.stringify({ ph: "M", name: kind, pid, tid, args: { sort_index } });
}

/**
 * Writes the trace.
 *
 * @param timeline What to write; the same timeline gives the same bytes.
 * @param sink Takes the text.
 */
export function writePerfetto(timeline: Timeline, sink: TextSink): void {
  const { log } = timeline;
  const truncated = truncationNote(log);
  const facts = { title: timeline.title, subtitle: timeline.subtitle, truncated };
  sink.write(`{"displayTimeUnit":"ns","otherData":${JSON.stringify(facts)},"traceEvents":[\n`);
  sink.write(named("process_name", CPUS_PID, 0, timeline.title));
  const add = (event: string): void => sink.write(",\n" + event);
  add(named("process_name", MARKS_PID, 0, "sub-tests"));
  add(sorted("process_sort_index", MARKS_PID, 0, 0));
  add(sorted("process_sort_index", CPUS_PID, 0, 1));
  add(named("thread_name", MARKS_PID, 0, "sub-tests"));
  for (const cpu of timeline.cpus) {
    add(named("thread_name", CPUS_PID, cpu, `CPU ${cpu}`));
    add(sorted("thread_sort_index", CPUS_PID, cpu, cpu));
  }
  for (const { name, start_ns, end_ns } of timeline.marks) {
    const dur = us(end_ns - start_ns);
    add(JSON.stringify({ ph: "X", name, pid: MARKS_PID, tid: 0, ts: us(start_ns), dur }));
  }
  log.forEach((cpu, mode, tid, start_ns, end_ns) => {
    const ts = us(start_ns);
    const dur = us(end_ns - start_ns);
    const who = mode === MODE_AGENT
      ? `"name":"agent ${cpu}","cat":"agent"`
      : `"name":${JSON.stringify(timeline.threadName(tid))},"cat":"` +
        `${mode === MODE_DEFAULT ? "default" : "ghost"}","args":{"tid":${tid}}`;
    add(`{"ph":"X",${who},"pid":${CPUS_PID},"tid":${cpu},"ts":${ts},"dur":${dur}}`);
  });
  for (const { time_ns, cpu, tid, state } of log.refusals) {
    const name = `refused: ${txnStateName(state)}`;
    const args = { tid };
    const at = { pid: CPUS_PID, tid: cpu, ts: us(time_ns), s: "t" };
    add(JSON.stringify({ ph: "i", name, cat: "refused", ...at, args }));
  }
  sink.write("\n]}\n");
}
