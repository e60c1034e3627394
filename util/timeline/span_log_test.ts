import { assertEquals } from "@std/assert";
import { GHOST_TXN_COMPLETE, GHOST_TXN_TARGET_STALE } from "../../ffi/abi/constants.ts";
import { MODE_AGENT, MODE_DEFAULT, MODE_GHOST, MODE_IDLE } from "../../kernels/sim/thread.ts";
import { REFUSALS_MAX, SpanLog } from "./span_log.ts";
import { truncationNote } from "./timeline.ts";

function spansOf(log: SpanLog): number[][] {
  const spans: number[][] = [];
  log.forEach((...span) => spans.push(span));
  return spans;
}

Deno.test("spans come back as they were told, without idle times", () => {
  const log = new SpanLog();
  log.span(0, MODE_IDLE, -1, 0, 10);
  log.span(0, MODE_AGENT, -1, 10, 735);
  log.span(511, MODE_GHOST, 1001, 735, 9_000_000_000_001);
  log.span(1, MODE_DEFAULT, 1000, 5, 20);
  assertEquals(spansOf(log), [
    [0, MODE_AGENT, -1, 10, 735],
    [511, MODE_GHOST, 1001, 735, 9_000_000_000_001],
    [1, MODE_DEFAULT, 1000, 5, 20],
  ]);
  assertEquals(truncationNote(log), undefined);
});

Deno.test("spans across many chunks keep their order", () => {
  const log = new SpanLog();
  for (let i = 0; i < 10_000; i++) log.span(i % 4, MODE_GHOST, i, i * 10, i * 10 + 5);
  const spans = spansOf(log);
  assertEquals([spans.length, spans[9_999][2], spans[4096][2]], [10_000, 9_999, 4096]);
});

Deno.test("beyond the bound spans are counted, not kept, and the note says from when on", () => {
  const log = new SpanLog(2);
  for (let i = 0; i < 5; i++) log.span(0, MODE_GHOST, 1, i * 1_000_000, i * 1_000_000 + 1);
  assertEquals([log.span_count, log.dropped_count], [2, 3]);
  assertEquals(truncationNote(log), "truncated: 3 of 5 records from 2.000 ms on were not kept");
});

Deno.test("refused transactions are kept up to a bound, successful ones never", () => {
  const log = new SpanLog();
  log.commit(5, 0, 1000, GHOST_TXN_COMPLETE);
  for (let i = 0; i < REFUSALS_MAX + 2; i++) log.commit(i, 1, 1000, GHOST_TXN_TARGET_STALE);
  assertEquals(log.refusals.length, REFUSALS_MAX);
  assertEquals(log.dropped_count, 2);
  assertEquals(log.refusals[7], { time_ns: 7, cpu: 1, tid: 1000, state: GHOST_TXN_TARGET_STALE });
});
