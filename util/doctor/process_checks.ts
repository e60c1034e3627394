/**
 * Checks of what this process may do: user, capabilities, limits, memory, swap. The needs are
 * figures measured with Deno 2.9: 7 descriptors and 8 MB per Worker, 111 MiB of file mappings.
 *
 * @module
 */
import type { ReadText } from "../../lib/host_files.ts";
import { MAILBOX_SLOT_COUNT, MAX_TASK_COUNT, QUEUE_ELEM_COUNT } from "../../lib/limits.ts";
import { type Check, fail, type Host, ok, REAL_KERNELS, type RealKernel, warn } from "./check.ts";

const MIB = 1024 * 1024;
/** What the file mappings and shared regions of an agent take when locked. */
const LOCKED_BYTES = 128 * MIB;
/** Memory of a process without Workers. */
const BASE_BYTES = 48 * MIB;
const WORKER_BYTES = 8 * MIB;
/** Of each CPU of an enclave: its message queue and its part of the agents' shared state. */
const CPU_BYTES = 8 * QUEUE_ELEM_COUNT + 4 * MAILBOX_SLOT_COUNT;
/** Of the enclave: task rows with some columns of the policy, and the map of their ids. */
const STATE_BYTES = 96 * MAX_TASK_COUNT;
/** Descriptors of a process without Workers: the runtime's 23 and the enclave's files. */
const BASE_FD_COUNT = 64;
/** Seven of the runtime, a queue, a timer, and one that the warm-up calls the kernel with. */
const WORKER_FD_COUNT = 10;

/** A capability: its bit, the kernels that cannot do without, and what it is for. */
interface Capability {
  readonly name: string;
  readonly bit: number;
  readonly needed_by: readonly RealKernel[];
  readonly purpose: string;
}

const CAP_SYS_ADMIN = 21;
const CAP_SYS_RESOURCE = 24;
const CAP_IPC_LOCK = 14;

const CAPABILITIES: readonly Capability[] = [
  { name: "CAP_SYS_NICE", bit: 23, needed_by: REAL_KERNELS, purpose: "to become agent" },
  { name: "CAP_BPF", bit: 39, needed_by: ["scx"], purpose: "to load the scheduler" },
  { name: "CAP_PERFMON", bit: 38, needed_by: ["scx"], purpose: "to load the scheduler" },
  { name: "CAP_IPC_LOCK", bit: CAP_IPC_LOCK, needed_by: [], purpose: "to lock memory" },
  { name: "CAP_SYS_RESOURCE", bit: CAP_SYS_RESOURCE, needed_by: [], purpose: "to raise limits" },
];

/** The effective capabilities as a bit map; undefined if the host does not say. */
function effective(read: ReadText): bigint | undefined {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(read("/proc/self/status") ?? "")?.[1];
  return text === undefined ? undefined : BigInt(`0x${text}`);
}

function hasBit(bits: bigint | undefined, bit: number): boolean {
  return bits !== undefined && (bits >> BigInt(bit) & 1n) === 1n;
}

/** One cure for all that is missing, to be copied. */
function capabilityCure(missing: readonly string[]): string {
  const container = missing.map((name) => `--cap-add=${name.replace("CAP_", "")}`).join(" ");
  return `run as root, or \`setcap ${missing.join(",").toLowerCase()}+ep FILE\`; ` +
    `for a container ${container}; in a unit AmbientCapabilities=${missing.join(" ")}`;
}

/** One check per capability. CAP_SYS_ADMIN stands for the two of BPF, as in the kernel. */
export function checkCapabilities(host: Host): Check[] {
  const bits = effective(host.read);
  const isAdmins = ({ name }: Capability): boolean =>
    (name === "CAP_BPF" || name === "CAP_PERFMON") && hasBit(bits, CAP_SYS_ADMIN);
  const isMissing = (one: Capability): boolean => !hasBit(bits, one.bit) && !isAdmins(one);
  const missing = CAPABILITIES.filter(isMissing).map(({ name }) => name);
  const cure = bits === undefined ? "mount proc on /proc" : capabilityCure(missing);
  return CAPABILITIES.map((one) => {
    const { name, bit, needed_by, purpose } = one;
    if (hasBit(bits, bit)) return ok(name, "held");
    if (isAdmins(one)) return ok(name, "held through CAP_SYS_ADMIN");
    if (bits === undefined) return warn(name, `unknown, needed ${purpose}`, cure);
    const found = `missing, needed ${purpose}`;
    return needed_by.length === 0 ? warn(name, found, cure) : fail(name, found, cure, needed_by);
  });
}

/** Whether the user is root, as agents on real kernels demand. */
export function checkUser(host: Host): Check {
  const text = /^Uid:\s*\d+\s+(\d+)/m.exec(host.read("/proc/self/status") ?? "")?.[1];
  if (text === undefined) return warn("user", "unknown", "mount proc on /proc");
  if (text === "0") return ok("user", "root");
  return fail("user", `uid ${text}`, "run with sudo: agents demand root on a real kernel");
}

