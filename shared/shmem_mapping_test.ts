import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import * as errno from "../ffi/errno.ts";
import { SystemError } from "../ffi/errors.ts";
import { storeU64 } from "../ffi/memory.ts";
import { GhostShmem, SharedMemoryError, type ShmemHost } from "./shmem.ts";

const SIZE_BYTES = 2 * 1024 * 1024;
const OWNER_PID = 42;
const ADDRESS = 0x10000;
const PATH_FD = 8;
const FD = 9;

/** A machine made up: one region, of which everything can be told otherwise. */
class FakeHost implements ShmemHost {
  readonly pid = OWNER_PID;
  readonly memory = new ArrayBuffer(SIZE_BYTES);
  readonly asked: string[] = [];
  /** Descriptors and mappings that are open. */
  open_count = 0;
  now_ns = 0;
  named = PATH_FD;
  is_plain = true;
  reopened = FD;
  seal_bits = 7;
  size_bytes = SIZE_BYTES;
  mapped = ADDRESS;
  created = FD;
  resized = 0;
  sealed = 0;

  constructor(changes: Partial<FakeHost> = {}) {
    const header = new Int32Array(this.memory);
    storeU64(header, 0, 1);
    storeU64(header, 2, SIZE_BYTES);
    storeU64(header, 4, 4096);
    storeU64(header, 6, SIZE_BYTES - 4096);
    header[8] = 1;
    header[9] = OWNER_PID;
    Object.assign(this, changes);
  }

  #opens(call: string, result: number): number {
    this.asked.push(call);
    if (result >= 0) this.open_count++;
    return result;
  }

  openNamed(_pid: number, text: string, _fd_count_max: number): number {
    return this.#opens(text, this.named);
  }
  isPlainMemfd(_fd: number): boolean {
    this.asked.push("isPlainMemfd");
    return this.is_plain;
  }
  reopen(_path_fd: number): number {
    return this.#opens("reopen", this.reopened);
  }
  seals(_fd: number): number {
    this.asked.push("seals");
    return this.seal_bits;
  }
  fileSize(_fd: number): number {
    this.asked.push("fileSize");
    return this.size_bytes;
  }
  createMemfd(_name: string): number {
    return this.#opens("createMemfd", this.created);
  }
  resize(): number {
    return this.resized;
  }
  seal(): number {
    return this.sealed;
  }
  map(_fd: number, _size_bytes: number): number {
    return this.#opens("map", this.mapped);
  }
  unmap(): number {
    this.open_count--;
    return 0;
  }
  words(address: number, size_bytes: number): Int32Array {
    return new Int32Array(this.memory, address - ADDRESS, size_bytes / 4);
  }
  lock(): number {
    return -errno.ENOMEM;
  }
  close(): number {
    this.open_count--;
    return 0;
  }
  nowNs(): number {
    return this.now_ns;
  }
  rest(): void {
    this.now_ns += 1e6;
  }
}

/** Attaches on a made-up machine. Returns what it says and what is left open. */
function attach(host: FakeHost): [string, number] {
  const shmem = GhostShmem.attach(OWNER_PID, "fake", {}, host);
  if (shmem instanceof GhostShmem) return ["accepted", host.open_count];
  return [shmem.fault, host.open_count];
}

Deno.test("an accepted region keeps its mapping and no descriptor", () => {
  const host = new FakeHost();
  assertEquals(attach(host), ["accepted", 1]);
  assertEquals(host.asked[0], "/memfd:ghost-shmem-fake (deleted)");
});

