import { assertEquals, assertGreater, assertNotEquals } from "@std/assert";
import * as errno from "./errno.ts";
import { check } from "./errors.ts";
import * as linux from "./linux.ts";
import { loadShim } from "./shim.ts";
import { cString } from "./symbols.ts";

const shim = loadShim();
const BAD_FD = 1_000_000;
const NO_PID = 0x7ffffffe;
const FD_COUNT_MAX = 4096;
const NS_PER_MS = 1e6;
/** A memfd with huge pages is on another mount than those without. */
const MFD_HUGETLB = 4;

function memfd(name: string, flags = 0): number {
  return check("memfd_create", shim.memfdCreate(cString(name), linux.MFD_CLOEXEC | flags));
}

function openNamed(text: string, fd_count = FD_COUNT_MAX, pid = Deno.pid): number {
  return shim.openNamedFd(pid, cString(text), fd_count);
}

function closeAll(...fds: number[]): void {
  for (const fd of fds) assertEquals(shim.close(fd), 0);
}

Deno.test("a descriptor is found by the exact text of its link, not by the start of it", () => {
  const longer = memfd("shim_share_longer");
  const wanted = memfd("shim_share");
  const found = check("open_named_fd", openNamed("/memfd:shim_share (deleted)"));
  assertEquals(Deno.readLinkSync(`/proc/self/fd/${found}`), "/memfd:shim_share (deleted)");
  assertEquals(openNamed("/memfd:shim_shar (deleted)"), -errno.ENOENT);
  assertEquals(openNamed("/memfd:shim_share"), -errno.ENOENT);
  closeAll(longer, wanted, found);
  assertEquals(openNamed("/memfd:shim_share (deleted)"), -errno.ENOENT);
});

Deno.test("a link that is only the beginning of the text is not the one", () => {
  const path = Deno.makeTempFileSync({ prefix: "shim_share_" });
  const flags = linux.O_RDONLY | linux.O_CLOEXEC;
  const file = check("openat", shim.openat(linux.AT_FDCWD, cString(path), flags, 0));
  closeAll(check("open_named_fd", openNamed(path)));
  assertEquals(openNamed(`${path}er`), -errno.ENOENT);
  closeAll(file);
  Deno.removeSync(path);
});

Deno.test("the descriptor that is found gives no access to the file", () => {
  const wanted = memfd("shim_share");
  const found = check("open_named_fd", openNamed("/memfd:shim_share (deleted)"));
  assertEquals(shim.read(found, new Uint8Array(1), 1), -errno.EBADF);
  assertEquals(shim.fcntl(found, linux.F_GET_SEALS, 0), -errno.EBADF);
  assertEquals(shim.fileSize(found), 0);
  closeAll(wanted, found);
});

Deno.test("a search ends at its limit, and at a process that is not there", () => {
  const wanted = memfd("shim_share");
  assertEquals(openNamed("/memfd:shim_share (deleted)", 1), -errno.E2BIG);
  assertEquals(openNamed("/memfd:shim_share (deleted)", FD_COUNT_MAX, NO_PID), -errno.ESRCH);
  closeAll(wanted);
});

Deno.test("every memfd is on one mount, other files and huge pages are on others", () => {
  const [first, second] = [memfd("one"), memfd("two", linux.MFD_ALLOW_SEALING)];
  const mount_id = check("mount_id", shim.mountId(first));
  assertEquals(shim.mountId(second), mount_id);
  const path = Deno.makeTempFileSync({ prefix: "shim_share_" });
  const flags = linux.O_RDONLY | linux.O_CLOEXEC;
  const file = check("openat", shim.openat(linux.AT_FDCWD, cString(path), flags, 0));
  Deno.removeSync(path);
  assertNotEquals(shim.mountId(file), mount_id);
  const huge = shim.memfdCreate(cString("huge"), linux.MFD_CLOEXEC | MFD_HUGETLB);
  if (huge >= 0) { // a kernel may have no huge pages
    assertNotEquals(shim.mountId(huge), mount_id);
    closeAll(huge);
  }
  closeAll(first, second, file);
  assertEquals(shim.mountId(BAD_FD), -errno.EBADF);
});

Deno.test("the size of a file is exact beyond 32 bits", () => {
  const fd = memfd("size");
  assertEquals(shim.ftruncate(fd, 2 ** 40 + 5), 0);
  assertEquals(shim.fileSize(fd), 2 ** 40 + 5);
  closeAll(fd);
  assertEquals(shim.fileSize(fd), -errno.EBADF);
});

/** A listening socket and its name. */
function listener(): [number, Uint8Array<ArrayBuffer>] {
  const fd = check("socket", shim.unixSocket());
  assertEquals(shim.unixAutobind(fd), 0);
  assertEquals(shim.listen(fd, 1), 0);
  const name = new Uint8Array(108);
  return [fd, name.subarray(0, check("getsockname", shim.unixName(fd, name, name.length)))];
}

