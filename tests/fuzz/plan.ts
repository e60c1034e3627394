/**
 * What a seed means: machine, load, faults and disturbances of one fuzz run. Everything random is
 * drawn here or from named branches of the same seed, so that a seed is the whole story.
 *
 * @module
 */
import { ABI_VERSIONS } from "../../ffi/abi/abi.ts";
import { FAULT_NAMES, type FaultName } from "../../kernels/sim/faults.ts";
import { simTopology } from "../../kernels/sim/sim_topology.ts";
import type { CpuRaw } from "../../kernels/kernel.ts";
import { Prng } from "../../lib/prng.ts";
import { POLICIES } from "./policies.ts";

/** What the user fixed; the seed decides the rest. */
export interface PlanOptions {
  /** ABI version of every run. */
  readonly abi?: number;
  /** Name of the policy of every run. */
  readonly policy?: string;
}

/** Something done to the enclave from outside, between two events. */
export interface Disturbance {
  /** When, in ns. */
  readonly time_ns: number;
  /** What. */
  readonly fault: "agent_upgrade" | "agent_crash" | "destroy_outside";
}

/** One run. */
export interface FuzzPlan {
  readonly seed: number;
  readonly abi: number;
  readonly policy: string;
  readonly cpu_rows: readonly CpuRaw[];
  readonly enclave_cpus: readonly number[];
  /** Threads that enter the enclave. */
  readonly thread_count: number;
  /** Default-class threads that run now and then. */
  readonly competitor_count: number;
  /** Chances of the fault points in 1/10000. */
  readonly fault_rates: Readonly<Partial<Record<FaultName, number>>>;
  /** Tunables of the enclave that are on. */
  readonly tunables: readonly string[];
  readonly disturbances: readonly Disturbance[];
  /** Costs of the machine's operations, in percent of the default ones. */
  readonly cost_percent: number;
  /** How long faults go on and threads find new work, in ns. */
  readonly loaded_ns: number;
  readonly task_capacity: number;
  readonly status_word_capacity: number;
  readonly queue_elem_count: number;
}

/** Chances to choose from, in 1/10000 per opportunity. */
const RATES: readonly number[] = [30, 200, 1000, 3000];
/** Fault points that would drown all else at high rates, and those that need them. */
const SPECIAL_RATES: Readonly<Partial<Record<FaultName, readonly number[]>>> = {
  agent_pause_long: [10, 50, 200],
  agent_replaced: [200, 3000, 10000],
  read_interleave: [30, 200, 1000],
  read_task_preempt: [10, 50, 200],
  timer_message: [30, 200, 1000],
  unknown_message: [30, 200, 1000],
  txn_cpu_unavail: [30, 200, 1000],
  task_forks: [30, 200],
  task_rejoins: [1000, 3000, 10000],
  agent_runnability: [30, 200, 1000],
  task_dies_blocked: [30, 200],
  task_dies_queued: [30, 200],
  task_preempt_burst: [30, 200, 1000],
  ring_wrap: [5000, 10000],
  ring_small: [5000, 10000],
};

/** Fault points that are on in more than one run of four, because they need others. */
const FAULT_ODDS: Readonly<Partial<Record<FaultName, number>>> = {
  read_interleave: 2,
  task_rejoins: 2,
  status_word_reuse: 2,
};

/** Tunables that are fault points of their own, or without which one is not told. */
const TUNABLE_FAULTS: Readonly<Partial<Record<FaultName, string>>> = {
  tick_delivered: "deliver_ticks",
  cpu_availability: "deliver_cpu_availability",
  agent_runnability: "deliver_agent_runnability",
};

/** Disturbances: one run in so many. */
const DISTURBANCE_ODDS = { agent_upgrade: 4, agent_crash: 12, destroy_outside: 12 } as const;

function pick<T>(prng: Prng, values: readonly T[]): T {
  return values[prng.below(values.length)];
}

