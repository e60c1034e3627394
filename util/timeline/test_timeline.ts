/**
 * A small timeline, for tests.
 *
 * @module
 */
import { GHOST_TXN_TARGET_STALE } from "../../ffi/abi/constants.ts";
import { MODE_AGENT, MODE_DEFAULT, MODE_GHOST } from "../../kernels/sim/thread.ts";
import { SpanLog } from "./span_log.ts";
import type { TextSink, Timeline } from "./timeline.ts";

/** Two CPUs, two threads (one with a name that is not harmless), one refused commit. */
export function testTimeline(span_max?: number): Timeline {
  const log = new SpanLog(span_max);
  log.span(0, MODE_AGENT, -1, 0, 725);
  log.span(1, MODE_DEFAULT, 1001, 100, 2_000);
  log.span(0, MODE_GHOST, 1000, 1_613, 51_613);
  log.span(0, MODE_AGENT, -1, 51_613, 52_338);
  log.commit(60_000, 1, 1001, GHOST_TXN_TARGET_STALE);
  log.span(1, MODE_GHOST, 1001, 70_000, 99_999);
  return {
    title: "agent: </script><b>",
    subtitle: "2 CPUs & a seed",
    cpus: [0, 1],
    log,
    threadName: (tid) => tid === 1000 ? "nap 0" : 'evil "</script>\\',
    marks: [{ name: "One", start_ns: 0, end_ns: 55_000 }, {
      name: "Two <2>",
      start_ns: 55_500,
      end_ns: 100_000,
    }],
    end_ns: 100_000,
    table: { heads: ["sub-test", "time"], rows: [["One", "55 us"], ["Two <2>", "45 us"]] },
  };
}

/** Text that was written. */
export class TextBuffer implements TextSink {
  /** All of it. */
  text = "";

  /** See {@linkcode TextSink.write}. */
  write(text: string): void {
    this.text += text;
  }
}