/** Both ends of a connection, after the listening socket. */
function connection(): [number, number, number] {
  const [fd, name] = listener();
  const client = check("socket", shim.unixSocket());
  assertEquals(shim.unixConnect(client, name, name.length), 0);
  return [fd, client, check("accept", shim.accept(fd))];
}

Deno.test("a socket gets an abstract name of six bytes, and its length even where it is cut", () => {
  const [fd, name] = listener();
  assertEquals(name.length, 6);
  assertEquals(name[0], 0);
  assertEquals(shim.unixName(fd, new Uint8Array(2), 2), 6);
  closeAll(fd);
});

Deno.test("a descriptor goes through a socket, with the bytes beside it", () => {
  const [fd, client, server] = connection();
  const shared = memfd("passed");
  check("write", shim.write(shared, new TextEncoder().encode("inside"), 6));
  assertEquals(shim.sendWithFd(server, new TextEncoder().encode("here"), 4, shared), 4);
  const bytes = new Uint8Array(16);
  const received = new Int32Array(1);
  assertEquals(shim.recvWithFd(client, bytes, bytes.length, received), 4);
  assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "here");
  assertGreater(received[0], 2);
  assertEquals(shim.pread(received[0], bytes, 6, 0), 6);
  assertEquals(new TextDecoder().decode(bytes.subarray(0, 6)), "inside");
  const fd_flags = Deno.readTextFileSync(`/proc/self/fdinfo/${received[0]}`);
  assertEquals(
    parseInt(/flags:\s*(\d+)/.exec(fd_flags)?.[1] ?? "", 8) & linux.O_CLOEXEC,
    0o2000000,
  );
  closeAll(received[0], shared, fd, client, server);
});

Deno.test("bytes without a descriptor say so, an end is 0 bytes, nothing yet is EAGAIN", () => {
  const [fd, client, server] = connection();
  const bytes = new Uint8Array(16);
  const received = Int32Array.of(77);
  assertEquals(shim.recvWithFd(server, bytes, bytes.length, received), -errno.EAGAIN);
  assertEquals(received[0], -1);
  assertEquals(shim.sendWithFd(client, new Uint8Array(3), 3, -1), 3);
  assertEquals(shim.recvWithFd(server, bytes, bytes.length, received), 3);
  assertEquals(received[0], -1);
  closeAll(client);
  assertEquals(shim.recvWithFd(server, bytes, bytes.length, received), 0);
  assertEquals(shim.sendWithFd(server, bytes, 3, -1), -errno.errnoNumber("EPIPE"));
  closeAll(fd, server);
});

Deno.test("socket calls return -errno for bad descriptors, names and lengths", () => {
  const bytes = new Uint8Array(109);
  const received = new Int32Array(1);
  const not_socket = memfd("not_a_socket");
  const ENOTSOCK = errno.errnoNumber("ENOTSOCK");
  assertEquals(shim.unixAutobind(not_socket), -ENOTSOCK);
  assertEquals(shim.listen(not_socket, 1), -ENOTSOCK);
  assertEquals(shim.unixName(not_socket, bytes, 1), -ENOTSOCK);
  assertEquals(shim.accept(not_socket), -ENOTSOCK);
  assertEquals(shim.shutdown(not_socket), -ENOTSOCK);
  assertEquals(shim.unixConnect(not_socket, bytes, 108), -ENOTSOCK);
  assertEquals(shim.unixConnect(BAD_FD, bytes, 109), -errno.errnoNumber("ENAMETOOLONG"));
  assertEquals(shim.sendWithFd(BAD_FD, bytes, 1, -1), -errno.EBADF);
  assertEquals(shim.sendWithFd(BAD_FD, bytes, -1, -1), -errno.EINVAL);
  assertEquals(shim.recvWithFd(BAD_FD, bytes, 1, received), -errno.EBADF);
  assertEquals(shim.recvWithFd(BAD_FD, bytes, -1, received), -errno.EINVAL);
  const [fd, client, server] = connection();
  assertEquals(shim.sendWithFd(client, bytes, 1, BAD_FD), -errno.EBADF);
  const unused = check("socket", shim.unixSocket());
  const nobody = new TextEncoder().encode("\0no such socket name");
  assertEquals(
    shim.unixConnect(unused, nobody, nobody.length),
    -errno.errnoNumber("ECONNREFUSED"),
  );
  closeAll(not_socket, fd, client, server, unused);
});

Deno.test("pollAsync waits while the event loop goes on, and a shutdown ends the wait", async () => {
  const [fd] = listener();
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  assertEquals(await shim.pollAsync(fd, linux.POLLIN, 30 * NS_PER_MS), 0);
  assertGreater(turns, 3);
  const waiting = shim.pollAsync(fd, linux.POLLIN, -1);
  await new Promise((done) => setTimeout(done, 5));
  assertEquals(shim.shutdown(fd), 0);
  assertEquals((await waiting & linux.POLLHUP) !== 0, true);
  clearInterval(timer);
  closeAll(fd);
});
