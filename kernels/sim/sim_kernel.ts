/**
 * The simulated kernel: a machine in virtual time behind the {@linkcode Kernel} contract. No
 * privilege, no native code, and the same run for the same seed on any computer.
 *
 * @module
 */
import { type Abi, ABI_VERSIONS, abiOf } from "../../ffi/abi/abi.ts";
import { MAX_CPU_COUNT, MAX_STATUS_WORD_COUNT } from "../../lib/limits.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import { Prng } from "../../lib/prng.ts";
import {
  type Capability,
  type CpuRaw,
  type EnclaveControl,
  ENOENT,
  ESRCH,
  type Kernel,
} from "../kernel.ts";
import { DEFAULT_COSTS, type SimCosts } from "./costs.ts";
import { SimEnclave } from "./enclave.ts";
import { type FaultName, FaultTable } from "./faults.ts";
import { SimMachine } from "./machine.ts";
import type { RuleName } from "./rules.ts";
import { SimMemory } from "./sim_memory.ts";
import { simTopology } from "./sim_topology.ts";

/** Parameters of a simulated kernel. */
export interface SimKernelOptions {
  /** CPUs: a number of them, or rows as a host describes them. */
  readonly cpus: number | readonly CpuRaw[];
  /** Seed of everything that is random. */
  readonly seed?: number;
  /** ABI version that the kernel speaks. */
  readonly abi_version?: number;
  /** What operations cost. */
  readonly costs?: SimCosts;
  /** Fault points: chance per opportunity in 1/10000. */
  readonly faults?: Readonly<Partial<Record<FaultName, number>>>;
  /** A rule this kernel does not have. */
  readonly mutant?: RuleName;
  /** CPUs that are there but off. */
  readonly offline_cpus?: readonly number[];
  /** Status words per region. */
  readonly status_word_capacity?: number;
}

/** Whether a kernel that is no mutant has a rule. One function for all, which V8 compiles in. */
function everyRule(): boolean {
  return true;
}

/** The simulated kernel. */
export class SimKernel implements Kernel {
  /** See {@linkcode Kernel.kind}. */
  readonly kind = "sim";
  /** See {@linkcode Kernel.abi}. */
  readonly abi: Abi;
  /** See {@linkcode Kernel.capabilities}. */
  readonly capabilities: ReadonlySet<Capability>;
  /** See {@linkcode Kernel.memory}. */
  readonly memory: SimMemory;
  /** The machine; tests and hosts drive it. */
  readonly machine: SimMachine;
  /** Fault points and their hits. */
  readonly faults: FaultTable;
  /** Random numbers of this run. */
  readonly prng: Prng;
  readonly #rows: readonly CpuRaw[];
  readonly #enclaves = new Map<number, SimEnclave>();
  readonly #mutant: RuleName | undefined;
  readonly #status_word_capacity: number;

  /**
   * Boots a kernel on a simulated machine of its own.
   *
   * @param options Parameters.
   */
  constructor(options: SimKernelOptions) {
    const abi = abiOf(options.abi_version ?? 91);
    assertInvariant(abi !== undefined, `no table for ABI ${options.abi_version}`);
    this.abi = abi;
    this.#rows = typeof options.cpus === "number" ? simTopology(options.cpus) : options.cpus;
    assertInvariant(this.#rows.length <= MAX_CPU_COUNT, "too many CPUs");
    this.#mutant = options.mutant;
    this.#status_word_capacity = options.status_word_capacity ?? MAX_STATUS_WORD_COUNT;
    this.prng = new Prng(options.seed ?? 1);
    this.faults = new FaultTable(this.prng.fork("faults"), options.faults ?? {});
    const mutant = this.#mutant;
    this.machine = new SimMachine({
      abi,
      costs: options.costs ?? DEFAULT_COSTS,
      cpu_count: this.#rows.length,
      node_count: 1 + Math.max(...this.#rows.map((row) => row.numa_node)),
      faults: this.faults,
      has_rule: mutant === undefined ? everyRule : (name) => name !== mutant,
    });
    for (const cpu of options.offline_cpus ?? []) this.machine.cpus[cpu].online = false;
    this.memory = new SimMemory();
    this.#installReadFaults();
    this.capabilities = new Set(capabilitiesOf(abi));
  }

  #installReadFaults(): void {
    const active = this.faults.enabled("read_interleave") ||
      this.faults.enabled("read_task_preempt");
    if (!active) return;
    this.memory.before_read = (words) => {
      if (!this.machine.isKernelMemory(words)) return;
      this.machine.injector.beforeRead();
    };
  }

  /** See {@linkcode Kernel.abiVersions}. */
  abiVersions(): readonly number[] {
    return [this.abi.version];
  }

  /** See {@linkcode Kernel.cpuRows}. */
  cpuRows(): readonly CpuRaw[] {
    return this.#rows;
  }

  /** See {@linkcode Kernel.nowNs}. */
  nowNs(): number {
    return this.machine.now_ns;
  }

  /** See {@linkcode Kernel.createEnclave}. */
  createEnclave(cpus: readonly number[], abi_version: number): SimEnclave | number {
    const wrong_abi = abi_version !== this.abi.version || !knownAbi(abi_version);
    if (wrong_abi && this.#mutant !== "enclave.abi") return -ESRCH;
    let id = 1;
    while (this.#enclaves.has(id)) id++;
    const enclave = new SimEnclave(this.machine, id, this.abi, this.#status_word_capacity);
    const result = enclave.setCpus(cpus);
    if (result < 0) return result;
    this.#enclaves.set(id, enclave);
    this.machine.addKernelMemory(enclave.cpu_data);
    this.machine.addKernelMemory(enclave.status_words);
    return enclave;
  }

  /** See {@linkcode Kernel.attachEnclave}. */
  attachEnclave(id: number): EnclaveControl | number {
    const enclave = this.#enclaves.get(id);
    if (enclave !== undefined && !enclave.isDestroyed()) return enclave;
    if (this.#mutant === "enclave.unknown") return this.#enclaves.values().next().value ?? 0;
    return -ENOENT;
  }

  /** See {@linkcode Kernel.enclaveIds}. */
  enclaveIds(): readonly number[] {
    return [...this.#enclaves].filter(([, enclave]) => !enclave.isDestroyed()).map(([id]) => id);
  }
}

function knownAbi(version: number): boolean {
  return ABI_VERSIONS.some((known) => known === version);
}

function capabilitiesOf(abi: Abi): Capability[] {
  const always: Capability[] = [
    "group_commit",
    "sync_group",
    "greedy_commit",
    "ticks",
    "timers",
    "switchto",
    "on_cpu_message",
    "cpu_not_idle",
    "upgrade",
    "runnable_timeout",
  ];
  const modern: Capability[] = [
    "priority_changed",
    "latch_failure",
    "cpu_availability",
    "agent_runnability",
  ];
  return abi.version >= 84 ? [...always, ...modern] : always;
}
