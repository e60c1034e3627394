import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { check } from "../ffi/errors.ts";
import * as linux from "../ffi/linux.ts";
import { storeU64 } from "../ffi/memory.ts";
import { bufferAt, loadShim } from "../ffi/shim.ts";
import { cString } from "../ffi/symbols.ts";
import { Peer } from "../tests/peers/c_peer.ts";
import { GhostShmem, SharedMemoryError, type ShmemAttachOptions } from "./shmem.ts";

const shim = loadShim();
const STEP = 2 * 1024 * 1024;
const ALL_SEALS = linux.F_SEAL_GROW | linux.F_SEAL_SHRINK | linux.F_SEAL_SEAL;
const MFD_HUGETLB = 4;
/** System calls that differ between x86-64 and arm64. */
const SYS_FALLOCATE = Deno.build.arch === "x86_64" ? 285 : 47;
const PUNCH_HOLE_KEEP_SIZE = 3;

/** A header as a good owner writes it. */
function goodHeader(size_bytes: number): Int32Array {
  const header = new Int32Array(12);
  storeU64(header, 0, 1);
  storeU64(header, 2, size_bytes);
  storeU64(header, 4, 4096);
  storeU64(header, 6, size_bytes - 4096);
  header[8] = 1;
  header[9] = Deno.pid;
  return header;
}

/** What a hand-made region is like; a good one unless said otherwise. */
interface Recipe {
  readonly flags?: number;
  readonly size_bytes?: number;
  readonly header?: Int32Array;
  readonly seals?: number;
}

/** Makes a memfd that looks like a region of this process. Returns its descriptor, or −errno. */
function makeFile(suffix: string, recipe: Recipe): number {
  const { size_bytes = STEP, header = goodHeader(size_bytes), seals = ALL_SEALS } = recipe;
  const flags = linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING | (recipe.flags ?? 0);
  const fd = shim.memfdCreate(cString(`ghost-shmem-${suffix}`), flags);
  if (fd < 0) return fd;
  if (recipe.flags === undefined) {
    const bytes = new Uint8Array(header.buffer as ArrayBuffer);
    check("write", shim.write(fd, bytes, bytes.length));
  }
  check("ftruncate", shim.ftruncate(fd, size_bytes));
  check("fcntl", shim.fcntl(fd, linux.F_ADD_SEALS, seals));
  return fd;
}

/** Why a hand-made region of this process is refused; "accepted" if it is not. */
function faultOf(recipe: Recipe, options: ShmemAttachOptions = {}): string {
  const fd = check("memfd_create", makeFile("recipe", recipe));
  try {
    const shmem = GhostShmem.attach(Deno.pid, "recipe", options);
    if (shmem instanceof SharedMemoryError) return shmem.fault;
    shmem.close();
    return "accepted";
  } finally {
    shim.close(fd);
  }
}

/** Attaches to a region of this process, or fails with the reason. */
function attached(suffix: string): GhostShmem {
  const shmem = GhostShmem.attach(Deno.pid, suffix);
  if (shmem instanceof SharedMemoryError) throw shmem;
  return shmem;
}

/** Descriptors and mappings of this process that have to do with shared memory. */
function leftovers(): string[] {
  const files = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return "";
    }
  });
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return [...files, ...maps].filter((text) => text.includes("ghost-shmem"));
}

Deno.test("a region is created byte for byte as upstream's, and sealed", () => {
  const shmem = GhostShmem.create("bytes", 100);
  assertEquals(
    Deno.readLinkSync(`/proc/self/fd/${shmem.fd}`),
    "/memfd:ghost-shmem-bytes (deleted)",
  );
  assertEquals(shim.fcntl(shmem.fd, linux.F_GET_SEALS, 0), 7);
  const fd_info = Deno.readTextFileSync(`/proc/self/fdinfo/${shmem.fd}`);
  assert((parseInt(/flags:\s*(\d+)/.exec(fd_info)?.[1] ?? "", 8) & linux.O_CLOEXEC) !== 0);
  shmem.markReady();
  const bytes = new Uint8Array(4096);
  assertEquals(shim.pread(shmem.fd, bytes, bytes.length, 0), 4096);
  const header = new DataView(bytes.buffer);
  assertEquals(
    [0, 8, 16, 24, 40].map((at) => header.getBigUint64(at, true)),
    [1n, BigInt(STEP), 4096n, BigInt(STEP - 4096), 0n],
  );
  assertEquals([header.getUint8(32), header.getUint8(33)], [1, 0]);
  assertEquals(header.getInt32(36, true), Deno.pid);
  assertEquals(bytes.subarray(48).every((byte) => byte === 0), true);
  shmem.close();
});

