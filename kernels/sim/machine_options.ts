/**
 * What a simulated machine is made with, and what it counts.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import type { SimCosts } from "./costs.ts";
import type { FaultTable } from "./faults.ts";
import type { RuleName } from "./rules.ts";

/** Parameters of a machine. */
export interface MachineOptions {
  /** ABI that the kernel speaks. */
  readonly abi: Abi;
  /** What operations cost. */
  readonly costs: SimCosts;
  /** Number of CPUs. */
  readonly cpu_count: number;
  /** Number of NUMA nodes. */
  readonly node_count: number;
  /** Fault points and their hits. */
  readonly faults: FaultTable;
  /** Whether a rule of the kernel is in force; mutants lack one. */
  readonly has_rule: (name: RuleName) => boolean;
}

/** Counters of a run. */
export interface MachineCounters {
  /** Context switches. */
  switch_count: number;
  /** Times that something but idleness had a CPU, those without a duration not counted. */
  busy_span_count: number;
  /** Messages produced. */
  message_count: number;
  /** Transactions committed. */
  commit_count: number;
  /** Transactions refused. */
  refused_count: number;
  /** Agents' steps. */
  step_count: number;
}

/** Counters at the start of a run. */
export function noCounts(): MachineCounters {
  return {
    switch_count: 0,
    busy_span_count: 0,
    message_count: 0,
    commit_count: 0,
    refused_count: 0,
    step_count: 0,
  };
}
