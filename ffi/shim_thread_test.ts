import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertNotEquals,
} from "@std/assert";
import * as errno from "./errno.ts";
import { check } from "./errors.ts";
import * as linux from "./linux.ts";
import { type NativeSatellite, SATELLITE_ALONE, startSatellite } from "./satellite.ts";
import { loadShim } from "./shim.ts";

const shim = loadShim();
/** Above any CPU that a test machine has. */
const NO_CPU = 900;

function mask(...cpus: number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(linux.CPU_MASK_BYTES);
  for (const cpu of cpus) bytes[cpu >> 3] |= 1 << (cpu & 7);
  return bytes;
}

function cpusOf(tid: number): number[] {
  const bytes = new Uint8Array(linux.CPU_MASK_BYTES);
  check("sched_getaffinity", shim.schedGetaffinity(tid, bytes, bytes.length));
  return Array.from({ length: bytes.length * 8 }, (_, cpu) => cpu)
    .filter((cpu) => (bytes[cpu >> 3] >> (cpu & 7) & 1) === 1);
}

function statusOf(tid: number, field: string): string {
  const text = Deno.readTextFileSync(`/proc/self/task/${tid}/status`);
  return text.split("\n").find((line) => line.startsWith(`${field}:`))?.split(/\s+/)[1] ?? "";
}

function aloneOn(cpu: number): NativeSatellite | number {
  return startSatellite(shim, { kind: SATELLITE_ALONE, cpu: 0, pin_cpu: cpu, where: [] });
}

/** Runs `body` with a satellite on the first allowed CPU. */
async function withSatellite(
  body: (satellite: NativeSatellite, cpu: number) => void | Promise<void>,
): Promise<number> {
  const cpu = cpusOf(0)[0];
  const satellite = aloneOn(cpu);
  assert(typeof satellite !== "number");
  try {
    await body(satellite, cpu);
  } finally {
    assertEquals(satellite.stop(), 0);
  }
  return satellite.tid;
}

/** Waits; a joined thread, for one, is seen for a moment after pthread_join. */
async function until(what: () => boolean): Promise<void> {
  const end_ns = shim.clockMonotonicNs() + 5e9;
  while (!what()) {
    assert(shim.clockMonotonicNs() < end_ns, `5 s are over: ${what}`);
    await new Promise((wake) => setTimeout(wake, 1));
  }
}

Deno.test("the caller has a thread id and runs on one of its CPUs", () => {
  assertEquals(shim.gettid(), Number(Deno.readLinkSync("/proc/thread-self").split("/")[2]));
  assert(cpusOf(0).includes(shim.getcpu()));
  assertEquals(shim.schedYield(), 0);
});

Deno.test("a satellite is a named thread on its CPU, asleep but for each time it is woken", async () => {
  const ended = await withSatellite(async (satellite, cpu) => {
    const { tid } = satellite;
    assertNotEquals(tid, shim.gettid());
    assertEquals(cpusOf(tid), [cpu]);
    assertEquals(statusOf(tid, "Name"), "ap_task_0");
    await until(() => satellite.yieldCount() === 1 && statusOf(tid, "State") === "S");
    for (let wakes = 1; wakes <= 3; wakes++) {
      satellite.wake();
      await until(() => satellite.yieldCount() === 1 + wakes && statusOf(tid, "State") === "S");
    }
  });
  const bytes = mask();
  await until(() => shim.schedGetaffinity(ended, bytes, bytes.length) === -errno.ESRCH);
});

Deno.test("a satellite blocks signals but its own faults, the caller's mask stays", async () => {
  const before = statusOf(shim.gettid(), "SigBlk");
  await withSatellite(({ tid }) => {
    const blocked = BigInt(`0x${statusOf(tid, "SigBlk")}`);
    const isBlocked = (signal: number) => (blocked >> BigInt(signal - 1) & 1n) === 1n;
    const [sigint, sigterm, sigsegv, sigbus] = [2, 15, 11, 7];
    assertEquals([sigint, sigterm].map(isBlocked), [true, true]);
    assertEquals([sigsegv, sigbus].map(isBlocked), [false, false]);
  });
  assertEquals(statusOf(shim.gettid(), "SigBlk"), before);
});

