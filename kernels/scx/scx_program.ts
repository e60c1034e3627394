/**
 * The scx program in the kernel, held by this process: its loader is run, copies of its descriptors
 * are taken, and the program is unloaded when they are closed, whatever ends this process.
 *
 * @module
 */
import { check, SystemError } from "../../ffi/errors.ts";
import {
  F_ADD_SEALS,
  MAP_SHARED,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  PROT_READ,
  PROT_WRITE,
} from "../../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { loadScx, scxImage } from "../../ffi/scx.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { cString } from "../../ffi/symbols.ts";
import { OperatingError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/host_files.ts";
import type { MemoryRegion } from "../agent_spec.ts";
import { isPreemptRt } from "../choose.ts";
import { loadFault } from "./scx_faults.ts";
import { EXIT_DUMP_BYTES, readReport, REPORT_BYTES, type ScxReport, textAt } from "./scx_layout.ts";

/** How the program is loaded. */
export interface ScxProgramOptions {
  /** Queues that can be made. */
  readonly queue_count: number;
  /** The kernel's own watchdog: a runnable thread waits at most so long, and half as long again. */
  readonly timeout_ms: number;
  /** The loader, where this program carries none. */
  readonly loader_path?: string;
}

const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
const SCX_OPS_PATH = "/sys/kernel/sched_ext/root/ops";
const RELEASE_PATH = "/proc/sys/kernel/osrelease";
const LOAD_TIMEOUT_MS = 120_000;
const SEAL_ALL = 0xf;
const PAGE_BYTES = 4096;

function memfdOf(image: Uint8Array<ArrayBuffer>): number {
  const { memfdCreate, write, fcntl } = loadShim();
  const fd = check(
    "memfd_create",
    memfdCreate(cString("scx_loader"), MFD_CLOEXEC | MFD_ALLOW_SEALING),
  );
  for (let at = 0; at < image.length;) {
    at += check("write", write(fd, image.subarray(at), image.length - at));
  }
  check("fcntl", fcntl(fd, F_ADD_SEALS, SEAL_ALL));
  return fd;
}

/** Copies of the descriptors that the loader names; closes those it took if one fails. */
function copyDescriptors(pid: number, lines: readonly string[]): Map<string, number> {
  const { syscall, close } = loadShim();
  const pidfd = check("pidfd_open", syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0, 0));
  const fds = new Map<string, number>();
  try {
    for (const line of lines) {
      const [word, name, fd] = line.split(" ");
      if (word !== "fd") continue;
      const copy = syscall(SYS_PIDFD_GETFD, pidfd, Number(fd), 0, 0, 0, 0);
      fds.set(name, check("pidfd_getfd", copy));
    }
    return fds;
  } catch (error) {
    for (const fd of fds.values()) close(fd);
    throw error;
  } finally {
    close(pidfd);
  }
}

/** Reads lines until one says "ready" or there are no more. */
async function readLines(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const lines: string[] = [];
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as ReadableWritable)) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    if (lines.includes("ready")) break;
  }
  return lines;
}

type ReadableWritable = ReadableWritablePair<string, Uint8Array>;

/** Runs the loader; the descriptors, or what it wrote on stderr. */
async function runLoader(path: string, options: ScxProgramOptions): Promise<
  Map<string, number> | string
> {
  const child = new Deno.Command(path, {
    args: [String(options.queue_count), String(options.timeout_ms)],
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), LOAD_TIMEOUT_MS);
  const said = new Response(child.stderr).text();
  try {
    const lines = await readLines(child.stdout);
    if (!lines.includes("ready")) return await said;
    return copyDescriptors(child.pid, lines);
  } finally {
    await child.stdin.close();
    await child.status;
    await said;
    clearTimeout(timer);
  }
}

/** Where the loader is: carried by this program, or built in a clone. */
function findLoader(explicit: string | undefined): { path: string; fd: number } | OperatingError {
  if (explicit !== undefined) return { path: explicit, fd: -1 };
  const image = scxImage();
  if (image !== undefined) {
    const fd = memfdOf(image);
    return { path: `/proc/${Deno.pid}/fd/${fd}`, fd };
  }
  const url = new URL("../../native/build/scx_loader", import.meta.url);
  try {
    if (url.protocol === "file:" && Deno.statSync(url).isFile) {
      return { path: decodeURIComponent(url.pathname), fd: -1 };
    }
  } catch { /* not built */ }
  return new OperatingError(
    "this program was made without the scx program in it",
    "make it where `deno task compile` finds clang and libbpf 1.2 or later; it says so there",
  );
}

