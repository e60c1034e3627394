/**
 * Runs simple_exp on 16 CPUs again and again in a process that does nothing else, and prints how
 * fast each run was.
 *
 * @module
 */
import { SIMPLE_EXP } from "../experiments/simple_exp/load.ts";
import { SimLoadRun } from "../experiments/sim_load.ts";
import { fifoMachine } from "./sim_load.ts";

/** Runs until what V8 compiles of the simulator has settled. */
export const WARM_UP_COUNT = 80;
/** Runs that count, with each enclave. */
const RUN_COUNT = 15;
const MILLISECOND_NS = 1_000_000;
/** The agent's default enclave (`--ghost_cpus 1-5`). */
const DEFAULT_CPUS = [1, 2, 3, 4, 5];

/** Simulated to real time of runs of simple_exp. */
export interface SimRatios {
  /** The first run of the process. */
  readonly cold: number;
  /** Runs after {@linkcode WARM_UP_COUNT} others. */
  readonly warm: readonly number[];
  /** As above, with the agent's default enclave. */
  readonly default_cpus: readonly number[];
}

/** Simulated to real time of simple_exp on a machine with 16 CPUs. */
function simpleExpRatio(enclave_cpus?: readonly number[]): number {
  const { kernel, enclave, host } = fifoMachine(16, 1, enclave_cpus);
  const load = new SimLoadRun(kernel.machine, enclave, SIMPLE_EXP, 1);
  const start = performance.now();
  while (load.advance(100_000));
  const real_ms = performance.now() - start;
  const faults = load.results.flatMap((result) => result.faults);
  if (host.failure !== null || faults.length > 0) {
    throw host.failure?.error ?? new Error(`simple_exp: ${faults[0]}`);
  }
  return kernel.machine.now_ns / MILLISECOND_NS / real_ms;
}

function simRatios(): SimRatios {
  const cold = simpleExpRatio();
  const warm: number[] = [];
  const default_cpus: number[] = [];
  for (let count = 1; count < WARM_UP_COUNT; count++) simpleExpRatio();
  for (let count = 0; count < RUN_COUNT; count++) warm.push(simpleExpRatio());
  for (let count = 0; count < RUN_COUNT; count++) default_cpus.push(simpleExpRatio(DEFAULT_CPUS));
  return { cold, warm, default_cpus };
}

if (import.meta.main) console.log(JSON.stringify(simRatios()));