Deno.test("a satellite that cannot start leaves no thread and returns -errno", async () => {
  const threads = () => Array.from(Deno.readDirSync("/proc/self/task")).length;
  const before = threads();
  assertEquals(aloneOn(NO_CPU), -errno.EINVAL);
  const own = cpusOf(0)[0];
  for (
    const [kind, cpu] of [[7, own], [-1, own], [SATELLITE_ALONE, -1], [SATELLITE_ALONE, 2 ** 31]]
  ) {
    assertEquals(startSatellite(shim, { kind, cpu, pin_cpu: -1, where: [] }), -errno.EINVAL);
  }
  await until(() => threads() <= before);
  for (const call of [shim.satelliteInfo, shim.satelliteWake, shim.satelliteStop]) {
    assertEquals(call(0, 0), -errno.EINVAL);
  }
});

Deno.test("satellites that cannot start give their stacks back", () => {
  const mapped_kib = () => Number(statusOf(shim.gettid(), "VmSize"));
  const before_kib = mapped_kib();
  for (let n = 0; n < 200; n++) aloneOn(NO_CPU);
  // A stack is 2 or 8 MiB of address space; the C library keeps a few for the next thread.
  assertLess(mapped_kib() - before_kib, 200 * 1024);
});

Deno.test("the affinity of another thread is set and read back", async () => {
  await withSatellite(({ tid }) => {
    const allowed = cpusOf(0);
    const last = allowed[allowed.length - 1];
    const bytes = mask(last);
    assertEquals(shim.schedSetaffinity(tid, bytes, bytes.length), 0);
    assertEquals(cpusOf(tid), [last]);
    assertEquals(shim.schedSetaffinity(tid, mask(NO_CPU), bytes.length), -errno.EINVAL);
    assertEquals(shim.schedSetaffinity(tid, mask(), bytes.length), -errno.EINVAL);
    assertEquals(cpusOf(tid), [last]);
  });
  const bytes = mask();
  assertEquals(shim.schedGetaffinity(0, bytes, 1), -errno.EINVAL);
  assertEquals(shim.schedSetaffinity(2 ** 30, mask(0), bytes.length), -errno.ESRCH);
});

Deno.test("the policy of a thread is set, with and without reset on fork", async () => {
  const ended = await withSatellite(({ tid }) => {
    assertEquals(shim.schedGetscheduler(tid), linux.SCHED_OTHER);
    assertEquals(shim.schedSetscheduler(tid, linux.SCHED_BATCH, 0, 0), 0);
    assertEquals(shim.schedGetscheduler(tid), linux.SCHED_BATCH);
    assertEquals(shim.schedSetscheduler(tid, linux.SCHED_BATCH, 0, 1), 0);
    const expected = linux.SCHED_BATCH | linux.SCHED_RESET_ON_FORK;
    assertEquals(shim.schedGetscheduler(tid), expected);
    assertEquals(shim.schedSetscheduler(tid, 99, 0, 0), -errno.EINVAL);
    assertEquals(shim.schedSetscheduler(tid, linux.SCHED_FIFO, 1000, 0), -errno.EINVAL);
    assertEquals(shim.schedSetscheduler(tid, linux.SCHED_OTHER, 5, 0), -errno.EINVAL);
    assertEquals(shim.schedGetscheduler(tid), expected);
  });
  await until(() => shim.schedGetscheduler(ended) === -errno.ESRCH);
  assertEquals(shim.schedSetscheduler(ended, linux.SCHED_OTHER, 0, 0), -errno.ESRCH);
});

