/**
 * One point of global_scalability on the simulated machine: threads that only yield, on a number of
 * CPUs, scheduled by one global agent.
 *
 * @module
 */
import { run, type Script, yieldCpu } from "../../kernels/sim/actions.ts";
import { DEFAULT_COSTS } from "../../kernels/sim/costs.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import type { CpuRaw } from "../../kernels/kernel.ts";
import type { PolicyDefinition } from "../../lib/policy.ts";
import { edf } from "../../schedulers/edf/scheduler.ts";
import { shinjuku } from "../../schedulers/shinjuku/scheduler.ts";
import { sol } from "../../schedulers/sol/scheduler.ts";
import {
  SCHED_ITEM_RUNNABLE,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
} from "../../shared/prio_table.ts";
import { SimHints } from "../shinjuku/sim_hints.ts";
import type { ScalabilityPoint, ScalabilityPolicy } from "./options.ts";

/** A policy that can be simulated. */
export type SimPolicyName = Exclude<ScalabilityPolicy, "none">;

/** Row of the work class of all threads: idle, once, again and again. */
const REPEATING_WCID = 2;
const MS = 1_000_000;
const CLASSES = [
  { flags: 0 },
  { flags: WORK_CLASS_ONESHOT, exectime_ns: 10 * MS },
  { flags: WORK_CLASS_REPEATING, exectime_ns: 10 * MS, period_ns: 100 * MS },
];
const STREAM_CAPACITY = 19;
const SHINJUKU_SLICE_NS = 50_000;
/** A run that takes longer than a minute of virtual time is stuck. */
const TIME_NS_MAX = 60_000 * MS;

/** CPUs as Linux numbers them: i and i + half are one core; an odd one more is alone. */
export function smtCpus(cpu_count: number): CpuRaw[] {
  const half = Math.floor(cpu_count / 2);
  const all = Array.from({ length: cpu_count }, (_, cpu) => cpu);
  return all.map((cpu) => {
    const core = cpu < 2 * half ? cpu % half : cpu;
    const siblings = cpu < 2 * half ? [core, core + half] : [cpu];
    return { cpu, core, smt_idx: cpu === core ? 0 : 1, siblings, l3_siblings: all, numa_node: 0 };
  });
}

function policyOf(name: SimPolicyName, global_cpu: number, hints: SimHints): PolicyDefinition {
  switch (name) {
    case "edf":
      return edf({ global_cpu, ticks: false, hints });
    case "shinjuku":
      return shinjuku({ global_cpu, preemption_time_slice_ns: SHINJUKU_SLICE_NS, hints });
    case "sol":
      return sol({ global_cpu, preemption_time_slice_ns: Infinity });
  }
}

/**
 * Simulates a point.
 *
 * @param policy What schedules.
 * @param point CPUs, threads and yields.
 * @param cpu_count CPUs of the machine.
 * @param seed Seed of the machine.
 * @returns Virtual time from the first thread's start to the last one's end, in ns.
 */
export function simElapsedNs(
  policy: SimPolicyName,
  point: ScalabilityPoint,
  cpu_count: number,
  seed: number,
): number {
  const status_word_capacity = point.thread_count + cpu_count + 64;
  const kernel = new SimKernel({ cpus: smtCpus(cpu_count), seed, status_word_capacity });
  const { machine } = kernel;
  const hints = new SimHints(kernel.memory, point.thread_count, CLASSES, STREAM_CAPACITY);
  const enclave = kernel.createEnclave([...point.cpus].sort((a, b) => a - b), 91);
  if (typeof enclave === "number") throw new Error(`no enclave: errno ${-enclave}`);
  const host = new SimPolicyHost(kernel, enclave, policyOf(policy, point.cpus[0], hints), {
    task_capacity: point.thread_count + 64,
    queue_elem_count: 65_536,
  });
  let left = point.thread_count;
  let end_ns = 0;
  function* script(): Script {
    for (let loop = 0; loop < point.loop_count; loop++) {
      yield run(DEFAULT_COSTS.syscall_ns);
      yield yieldCpu();
    }
    left--;
    end_ns = machine.now_ns;
  }
  const start_ns = machine.now_ns;
  for (let sid = 0; sid < point.thread_count; sid++) {
    const thread = machine.spawn(script, `yield ${sid}`);
    const deadline_ns = start_ns + MS;
    const fields = { wcid: REPEATING_WCID, flags: SCHED_ITEM_RUNNABLE, deadline_ns };
    hints.addThread(sid, thread, fields);
    enclave.join(thread.tid);
  }
  while (left > 0) {
    machine.runUntil(machine.now_ns + MS);
    if (host.failure !== null) throw host.failure.error;
    if (machine.now_ns > TIME_NS_MAX) throw new Error(`${left} threads do not end`);
  }
  return end_ns - start_ns;
}