/** The scx program, loaded and attached. */
export class ScxProgram {
  /** Descriptors of maps, programs and links by name. */
  readonly fds: ReadonlyMap<string, number>;
  readonly #regions = new Map<string, MemoryRegion>();
  #report: Uint8Array | undefined;
  #exit_kind: Int32Array = new Int32Array(1);

  private constructor(fds: ReadonlyMap<string, number>) {
    this.fds = fds;
  }

  /**
   * Loads and attaches it.
   *
   * @param options How.
   * @returns The program, or why the host refuses it; nothing is left behind then.
   */
  static async load(options: ScxProgramOptions): Promise<ScxProgram | OperatingError> {
    const loader = findLoader(options.loader_path);
    if (loader instanceof OperatingError) return loader;
    let result: Map<string, number> | string;
    try {
      result = await runLoader(loader.path, options);
    } catch (error) {
      if (!(error instanceof SystemError) && !(error instanceof Deno.errors.PermissionDenied)) {
        throw error;
      }
      const cure = "run as root; a seccomp filter of a container may forbid it";
      return new OperatingError(`cannot take the scx program over (${error.message})`, cure);
    } finally {
      if (loader.fd >= 0) loadShim().close(loader.fd);
    }
    if (typeof result !== "string") return new ScxProgram(result);
    return loadFault({
      text: result,
      release: readTextFile(RELEASE_PATH)?.trim() ?? "unknown",
      loaded_ops: readTextFile(SCX_OPS_PATH)?.trim() ?? "",
      is_rt: isPreemptRt(readTextFile),
    });
  }

  /** Descriptor of a map, program or link. */
  fd(name: string): number {
    const fd = this.fds.get(name);
    if (fd === undefined) throw new SystemError("the scx program has no", 2, name);
    return fd;
  }

  /**
   * Maps a part of a map's values; the same part is mapped once.
   *
   * @param name The map.
   * @param offset_bytes Where the part begins; at a page.
   * @param size_bytes How long it is.
   * @returns Where it is.
   */
  region(name: string, offset_bytes: number, size_bytes: number): MemoryRegion {
    const key = `${name} ${offset_bytes} ${size_bytes}`;
    const known = this.#regions.get(key);
    if (known !== undefined) return known;
    const whole_bytes = Math.ceil(size_bytes / PAGE_BYTES) * PAGE_BYTES;
    const address = check(
      "mmap",
      loadShim().mmap(
        0,
        whole_bytes,
        PROT_READ | PROT_WRITE,
        MAP_SHARED,
        this.fd(name),
        offset_bytes,
      ),
    );
    const region = { address, size_bytes };
    this.#regions.set(key, region);
    return region;
  }

  /** Gives a part back that {@linkcode region} has mapped; no view of it may be used any more. */
  unmap(name: string, offset_bytes: number, size_bytes: number): void {
    const key = `${name} ${offset_bytes} ${size_bytes}`;
    const region = this.#regions.get(key);
    if (region === undefined) return;
    this.#regions.delete(key);
    loadShim().munmap(region.address, Math.ceil(size_bytes / PAGE_BYTES) * PAGE_BYTES);
  }

  /** One call of the control program. */
  call(op: number, enclave: number, a = 0, b = 0, lo = 0, hi = 0): number {
    return loadScx().call(this.fd("ghost_control"), op, enclave, a, b, lo, hi);
  }

  #reportBytes(): Uint8Array {
    if (this.#report === undefined) {
      const { address } = this.region("report", 0, PAGE_BYTES);
      this.#report = new Uint8Array(bufferAt(address, REPORT_BYTES));
      this.#exit_kind = new Int32Array(this.#report.buffer, 0, 1);
    }
    return this.#report;
  }

  /** What the program has counted, and why it was unloaded if it was. */
  report(): ScxReport {
    return readReport(this.#reportBytes());
  }

  /** What the kernel said of its CPUs and tasks when it unloaded the program; "" if nothing. */
  exitDump(): string {
    const { address } = this.region("exit_dump", 0, EXIT_DUMP_BYTES);
    return textAt(new Uint8Array(bufferAt(address, EXIT_DUMP_BYTES)), 0, EXIT_DUMP_BYTES);
  }

  /** True until the kernel has unloaded it. */
  isLoaded(): boolean {
    this.#reportBytes();
    return HARDWARE_MEMORY.acquire(this.#exit_kind, 0) === 0;
  }

  /** Unloads it: threads go on under the default scheduler. The mappings stay. */
  close(): void {
    const { close } = loadShim();
    const links = [...this.fds.keys()].filter((name) => name.endsWith("_link"));
    const rest = [...this.fds.keys()].filter((name) => !links.includes(name));
    for (const name of [...links, ...rest]) close(this.fd(name));
  }
}
