/**
 * Stock Linux with sched_ext as a kernel for agents: loads the scx program (bpf/) and keeps
 * enclaves on it. One process at a time can, since sched_ext takes one scheduler.
 *
 * @module
 */
import { type Abi, abiOf } from "../../ffi/abi/abi.ts";
import { HARDWARE_MEMORY, type Memory } from "../../ffi/memory.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { OperatingError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/host_files.ts";
import { assertInvariant } from "../../lib/invariant.ts";
import { Topology } from "../../lib/topology.ts";
import type { PortOpener } from "../agent_spec.ts";
import { type Capability, type CpuRaw, EBUSY, ENODEV, ENOENT, ENOSPC, ESRCH } from "../kernel.ts";
import type { RealKernel } from "../real_kernel.ts";
import { releaseLeftovers } from "./leftovers.ts";
import { ScxEnclave, type ScxShared } from "./scx_enclave.ts";
import { exitText } from "./scx_faults.ts";
import {
  SCX_CPU_COUNT,
  SCX_ENCLAVE_COUNT,
  SCX_OP,
  SCX_WORD_COUNT,
  SW_REGION_BYTES,
} from "./scx_layout.ts";
import { SCX_OPENER } from "./scx_port.ts";
import { ScxProgram } from "./scx_program.ts";

/** ABI whose layouts the program writes. */
const ABI_VERSION = 91;
/**
 * The kernel's own watchdog, for all else to fail: the most that it takes. The enclave's tunable
 * `runnable_timeout` is kept by the program itself.
 */
const WATCHDOG_MS = 30_000;
/** Queues beside one per CPU. */
const SPARE_QUEUES = 16;

/** What sched_ext can tell; what is not here, it cannot. */
export const SCX_CAPABILITIES: readonly Capability[] = [
  "group_commit",
  "sync_group",
  "greedy_commit",
  "timers",
  "priority_changed",
  "latch_failure",
  "runnable_timeout",
  "on_cpu_message",
  "cpu_not_idle",
  "cpu_availability",
  "agent_runnability",
];

/** How the kernel is opened. */
export interface ScxKernelOptions {
  /** The kernel's own watchdog in ms, at most 30,000; it may act half as late again. */
  readonly watchdog_ms?: number;
  /** Time in ns that an agent looks for work before it sleeps. */
  readonly spin_ns?: number;
  /** For tests whose threads do nothing that an agent waits for: they may be of this process. */
  readonly allows_relatives?: boolean;
  /** The loader, where this program carries none. */
  readonly loader_path?: string;
}

/** sched_ext, with the scx program loaded by this process. */
export class ScxKernel implements RealKernel {
  /** See {@linkcode Kernel.kind}. */
  readonly kind = "scx";
  /** See {@linkcode Kernel.abi}. */
  readonly abi: Abi;
  /** See {@linkcode Kernel.capabilities}. */
  readonly capabilities: ReadonlySet<Capability> = new Set(SCX_CAPABILITIES);
  /** See {@linkcode Kernel.memory}. */
  readonly memory: Memory = HARDWARE_MEMORY;
  /** See {@linkcode RealKernel.opener}. */
  readonly opener: PortOpener = SCX_OPENER;
  /** Status words of enclaves to come; fewer than there are for tests. */
  status_word_capacity: number = SCX_WORD_COUNT;
  /** The program, for its report. */
  readonly program: ScxProgram;
  readonly #cpu_rows: readonly CpuRaw[];
  readonly #shared: ScxShared;
  #is_closed = false;