/** Each thing that can be wrong, and what is said then. */
const REFUSALS: readonly { name: string; changes: Partial<FakeHost>; fault: string }[] = [
  { name: "no process", changes: { named: -errno.ESRCH }, fault: "NO_PROCESS" },
  { name: "no region", changes: { named: -errno.ENOENT }, fault: "NO_REGION" },
  { name: "too many files", changes: { named: -errno.E2BIG }, fault: "TOO_MANY_FILES" },
  { name: "another user's", changes: { named: -errno.EACCES }, fault: "NOT_PERMITTED" },
  { name: "another mount", changes: { is_plain: false }, fault: "NOT_MEMFD" },
  { name: "file mode 0", changes: { reopened: -errno.EACCES }, fault: "NOT_PERMITTED" },
  { name: "no seals", changes: { seal_bits: 0 }, fault: "NOT_SEALED" },
  { name: "no memfd after all", changes: { seal_bits: -errno.EINVAL }, fault: "NOT_SEALED" },
  { name: "only a header", changes: { size_bytes: 4096 }, fault: "BAD_SIZE" },
  { name: "no whole pages", changes: { size_bytes: 5000 }, fault: "BAD_SIZE" },
  { name: "64 MiB and a page", changes: { size_bytes: 2 ** 26 + 4096 }, fault: "BAD_SIZE" },
  { name: "no size", changes: { size_bytes: -errno.EBADF }, fault: "BAD_SIZE" },
  { name: "no address space", changes: { mapped: -errno.ENOMEM }, fault: "NOT_MAPPED" },
  { name: "another size than it says", changes: { size_bytes: 8192 }, fault: "BAD_HEADER" },
];

Deno.test("each refusal has its fault, one line with a cure, and leaves nothing open", () => {
  for (const { name, changes, fault } of REFUSALS) {
    assertEquals(attach(new FakeHost(changes)), [fault, 0], name);
    const error = GhostShmem.attach(OWNER_PID, "fake", {}, new FakeHost(changes));
    assertInstanceOf(error, SharedMemoryError);
    const { message, cure } = error as SharedMemoryError;
    assertEquals([message.includes("\n"), message.endsWith(`; ${cure}`)], [false, true], name);
  }
});

Deno.test("a file that is no plain memfd is asked nothing more", () => {
  const host = new FakeHost({ is_plain: false });
  attach(host);
  assertEquals(host.asked.slice(1), ["isPlainMemfd"]);
});

Deno.test("the seals are looked at before the size, which stays from then on", () => {
  const host = new FakeHost();
  attach(host);
  assertEquals(host.asked.slice(1), ["isPlainMemfd", "reopen", "seals", "fileSize", "map"]);
});

Deno.test("an owner that gets ready while it is waited for is accepted", () => {
  const host = new FakeHost();
  const header = new Int32Array(host.memory);
  header[8] = 0;
  host.rest = () => {
    host.now_ns += 1e6;
    if (host.now_ns === 5e6) header[8] = 1;
  };
  assertEquals(attach(host), ["accepted", 1]);
  header[8] = 0;
  host.rest = () => host.now_ns += 1e6;
  assertEquals(attach(host), ["NOT_READY", 1], "the first region stays open");
  assertEquals(host.now_ns, 25e6);
});

Deno.test("memory that cannot be locked is used all the same", () => {
  const shmem = GhostShmem.attach(OWNER_PID, "fake", {}, new FakeHost());
  assertEquals(shmem instanceof GhostShmem, true);
  assertEquals((shmem as GhostShmem).lock(4096), false);
});

Deno.test("a region that cannot be made is an error of the call, and leaves nothing open", () => {
  const failures: [Partial<FakeHost>, string][] = [
    [{ created: -errno.EMFILE }, "memfd_create"],
    [{ resized: -errno.ENOSPC }, "ftruncate"],
    [{ sealed: -errno.EPERM }, "fcntl"],
    [{ mapped: -errno.ENOMEM }, "mmap"],
  ];
  for (const [changes, call] of failures) {
    const host = new FakeHost({ named: -errno.ENOENT, ...changes });
    const error = assertThrows(() => GhostShmem.create("fake", 1, 0, host), SystemError);
    assertEquals([(error as SystemError).call, host.open_count], [call, 0]);
  }
});

Deno.test("an attached process cannot mark the region ready or finished", () => {
  const host = new FakeHost();
  const shmem = GhostShmem.attach(OWNER_PID, "fake", {}, host) as GhostShmem;
  const header = new Int32Array(host.memory);
  header[8] = 3;
  shmem.markReady();
  shmem.close();
  assertEquals([header[8], host.open_count], [3, 0]);
});
