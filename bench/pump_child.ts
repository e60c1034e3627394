/**
 * Measures the message pump in a process of its own, started by pump_bench.ts with the V8 flags
 * that every executable has. Writes its figures as JSON.
 *
 * @module
 */
import { check } from "../ffi/errors.ts";
import { CPU_MASK_BYTES } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { Pump, type PumpResult, ROUND_TRIP, THROUGHPUT } from "./pump.ts";

const WARM_UP_NS = 100e6;
const WARM_UP_ROUNDS = 5;
const RUN_NS = 10e6;
const REPETITIONS = 30;
/** Fewer undisturbed runs than these say nothing. */
const UNDISTURBED_MIN = 5;

/** CPUs this process may use. */
function allowedCpus(): number[] {
  const mask = new Uint8Array(CPU_MASK_BYTES);
  check("sched_getaffinity", loadShim().schedGetaffinity(0, mask, mask.length));
  const cpus: number[] = [];
  for (let cpu = 0; cpu < mask.length * 8; cpu++) {
    if ((mask[cpu >> 3] >> (cpu & 7) & 1) !== 0) cpus.push(cpu);
  }
  return cpus;
}

function pinTo(cpu: number): void {
  const mask = new Uint8Array(CPU_MASK_BYTES);
  mask[cpu >> 3] = 1 << (cpu & 7);
  check("sched_setaffinity", loadShim().schedSetaffinity(0, mask, mask.length));
}

/** The median over the runs that nobody disturbed; over all runs if there are too few. */
function median(runs: readonly PumpResult[], value: (run: PumpResult) => number): number {
  const calm = runs.filter((run) => run.disturbed_count === 0);
  const counted = calm.length >= UNDISTURBED_MIN ? calm : runs;
  const sorted = counted.map(value).sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function measure(): Record<string, number> {
  const [producer_cpu, consumer_cpu] = allowedCpus();
  if (consumer_cpu === undefined) throw new Error("the pump needs two CPUs");
  const pump = new Pump();
  pinTo(consumer_cpu);
  const calm = { in_c: false, real_time: false };
  // Round trips first: short batches are compiled as whole functions, not in their midst.
  for (const mode of [ROUND_TRIP, THROUGHPUT, ROUND_TRIP, THROUGHPUT]) {
    for (let n = 0; n < WARM_UP_ROUNDS; n++) pump.run(mode, WARM_UP_NS, producer_cpu, calm);
  }
  const throughput: [PumpResult[], PumpResult[]] = [[], []];
  const round_trip: [PumpResult[], PumpResult[]] = [[], []];
  for (let n = 0; n < REPETITIONS; n++) {
    for (const side of [0, 1]) {
      const options = { in_c: side === 1, real_time: true };
      throughput[side].push(pump.run(THROUGHPUT, RUN_NS, producer_cpu, options));
      round_trip[side].push(pump.run(ROUND_TRIP, RUN_NS, producer_cpu, options));
    }
  }
  const [ts_ns, c_ns] = throughput.map((runs) => median(runs, (run) => run.message_ns));
  const [ts_p50_ns, c_p50_ns] = round_trip.map((runs) => median(runs, (run) => run.p50_ns));
  const [ts_p99_ns, c_p99_ns] = round_trip.map((runs) => median(runs, (run) => run.p99_ns));
  return {
    pump_throughput_ratio: c_ns / ts_ns,
    pump_rtt_p50_ratio: ts_p50_ns / c_p50_ns,
    pump_rtt_p99_ratio: ts_p99_ns / c_p99_ns,
    pump_message_ns: ts_ns,
    pump_c_message_ns: c_ns,
    pump_rtt_p50_ns: ts_p50_ns,
    pump_rtt_p99_ns: ts_p99_ns,
  };
}

console.log(JSON.stringify(measure()));
