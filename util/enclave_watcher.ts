/**
 * `enclave_watcher`: measures how long an enclave is without agents when they are replaced. Flags
 * and texts are upstream's, reference section 7.
 *
 * Waits for `agent_online` as kernfs wants it: read, then poll for POLLPRI. Where the file is an
 * ordinary one, which polling tells nothing of, it is read again every millisecond; so any folder
 * with the two files does.
 *
 * @module
 */
import { check, ShimError, SystemError } from "../ffi/errors.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, POLLPRI } from "../ffi/linux.ts";
import { loadShim, type Shim } from "../ffi/shim.ts";
import { cString } from "../ffi/symbols.ts";
import { EXIT_FAILURE, EXIT_USAGE, OperatingError, UsageError } from "../lib/errors.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "./flags.ts";

const PROGRAM = "enclave_watcher";
const RETRY_NS = 1_000_000;
const NS_PER_MS = 1_000_000;
const NS_PER_US = 1_000;
const READ_BYTES = 4096;
const PID_MAX = 4_194_304;

const FLAGS: readonly Flag[] = [
  { name: "enclave", value: "DIR", fallback: "", help: "enclave to watch; required" },
  { name: "agent_pid", value: "PID", fallback: "-1", help: "agent to end once it is online" },
  { name: "sigkill", help: "end it with SIGKILL instead of SIGINT" },
  { name: "help", help: "print this" },
];

/** What the watcher sees of an enclave, and does to its agent. */
export interface WatchedEnclave {
  /** Text of `agent_online`. */
  readAgentOnline(): string;
  /** Sleeps until `agent_online` was changed after it was last read, or a millisecond is over. */
  awaitChange(): boolean;
  /** Text of `status`. */
  readStatus(): string;
  /** Sends the agent its signal. */
  signalAgent(pid: number, signal: Deno.Signal): void;
  /** Now, in nanoseconds. */
  nowNs(): number;
}

/** What the watcher is asked to do. */
export interface WatchRequest {
  /** Process of the agent that it ends; -1: it only watches. */
  readonly agent_pid: number;
  /** The signal that ends it. */
  readonly signal: Deno.Signal;
}

/** Waits until `agent_online` is, or for a moment was, `wanted`. */
function waitForAgentOnline(enclave: WatchedEnclave, wanted: "0" | "1"): void {
  for (;;) {
    if (enclave.readAgentOnline().trim() === wanted) return;
    // The file holds 0 or 1: if it was changed, then to what is wanted, even if only for a moment.
    if (enclave.awaitChange()) {
      enclave.readAgentOnline(); // fails if the change is the end of the enclave
      return;
    }
  }
}

/** Number of tasks that a `status` file tells. */
function taskCount(status: string): number {
  return Number(/^nr_tasks (\d+)$/m.exec(status)?.[1] ?? 0);
}

/**
 * Waits until the agents of an enclave leave and others come.
 *
 * @param enclave The enclave.
 * @param request What to do meanwhile.
 * @returns The lines of the result.
 * @throws What the enclave's functions throw.
 */
export function watch(enclave: WatchedEnclave, { agent_pid, signal }: WatchRequest): string[] {
  waitForAgentOnline(enclave, "1");
  const kill_ns = enclave.nowNs();
  if (agent_pid > 0) enclave.signalAgent(agent_pid, signal);
  waitForAgentOnline(enclave, "0");
  const offline_ns = enclave.nowNs();
  waitForAgentOnline(enclave, "1");
  const blackout_ns = enclave.nowNs() - offline_ns;
  const task_count = taskCount(enclave.readStatus());
  const msec = Math.floor(blackout_ns / NS_PER_MS);
  const usec = Math.floor(blackout_ns / Math.max(task_count, 1) / NS_PER_US);
  const lines = [
    `Watcher measured blackout of : ${msec} msec, ~${usec} usec per task (${task_count} tasks)`,
  ];
  if (agent_pid > 0) {
    const until_offline_ms = Math.floor((offline_ns - kill_ns) / NS_PER_MS);
    lines.push(`Watcher kill-to-agent_offline : ${until_offline_ms} msec`);
  }
  return lines;
}