/** A hard limit of this process; undefined if the host does not say. */
function hardLimit(read: ReadText, name: string): number | undefined {
  const pattern = new RegExp(`^${name}\\s+\\S+\\s+(\\d+|unlimited)\\b`, "m");
  const text = pattern.exec(read("/proc/self/limits") ?? "")?.[1];
  if (text === undefined) return undefined;
  return text === "unlimited" ? Infinity : Number(text);
}

function mibText(bytes: number): string {
  return bytes === Infinity ? "unlimited" : `${Math.floor(bytes / MIB)} MiB`;
}

/** RLIMIT_MEMLOCK: agents lock code and shared regions, so that a step never waits on disk. */
export function checkMemlock(host: Host): Check {
  const bytes = hardLimit(host.read, "Max locked memory");
  if (bytes === undefined) return warn("memlock", "unknown", "mount proc on /proc");
  if (bytes >= LOCKED_BYTES) return ok("memlock", mibText(bytes));
  const bits = effective(host.read);
  const found = mibText(bytes);
  if (hasBit(bits, CAP_IPC_LOCK)) return ok("memlock", `${found}, lifted by CAP_IPC_LOCK`);
  if (hasBit(bits, CAP_SYS_RESOURCE)) return ok("memlock", `${found}, raised at the start`);
  return warn(
    "memlock",
    `${found}; locking an agent takes ${mibText(LOCKED_BYTES)}`,
    "`ulimit -l unlimited`, LimitMEMLOCK=infinity in the unit, or --ulimit memlock=-1",
  );
}

/** RLIMIT_NOFILE: the runtime panics when a Worker finds no descriptor left. */
export function checkNofile(host: Host, agent_count: number): Check {
  const count = hardLimit(host.read, "Max open files");
  if (count === undefined) return warn("nofile", "unknown", "mount proc on /proc");
  const needed = BASE_FD_COUNT + WORKER_FD_COUNT * agent_count;
  const found = `hard limit ${count === Infinity ? "unlimited" : count}`;
  const need = `${agent_count} agents take ${needed} descriptors`;
  if (count >= needed) return ok("nofile", `${found}; ${need}`);
  return fail(
    "nofile",
    `${found}, but ${need}`,
    `raise it to ${needed}: \`ulimit -Hn\` as root, LimitNOFILE= in the unit, or use fewer CPUs`,
  );
}

/** The cgroup of this process and those above it, as folders; none without cgroup v2. */
function cgroupDirs(read: ReadText): string[] {
  const path = /^0::(\/.*)$/m.exec(read("/proc/self/cgroup") ?? "")?.[1];
  if (path === undefined) return [];
  const names = path.split("/").filter((name) => name !== "");
  return Array.from(
    { length: names.length + 1 },
    (_, up) => ["/sys/fs/cgroup", ...names.slice(0, names.length - up)].join("/"),
  );
}

/** Swap: V8's heap cannot be locked, so only the lack of swap keeps it in memory. */
export function checkSwap(host: Host): Check {
  const text = host.read("/proc/swaps");
  if (text === undefined && host.read("/proc/meminfo") !== undefined) {
    return ok("swap", "none: this kernel has no CONFIG_SWAP");
  }
  if (text === undefined) return warn("swap", "unknown", "mount proc on /proc");
  const devices = text.split("\n").slice(1).map((line) => line.split(/\s/)[0]).filter(Boolean);
  if (devices.length === 0) return ok("swap", "none");
  const dirs = cgroupDirs(host.read);
  if (dirs.some((dir) => host.read(`${dir}/memory.swap.max`)?.trim() === "0")) {
    return ok("swap", `${devices.join(", ")}, closed to this cgroup`);
  }
  return warn(
    "swap",
    `${devices.join(", ")}; a heap that is swapped out delays agents`,
    "`swapoff -a`, or memory.swap.max=0 in the cgroup (MemorySwapMax=0 in the unit)",
  );
}

/** Bytes that the tightest cgroup leaves; Infinity without a limit. */
function cgroupBytesLeft(read: ReadText): number {
  const left = cgroupDirs(read).map((dir) => {
    const max = read(`${dir}/memory.max`)?.trim() ?? "max";
    if (!/^\d+$/.test(max)) return Infinity;
    return Math.max(0, Number(max) - Number(read(`${dir}/memory.current`)?.trim() ?? 0));
  });
  return Math.min(Infinity, ...left);
}

/** Memory: an isolate per agent. */
export function checkMemory(host: Host, agent_count: number): Check {
  const kib = /^MemAvailable:\s*(\d+) kB$/m.exec(host.read("/proc/meminfo") ?? "")?.[1];
  if (kib === undefined) return warn("memory", "unknown", "mount proc on /proc");
  const bytes = Math.min(Number(kib) * 1024, cgroupBytesLeft(host.read));
  const needed = BASE_BYTES + STATE_BYTES + (WORKER_BYTES + CPU_BYTES) * agent_count;
  const need = `${agent_count} agents take about ${mibText(needed)}`;
  if (bytes >= needed) return ok("memory", `${mibText(bytes)} available; ${need}`);
  return fail(
    "memory",
    `${mibText(bytes)} available, but ${need}`,
    "free memory, raise memory.max of the cgroup, or use fewer CPUs",
  );
}
