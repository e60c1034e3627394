import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { writePerfetto } from "./perfetto.ts";
import { testTimeline, TextBuffer } from "./test_timeline.ts";

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly s?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

interface Trace {
  readonly displayTimeUnit: string;
  readonly otherData: Readonly<Record<string, string | undefined>>;
  readonly traceEvents: readonly TraceEvent[];
}

function traceOf(span_max?: number): Trace {
  const buffer = new TextBuffer();
  writePerfetto(testTimeline(span_max), buffer);
  return JSON.parse(buffer.text);
}

Deno.test("the trace is JSON whose events have the fields their phase needs", () => {
  const trace = traceOf();
  assertEquals(trace.displayTimeUnit, "ns");
  for (const event of trace.traceEvents) {
    assert(["M", "X", "i"].includes(event.ph), event.ph);
    assert(event.name.length > 0 && Number.isInteger(event.pid) && Number.isInteger(event.tid));
    if (event.ph === "M") assert(event.args !== undefined);
    else assert(typeof event.ts === "number" && event.ts >= 0);
    if (event.ph === "X") assert(typeof event.dur === "number" && event.dur > 0);
    if (event.ph === "i") assertEquals(event.s, "t");
  }
});

Deno.test("every CPU has a track with its number, in order", () => {
  const names = traceOf().traceEvents
    .filter(({ ph, name, pid }) => ph === "M" && name === "thread_name" && pid === 1)
    .map(({ tid, args }) => [tid, args?.name]);
  assertEquals(names, [[0, "CPU 0"], [1, "CPU 1"]]);
});

Deno.test("spans carry microseconds, the thread's name and its class", () => {
  const spans = traceOf().traceEvents.filter(({ ph, pid }) => ph === "X" && pid === 1);
  assertEquals(
    spans.map(({ tid, cat, name, ts, dur }) => [tid, cat, name, ts, dur]),
    [
      [0, "agent", "agent 0", 0, 0.725],
      [1, "default", 'evil "</script>\\', 0.1, 1.9],
      [0, "ghost", "nap 0", 1.613, 50],
      [0, "agent", "agent 0", 51.613, 0.725],
      [1, "ghost", 'evil "</script>\\', 70, 29.999],
    ],
  );
  assertEquals(spans[2].args, { tid: 1000 });
});

Deno.test("spans of a track do not overlap, which Perfetto could not show", () => {
  const ends = new Map<string, number>();
  for (const { ph, pid, tid, ts = 0, dur = 0 } of traceOf().traceEvents) {
    if (ph !== "X") continue;
    const track = `${pid} ${tid}`;
    assert(ts >= (ends.get(track) ?? 0) - 1e-9, `${track} at ${ts}`);
    ends.set(track, ts + dur);
  }
});

Deno.test("sub-tests are a track of their own, refused commits are instants on their CPU", () => {
  const { traceEvents } = traceOf();
  const marks = traceEvents.filter(({ ph, pid }) => ph === "X" && pid === 2);
  assertEquals(marks.map(({ name }) => name), ["One", "Two <2>"]);
  const [refused] = traceEvents.filter(({ ph }) => ph === "i");
  assertEquals(refused.name, "refused: GHOST_TXN_TARGET_STALE");
  assertEquals([refused.pid, refused.tid, refused.ts, refused.args], [1, 1, 60, { tid: 1001 }]);
});

Deno.test("a trace that could not keep everything says so", () => {
  assertEquals(traceOf().otherData.truncated, undefined);
  assertStringIncludes(traceOf(3).otherData.truncated ?? "", "truncated: 2 of 6 records");
});

Deno.test("the same timeline gives the same bytes", () => {
  const [first, second] = [new TextBuffer(), new TextBuffer()];
  writePerfetto(testTimeline(), first);
  writePerfetto(testTimeline(), second);
  assertEquals(first.text, second.text);
});
