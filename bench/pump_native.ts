/**
 * The functions of native/pump_bench.c.
 *
 * @module
 */
import { openNativeLibrary } from "../ffi/native_library.ts";

/** The producer, and the consumer's loop in C. */
export const PUMP_NATIVE = openNativeLibrary(
  { name: "ghost_pump", sources: ["pump_bench.c"] },
  {
    pump_open: { parameters: ["buffer"], result: "f64" },
    pump_start: { parameters: ["f64", "i32", "f64", "i32"], result: "i32" },
    pump_consume: { parameters: ["f64"], result: "f64" },
    pump_join: { parameters: ["f64", "buffer"], result: "i32" },
    pump_switches: { parameters: [], result: "i32" },
    pump_flush: { parameters: [], result: "void" },
    pump_close: { parameters: ["f64"], result: "void" },
  },
);
