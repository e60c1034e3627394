import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import * as errno from "./errno.ts";
import { check, ShimError, SystemError } from "./errors.ts";
import * as linux from "./linux.ts";
import { bufferAt, loadShim } from "./shim.ts";
import { cString, SHIM_VERSION } from "./symbols.ts";

const shim = loadShim();
const BAD_FD = 1_000_000;
const NS_PER_MS = 1e6;
/** Number of getpid on x86-64 and on arm64. */
const SYS_GETPID = Deno.build.arch === "x86_64" ? 39 : 172;
/** An ioctl code (FIONREAD) that stores the bytes to read as an int. */
const FIONREAD = 0x541b;

function memfd(name: string): number {
  const flags = linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING;
  return check("memfd_create", shim.memfdCreate(cString(name), flags));
}

function anonymousPage(): number {
  const flags = linux.MAP_PRIVATE | linux.MAP_ANONYMOUS;
  return check("mmap", shim.mmap(0, 4096, linux.PROT_READ | linux.PROT_WRITE, flags, -1, 0));
}

Deno.test("the library has the version that the symbol table is for", () => {
  assertEquals(shim.version(), SHIM_VERSION);
});

Deno.test("a function is made when it is first taken, and once", () => {
  const made = (): boolean =>
    Object.getOwnPropertyDescriptor(shim, "satelliteStop")?.value !== undefined;
  assertEquals(made(), false);
  const { satelliteStop } = shim;
  assertEquals(made(), true);
  assert(shim.satelliteStop === satelliteStop);
});

Deno.test("syscall makes any call and returns -errno", () => {
  assertEquals(shim.syscall(SYS_GETPID, 0, 0, 0, 0, 0, 0), Deno.pid);
  assertEquals(shim.syscall(100_000, 0, 0, 0, 0, 0, 0), -errno.ENOSYS);
});

