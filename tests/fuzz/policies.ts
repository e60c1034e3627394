/**
 * The policies that are fuzzed, and what the harness knows of them beyond the interface.
 *
 * @module
 */
import type { PolicyDefinition } from "../../lib/policy.ts";
import { edf } from "../../schedulers/edf/scheduler.ts";
import { fifoCentralized } from "../../schedulers/fifo/centralized/scheduler.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { shinjuku } from "../../schedulers/shinjuku/scheduler.ts";
import { sol } from "../../schedulers/sol/scheduler.ts";
import { checkFifoPerCpu } from "./fifo_per_cpu_checks.ts";
import { FuzzHints } from "./fuzz_hints.ts";
import { checkGlobal } from "./global_checks.ts";
import { GREEDY } from "./greedy_policy.ts";
import type { HostView } from "./host_view.ts";

/** A policy under test. */
export interface FuzzPolicy {
  /** Least number of CPUs of its enclave. */
  readonly cpu_count_min: number;
  /** The policy on an enclave. */
  readonly define: (enclave_cpus: readonly number[]) => PolicyDefinition;
  /**
   * Compares what an agent's instance has in shared memory with the machine, between two events.
   *
   * @returns What is wrong, or null.
   */
  readonly check: ((view: HostView, cpu: number) => string | null) | null;
}

/** The policies by name; the first one gets most runs. */
export const POLICIES: Readonly<Record<string, FuzzPolicy>> = {
  fifo_per_cpu: { cpu_count_min: 1, define: () => FIFO_PER_CPU, check: checkFifoPerCpu },
  fifo_centralized: {
    cpu_count_min: 2,
    define: (enclave_cpus) =>
      fifoCentralized({ global_cpu: enclave_cpus[0], preemption_time_slice_ns: 50_000 }),
    check: checkGlobal("run_queue"),
  },
  shinjuku: {
    cpu_count_min: 2,
    define: (enclave_cpus) =>
      shinjuku({
        global_cpu: enclave_cpus[0],
        preemption_time_slice_ns: 30_000,
        hints: new FuzzHints(),
      }),
    check: checkGlobal("run_queues"),
  },
  edf: {
    cpu_count_min: 2,
    define: (enclave_cpus) =>
      edf({ global_cpu: enclave_cpus[0], ticks: false, hints: new FuzzHints() }),
    check: checkGlobal("heap_size"),
  },
  sol: {
    cpu_count_min: 2,
    define: (enclave_cpus) =>
      sol({ global_cpu: enclave_cpus[0], preemption_time_slice_ns: 50_000 }),
    check: checkGlobal("run_queue"),
  },
  greedy: { cpu_count_min: 2, define: () => GREEDY, check: null },
};