/** An enclave's folder. */
class EnclaveFolder implements WatchedEnclave {
  readonly #shim: Shim;
  readonly #online_fd: number;
  readonly #status_fd: number;
  readonly #buffer = new Uint8Array(READ_BYTES);

  constructor(path: string) {
    this.#shim = loadShim();
    this.#online_fd = this.#open(`${path}/agent_online`);
    this.#status_fd = this.#open(`${path}/status`);
  }

  #open(path: string): number {
    const fd = this.#shim.openat(AT_FDCWD, cString(path), O_RDONLY | O_CLOEXEC, 0);
    return check("openat", fd, path);
  }

  #read(fd: number, name: string): string {
    const count = check("read", this.#shim.pread(fd, this.#buffer, READ_BYTES, 0), name);
    return new TextDecoder().decode(this.#buffer.subarray(0, count));
  }

  readAgentOnline(): string {
    return this.#read(this.#online_fd, "agent_online");
  }

  awaitChange(): boolean {
    const events = check("poll", this.#shim.poll(this.#online_fd, POLLPRI, RETRY_NS));
    return (events & POLLPRI) !== 0;
  }

  readStatus(): string {
    return this.#read(this.#status_fd, "status");
  }

  signalAgent(pid: number, signal: Deno.Signal): void {
    Deno.kill(pid, signal);
  }

  nowNs(): number {
    return this.#shim.clockMonotonicNs();
  }
}

/** The request that the flags make. */
function requestOf(flags: FlagValues): WatchRequest | UsageError {
  const signal = flags.has("sigkill") ? "SIGKILL" : "SIGINT";
  if (flags.text("agent_pid") === "-1") return { agent_pid: -1, signal };
  const agent_pid = flags.integer("agent_pid", 1, PID_MAX);
  return agent_pid instanceof UsageError ? agent_pid : { agent_pid, signal };
}

/** Watches a folder; a failure that the user can mend comes back as a value. */
function watchFolder(path: string, request: WatchRequest): string[] | OperatingError {
  try {
    return watch(new EnclaveFolder(path), request);
  } catch (error) {
    if (error instanceof SystemError) {
      return new OperatingError(
        `${error.message.split(":")[0]}`,
        error.errno_name === "ENODEV" ? "the enclave was destroyed; watch another" : error.cure,
      );
    }
    if (error instanceof ShimError) {
      return new OperatingError("the native library cannot be loaded", error.message);
    }
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return new OperatingError(
        `cannot signal process ${request.agent_pid} (${error.name})`,
        "check --agent_pid, and run as root or as the agent's user",
      );
    }
    throw error;
  }
}

/**
 * Runs it.
 *
 * @param args Arguments; `--help` explains them.
 * @returns The exit status.
 */
export function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args, PROGRAM);
  if (flags instanceof UsageError) return failed(flags.message, EXIT_USAGE);
  if (flags.has("help")) {
    console.log(
      `${PROGRAM}: measures how long an enclave is without agents while they are replaced\n\n` +
        `usage: ${PROGRAM} --enclave DIR [FLAGS]\n\n${flagsHelp(FLAGS).trimEnd()}`,
    );
    return Promise.resolve(0);
  }
  const request = requestOf(flags);
  if (request instanceof UsageError) return failed(request.message, EXIT_USAGE);
  const path = flags.text("enclave");
  if (path === "") {
    console.error("need an enclave path, e.g. --enclave /sys/fs/ghost/enclave_1/");
    return Promise.resolve(EXIT_FAILURE);
  }
  const lines = watchFolder(path, request);
  if (lines instanceof OperatingError) return failed(lines.message, EXIT_FAILURE);
  lines.forEach((line) => console.log(line));
  return Promise.resolve(0);
}

function failed(text: string, status: number): Promise<number> {
  console.error(`${PROGRAM}: ${text}`);
  return Promise.resolve(status);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