Deno.test("the size is rounded up to 2 MiB with the header", () => {
  for (const [wanted, steps] of [[0, 1], [STEP - 4096, 1], [STEP - 4095, 2], [3 * STEP, 4]]) {
    const shmem = GhostShmem.create("size", wanted);
    assertEquals(shmem.absolute_size_bytes, steps * STEP);
    assertEquals(shmem.size_bytes, steps * STEP - 4096);
    shmem.close();
  }
});

Deno.test("owner and attached process see the same data, until each closes its own", () => {
  const own = GhostShmem.create("data", 8192);
  own.words[0] = 7;
  own.markReady();
  const other = attached("data");
  assertEquals([other.words[0], other.owner_pid, other.size_bytes], [7, Deno.pid, STEP - 4096]);
  other.words[1000] = 9;
  assertEquals(own.words[1000], 9);
  assertEquals(new Int32Array(bufferAt(other.address, 4))[0], 7);
  assertEquals([other.is_finished, typeof other.lock(8192)], [false, "boolean"]);
  own.close();
  assertEquals([own.words.length, own.address, own.owner_pid, own.is_finished], [0, 0, 0, true]);
  assertEquals([other.is_finished, other.words[1000]], [true, 9]);
  other.close();
  other.close();
  assertEquals(other.lock(1), false);
  assertEquals(leftovers(), []);
});

Deno.test("a name must match wholly, not only at its start", () => {
  const longer = GhostShmem.create("name-longer", 1);
  longer.markReady();
  const error = GhostShmem.attach(Deno.pid, "name");
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "NO_REGION");
  const exact = GhostShmem.create("name", 1);
  exact.words[0] = 5;
  exact.markReady();
  const found = attached("name");
  assertEquals(found.words[0], 5);
  for (const shmem of [longer, exact, found]) shmem.close();
});

Deno.test("a process has one region of a name, and names and sizes have limits", () => {
  const faultOfCreate = (suffix: string, size_bytes: number): string =>
    (assertThrows(
      () => GhostShmem.create(suffix, size_bytes),
      SharedMemoryError,
    ) as SharedMemoryError).fault;
  const first = GhostShmem.create("twice", 1);
  assertEquals(faultOfCreate("twice", 1), "EXISTS");
  first.close();
  for (const suffix of ["", "a/b", "a\0b", "x".repeat(238)]) {
    assertEquals(faultOfCreate(suffix, 1), "OUT_OF_RANGE");
  }
  for (const size_bytes of [-4097, -1, NaN, 2 ** 32 - 4096, Infinity]) {
    assertEquals(faultOfCreate("size", size_bytes), "OUT_OF_RANGE");
  }
  GhostShmem.create("x".repeat(237), 1).close();
  assertEquals(leftovers(), []);
});

Deno.test("who is attached to another's region can have its own of that name", async () => {
  const peer = new Peer("prio_table_peer", "stuck");
  assertEquals(await peer.line(), "ready");
  const other = GhostShmem.attach(peer.pid, "priotable");
  if (other instanceof SharedMemoryError) throw other;
  assertEquals([other.fd, other.owner_pid], [-1, peer.pid]);
  const own = GhostShmem.create("priotable", 1);
  own.markReady();
  const found = attached("priotable");
  assertEquals(found.owner_pid, Deno.pid);
  for (const shmem of [own, found, other]) shmem.close();
  await peer.kill();
});

Deno.test("each blob has a name of its own and is ready", () => {
  const blobs = [GhostShmem.createBlob(1), GhostShmem.createBlob(1)];
  const names = blobs.map(({ fd }) => Deno.readLinkSync(`/proc/self/fd/${fd}`));
  const numbers = names.map((name) => Number(/ghost-shmem-blob-(\d+) /.exec(name)?.[1]));
  assertEquals(numbers[1], numbers[0] + 1);
  attached(`blob-${numbers[0]}`).close();
  for (const blob of blobs) blob.close();
});

Deno.test("a region made by hand like upstream's is accepted", () => {
  assertEquals(faultOf({}), "accepted");
  assertEquals(faultOf({ seals: linux.F_SEAL_GROW | linux.F_SEAL_SHRINK }), "accepted");
  assertEquals(faultOf({ size_bytes: 8192 }), "accepted");
});

Deno.test("a file whose size can change is refused, whether it could grow or shrink", () => {
  assertEquals(faultOf({ seals: 0 }), "NOT_SEALED");
  assertEquals(faultOf({ seals: linux.F_SEAL_GROW }), "NOT_SEALED");
  assertEquals(faultOf({ seals: linux.F_SEAL_SHRINK }), "NOT_SEALED");
  assertEquals(faultOf({ seals: linux.F_SEAL_SEAL }), "NOT_SEALED");
});

