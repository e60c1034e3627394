/**
 * Boots a kernel in QEMU without KVM, with the host's files read-only under an overlay, and runs
 * jobs in it.
 *
 * @module
 */

import { OperatingError } from "../../lib/errors.ts";
import {
  type GuestJob,
  HOST_TAG,
  isTimedOut,
  type JobResult,
  kernelFaults,
  OUT_TAG,
  parseGuestLine,
  runnerScript,
} from "./guest.ts";
import { type ProcessResult, runProcess } from "./process.ts";
import type { VmTools } from "./vm_tools.ts";

/** What to run, on what. */
export interface VmOptions {
  /** The jobs, in their order. */
  readonly jobs: readonly GuestJob[];
  /** Number of CPUs. */
  readonly cpus: number;
  /** Memory, in mebibytes. */
  readonly memory_mib: number;
  /** Time for all of it, in seconds. */
  readonly timeout_s: number;
  /** Kernel to boot in place of Debian's. */
  readonly kernel_image?: string;
  /** The guest's clock counts its instructions, one a nanosecond, however slow the host is. */
  readonly is_icount?: boolean;
  /** What the machine is made of. */
  readonly tools: VmTools;
  /** Folder of the run, empty: jobs' output and logs go there. */
  readonly out: string;
  /** Folder that jobs run in. */
  readonly cwd: string;
  /** Gets each result as it comes. */
  readonly on_result?: (result: JobResult) => void;
  /** Hears what QEMU said that crashed before the guest was up; the machine is started again. */
  readonly on_crash?: (said: string) => void;
  /** Hears that the guest is up, and after what time, in milliseconds. */
  readonly on_up?: (elapsed_ms: number) => void;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** What came of a run. */
export interface VmResults {
  /** A result per job, in their order; those not reached have no status. */
  readonly jobs: readonly JobResult[];
  /** Why the guest did not end as it should; undefined if it did. */
  readonly fault: string | undefined;
  /** What the kernel's log says of the kernel's own faults. */
  readonly kernel_faults: readonly string[];
}

const SOCKET_WAIT_MS = 5000;
/** Nehalem: without AVX emulation is faster. */
const CPU_MODEL = "Nehalem";
/**
 * The virtiofs daemon writes into the guest's memory behind QEMU's back, which then goes on with
 * code that it translated from what a page held before. A kernel that clears pages when it gives
 * them out (init_on_alloc) lets QEMU see the change.
 */
const KERNEL_ARGS = "console=ttyS0 panic=-1 oops=panic quiet tsc=reliable no_timer_check " +
  "mitigations=off nokaslr audit=0 init_on_alloc=1";

/**
 * A kernel measures its time stamp counter against this timer, and believes it more than the better
 * one: on a busy host a guest's clock was once 34 times too fast, and every job out of time.
 */
const MACHINE_WITHOUT_PIT = "q35,pit=off";

/** Instructions as time take all CPUs of the guest on one thread of the host. */
const ICOUNT_ARGS: readonly string[] = [
  ...["-accel", "tcg,thread=single,tb-size=1024"],
  ...["-icount", "shift=0,sleep=off"],
];

/** Arguments of QEMU. */
export function qemuArgs(options: VmOptions, sockets: string): string[] {
  const { tools, cpus, memory_mib } = options;
  const share = (id: string, tag: string, more: string) => [
    "-chardev",
    `socket,id=${id},path=${sockets}/${tag}`,
    "-device",
    `vhost-user-fs-pci,chardev=${id},tag=${tag}${more}`,
  ];
  return [
    ...tools.firmware.flatMap((folder) => ["-L", folder]),
    ...["-M", options.kernel_image === undefined ? MACHINE_WITHOUT_PIT : "q35", "-nodefaults"],
    ...(options.is_icount ? ICOUNT_ARGS : ["-accel", "tcg,thread=multi,tb-size=1024"]),
    ...["-cpu", CPU_MODEL, "-smp", `${cpus}`, "-m", `${memory_mib}M`],
    ...["-object", `memory-backend-memfd,id=mem,size=${memory_mib}M,share=on`],
    ...["-numa", "node,memdev=mem"],
    ...share("c0", HOST_TAG, ",queue-size=1024"),
    ...share("c1", OUT_TAG, ""),
    ...["-display", "none", "-vga", "none", "-net", "none", "-no-reboot", "-monitor", "none"],
    ...["-serial", "stdio", "-kernel", options.kernel_image ?? tools.kernel_image],
    ...["-initrd", tools.initramfs, "-append", KERNEL_ARGS],
  ];
}

/** Arguments of the virtiofs daemon; the C one and the Rust one take the same. */
export function virtiofsdArgs(socket: string, folder: string, cache: "always" | "auto"): string[] {
  const options = [`source=${folder}`, "sandbox=chroot", `cache=${cache}`, "log_level=err"];
  return [`--socket-path=${socket}`, "-f", ...options.flatMap((option) => ["-o", option])];
}

/** Follows the runner's lines and keeps the results. */
class Progress {
  readonly jobs: JobResult[];
  fault: string | undefined = "the guest ended before its jobs did";
  is_up = false;
  readonly #options: VmOptions;
  readonly #serial: string[] = [];
  readonly #boot_ms = performance.now();
  #start_ms = 0;