  private constructor(program: ScxProgram, topology: Topology, options: ScxKernelOptions) {
    const abi = abiOf(ABI_VERSION);
    assertInvariant(abi !== undefined, `no table for ABI ${ABI_VERSION}`);
    this.abi = abi;
    this.program = program;
    this.#cpu_rows = topology.export();
    this.#shared = {
      program,
      spin_ns: options.spin_ns ?? 0,
      allows_relatives: options.allows_relatives ?? false,
      online_cpus: new Set(this.#cpu_rows.map(({ cpu }) => cpu)),
      nodes: new Set(this.#cpu_rows.map(({ numa_node }) => numa_node)),
      enclaves: new Map(),
    };
  }

  /**
   * Loads the scx program.
   *
   * @param options How.
   * @returns The kernel, or what the host lacks for it; nothing is left behind then.
   */
  static async open(options: ScxKernelOptions = {}): Promise<ScxKernel | OperatingError> {
    const topology = Topology.fromSysfs(readTextFile);
    if (topology instanceof OperatingError) return topology;
    releaseLeftovers();
    const program = await ScxProgram.load({
      queue_count: topology.export().length + SPARE_QUEUES,
      timeout_ms: options.watchdog_ms ?? WATCHDOG_MS,
      loader_path: options.loader_path,
    });
    if (program instanceof OperatingError) return program;
    return new ScxKernel(program, topology, options);
  }

  /** See {@linkcode Kernel.abiVersions}. */
  abiVersions(): readonly number[] {
    return [ABI_VERSION];
  }

  /** See {@linkcode Kernel.cpuRows}. */
  cpuRows(): readonly CpuRaw[] {
    return this.#cpu_rows;
  }

  /** See {@linkcode Kernel.nowNs}. */
  nowNs(): number {
    return loadShim().clockMonotonicNs();
  }

  /** See {@linkcode Kernel.createEnclave}. */
  createEnclave(cpus: readonly number[], abi_version: number): ScxEnclave | number {
    if (abi_version !== ABI_VERSION) return -ESRCH;
    if (!this.program.isLoaded()) return -ENODEV;
    if (cpus.some((cpu) => cpu >= SCX_CPU_COUNT)) return -ENODEV;
    const { enclaves } = this.#shared;
    if (enclaves.size === SCX_ENCLAVE_COUNT) return -ENOSPC;
    let index = 0;
    while (enclaves.has(index)) index++;
    // Words of an enclave that was there before would look like those of tasks.
    const { address, size_bytes } = this.program.region(
      "status_words",
      index * SW_REGION_BYTES,
      SW_REGION_BYTES,
    );
    new Int32Array(bufferAt(address, size_bytes)).fill(0);
    const made = this.program.call(
      SCX_OP.enclave_create,
      index,
      this.status_word_capacity,
      Deno.pid,
    );
    if (made < 0) return made === -EBUSY ? -ENOSPC : made;
    const enclave = new ScxEnclave(this.#shared, index);
    enclaves.set(index, enclave);
    const result = enclave.setCpus(cpus);
    if (result === 0) return enclave;
    enclave.destroy();
    return result;
  }

  /** See {@linkcode Kernel.attachEnclave}; enclaves of other processes cannot be had. */
  attachEnclave(id: number): ScxEnclave | number {
    const enclave = this.#shared.enclaves.get(id - 1);
    return enclave === undefined || enclave.isDestroyed() ? -ENOENT : enclave;
  }

  /** See {@linkcode Kernel.enclaveIds}. */
  enclaveIds(): readonly number[] {
    return [...this.#shared.enclaves.values()]
      .filter((enclave) => !enclave.isDestroyed())
      .map(({ id }) => id).sort((a, b) => a - b);
  }

  /** See {@linkcode RealKernel.enclaveIdOf}. */
  enclaveIdOf(path: string): number | undefined {
    const match = /^(?:scx\/)?enclave_(\d+)$/.exec(path);
    return match === null ? undefined : Number(match[1]);
  }

  /** See {@linkcode RealKernel.enclavePath}. */
  enclavePath(id: number): string {
    return `scx/enclave_${id}`;
  }

  /** Why the kernel has unloaded the program; undefined while it has not. */
  endText(): string | undefined {
    const { exit_kind, reason, message } = this.program.report();
    return exitText(exit_kind, reason, message);
  }

  /** What the kernel said of its CPUs and tasks as it unloaded the program; "" if nothing. */
  endDump(): string {
    return this.program.exitDump();
  }

  /** Ends the enclaves and unloads the program: nothing of it is left in the kernel. */
  close(): void {
    if (this.#is_closed) return;
    this.#is_closed = true;
    for (const enclave of [...this.#shared.enclaves.values()]) enclave.destroy();
    this.program.close();
  }
}

/**
 * Opens sched_ext for agents of this process.
 *
 * @param options How.
 * @returns The kernel, or what the host lacks for it and what to do.
 */
export function openScxKernel(
  options: ScxKernelOptions = {},
): Promise<RealKernel | OperatingError> {
  return ScxKernel.open(options);
}
