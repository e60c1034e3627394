/**
 * The ghOSt kernel behind the {@linkcode RealKernel} contract: opened on ghostfs, in the best ABI
 * version that both sides speak (reference sections 2.1 to 2.4).
 *
 * @module
 */
import {
  type Abi,
  ABI_VERSIONS,
  abiOf,
  type AbiVersion,
  bestCommonAbi,
  createCommand,
} from "../../ffi/abi/abi.ts";
import { AT_FDCWD, CAP_SYS_NICE, O_WRONLY } from "../../ffi/linux.ts";
import { HARDWARE_MEMORY, type Memory } from "../../ffi/memory.ts";
import { OperatingError } from "../../lib/errors.ts";
import type { ReadText } from "../../lib/host_files.ts";
import { Topology } from "../../lib/topology.ts";
import type { PortOpener } from "../agent_spec.ts";
import { type Capability, type CpuRaw, EACCES, EBUSY, EEXIST, ENOENT, ESRCH } from "../kernel.ts";
import type { RealKernel } from "../real_kernel.ts";
import { ghostCapabilities } from "./capabilities.ts";
import {
  EnclaveFiles,
  enclaveIdOf,
  enclavePath,
  GHOSTFS_PATH,
  listEnclaveIds,
  readFileText,
} from "./enclave_files.ts";
import { GhostEnclave } from "./ghost_enclave.ts";
import { abiUnknown, cannotMount, noGhostfs, notPermitted } from "./ghost_errors.ts";
import type { GhostHost } from "./ghost_host.ts";
import { GHOST_OPENER } from "./ghost_port.ts";
import { shimHost } from "./shim_host.ts";

/** A destroyed enclave gives its CPUs back a moment later: so often they are asked for. */
const CPU_TRIES = 10;
const CPU_RETRY_MS = 50;

/** How the ghOSt kernel is opened. */
export interface GhostKernelOptions {
  /** The host; the real one unless a test gives another. */
  readonly host?: GhostHost;
  /** How threads become agents; must be given with a host that is not the real one. */
  readonly opener?: PortOpener;
  /** Where ghostfs is mounted. */
  readonly root?: string;
  /** The host's CPUs; read from sysfs if not given. */
  readonly cpu_rows?: readonly CpuRaw[];
  /** ABI version to speak; the newest that both sides know if not given. */
  readonly abi_version?: number;
  /** NUMA node of new status words. */
  readonly numa_node?: number;
}

interface KernelParts {
  readonly host: GhostHost;
  readonly opener: PortOpener;
  readonly root: string;
  readonly abi: Abi;
  readonly versions: readonly number[];
  readonly cpu_rows: readonly CpuRaw[];
  readonly numa_node: number;
}

/** The ghOSt kernel of this host. */
export class GhostKernel implements RealKernel {
  /** See {@linkcode Kernel.kind}. */
  readonly kind = "ghost";
  /** See {@linkcode Kernel.memory}. */
  readonly memory: Memory = HARDWARE_MEMORY;
  /** See {@linkcode RealKernel.opener}. */
  readonly opener: PortOpener;
  readonly #parts: KernelParts;
  readonly #enclaves: GhostEnclave[] = [];
  #abi: Abi;

  /** Made by {@linkcode openGhostKernel}. */
  constructor(parts: KernelParts) {
    this.#parts = parts;
    this.#abi = parts.abi;
    this.opener = parts.opener;
  }

  /** See {@linkcode Kernel.abi}: the newest in common, or that of the enclave attached first. */
  get abi(): Abi {
    return this.#abi;
  }

  /** See {@linkcode Kernel.capabilities}. */
  get capabilities(): ReadonlySet<Capability> {
    return ghostCapabilities(this.#abi);
  }

  /** See {@linkcode Kernel.abiVersions}. */
  abiVersions(): readonly number[] {
    return this.#parts.versions;
  }

  /** See {@linkcode Kernel.cpuRows}. */
  cpuRows(): readonly CpuRaw[] {
    return this.#parts.cpu_rows;
  }

  /** See {@linkcode Kernel.nowNs}. */
  nowNs(): number {
    return this.#parts.host.nowNs();
  }

  /** See {@linkcode Kernel.createEnclave}. */
  createEnclave(cpus: readonly number[], abi_version: number): GhostEnclave | number {
    if (abi_version !== this.abi.version) return -ESRCH;
    const id = this.#makeEnclave(this.abi.version);
    if (id < 0) return id;
    const enclave = this.attachEnclave(id);
    if (typeof enclave === "number") {
      this.#files(id).destroy();
      return enclave;
    }
    const result = this.#giveCpus(enclave, cpus);
    if (result >= 0) return enclave;
    enclave.destroy();
    this.#forget(enclave);
    return result;
  }

  /** Makes the enclave with the lowest free number: the number or −errno. */
  #makeEnclave(version: AbiVersion): number {
    const { host, root } = this.#parts;
    const fd = host.openFile(AT_FDCWD, `${root}/ctl`, O_WRONLY);
    if (fd < 0) return fd;
    let id = 0;
    let result = -EEXIST;
    while (result === -EEXIST) result = host.writeText(fd, createCommand(++id, version));
    host.close(fd);
    return result < 0 ? result : id;
  }