  constructor(options: VmOptions) {
    this.#options = options;
    this.jobs = options.jobs.map(({ name }) => ({
      name,
      status: undefined,
      is_timed_out: false,
      elapsed_ms: 0,
      stdout: "",
      stderr: "",
    }));
  }

  /** What came over the serial line, the runner's lines included. */
  get serial(): string {
    return this.#serial.map((line) => `${line}\n`).join("");
  }

  take(line: string): void {
    this.#serial.push(line);
    const said = parseGuestLine(line);
    if (said === undefined) return;
    if (said.kind === "up") {
      this.is_up = true;
      this.#options.on_up?.(performance.now() - this.#boot_ms);
    }
    if (said.kind === "fail") this.fault = said.reason;
    if (said.kind === "done") this.fault = undefined;
    if (said.kind === "start") this.#start_ms = performance.now();
    if (said.kind === "end") this.#end(said.name, said.status);
  }

  #end(name: string, status: number): void {
    const index = this.jobs.findIndex((job) => job.name === name);
    if (index < 0) return;
    const elapsed_ms = performance.now() - this.#start_ms;
    this.jobs[index] = jobResult(this.#options.out, name, status, elapsed_ms);
    this.#options.on_result?.(this.jobs[index]);
  }

  /** Takes what a job wrote that the guest did not end. */
  collectUnfinished(): void {
    this.jobs.forEach((job, index) => {
      if (job.status !== undefined) return;
      this.jobs[index] = jobResult(this.#options.out, job.name, undefined, 0);
    });
  }
}

function readOptional(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function jobResult(
  out: string,
  name: string,
  status: number | undefined,
  elapsed_ms: number,
): JobResult {
  return {
    name,
    status,
    is_timed_out: isTimedOut(status),
    elapsed_ms,
    stdout: readOptional(`${out}/${name}/stdout`),
    stderr: readOptional(`${out}/${name}/stderr`),
  };
}

async function writeJobs({ jobs, out, cwd }: VmOptions): Promise<void> {
  for (const { name, script } of jobs) {
    await Deno.mkdir(`${out}/${name}`, { recursive: true });
    await Deno.writeTextFile(`${out}/${name}/script.sh`, script);
  }
  await Deno.writeTextFile(`${out}/runner.sh`, runnerScript(jobs, cwd));
}

async function waitForFile(path: string, failed: () => string | undefined): Promise<void> {
  for (const start_ms = performance.now(); performance.now() - start_ms < SOCKET_WAIT_MS;) {
    try {
      await Deno.lstat(path);
      return;
    } catch { /* not yet */ }
    const said = failed();
    if (said !== undefined) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new OperatingError(
    `the virtiofs daemon does not start (${failed() || "no socket"})`,
    "run as root: the guest sees all of the host's files",
  );
}

/** Starts the daemon for a folder; it ends with the signal, or when QEMU ends. */
async function shareFolder(
  options: VmOptions,
  args: readonly string[],
  socket: string,
  signal: AbortSignal,
): Promise<{ end: Promise<void> }> {
  let ended: string | undefined;
  const daemon = runProcess({
    command: [options.tools.virtiofsd, ...args],
    timeout_s: options.timeout_s + 30,
    env: options.tools.env,
    signal,
  }).then(
    ({ stderr }) => void (ended = stderr.trim().split("\n").at(-1)),
    () => void (ended = "stopped"),
  );
  await waitForFile(socket, () => ended);
  return { end: daemon };
}

/** Why QEMU's end was none that was wished for. */
function endFault(
  progress: Progress,
  end: { is_timed_out: boolean; stderr: string },
  timeout_s: number,
): string | undefined {
  if (end.is_timed_out) return `the guest took more than ${timeout_s} s`;
  if (progress.fault === undefined) return undefined;
  const said = end.stderr.trim().split("\n").at(-1);
  return !progress.is_up && said ? `${progress.fault} (QEMU: ${said})` : progress.fault;
}

/** What QEMU said when it was ended by a fault of its own: above this the status is a signal's. */
const SIGNAL_STATUS = 128;

function crashOf(progress: Progress, end: ProcessResult): string | undefined {
  if (progress.is_up || end.is_timed_out || end.code <= SIGNAL_STATUS) return undefined;
  return end.stderr.trim().split("\n").at(-1) ?? "";
}

/** One machine; a text if QEMU crashed before the guest was up. */
async function boot(options: VmOptions): Promise<VmResults | string> {
  const { out, tools, timeout_s } = options;
  const sockets = await Deno.makeTempDir({ prefix: "vm_" }); // a socket's path must be short
  const daemons = new AbortController();
  const running: Promise<void>[] = [];
  const stop = () => daemons.abort();
  options.signal?.addEventListener("abort", stop);
  const progress = new Progress(options);
  try {
    for (
      const [tag, folder, cache] of [[HOST_TAG, "/", "always"], [OUT_TAG, out, "auto"]] as const
    ) {
      const socket = `${sockets}/${tag}`;
      const args = virtiofsdArgs(socket, folder, cache);
      running.push((await shareFolder(options, args, socket, daemons.signal)).end);
    }
    const end = await runProcess({
      command: [tools.qemu, ...qemuArgs(options, sockets)],
      timeout_s,
      env: tools.env,
      signal: options.signal,
      on_line: (line) => progress.take(line),
    });
    const crash = crashOf(progress, end);
    if (crash !== undefined) return crash;
    progress.collectUnfinished();
    const fault = endFault(progress, end, timeout_s);
    const kernel_faults = kernelFaults(`${progress.serial}\n${readOptional(`${out}/dmesg`)}`);
    return { jobs: progress.jobs, fault, kernel_faults: [...new Set(kernel_faults)] };
  } finally {
    await Deno.writeTextFile(`${out}/serial.log`, progress.serial);
    options.signal?.removeEventListener("abort", stop);
    stop();
    await Promise.all(running);
    await Deno.remove(sockets, { recursive: true });
  }
}

/**
 * Boots, runs the jobs, and ends the machine. Should QEMU itself crash before the guest is up, it
 * is started once more: nothing has run yet.
 *
 * @param options What and on what.
 * @returns A result per job; output, serial log and the kernel's log are in the run's folder.
 * @throws {OperatingError} If the machine cannot be started.
 */
export async function runVm(options: VmOptions): Promise<VmResults> {
  await writeJobs(options);
  const first = await boot(options);
  if (typeof first !== "string") return first;
  options.on_crash?.(first);
  const second = await boot(options);
  if (typeof second !== "string") return second;
  throw new OperatingError(`QEMU crashes (${second})`, "try another version of QEMU");
}
