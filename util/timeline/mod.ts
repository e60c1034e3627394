/**
 * Timelines of a run: who had which CPU when, as one HTML page or as a Perfetto/Chrome trace.
 *
 * @module
 */
export * from "./html.ts";
export * from "./perfetto.ts";
export * from "./span_log.ts";
export * from "./timeline.ts";