Deno.test("a truncated file is refused, and so is one that is too large", () => {
  for (const size_bytes of [0, 48, 4096, 4097, 8192 + 100]) {
    assertEquals(faultOf({ size_bytes }), "BAD_SIZE", `${size_bytes}`);
  }
  assertEquals(faultOf({ size_bytes: 2 ** 40 }), "BAD_SIZE");
  assertEquals(faultOf({ size_bytes: STEP }, { size_max_bytes: STEP - 1 }), "BAD_SIZE");
  assertEquals(faultOf({ size_bytes: STEP }, { size_max_bytes: STEP }), "accepted");
});

Deno.test("a file that cannot be written is refused", () => {
  assertEquals(faultOf({ seals: ALL_SEALS | linux.F_SEAL_WRITE }), "NOT_MAPPED");
});

Deno.test("a file with huge pages is refused (where the kernel has them)", () => {
  const fd = makeFile("huge", { flags: MFD_HUGETLB });
  if (fd < 0) return;
  const error = GhostShmem.attach(Deno.pid, "huge");
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "NOT_MEMFD");
  shim.close(fd);
});

Deno.test("a garbage header is refused, whatever field it is in", () => {
  for (const word of [0, 1, 2, 3, 4, 5, 6, 7]) {
    const header = goodHeader(STEP);
    header[word] ^= 0x5a5a5a5a;
    assertEquals(faultOf({ header }), "BAD_HEADER", `word ${word}`);
  }
  assertEquals(faultOf({ header: new Int32Array(12).fill(-1) }), "BAD_HEADER");
  const faults: [number, number, string][] = [
    [9, Deno.pid + 1, "WRONG_OWNER"],
    [9, 0, "WRONG_OWNER"],
    [10, 1, "WRONG_VERSION"],
    [11, -1, "WRONG_VERSION"],
    [8, 0, "NOT_READY"],
    [8, 0x100, "NOT_READY"],
  ];
  for (const [word, value, fault] of faults) {
    const header = goodHeader(STEP);
    header[word] = value;
    assertEquals(faultOf({ header }), fault, `word ${word} = ${value}`);
  }
  const header = goodHeader(STEP);
  header[10] = 3;
  assertEquals(faultOf({ header }, { client_version: 3 }), "accepted");
});

Deno.test("an owner that never gets ready is waited for no longer than said", () => {
  const own = GhostShmem.create("slow", 1);
  const begin_ms = performance.now();
  const error = GhostShmem.attach(Deno.pid, "slow", { ready_timeout_ms: 30 });
  const waited_ms = performance.now() - begin_ms;
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "NOT_READY");
  assert(waited_ms >= 30 && waited_ms < 2000, `${waited_ms} ms`);
  own.close();
  assertEquals(leftovers(), []);
});

Deno.test("holes that the owner punches later read as zeros: no fault, no signal", () => {
  const own = GhostShmem.create("holes", STEP);
  own.words.fill(-1, 0, 100_000);
  own.markReady();
  const other = attached("holes");
  other.lock(STEP);
  assertEquals(other.words[99_999], -1);
  const size_bytes = own.absolute_size_bytes;
  const punched = shim.syscall(SYS_FALLOCATE, own.fd, PUNCH_HOLE_KEEP_SIZE, 0, size_bytes, 0, 0);
  check("fallocate", punched);
  assertEquals(other.words.every((word) => word === 0), true);
  assertEquals(other.is_finished, false);
  assertEquals(shim.ftruncate(own.fd, 4096), -1);
  own.close();
  other.close();
});

Deno.test("a process that is not there, or has ended, has no memory", async () => {
  const ended = new Deno.Command("true").spawn();
  await ended.status;
  for (const pid of [0, -1, 2 ** 31 - 1, ended.pid]) {
    const error = GhostShmem.attach(pid, "anything");
    assertInstanceOf(error, SharedMemoryError);
    assertEquals((error as SharedMemoryError).fault, "NO_PROCESS", `${pid}`);
  }
});

Deno.test("memory behind too many other files is not searched for", () => {
  const own = GhostShmem.create("behind", 1);
  own.markReady();
  const error = GhostShmem.attach(Deno.pid, "behind", { fd_count_max: 2 });
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "TOO_MANY_FILES");
  own.close();
});

Deno.test("a FUSE file of that name is refused and never asked (where FUSE can be mounted)", async () => {
  const peer = new Peer("fuse_imposter");
  if ((await peer.line()).startsWith("none")) {
    await peer.finish();
    return;
  }
  const begin_ms = performance.now();
  const error = GhostShmem.attach(peer.pid, "imposter");
  const taken_ms = performance.now() - begin_ms;
  assertEquals(await peer.finish(), ["requests 0"]);
  assertInstanceOf(error, SharedMemoryError);
  assertEquals((error as SharedMemoryError).fault, "NOT_MEMFD");
  assert(taken_ms < 1000, `${taken_ms} ms`);
});

Deno.test("refusals leave nothing open and nothing mapped", () => {
  assertEquals(leftovers(), []);
});
