import { assert, assertEquals } from "@std/assert";
import {
  AT_FDCWD,
  LOCK_EX,
  LOCK_NB,
  LOCK_UN,
  O_RDONLY,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../ffi/linux.ts";
import { EAGAIN, ENOENT } from "../kernel.ts";
import { GhostAgentPort } from "./ghost_port.ts";
import { shimHost } from "./shim_host.ts";

const SIZE_BYTES = 8192;

/** A file with two pages, the first word of each set. */
function withFile(check: (path: string) => void): void {
  const path = Deno.makeTempFileSync();
  const words = new Int32Array(SIZE_BYTES / 4);
  words[0] = 11;
  words[1024] = 22;
  Deno.writeFileSync(path, new Uint8Array(words.buffer));
  try {
    check(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("a view of a mapping that was detached outlives the file", () => {
  withFile((path) => {
    const host = shimHost();
    const fd = host.openFile(AT_FDCWD, path, O_RDWR);
    const address = host.mapFile(fd, host.fileSize(fd), PROT_READ | PROT_WRITE);
    const words = new Int32Array(host.bufferAt(address, SIZE_BYTES));
    words[1] = 33;
    assertEquals(host.detachMapping(address, SIZE_BYTES, true), 0);
    Deno.truncateSync(path, 0);
    assertEquals([words[0], words[1], words[1024]], [11, 33, 22]);
    assertEquals(host.detachMapping(address, SIZE_BYTES, false), 0);
    assertEquals([words[0], words[1024]], [0, 0]);
    assertEquals([host.unmap(address, SIZE_BYTES), host.close(fd)], [0, 0]);
  });
});

Deno.test("of two who open a file one gets its lock", () => {
  withFile((path) => {
    const host = shimHost();
    const [one, other] = [1, 2].map(() => host.openFile(AT_FDCWD, path, O_RDONLY));
    assertEquals(host.lock(one, LOCK_EX | LOCK_NB), 0);
    assertEquals(host.lock(other, LOCK_EX | LOCK_NB), -EAGAIN);
    assertEquals(host.lock(one, LOCK_UN), 0);
    assertEquals(host.lock(other, LOCK_EX | LOCK_NB), 0);
    host.close(one);
    host.close(other);
  });
});

Deno.test("descriptors are closed on exec, texts are read whole, names are listed", () => {
  const host = shimHost();
  const fd = host.openFile(AT_FDCWD, "/proc/self/status", O_RDONLY);
  const info = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`);
  assert((parseInt(/^flags:\s*(\d+)$/m.exec(info)![1], 8) & 0o2000000) !== 0);
  const text = host.readText(fd);
  assert(typeof text === "string" && /^CapEff:/m.test(text));
  host.close(fd);
  assertEquals(host.openFile(AT_FDCWD, "/nowhere/ctl", O_RDWR), -ENOENT);
  assertEquals(host.listDirectory("/nowhere"), -ENOENT);
  const names = host.listDirectory("/proc/self");
  assert(typeof names !== "number" && names.includes("status"));
});

Deno.test("sleeping takes its time, timers and the thread's policy can be had", () => {
  const host = shimHost();
  const begin_ns = host.nowNs();
  host.sleepMs(5);
  assert(host.nowNs() - begin_ns >= 5e6);
  const fd = host.createTimer();
  assert(fd >= 0, `timerfd_create: ${fd}`);
  assertEquals(Deno.readLinkSync(`/proc/self/fd/${fd}`), "anon_inode:[timerfd]");
  host.close(fd);
  assertEquals(host.threadPolicy(), 0);
  assert(host.currentCpu() >= 0);
});

Deno.test("every call of a dry run goes to the kernel and succeeds", () => {
  const port = GhostAgentPort.dry(shimHost(), 0, 1);
  port.commit(3);
  port.commitGroup(new Int32Array(16));
  assertEquals([port.localCommit(), port.localYield(1, 32), port.ping(1)], [0, 0, 0]);
  assertEquals([port.armTimer(5, 1, 1), port.cpuTimeNs(1, 1), port.freeStatusWord(1)], [0, 0, 0]);
  port.associate_result = 3;
  assertEquals([port.associate(1, 1, 1, 1), port.leave()], [3, 0]);
});

/** Calls of each kind; so few that nothing is collected meanwhile. */
const CALL_COUNT = 20_000;
/** One number on the heap per call of one kind would be 320 kB. */
const HEAP_BYTES_MAX = 160_000;
/** Rounds until V8 must have compiled what is hot. */
const ROUNDS_MAX = 100;
/** A number that does not have to be made. */
const DEADLINE_NS = 3e15;

function callAll(port: GhostAgentPort, mask: Int32Array, count: number): number {
  let sum = 0;
  for (let n = 0; n < count; n++) {
    port.commit(n & 511);
    port.commitGroup(mask);
    sum += port.commitSyncGroup(mask) + port.localCommit() + port.localYield(n, 0);
    sum += port.associate(5, n, -n, n) + port.freeStatusWord(n) + port.ping(n & 511);
    sum += port.cpuTimeNs(n, n) + port.armTimer(DEADLINE_NS, n, n) + (port.nowNs() < 0 ? 1 : 0);
  }
  return sum;
}

Deno.test("no call of a port allocates, once its code is hot", () => {
  const port = GhostAgentPort.dry(shimHost(), 0, 1);
  const mask = new Int32Array(16).fill(-1);
  // A collection would make one round look clean, not three.
  let clean_rounds = 0;
  for (let round = 0; clean_rounds < 3; round++) {
    const before_bytes = Deno.memoryUsage().heapUsed;
    assertEquals(callAll(port, mask, CALL_COUNT), 0);
    const grown_bytes = Deno.memoryUsage().heapUsed - before_bytes;
    clean_rounds = grown_bytes < HEAP_BYTES_MAX ? clean_rounds + 1 : 0;
    assert(round < ROUNDS_MAX, `still ${grown_bytes} bytes in ${CALL_COUNT} calls of each kind`);
  }
});