Deno.test("a file is opened, written, read, read again at an offset and closed", () => {
  const path = Deno.makeTempFileSync({ prefix: "shim_test_" });
  try {
    const flags = linux.O_RDWR | linux.O_TRUNC | linux.O_CLOEXEC;
    const fd = check("openat", shim.openat(linux.AT_FDCWD, cString(path), flags, 0o600));
    const text = new TextEncoder().encode("hello ghost");
    assertEquals(shim.write(fd, text, text.length), text.length);
    const buffer = new Uint8Array(32);
    assertEquals(shim.read(fd, buffer, buffer.length), 0);
    assertEquals(shim.pread(fd, buffer, buffer.length, 6), 5);
    assertEquals(new TextDecoder().decode(buffer.subarray(0, 5)), "ghost");
    assertEquals(shim.pread(fd, buffer, buffer.length, 2 ** 40), 0);
    assertEquals(shim.close(fd), 0);
    assertEquals(shim.close(fd), -errno.EBADF);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("file calls return -errno for a bad path, descriptor, length and access", () => {
  const open = (path: string, flags: number) =>
    shim.openat(linux.AT_FDCWD, cString(path), flags, 0);
  assertEquals(open("/no/such/path", linux.O_RDONLY), -errno.ENOENT);
  assertEquals(open("/", linux.O_WRONLY), -errno.errnoNumber("EISDIR"));
  const buffer = new Uint8Array(8);
  assertEquals(shim.read(BAD_FD, buffer, 8), -errno.EBADF);
  assertEquals(shim.pread(BAD_FD, buffer, 8, 0), -errno.EBADF);
  assertEquals(shim.write(BAD_FD, buffer, 8), -errno.EBADF);
  assertEquals(shim.read(0, buffer, -1), -errno.EINVAL);
  assertEquals(shim.pread(0, buffer, -1, 0), -errno.EINVAL);
  assertEquals(shim.write(1, buffer, -1), -errno.EINVAL);
  const read_only = check("openat", open("/dev/null", linux.O_RDONLY | linux.O_CLOEXEC));
  assertEquals(shim.write(read_only, buffer, 8), -errno.EBADF);
  assertEquals(shim.ftruncate(read_only, 0), -errno.EINVAL);
  shim.close(read_only);
});

Deno.test("a failed call becomes an error that names call, errno and cure", () => {
  const path = "/sys/fs/no_such_filesystem/ctl";
  const error = assertThrows(
    () => check("openat", shim.openat(linux.AT_FDCWD, cString(path), linux.O_RDWR, 0), path),
    SystemError,
  ) as SystemError;
  assertEquals(
    error.message,
    `openat(${path}) failed with ENOENT (2): the path does not exist; check its spelling and ` +
      "that its filesystem is mounted",
  );
});

Deno.test("ioctl takes an address or a buffer, and returns -errno", () => {
  const fd = memfd("ioctl");
  check("write", shim.write(fd, new Uint8Array(5), 5));
  const pipe = new Int32Array(2);
  const sys_pipe2 = Deno.build.arch === "x86_64" ? 293 : 59;
  check("pipe2", shim.syscall(sys_pipe2, shim.bufferAddress(pipe), 0, 0, 0, 0, 0));
  check("write", shim.write(pipe[1], new Uint8Array(7), 7));
  const answer = new Int32Array(1);
  assertEquals(shim.ioctl(pipe[0], FIONREAD, shim.bufferAddress(answer)), 0);
  assertEquals(answer[0], 7);
  answer[0] = 0;
  assertEquals(shim.ioctlBuffer(pipe[0], FIONREAD, new Uint8Array(answer.buffer)), 0);
  assertEquals(answer[0], 7);
  // A ghOSt code: the highest bit is set, and this file knows nothing of it.
  assertEquals(shim.ioctl(fd, 0xc0186701, 0), -errno.ENOTTY);
  assertEquals(shim.ioctlBuffer(BAD_FD, FIONREAD, new Uint8Array(4)), -errno.EBADF);
  assertEquals(shim.ioctl(pipe[0], FIONREAD, 8), -errno.EFAULT);
  for (const open of [fd, ...pipe]) shim.close(open);
});

Deno.test("a sealed memfd can no longer change its size", () => {
  const fd = memfd("seal");
  assertEquals(shim.ftruncate(fd, 8192), 0);
  const seals = linux.F_SEAL_SHRINK | linux.F_SEAL_GROW;
  assertEquals(shim.fcntl(fd, linux.F_ADD_SEALS, seals), 0);
  assertEquals(shim.fcntl(fd, linux.F_GET_SEALS, 0), seals);
  assertEquals(shim.ftruncate(fd, 4096), -errno.EPERM);
  assertEquals(shim.ftruncate(fd, 16384), -errno.EPERM);
  shim.close(fd);
  assertEquals(shim.fcntl(fd, linux.F_GET_SEALS, 0), -errno.EBADF);
  assertEquals(shim.memfdCreate(cString("x".repeat(300)), 0), -errno.EINVAL);
});

Deno.test("two mappings of one file show the same memory", () => {
  const fd = memfd("map");
  check("ftruncate", shim.ftruncate(fd, 8192));
  const prot = linux.PROT_READ | linux.PROT_WRITE;
  const first = check("mmap", shim.mmap(0, 8192, prot, linux.MAP_SHARED, fd, 0));
  const second = check("mmap", shim.mmap(0, 4096, prot, linux.MAP_SHARED, fd, 4096));
  assertGreater(first, 2 ** 32);
  new Int32Array(bufferAt(first, 8192))[1024] = 77;
  assertEquals(new Int32Array(bufferAt(second, 4096))[0], 77);
  assertEquals(shim.munmap(first, 8192), 0);
  assertEquals(shim.munmap(second, 4096), 0);
  shim.close(fd);
});

Deno.test("mmap and munmap return -errno", () => {
  const prot = linux.PROT_READ;
  assertEquals(shim.mmap(0, 4096, prot, linux.MAP_SHARED, BAD_FD, 0), -errno.EBADF);
  const anonymous = linux.MAP_PRIVATE | linux.MAP_ANONYMOUS;
  assertEquals(shim.mmap(0, 0, prot, anonymous, -1, 0), -errno.EINVAL);
  assertEquals(shim.mmap(0, 2 ** 52, prot, anonymous, -1, 0), -errno.ENOMEM);
  assertEquals(shim.munmap(1, 4096), -errno.EINVAL);
});

Deno.test("an address survives the way to a pointer and back", () => {
  const address = anonymousPage();
  assertEquals(shim.pointerToAddress(shim.addressToPointer(address)), address);
  assertEquals(shim.pointerToAddress(null), 0);
  assertEquals(shim.addressToPointer(0), null);
  assertThrows(() => bufferAt(0, 4096), ShimError);
  shim.munmap(address, 4096);
});

Deno.test("a buffer's address is where C finds its bytes", () => {
  const words = new Int32Array(new SharedArrayBuffer(64));
  const address = shim.bufferAddress(words);
  assertEquals(shim.bufferAddress(words.subarray(4)), address + 16);
  words[3] = -5;
  assertEquals(shim.acquireI32(address, 3), -5);
  shim.publishI32(address, 2, 2 ** 31 - 1);
  assertEquals(words[2], 2 ** 31 - 1);
  shim.fenceAcquire();
  shim.fenceRelease();
  shim.fenceFull();
});

Deno.test("the clock is CLOCK_MONOTONIC and does not go back", () => {
  const uptime_s = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
  const first_ns = shim.clockMonotonicNs();
  assertLess(Math.abs(first_ns / 1e9 - uptime_s), 60);
  for (let n = 0, last_ns = first_ns; n < 10_000; n++) {
    const now_ns = shim.clockMonotonicNs();
    assertGreaterOrEqual(now_ns, last_ns);
    last_ns = now_ns;
  }
});

Deno.test("futexWait returns at once when the word differs, else after the timeout", () => {
  const address = anonymousPage();
  assertEquals(shim.futexWait(address, 1, -1), -errno.EAGAIN);
  const begin_ns = shim.clockMonotonicNs();
  assertEquals(shim.futexWait(address, 0, 20 * NS_PER_MS), -errno.ETIMEDOUT);
  assertGreaterOrEqual(shim.clockMonotonicNs() - begin_ns, 20 * NS_PER_MS);
  assertEquals(shim.futexWait(address, 0, 0), -errno.ETIMEDOUT);
  assertEquals(shim.futexWait(address + 1, 0, 0), -errno.EINVAL);
  assertEquals(shim.futexWait(8, 0, 0), -errno.EFAULT);
  assertEquals(shim.futexWake(address, 1), 0);
  assertEquals(shim.futexWake(address + 1, 1), -errno.EINVAL);
  shim.munmap(address, 4096);
});

Deno.test("an eventfd counts, and an empty or full one says EAGAIN", () => {
  const flags = linux.EFD_NONBLOCK | linux.EFD_CLOEXEC;
  const fd = check("eventfd", shim.eventfd(3, flags));
  assertEquals(shim.eventfdWrite(fd, 2 ** 40), 0);
  assertEquals(shim.eventfdRead(fd), 2 ** 40 + 3);
  assertEquals(shim.eventfdRead(fd), -errno.EAGAIN);
  assertEquals(shim.eventfdWrite(fd, 18446744073709549568), 0); // the largest double below 2^64
  assertEquals(shim.eventfdWrite(fd, 2 ** 53), -errno.EAGAIN);
  shim.close(fd);
  assertEquals(shim.eventfdRead(fd), -errno.EBADF);
  assertEquals(shim.eventfdWrite(fd, 1), -errno.EBADF);
  assertEquals(shim.eventfd(0, 1 << 20), -errno.EINVAL);
});

Deno.test("poll returns the events, 0 at the timeout, and -EBADF for a closed descriptor", () => {
  const fd = check("eventfd", shim.eventfd(0, linux.EFD_CLOEXEC));
  const begin_ns = shim.clockMonotonicNs();
  assertEquals(shim.poll(fd, linux.POLLIN, 10 * NS_PER_MS), 0);
  assertGreaterOrEqual(shim.clockMonotonicNs() - begin_ns, 10 * NS_PER_MS);
  shim.eventfdWrite(fd, 1);
  assertEquals(shim.poll(fd, linux.POLLIN, -1), linux.POLLIN);
  shim.close(fd);
  assertEquals(shim.poll(fd, linux.POLLIN, 0), -errno.EBADF);
});

Deno.test("a Worker asleep on a futex is woken, and no signal cuts the timeout", async () => {
  const address = anonymousPage();
  const worker = new Worker(new URL("./testdata/shim_worker.ts", import.meta.url), {
    type: "module",
  });
  const answers = worker as unknown as { onmessage: (event: MessageEvent) => void };
  const ask = (message: unknown): Promise<number[]> =>
    new Promise((resolve) => {
      answers.onmessage = (event) => resolve(event.data);
      worker.postMessage(message);
    });
  let signals = 0;
  const listener = () => {
    signals++;
  };
  Deno.addSignalListener("SIGUSR2", listener);
  try {
    const [tid] = await ask({ ask: "tid" });
    assertNotEquals(tid, shim.gettid());
    const woken = ask({ ask: "wait", address });
    while (shim.futexWake(address, 1) === 0) await new Promise((wake) => setTimeout(wake, 1));
    assertEquals(await woken, [0]);

    const interrupted = ask({ ask: "timeouts", address, timeout_ns: 60 * NS_PER_MS });
    const sys_tgkill = Deno.build.arch === "x86_64" ? 234 : 131;
    const sigusr2 = 12;
    const timer = setInterval(() => {
      shim.syscall(sys_tgkill, Deno.pid, tid, sigusr2, 0, 0, 0);
    }, 5);
    const [futex, poll, waited_ns] = await interrupted;
    clearInterval(timer);
    // Its answer shows that no signal is on the way to a handler that is gone.
    await ask({ ask: "tid" });
    assertEquals([futex, poll], [-errno.ETIMEDOUT, 0]);
    assertGreaterOrEqual(waited_ns, 120 * NS_PER_MS);
    assertGreater(signals, 0);
  } finally {
    Deno.removeSignalListener("SIGUSR2", listener);
    worker.terminate();
    shim.munmap(address, 4096);
  }
});

Deno.test("importing the module opens no library", async () => {
  const script = `
    const mapped = () => Deno.readTextFileSync("/proc/self/maps").includes("libghost_shim");
    const module = await import(${JSON.stringify(new URL("./shim.ts", import.meta.url).href)});
    console.log(mapped());
    module.loadShim();
    console.log(mapped());`;
  const output = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  assert(output.success);
  assertEquals(new TextDecoder().decode(output.stdout), "false\ntrue\n");
});