/** Asks a fresh Worker, because names and signal masks are those of the thread. */
async function askWorker(message: unknown): Promise<unknown[]> {
  const url = new URL("./testdata/shim_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  try {
    return await new Promise((resolve) => {
      worker.onmessage = (event: MessageEvent) => resolve(event.data);
      worker.postMessage(message);
    });
  } finally {
    worker.terminate();
  }
}

Deno.test("a thread takes a name of 15 bytes, and keeps it when the next is longer", async () => {
  const names = ["ap_task_0", "fifteen_bytes_x", "sixteen_bytes_xx"];
  const answer = await askWorker({ ask: "name", names });
  assertEquals(answer, [[0, 0, -errno.ERANGE], "fifteen_bytes_x", "fifteen_bytes_x"]);
});

Deno.test("a Worker's thread blocks every signal but its own faults", async () => {
  const [before, result, after] = await askWorker({ ask: "block" }) as [string, number, string];
  assertEquals(BigInt(`0x${before}`) & 0xffn, 0n);
  assertEquals(result, 0);
  const blocked = BigInt(`0x${after}`);
  // SIGILL 4, SIGTRAP 5, SIGBUS 7, SIGFPE 8, SIGSEGV 11 open; SIGKILL 9, SIGSTOP 19 cannot be.
  assertEquals(blocked & 0x7fff_ffffn, 0x7fff_ffffn - 0x4_05d8n);
});

/** What the child in testdata/lock_memory.ts prints; JSON has null for Infinity. */
interface LockReport {
  readonly limit_bytes: number | null;
  readonly result: number;
  readonly locked: readonly number[];
  readonly vmlck_kib: readonly number[];
  readonly region: readonly number[];
  readonly heap_mib: number;
  readonly worker: string;
}

/** Runs the child under the limits that `ulimit` sets. */
async function lockMemory(ulimit: string, ...args: string[]): Promise<LockReport> {
  const script = new URL("./testdata/lock_memory.ts", import.meta.url).href;
  const command = `${ulimit} && exec "$0" run -A "$@"`;
  const output = await new Deno.Command("bash", {
    args: ["-c", command, Deno.execPath(), script, ...args],
  }).output();
  assert(output.success, new TextDecoder().decode(output.stderr));
  return JSON.parse(new TextDecoder().decode(output.stdout));
}

Deno.test("memory locking locks files and regions, and V8 goes on growing", async () => {
  const report = await lockMemory("ulimit -S -l 64");
  assert(report.limit_bytes === null || report.limit_bytes >= 64 * 1024);
  assertEquals(report.region, [0, 0, -errno.ENOMEM]);
  const [locked_bytes, failed_bytes, mappings] = report.locked;
  // Without CAP_IPC_LOCK and with a low hard limit some mappings stay open; the call says so.
  if (report.result === 0) assertEquals(failed_bytes, 0);
  else assertEquals(report.result, -errno.ENOMEM);
  // The deno executable alone is larger.
  assertGreater(locked_bytes + failed_bytes, 20 * 2 ** 20);
  assertGreater(mappings, 5);
  const [before, after] = report.vmlck_kib;
  assertGreaterOrEqual((after - before) * 1024, locked_bytes);
  assertGreater(report.heap_mib, 60);
  assertEquals(report.worker, "alive");
});

Deno.test("without privilege the limit holds, and what is not locked is counted", async () => {
  const report = await lockMemory("ulimit -l 64", "unprivileged");
  assertEquals(report.limit_bytes, 64 * 1024);
  assertEquals(report.result, -errno.ENOMEM);
  const [locked_bytes, failed_bytes] = report.locked;
  assert(locked_bytes <= 64 * 1024);
  assertGreater(failed_bytes, 20 * 2 ** 20);
  assertEquals(report.worker, "alive");
});

Deno.test("the soft limit is raised to the hard one when the hard one cannot be", async () => {
  const report = await lockMemory("ulimit -S -l 64 && ulimit -H -l 128", "unprivileged");
  assertEquals(report.limit_bytes, 128 * 1024);
});
