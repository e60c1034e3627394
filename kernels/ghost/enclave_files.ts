/**
 * The text files of one enclave in ghostfs (reference section 2.3). Nothing is mapped here, so that
 * the end of an enclave cannot take a reader with it.
 *
 * @module
 */
import { DESTROY_COMMAND } from "../../ffi/abi/abi.ts";
import { O_RDONLY, O_RDWR, O_WRONLY } from "../../ffi/linux.ts";
import { CpuList, parseCpuStr } from "../../lib/cpu_list.ts";
import { OperatingError } from "../../lib/errors.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { EINVAL } from "../kernel.ts";
import type { GhostHost } from "./ghost_host.ts";

/** Where ghostfs is mounted. */
export const GHOSTFS_PATH = "/sys/fs/ghost";

const DIRECTORY_PREFIX = "enclave_";

/** Path of an enclave's directory. */
export function enclavePath(root: string, id: number): string {
  return `${root}/${DIRECTORY_PREFIX}${id}`;
}

/** Number of the enclave at a path, or undefined if that is no enclave's path. */
export function enclaveIdOf(root: string, path: string): number | undefined {
  const bare = path.replace(/\/+$/, "");
  const name = bare.startsWith(`${root}/`) ? bare.slice(root.length + 1) : bare;
  const match = /^enclave_(\d{1,15})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Numbers of the enclaves there are, ascending; none if ghostfs is not there. */
export function listEnclaveIds(host: GhostHost, root: string): number[] {
  const names = host.listDirectory(root);
  if (typeof names === "number") return [];
  const ids = names.map((name) => enclaveIdOf(root, name)).filter((id) => id !== undefined);
  return ids.sort((a, b) => a - b);
}

/** The text of a file, which is closed again; or −errno. */
export function readFileText(host: GhostHost, dir_fd: number, path: string): string | number {
  const fd = host.openFile(dir_fd, path, O_RDONLY);
  if (fd < 0) return fd;
  const text = host.readText(fd);
  host.close(fd);
  return text;
}

/** The text files of one enclave. */
export class EnclaveFiles {
  readonly #host: GhostHost;
  readonly #dir_fd: number;
  readonly #prefix: string;

  /**
   * Opens nothing yet.
   *
   * @param host The host.
   * @param dir_fd The enclave's directory, or AT_FDCWD.
   * @param prefix Path of the directory with a slash at its end; empty if `dir_fd` is it.
   */
  constructor(host: GhostHost, dir_fd: number, prefix: string) {
    this.#host = host;
    this.#dir_fd = dir_fd;
    this.#prefix = prefix;
  }

  /** Opens a file of the enclave. */
  open(name: string, flags: number): number {
    return this.#host.openFile(this.#dir_fd, this.#prefix + name, flags);
  }

  /** The text of a file, or −errno. */
  read(name: string): string | number {
    return readFileText(this.#host, this.#dir_fd, this.#prefix + name);
  }

  /** Writes a file in one call: 0 or −errno. */
  write(name: string, text: string, flags: number = O_WRONLY): number {
    const fd = this.open(name, flags);
    if (fd < 0) return fd;
    const result = this.#host.writeText(fd, text);
    this.#host.close(fd);
    return result < 0 ? result : 0;
  }

  /** A file that holds one decimal number: the number or −errno. */
  readNumber(name: string): number {
    const text = this.read(name);
    if (typeof text === "number") return text;
    return /^-?\d+\n?$/.test(text) ? Number(text) : -EINVAL;
  }

  /** CPUs of the enclave, ascending. */
  cpus(): readonly number[] | number {
    const text = this.read("cpulist");
    if (typeof text === "number") return text;
    const list = parseCpuStr(text, MAX_CPU_COUNT);
    return list instanceof OperatingError ? -EINVAL : list.toIntVector();
  }

  /** Replaces the CPUs: 0 or −errno. */
  setCpus(cpus: readonly number[]): number {
    if (cpus.some((cpu) => !Number.isInteger(cpu) || cpu < 0 || cpu >= MAX_CPU_COUNT)) {
      return -EINVAL;
    }
    return this.write("cpumask", CpuList.from(cpus).cpuMaskStr(), O_RDWR);
  }

  /** Threads in the enclave, agents excluded. */
  taskTids(): readonly number[] | number {
    const text = this.read("tasks");
    if (typeof text === "number") return text;
    return text.split("\n").filter((line) => line !== "").map(Number);
  }

  /** True while an agent process is online. */
  isOnline(): boolean | number {
    const value = this.readNumber("agent_online");
    return value < 0 ? value : value !== 0;
  }

  /** Moves a thread into the enclave: 0 or −errno. */
  join(tid: number): number {
    return this.write("tasks", String(tid));
  }

  /** Destroys the enclave: 0 or −errno. */
  destroy(): number {
    return this.write("ctl", DESTROY_COMMAND, O_RDWR);
  }
}