  #giveCpus(enclave: GhostEnclave, cpus: readonly number[]): number {
    let result = enclave.setCpus(cpus);
    for (let n = 1; n < CPU_TRIES && result === -EBUSY; n++) {
      this.#parts.host.sleepMs(CPU_RETRY_MS);
      result = enclave.setCpus(cpus);
    }
    return result;
  }

  #files(id: number): EnclaveFiles {
    const { host, root } = this.#parts;
    return new EnclaveFiles(host, AT_FDCWD, `${enclavePath(root, id)}/`);
  }

  #forget(enclave: GhostEnclave): void {
    enclave.release();
    this.#enclaves.splice(this.#enclaves.indexOf(enclave), 1);
  }

  /**
   * See {@linkcode Kernel.attachEnclave}. The first enclave decides which ABI is spoken, if the
   * kernel offers several; −ESRCH if the enclave has one that this program does not speak.
   */
  attachEnclave(id: number): GhostEnclave | number {
    let abi: Abi | undefined = this.#abi;
    let enclave = this.#open(id, abi);
    if (enclave === -ESRCH && this.#enclaves.length === 0) {
      abi = abiOf(this.#files(id).readNumber("abi_version"));
      if (abi !== undefined) enclave = this.#open(id, abi);
    }
    if (typeof enclave === "number" || abi === undefined) return enclave;
    this.#abi = abi;
    this.#enclaves.push(enclave);
    return enclave;
  }

  #open(id: number, abi: Abi): GhostEnclave | number {
    const { host, root, numa_node } = this.#parts;
    return GhostEnclave.open({ host, root, id, abi, numa_node });
  }

  /** See {@linkcode Kernel.enclaveIds}. */
  enclaveIds(): readonly number[] {
    return listEnclaveIds(this.#parts.host, this.#parts.root);
  }

  /** See {@linkcode RealKernel.enclaveIdOf}. */
  enclaveIdOf(path: string): number | undefined {
    return enclaveIdOf(this.#parts.root, path);
  }

  /** See {@linkcode RealKernel.enclavePath}. */
  enclavePath(id: number): string {
    return enclavePath(this.#parts.root, id);
  }

  /** See {@linkcode RealKernel.close}. */
  close(): void {
    for (const enclave of this.#enclaves.splice(0)) enclave.release();
  }
}

/** Versions that the kernel offers; ghostfs is mounted where it is not. */
function readVersions(host: GhostHost, root: string): readonly number[] | OperatingError {
  const path = `${root}/version`;
  let text = readFileText(host, AT_FDCWD, path);
  if (text === -ENOENT) {
    const filesystems = readFileText(host, AT_FDCWD, "/proc/filesystems");
    if (typeof filesystems === "number" || !/^nodev\tghost$/m.test(filesystems)) {
      return noGhostfs(root);
    }
    const mounted = host.mountGhostfs(root);
    if (mounted < 0 && mounted !== -EBUSY) return cannotMount(root, mounted);
    text = readFileText(host, AT_FDCWD, path);
  }
  if (typeof text === "number") {
    return text === -ENOENT ? noGhostfs(root) : notPermitted(`reading ${path}`);
  }
  return text.split("\n").filter((line) => line !== "").map(Number);
}

/** Why this user may not run agents, or undefined. */
function permissionFault(host: GhostHost, root: string): OperatingError | undefined {
  const status = readFileText(host, AT_FDCWD, "/proc/self/status");
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(typeof status === "string" ? status : "");
  const bit = 1n << BigInt(CAP_SYS_NICE);
  if (effective !== null && (BigInt(`0x${effective[1]}`) & bit) === 0n) {
    return notPermitted("agents need CAP_SYS_NICE");
  }
  const fd = host.openFile(AT_FDCWD, `${root}/ctl`, O_WRONLY);
  if (fd >= 0) host.close(fd);
  return fd === -EACCES ? notPermitted(`writing ${root}/ctl`) : undefined;
}

function chooseAbi(
  versions: readonly number[],
  wanted: number | undefined,
): Abi | OperatingError {
  const offered = wanted === undefined ? versions : versions.filter((each) => each === wanted);
  return bestCommonAbi(offered) ??
    abiUnknown(versions, wanted === undefined ? ABI_VERSIONS : [wanted]);
}

function readTopology(host: GhostHost): readonly CpuRaw[] | OperatingError {
  const read: ReadText = (path) => {
    const text = readFileText(host, AT_FDCWD, path);
    return typeof text === "number" ? undefined : text;
  };
  const topology = Topology.fromSysfs(read);
  return topology instanceof OperatingError ? topology : topology.export();
}

/**
 * Opens the ghOSt kernel of this host.
 *
 * @param options Which parts are not the usual ones.
 * @returns The kernel; or what is wrong and how to mend it: no ghOSt, ghostfs cannot be mounted, no
 * right to run agents, no ABI version in common, no such enclave.
 */
export function openGhostKernel(options: GhostKernelOptions = {}): GhostKernel | OperatingError {
  const host = options.host ?? shimHost();
  const root = options.root ?? GHOSTFS_PATH;
  const versions = readVersions(host, root);
  if (versions instanceof OperatingError) return versions;
  const abi = chooseAbi(versions, options.abi_version);
  if (abi instanceof OperatingError) return abi;
  const not_permitted = permissionFault(host, root);
  if (not_permitted !== undefined) return not_permitted;
  const cpu_rows = options.cpu_rows ?? readTopology(host);
  if (cpu_rows instanceof OperatingError) return cpu_rows;
  const numa_node = options.numa_node ?? 0;
  const opener = options.opener ?? GHOST_OPENER;
  return new GhostKernel({ host, opener, root, abi, versions, cpu_rows, numa_node });
}