/** The run of a seed. */
export function makePlan(seed: number, options: PlanOptions): FuzzPlan {
  const prng = new Prng(seed).fork("plan");
  const abi = pick(prng, ABI_VERSIONS);
  const names = Object.keys(POLICIES);
  // Half of the runs are per-CPU FIFO; the draw is made also when the user has chosen.
  const drawn = prng.chance(1, 2) ? names[0] : pick(prng, names);
  const policy = options.policy ?? drawn;
  const { cpu_rows, enclave_cpus } = planCpus(prng, POLICIES[policy].cpu_count_min);
  const thread_count = 1 + prng.below(pick(prng, [6, 24, 60]));
  const loaded_ns = 1_000_000 * (5 + prng.below(40));
  const { fault_rates, tunables } = planFaults(prng.fork("faults"));
  const is_tight = prng.chance(1, 8);
  return {
    seed,
    abi: options.abi ?? abi,
    policy,
    cpu_rows,
    enclave_cpus,
    thread_count,
    competitor_count: prng.chance(1, 2) ? 0 : 1 + prng.below(4),
    fault_rates,
    tunables,
    disturbances: planDisturbances(prng.fork("disturbances"), loaded_ns),
    cost_percent: pick(prng, [10, 100, 100, 1000]),
    loaded_ns,
    task_capacity: is_tight ? 2 + (thread_count >> 1) : 256,
    status_word_capacity: enclave_cpus.length + (prng.chance(1, 8) ? 1 + thread_count : 512),
    queue_elem_count: 256 << prng.below(4),
  };
}

function planCpus(
  prng: Prng,
  enclave_count_min: number,
): { cpu_rows: readonly CpuRaw[]; enclave_cpus: readonly number[] } {
  const cpu_count = Math.max(enclave_count_min, 1 + prng.below(pick(prng, [2, 4, 6, 16])));
  const smt_rows = simTopology(cpu_count);
  const cpu_rows = prng.chance(1, 2) ? smt_rows : smt_rows.map((row) => ({
    ...row,
    core: row.cpu,
    smt_idx: 0,
    siblings: [row.cpu],
  }));
  const enclave_cpus = cpu_rows.map((row) => row.cpu);
  while (enclave_cpus.length > enclave_count_min && prng.chance(1, 3)) {
    enclave_cpus.splice(prng.below(enclave_cpus.length), 1);
  }
  return { cpu_rows, enclave_cpus };
}

/** Swarm testing: each fault point is on in a quarter of the runs, so that none hides others. */
function planFaults(prng: Prng): Pick<FuzzPlan, "fault_rates" | "tunables"> {
  const fault_rates: Partial<Record<FaultName, number>> = {};
  const tunables: string[] = [];
  for (const name of FAULT_NAMES) {
    const rate = pick(prng, SPECIAL_RATES[name] ?? RATES);
    if (!prng.chance(FAULT_ODDS[name] ?? 1, 4) || Object.hasOwn(DISTURBANCE_ODDS, name)) continue;
    const tunable = TUNABLE_FAULTS[name];
    if (tunable !== undefined) tunables.push(tunable);
    if (name !== "tick_delivered" && name !== "cpu_availability") fault_rates[name] = rate;
  }
  return { fault_rates, tunables };
}

function planDisturbances(prng: Prng, loaded_ns: number): Disturbance[] {
  const disturbances: Disturbance[] = [];
  for (const [fault, odds] of Object.entries(DISTURBANCE_ODDS)) {
    if (!prng.chance(1, odds)) continue;
    const count = fault === "agent_upgrade" ? 1 + prng.below(3) : 1;
    for (let number = 0; number < count; number++) {
      const time_ns = prng.below(loaded_ns);
      disturbances.push({ time_ns, fault: fault as Disturbance["fault"] });
    }
  }
  return disturbances.sort((a, b) => a.time_ns - b.time_ns);
}

/** A plan in one line. */
export function planText(plan: FuzzPlan): string {
  const faults = Object.entries(plan.fault_rates).map(([name, rate]) => `${name}=${rate}`);
  const disturbances = plan.disturbances.map(({ fault, time_ns }) => `${fault}@${time_ns}`);
  return [
    `seed ${plan.seed}: ${plan.policy}, ABI ${plan.abi}, ${plan.cpu_rows.length} CPUs, enclave`,
    `${plan.enclave_cpus.join(",")}, ${plan.thread_count} threads, ${plan.competitor_count}`,
    `competitors, ${
      plan.loaded_ns / 1e6
    } ms, costs ${plan.cost_percent} %, ${plan.task_capacity} rows,`,
    `${plan.status_word_capacity} words, ${plan.queue_elem_count} slots;`,
    [...faults, ...plan.tunables, ...disturbances].join(" ") || "no faults",
  ].join(" ");
}
